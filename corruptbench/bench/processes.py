"""The processes that measure: each answers in lines of JSON, with what it found or the error that kept it from that."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

from corruptbench.errors import CorruptBenchError

THREADS = 1
"""Of a process that measures."""


def child(wanted: dict[str, Any]) -> subprocess.Popen:
    """A process that measures, its threads fixed before torch is imported in it."""
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))}
    command = [sys.executable, "-m", "corruptbench.bench", json.dumps(wanted)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def rows_of(wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """What a process of its own measures; it ends with this call, whatever ends that. Raises as :func:`heard` does."""
    name = wanted["name"]
    with child(wanted) as process:
        try:
            rows: list[dict[str, Any]] = heard(process, name)
            process.communicate()
            if process.returncode:
                raise _ended(process, name)
            return rows
        finally:
            process.kill()


def heard(process: subprocess.Popen, name: str) -> Any:
    """A child's next line of JSON; raises the error that it names, CorruptBenchError where it ended without a word."""
    assert process.stdout is not None
    for line in iter(process.stdout.readline, ""):
        with contextlib.suppress(ValueError):  # what a library printed
            said = json.loads(line)
            if not isinstance(said, dict):
                return said
            known = {cls.__name__: cls for cls in CorruptBenchError.__subclasses__()}
            error = known.get(said["error"], CorruptBenchError)(f"measuring {name!r} failed: {said['message']}")
            error.add_note(said["traceback"])
            break
    else:
        error = _ended(process, name)
    raise error


def _ended(process: subprocess.Popen, name: str) -> CorruptBenchError:
    return CorruptBenchError(f"measuring {name!r} ended with {end_of(process.wait())}")


def end_of(code: int) -> str:
    """An exit code in words: the signal's name where one ended the process."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
