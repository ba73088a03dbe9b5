"""Reads flat files, one row a step: HDF5 in D4RL's layout, and ``.npz`` with the same keys.

Columns are looked at before they are read, and read piece by piece; nothing outside the file itself is opened.
"""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from corruptbench.errors import CorruptBenchError, DataError

FIELDS = ("observations", "actions", "rewards", "terminals", "timeouts")
FOLLOWING = ("next_observations", "final_observations")

_LARGEST_RATIO = 1100
"""Bytes that deflate can make of one, rounded up."""


class Column(Protocol):
    """One field as it is stored: an array, or something that is read like one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


def refuse_claim(claimed: int, size: int, what: str) -> None:
    """Raises DataError, which ``what`` begins, for more bytes than a file of ``size`` can hold: a trap for memory."""
    if claimed > max(_LARGEST_RATIO * size, 1 << 20):
        raise DataError(f"{what} claims {claimed} bytes of data, and {size} cannot hold them")


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
    return dataset


@contextmanager
def _open_npz(path: Path) -> Iterator[dict[str, Column]]:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        refuse_claim(sum(member.file_size for member in members.values()), path.stat().st_size, f"{path}: it")
        yield {
            name: _array(archive, members[f"{name}.npy"], path)
            for name in (*FIELDS, *FOLLOWING)
            if f"{name}.npy" in members
        }


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
    """One array, whose header is compared with the size of the member before anything is allocated."""
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        reader: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(file)
        if dtype.hasobject:
            raise DataError(f"{path}: {name} is {dtype}, and only numbers can be read")
        if not shape:
            raise DataError(f"{path}: {name} is no array")
        content = file.read()
    if len(content) != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise DataError(f"{path}: {name} has {len(content)} bytes, and its header says {shape} of {dtype}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
