"""Kills a run at random times until it has been killed N times: python scripts/random_kills.py 100

Each kill ends the whole process group of a command like ``kill -9``. Then the same command is given again, until it
completes; its files are compared with those of a run that nobody disturbed, and the next run begins.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = "3000"
COMMAND = (
    f"run --algo iql --sam --corrupt mix-random --iql.hidden 32,32 --engine eager --steps {STEPS} "
    "--checkpoint-every 100"
).split()
COMPARED = ("record.json", "curve.csv", "policy.safetensors", "agent.safetensors")


def start(out: Path) -> subprocess.Popen:
    words = [sys.executable, "-m", "corruptbench", *COMMAND, "--out", str(out)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, **quiet, start_new_session=True, text=True)


def hashes(out: Path) -> dict[str, str]:
    (folder,) = out.iterdir()  # and nothing else is left
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in COMPARED}


def main(kills: int) -> None:
    dice, killed, resumed, runs = random.Random(0), 0, 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        begin = time.monotonic()
        whole = start(Path(temporary) / "whole")
        said = whole.communicate()[1]
        assert whole.returncode == 0, said
        seconds, expected = time.monotonic() - begin, hashes(Path(temporary) / "whole")
        while killed < kills:
            out = Path(temporary) / f"{runs}"
            while True:
                process = start(out)
                try:
                    said = process.communicate(timeout=dice.uniform(0, seconds))[1]
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    said = process.communicate()[1]
                    killed += 1
                resumed += "goes on from the checkpoint" in said
                if process.returncode != -signal.SIGKILL:
                    break
                print(f"\r{killed} kills, {runs} runs", end="", file=sys.stderr, flush=True)
            assert process.returncode == 0, said
            assert hashes(out) == expected, f"{out} differs"
            runs += 1
    print(
        f"\n{killed} kills in {runs} runs of {STEPS} steps ({seconds:.0f} s undisturbed): every run ended in the same "
        f"bytes with nothing left over; {resumed} commands went on from a checkpoint"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
