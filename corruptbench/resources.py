"""Room on the disk and in memory: asked for before hours are spent, and told apart from a broken plug-in afterwards."""

import ctypes
import errno
import os
import shutil
from pathlib import Path

from corruptbench.errors import ResourceError, sentence

LACKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""Errors of the system that say nothing about the code that met them."""

CGROUP = Path("/sys/fs/cgroup")


def keep_freed_memory() -> None:
    """From now on memory that this process frees stays with it, where its C library is glibc.

    Tensors of many megabytes would else be asked of the system again and again, which fills each with zeros first.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another system's
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)


_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""glibc's malloc.h."""


def limit_memory(more: int) -> None:
    """From now on this process may take so many bytes more than it has, where its system can say so.

    Beyond that there is a MemoryError, or the end of the process: it should be one that can be spared.
    """
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):  # another system's
        return
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + more if before == resource.RLIM_INFINITY else min(before, used + more)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def require_disk(folder: Path, needed: int, what: str) -> None:
    """Raises ResourceError where the file system of an existing folder has less than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(f"{folder}: {what} takes {needed:,} bytes, and {free:,} are free")


def require_memory(needed: int, what: str) -> None:
    """Raises ResourceError where this process can have less than ``needed`` bytes more; unknown counts as enough."""
    free = available_memory()
    if free is not None and free < needed:
        raise ResourceError(f"{what} takes {needed:,} bytes of memory, and {free:,} are available")


def available_memory() -> int | None:
    """Bytes that the system, and the container, have for new memory; None where the system does not tell."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                found.append(int(amount.split()[0]) * 1024)
        limit = (CGROUP / "memory.max").read_text("ascii").strip()
        if limit != "max":
            used = int((CGROUP / "memory.current").read_text("ascii"))
            statistics = dict(line.split() for line in (CGROUP / "memory.stat").read_text("ascii").splitlines())
            found.append(int(limit) - used + int(statistics["inactive_file"]))
    except (OSError, ValueError, KeyError):
        pass  # no such file on this system
    return min(found, default=None)


def lack_of(error: BaseException) -> ResourceError | None:
    """What was missing where an error is about disk or memory, whoever raised it; None for any other.

    PyTorch's allocator raises a RuntimeError that says that it "can't allocate memory".
    """
    if isinstance(error, ResourceError):
        return error
    if isinstance(error, OSError) and error.errno in LACKS:
        where = f"{os.fspath(error.filename)}: " if isinstance(error.filename, str | os.PathLike) else ""
        return ResourceError(f"{where}{error.strerror}")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):
        return ResourceError(f"not enough memory: {sentence(error)}")
    return None
