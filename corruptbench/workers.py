"""Commands side by side, each in a process of its own with its threads fixed before torch is imported in it.

One thread a run and several runs at once is the fastest choice for networks of this size, and runs share nothing but
the folder of their results: what a run computes does not depend on how many others are under way.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Sequence

from corruptbench.bars import DISABLE, progress
from corruptbench.stopping import WORKER

PATIENCE = 8
"""Seconds that a worker has for its checkpoint after a signal."""


def side_by_side(commands: Sequence[Sequence[str]], workers: int) -> list[int]:
    """Runs ``corruptbench`` with each list of arguments, at most ``workers`` at a time; their exit codes in order."""
    codes = [0] * len(commands)
    bar = progress(total=len(commands), unit="run", desc=f"{workers} workers")
    with bar, contextlib.closing(as_they_end(commands, workers)) as ends:
        for number, code in ends:
            codes[number] = code
            bar.update()
    return codes


def as_they_end(commands: Sequence[Sequence[str]], workers: int) -> Generator[tuple[int, int], None, None]:
    """Yields number and exit code of each command as it ends, minus the signal where one ended it.

    What they print goes nowhere, what they warn of to standard error. Whatever ends this ends them: a signal reaches
    them, and they stop with a checkpoint; and where this is killed, their standard input ends.
    """
    waiting = deque(enumerate(commands))
    running: dict[int, subprocess.Popen] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                number, arguments = waiting.popleft()
                running[number] = _start(arguments)
            for number, process in list(running.items()):
                try:
                    code = process.wait(timeout=0.1)
                except subprocess.TimeoutExpired:
                    continue
                _close(running.pop(number))
                yield number, code
    finally:
        for process in running.values():
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close(process)


def _close(process: subprocess.Popen) -> None:
    assert process.stdin is not None
    process.stdin.close()


def _start(arguments: Sequence[str]) -> subprocess.Popen:
    command = [sys.executable, "-m", "corruptbench", *arguments]
    environment = {**os.environ, DISABLE: "1", WORKER: "1"}  # many bars on one line tell nothing
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
