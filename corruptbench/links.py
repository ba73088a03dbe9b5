"""Places in the cache have names that anybody can foretell: what was planted there as a link is not followed."""

import contextlib
import os
import stat
from pathlib import Path
from typing import IO

from corruptbench.errors import IntegrityError


def without_links(root: Path, path: Path) -> Path:
    """``path`` below ``root``; raises IntegrityError where it is a link, or a folder on the way from ``root`` is.

    ``root`` itself may be one: it is the user's choice, as a cache on another disk.
    """
    for part in (path, *path.parents):
        if part == root:
            break
        if part.is_symlink():
            raise IntegrityError(f"{part}: it is a link, and none is followed in the cache; remove it")
    return path


def open_own(path: Path, *, append: bool) -> IO[bytes]:
    """A file for writing at a name that can be foretold: a new one, or one to go on with that has no other name.

    Whatever stands there otherwise is removed first, and what it leads to is left alone.
    """
    flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    if append:
        return os.fdopen(os.open(path, flags | os.O_APPEND), "ab")
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    return os.fdopen(os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), "wb")


def own_size(path: Path) -> int:
    """Bytes of a file that has no other name; 0 for a link, for one that has, and for none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0
