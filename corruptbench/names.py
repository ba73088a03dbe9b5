"""What a name may look like: in a path, a table, a page or a terminal, none of them has to escape it.

Look-ups refuse what they don't know by themselves; this is for names that somebody else makes up.
"""

import re
from collections.abc import Callable
from pathlib import Path

from corruptbench.errors import CorruptBenchError, UsageError, shown

_WORD = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_PART = "[A-Za-z0-9_-]([A-Za-z0-9_. -]*[A-Za-z0-9_.-])?"
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"

_NAME = re.compile(_WORD)
_FILE = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_. -]*[A-Za-z0-9_-])?")
_ID = re.compile(rf"{_WORD}(:{_PART})?(/{_PART})*")
_CLASS = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Files that Windows gives to a device, whatever their ending."""

LONGEST = 200
"""Characters of a name; most file systems take 255 bytes, and ours put a few around it."""
_LONGEST_VALUE = 1000
_ALLOWED = f"ASCII letters, digits, '.', '_' and '-', a letter, a digit or '_' first, up to {LONGEST} of them"

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")


def is_name(text: str) -> bool:
    """A word, as algorithms, corruptions and their settings have it."""
    return bool(len(text) <= LONGEST and _NAME.fullmatch(text) and not _DEVICE.fullmatch(text))


def is_id(text: str) -> bool:
    """A dataset or an environment: ``hopper-replay``, ``minari:mujoco/hopper/medium-v0``, ``D4RL/Hopper``."""
    return bool(len(text) <= LONGEST + len("minari:") and _ID.fullmatch(text))


def is_class(text: str) -> bool:
    """``package.module:Class``."""
    return bool(len(text) <= LONGEST and _CLASS.fullmatch(text))


def is_class_or_name(text: str) -> bool:
    return is_class(text) or is_name(text)


def is_value(text: str) -> bool:
    """Text of a setting, which tables list with ``;`` between them."""
    return len(text) <= _LONGEST_VALUE and ";" not in text and text.isprintable()


def check_name(text: str, what: str, error: Callable[[str], CorruptBenchError] = UsageError) -> str:
    """``text``, if it is a name; else raises an error of the given class, which ``what`` begins."""
    if not is_name(text):
        raise error(f"{what} {shown(text)} is no name: allowed are {_ALLOWED}")
    return text


def check_file_name(path: Path, what: str) -> str:
    """The name of a file that becomes part of a dataset's id; raises UsageError, which ``what`` begins."""
    name = path.name
    if len(name) > LONGEST or not _FILE.fullmatch(name) or _DEVICE.fullmatch(name):
        raise UsageError(
            f"{what} {shown(name)} cannot be the name of a dataset, so rename the file: "
            f"allowed are {_ALLOWED}, with spaces between them"
        )
    return name


def check_printable(text: str, what: str) -> str:
    """``text``, which may be a path; raises UsageError for a character that no terminal can show, as a line's end."""
    if not text.isprintable():
        raise UsageError(f"{what} {shown(text)} has a character in it that cannot be printed")
    return text


def refuse_pickle(path: Path, what: str) -> None:
    """Raises UsageError, which ``what`` begins, for a file that would have to be unpickled."""
    if path.suffix.lower() in _PICKLES:
        raise UsageError(f"{what}: pickles are not read, because a pickle can run any command")
