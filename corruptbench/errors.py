"""One error class per cause; each knows the exit code of the command line and speaks one sentence."""

import difflib
from collections.abc import Iterable


class CorruptBenchError(Exception):
    """What, where, the value found, the values allowed, the nearest right name."""

    exit_code = 1


class UsageError(CorruptBenchError, ValueError):
    """The command or the call asks for something that does not exist or makes no sense."""

    exit_code = 2


class DataError(CorruptBenchError, ValueError):
    """A dataset is unsound."""

    exit_code = 3


class IntegrityError(CorruptBenchError):
    """A stored file is not what was written."""

    exit_code = 4


class ResourceError(CorruptBenchError):
    """Disk, memory or a permission is missing."""

    exit_code = 5


class NetworkError(CorruptBenchError):
    """The network or its other end did not do its part."""

    exit_code = 5


class PluginError(CorruptBenchError):
    """A corruption or an algorithm broke its contract: the run fails, by name."""

    exit_code = 1


class Diverged(CorruptBenchError):
    """Training produced a loss or weights that are not finite."""

    exit_code = 1


def sentence(error: BaseException) -> str:
    """An exception of somebody's code on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def shown(text: str) -> str:
    """Somebody's text in quotes, in an error: on one line, and no longer than the sentence around it."""
    return repr(text) if len(text) <= 80 else f"{text[:60]!r}... ({len(text)} characters)"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` or nothing, to end a sentence about a wrong name."""
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is in no registry."""
    allowed = sorted(allowed)
    return UsageError(f"unknown {kind} {shown(name)}: known are {', '.join(allowed)}{nearest(name, allowed)}")
