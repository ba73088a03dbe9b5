"""Ctrl-C and SIGTERM: work stops between two of its steps, with what it has done kept, and its command says 130 or 143.

The first signal raises :class:`Stopped` in the main thread, at once or, inside :func:`deferred`, where the work says
that it can stop. A second Ctrl-C ends the process there and then.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

WORKER = "CORRUPTBENCH_WORKER"
"""Environment variable that says of a command that another one started it and holds its standard input."""


class Stopped(BaseException):
    """A signal asked for the end. No ``Exception``: code that survives its own errors does not survive this."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


_asked: int | None = None
"""The signal that came."""

_deferring = 0
"""How many :func:`deferred` there are around."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Within, the signals raise Stopped; afterwards they do what they did before. Only for the main thread."""
    global _asked
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _come) for number in SIGNALS}
    try:
        yield
    finally:
        _asked = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within, a signal waits until :func:`stop_if_asked` or the end."""
    global _deferring
    _deferring += 1
    try:
        yield
    finally:
        _deferring -= 1
    if not _deferring:
        stop_if_asked()


def stop_if_asked() -> None:
    """Raises Stopped where a signal came."""
    if _asked is not None:
        raise Stopped(_asked)


def end_with_parent() -> None:
    """Ends this process, from now on, when its standard input ends: the one who holds the other end has ended."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _come(number: int, frame: FrameType | None) -> None:
    """One signal is enough: what writes a checkpoint now is not disturbed by the SIGTERM that follows a Ctrl-C."""
    global _asked
    _asked = number
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    if not _deferring:
        raise Stopped(number)
