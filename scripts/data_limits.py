"""Memory and time of ``data check`` and ``corrupt --corrupt mix-random`` on data of HalfCheetah's sizes.

    python scripts/data_limits.py [ROWS ...]        1,000,000 and 10,000,000 by default

Every command runs in a process of its own; what it costs is its peak resident memory and its wall time. The numbers in
the files are drawn at random, because only their sizes matter here. Needs about 4 GB on the disk of the temporary
folder. The outcome goes between the markers of docs/data.md.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

DOC = Path(__file__).parent.parent / "docs" / "data.md"
BEGIN, END = "<!-- limits -->", "<!-- /limits -->"
EPISODE, BLOCK = 1000, 100_000


def make(path: Path, rows: int) -> int:
    """A file of whole episodes that continue; returns the bytes of the arrays that a dataset of it has."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, width in (("observations", 17), ("next_observations", 17), ("actions", 6)):
            file.create_dataset(name, (rows, width), "f4")
        file.create_dataset("rewards", (rows,), "f4")
        file.create_dataset("terminals", (rows,), bool)
        timeouts = np.zeros(rows, bool)
        timeouts[EPISODE - 1 :: EPISODE] = True
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
    doc = DOC.read_text("utf-8")
    head, _, rest = doc.partition(BEGIN)
    DOC.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
