"""Memory and time of ``data check``, ``corrupt --corrupt mix-random`` and reading, on data of HalfCheetah's sizes.

    python scripts/data_limits.py [ROWS ...]   1,000,000 and 10,000,000 by default
    python scripts/data_limits.py reading      400,000 transitions in 1,000 episodes, from Minari and from a flat file

Every command runs in a process of its own; what it costs is its peak resident memory and its wall time. The numbers in
the files are drawn at random, because only their sizes matter here. Needs about 4 GB on the disk of the temporary
folder. The outcome goes between the markers of docs/data.md.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from corruptbench.data import load_rows, minari
from corruptbench.environments import environment

DOC = Path(__file__).parent.parent / "docs" / "data.md"
BLOCK = 100_000


def make(path: Path, rows: int, episode: int = 1000) -> int:
    """A file of whole episodes that continue; returns the bytes of the arrays that a dataset of it has."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, width in (("observations", 17), ("next_observations", 17), ("actions", 6)):
            file.create_dataset(name, (rows, width), "f4")
        file.create_dataset("rewards", (rows,), "f4")
        file.create_dataset("terminals", (rows,), bool)
        timeouts = np.zeros(rows, bool)
        timeouts[episode - 1 :: episode] = True
        file["timeouts"] = timeouts
        for first in range(0, rows, BLOCK):
            part = slice(first, first + BLOCK)
            visited = rng.standard_normal((BLOCK + 1, 17), np.float32)
            file["observations"][part], file["next_observations"][part] = visited[:-1], visited[1:]
            file["actions"][part] = rng.uniform(-1, 1, (BLOCK, 6)).astype(np.float32)
            file["rewards"][part] = rng.standard_normal(BLOCK, np.float32)
    return rows * ((17 + 17 + 6 + 1) * 4 + 1 + 8)


def measure(*arguments: object) -> tuple[float, float]:
    """Seconds and peak bytes of one command."""
    code = (
        "import resource, sys; from corruptbench.cli import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr); sys.exit(code)"
    )
    begin = time.monotonic()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.monotonic() - begin, float(done.stderr.splitlines()[-1])


def main() -> None:
    if sys.argv[1:] == ["reading"]:
        insert("reading", reading())
        return
    sizes = [int(text) for text in sys.argv[1:]] or [1_000_000, 10_000_000]
    lines = [
        "| command | transitions | arrays | seconds | peak memory | memory / arrays |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            path = Path(folder) / "x.hdf5"
            arrays = make(path, rows)
            names = (f"file:{path}", "--env", "HalfCheetah-v5")
            out = Path(folder) / "y.hdf5"
            commands = {
                "`data check`": ("data", "check", *names),
                "`corrupt --corrupt mix-random`": (
                    "corrupt", "--dataset", *names, "--corrupt", "mix-random", "--out", out,
                ),
            }  # fmt: skip
            for title, arguments in commands.items():
                taken, peak = measure(*arguments)
                seconds.setdefault(title, []).append(taken)
                memory = f"{arrays / 1e9:.2f} GB | {taken:.1f} | {peak / 1e9:.2f} GB | {peak / arrays:.2f}"
                lines.append(f"| {title} | {rows:,} | {memory} |")
                print(lines[-1], flush=True)
            for left in Path(folder).iterdir():
                left.unlink()
    text = "\n".join(lines)
    if len(sizes) > 1:
        ratios = ", ".join(f"{title} {taken[-1] / taken[0]:.1f}" for title, taken in seconds.items())
        text += f"\n\n{sizes[-1] / sizes[0]:g} times the rows took this many times the seconds: {ratios}."
    insert("limits", text)


def reading(rounds: int = 7) -> str:
    """A table of the time that ``load`` takes, the median of some rounds, after one that fills the disk's cache."""
    count = 400_000
    lines = ["| from | seconds | of them processor |", "|---|---:|---:|"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(MINARI_DATASETS_PATH=f"{folder}/minari", CORRUPTBENCH_CACHE=f"{folder}/cache")
        path = Path(folder) / "x.hdf5"
        make(path, count, episode=400)
        with h5py.File(path) as file:
            fields = {name: file[name][:] for name in file}
        minari.write(
            "x-v0", fields, env_id="HalfCheetah-v5", action_low=-1, action_high=1, description="random numbers"
        )
        for name in ("minari:x-v0", f"file:{path}"):
            taken = []
            for _ in range(rounds + 1):
                begin, busy = time.perf_counter(), time.process_time()
                load_rows(name, environment("HalfCheetah-v5"))
                taken.append((time.perf_counter() - begin, time.process_time() - busy))
            wall, processor = (sorted(column)[rounds // 2] for column in zip(*taken[1:], strict=True))
            lines.append(f"| {name.partition(':')[0]}, {count:,} transitions | {wall:.2f} | {processor:.2f} |")
    return "\n".join(lines)


def insert(marker: str, text: str) -> None:
    """Replaces what stands between a pair of markers in the doc."""
    print(text)
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    head, _, rest = DOC.read_text("utf-8").partition(begin)
    DOC.write_text(f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    main()
