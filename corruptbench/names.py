"""What a name may look like: in a path, a table, a page or a terminal, none of them has to escape it.

Look-ups refuse what they don't know by themselves; this is for names that somebody else makes up.
"""

import re
from collections.abc import Callable

from corruptbench.errors import CorruptBenchError, UsageError, shown

_WORD = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PART = "[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"

_NAME = re.compile(_WORD)
_ID = re.compile(rf"{_WORD}(:{_PART})?(/{_PART})*")
_CLASS = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Files that Windows gives to a device, whatever their ending."""

LONGEST = 200
"""Characters of a name; most file systems take 255 bytes, and ours put a few around it."""

WORDS = f"ASCII letters, digits, '.', '_' and '-', the first none of '.' and '-', up to {LONGEST} characters"


def is_name(text: str) -> bool:
    """A word, as algorithms, corruptions, files and fields have it."""
    return bool(len(text) <= LONGEST and _NAME.fullmatch(text) and not _DEVICE.fullmatch(text))


def is_id(text: str) -> bool:
    """A dataset or an environment: ``hopper-replay``, ``minari:mujoco/hopper/medium-v0``, ``D4RL/Hopper``."""
    return bool(len(text) <= 2 * LONGEST and _ID.fullmatch(text))


def is_class(text: str) -> bool:
    """``package.module:Class``."""
    return bool(len(text) <= LONGEST and _CLASS.fullmatch(text))


def check_name(text: str, what: str, error: Callable[[str], CorruptBenchError] = UsageError) -> str:
    """``text``, if it is a name; else raises an error of the given class, which ``what`` begins."""
    if not is_name(text):
        reserved = ", and no name of a device" if _DEVICE.fullmatch(text) else ""
        raise error(f"{what} {shown(text)} is no name: allowed are {WORDS}{reserved}")
    return text


def check_printable(text: str, what: str) -> str:
    """``text``, which may be a path; raises UsageError for a character that no terminal can show, as a line's end."""
    if not text.isprintable():
        raise UsageError(f"{what} {shown(text)} has a character in it that cannot be printed")
    return text
