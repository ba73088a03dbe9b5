"""What a run costs beside its steps: reading the data, starting, memory."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from corruptbench.bench.processes import end_of
from corruptbench.data import load
from corruptbench.errors import CorruptBenchError
from corruptbench.store import parse_json

ROWS = 400_000


def loading(*, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """From the file to a checked dataset."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        load(dataset)
        taken.append(time.perf_counter() - begin)
    return [{"what": f"load {dataset}", "value": statistics.median(taken), "unit": "s"}]


def start_up(*, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """All that a run takes but its step; what the first step and compiling it take stands beside the training rows."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        _, in_training = _run("--dataset", dataset, "--steps", 1, "--engine", "eager")
        taken.append(time.perf_counter() - begin - in_training)
    return [{"what": "start and end of a run", "value": statistics.median(taken), "unit": "s"}]


def memory(*, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Peak of a run on 400,000 transitions of HalfCheetah's sizes; their numbers are drawn, only the sizes count."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.hdf5"
        with h5py.File(path, "w") as file:
            for name, width in (("observations", 17), ("next_observations", 17), ("actions", 6)):
                file[name] = rng.uniform(-1, 1, (ROWS, width)).astype(np.float32)
            file["rewards"] = rng.standard_normal(ROWS, np.float32)
            file["terminals"], file["timeouts"] = np.zeros(ROWS, bool), np.arange(1, ROWS + 1) % 1000 == 0
        peak, _ = _run("--dataset", f"file:{path}", "--env", "HalfCheetah-v5", "--steps", 20, "--engine", engine)
    return [{"what": f"run on {ROWS:,} transitions", "value": peak, "unit": "MB at its peak"}]


def _run(*options: object) -> tuple[float | None, float]:
    """A run in a process and folder of its own: its peak memory in MB, and the seconds of its training.

    Raises CorruptBenchError where it fails.
    """
    code = (
        "import sys; from corruptbench.cli import main; from corruptbench.bench.timing import peak_memory_mb; "
        "code = main(sys.argv[1:]); print(peak_memory_mb()); sys.exit(code)"
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, "run", "--algo", "iql", "--corrupt", "obs-random", "--no-score"]
        command += ["--out", folder, *map(str, options)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = [*done.stderr.splitlines(), *(line for line in done.stdout.splitlines() if "failed: " in line)]
            raise CorruptBenchError(f"a run ended with {end_of(done.returncode)}{f': {said[-1]}' if said else ''}")
        (timing,) = Path(folder).glob("*/timing.json")
        seconds = float(parse_json(timing.read_text())["seconds"]["train"])
    last = done.stdout.splitlines()[-1]
    return (None if last == "None" else float(last)), seconds
