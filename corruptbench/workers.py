"""Commands side by side, each in a process of its own with its threads fixed before torch is imported in it.

One thread a run and several runs at once is the fastest choice for networks of this size, and runs share nothing but
the folder of their results: what a run computes does not depend on how many others are under way.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence

from tqdm import tqdm


def side_by_side(commands: Sequence[Sequence[str]], workers: int) -> list[int]:
    """Runs ``corruptbench`` with each list of arguments, at most ``workers`` at a time; their exit codes in order.

    What they print goes nowhere, what they warn of to standard error. Whatever ends this ends them.
    """
    waiting = deque(enumerate(commands))
    running: dict[int, subprocess.Popen] = {}
    codes = [0] * len(commands)
    try:
        with tqdm(total=len(commands), unit="run", desc=f"{workers} workers", disable=None) as bar:
            while waiting or running:
                while waiting and len(running) < workers:
                    number, arguments = waiting.popleft()
                    running[number] = _start(arguments)
                for number, process in list(running.items()):
                    try:
                        codes[number] = process.wait(timeout=0.1)
                    except subprocess.TimeoutExpired:
                        continue
                    del running[number]
                    bar.update()
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return codes


def _start(arguments: Sequence[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "corruptbench", *arguments]
    environment = {**os.environ, "TQDM_DISABLE": "1"}  # many bars on one line tell nothing
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
