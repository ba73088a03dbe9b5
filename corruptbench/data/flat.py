"""Reads flat files, one row a step: HDF5 in D4RL's layout, and ``.npz`` with the same keys.

Columns are looked at before they are read, and read piece by piece; nothing outside the file itself is opened.
"""

import io
import math
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from corruptbench.errors import CorruptBenchError, DataError, ResourceError

FIELDS = ("observations", "actions", "rewards", "terminals", "timeouts")
FOLLOWING = ("next_observations", "final_observations")

_LARGEST_RATIO = 1100
"""Bytes that deflate can make of one, rounded up."""
USUAL_RATIO, _SMALL = 100, 1 << 26
"""Bytes of numbers that were measured in one byte, and then some; what is small may be anything."""
_LARGEST_DIRECTORY = 1 << 20
"""Bytes of the list of files in a ZIP archive, for which Python makes an object each."""


class Column(Protocol):
    """One field as it is stored: an array, or something that is read like one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


def expanded(spelling: str) -> Path:
    """The path that follows a colon, where the shell leaves ``~`` as it is."""
    try:
        return Path(spelling).expanduser()
    except RuntimeError:  # no such user
        return Path(spelling)


def refuse_claim(claimed: int, size: int, what: str) -> None:
    """Raises an error, which ``what`` begins, for more bytes than should be read from a file of ``size``.

    DataError for what the file cannot hold or would hold only to fill memory, ResourceError for what is more than all
    memory of this machine.
    """
    if claimed > max(_LARGEST_RATIO * size, 1 << 20):
        raise DataError(f"{what} claims {claimed} bytes of data, and {size} cannot hold them")
    if claimed > max(USUAL_RATIO * size, _SMALL):
        raise DataError(f"{what} claims {claimed} bytes of data in {size}: more than {USUAL_RATIO} in one are a trap")
    if claimed > _memory():
        raise ResourceError(f"{what} claims {claimed} bytes of data, and this machine has {_memory()} bytes of memory")


def refuse_chunks(chunk: Sequence[int] | None, itemsize: int, claimed: int, what: str) -> None:
    """Raises DataError for chunks that are larger than the array: HDF5 unpacks a whole one for a single value."""
    size = math.prod(chunk or ()) * itemsize
    if size > max(claimed, _SMALL):
        raise DataError(f"{what} lies in chunks of {size} bytes, and has {claimed}")


def _memory() -> int:
    """Bytes of physical memory; where the system does not tell, more than there can be."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


@contextmanager
def open_flat(path: Path) -> Iterator[Mapping[str, Column]]:
    """The known columns of a file, for as long as it is open; other keys are left alone.

    Raises DataError, whatever the file's library makes of damaged bytes, and for columns that lie outside the file or
    claim more than it can hold.
    """
    if not path.is_file():  # a pipe would be waited for
        raise DataError(f"{path}: there is no such file")
    kind, columns = ("npz", _open_npz) if path.suffix == ".npz" else ("HDF5", _open_hdf5)
    try:
        with columns(path) as found:
            claimed = sum(int(np.prod(c.shape, dtype=object)) * c.dtype.itemsize for c in found.values())
            refuse_claim(claimed, path.stat().st_size, f"{path}: it")
            yield found
    except (CorruptBenchError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{path}: not readable as {kind}: {' '.join(str(error).split())}") from error


@contextmanager
def _open_hdf5(path: Path) -> Iterator[dict[str, Column]]:
    with h5py.File(path, "r", locking=False) as file:
        yield {name: _dataset(file, name, path) for name in (*FIELDS, *FOLLOWING) if name in file}


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise DataError(f"{path}: {name} is a link to something else, and only data in the file itself are read")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or not dataset.shape:
        raise DataError(f"{path}: {name} is no array")
    if dataset.is_virtual or dataset.external:
        raise DataError(f"{path}: {name} lies in another file, and only data in the file itself are read")
    refuse_chunks(dataset.chunks, dataset.dtype.itemsize, dataset.size * dataset.dtype.itemsize, f"{path}: {name}")
    return dataset


class _Careful(io.FileIO):
    """A file of which no more than ``limit`` bytes are read at once."""

    limit = _LARGEST_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        wanted = os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size
        if wanted > self.limit:
            raise DataError(f"{self.name}: its list of files has {wanted} bytes, allowed are {self.limit}")
        return super().read(size) or b""


@contextmanager
def _open_npz(path: Path) -> Iterator[dict[str, Column]]:
    with _Careful(path) as file, zipfile.ZipFile(file) as archive:
        file.limit = sys.maxsize  # the list has been read
        members = {info.filename: info for info in archive.infolist()}
        refuse_claim(sum(member.file_size for member in members.values()), path.stat().st_size, f"{path}: it")
        yield {
            name: _array(archive, members[f"{name}.npy"], path)
            for name in (*FIELDS, *FOLLOWING)
            if f"{name}.npy" in members
        }


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """One array, whose header is compared with the size of the member before anything is allocated.

    No more is unpacked than the header says: a member may hold more than the archive says of it.
    """
    name = member.filename.removesuffix(".npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack all that there is
        raise DataError(f"{path}: {name} is packed in another way than numpy does")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        reader: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(file)
        if dtype.hasobject:
            raise DataError(f"{path}: {name} is {dtype}, and only numbers can be read")
        if not shape:
            raise DataError(f"{path}: {name} is no array")
        needed, there = int(np.prod(shape, dtype=object)) * dtype.itemsize, member.file_size - file.tell()
        if needed != there:
            raise DataError(f"{path}: {name} has {there} bytes, and its header says {shape} of {dtype}")
        content = file.read(needed)
        file.read(1)  # the end, where the check sum is compared
    if len(content) != needed:
        raise DataError(f"{path}: {name} has {len(content)} bytes, and its header says {shape} of {dtype}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
