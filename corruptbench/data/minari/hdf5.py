"""Minari's HDF5 files, on h5py's low level: opening an array costs more than its bytes do."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from corruptbench.data.flat import refuse_chunks
from corruptbench.data.minari.episodes import Fields, fields_of
from corruptbench.data.minari.spaces import Leaf, Leaves
from corruptbench.errors import CorruptBenchError, DataError


def read_hdf5(path: Path, leaves: Leaves, metadata: Mapping[str, Any]) -> Fields:
    """Straight from the file; whatever h5py makes of damaged bytes is one DataError."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            top = _Group(file["/"].id, str(path))
            read = _Reader()
            episodes = {name: partial(read.array, top.group(name, ": ")) for name in _in_order(file.keys(), path)}
            return fields_of(episodes, leaves, metadata, path, path.stat().st_size)
    except (CorruptBenchError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{path}: not readable as HDF5: {' '.join(str(error).split())}") from error


def _in_order(keys: Iterable[str], path: Path) -> list[str]:
    """``episode_0``, ``episode_1``, ... without a gap."""
    found = {key for key in keys if re.fullmatch("episode_[0-9]+", key)}
    names = [f"episode_{i}" for i in range(len(found))]
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{path}: {missing[0]} is missing, and {len(found)} episodes are there")
    return names


class _Group:
    """An HDF5 group that opens nothing but what lies in it; all its links are looked at in one call."""

    def __init__(self, opened: h5py.h5g.GroupID, where: str) -> None:
        self.opened, self.where = opened, where
        self.kinds: dict[bytes, int] = {}
        opened.links.iterate(lambda name, link: self.kinds.__setitem__(name, link.type), info=True)

    def array(self, name: str) -> h5py.h5d.DatasetID | None:
        """None where it is no array."""
        self._check(name)
        try:
            return h5py.h5d.open(self.opened, name.encode())
        except (KeyError, ValueError, OSError):
            if isinstance(h5py.h5o.open(self.opened, name.encode()), h5py.h5d.DatasetID):
                raise
            return None

    def group(self, name: str, separator: str = "/") -> "_Group":
        self._check(name)
        found = h5py.h5o.open(self.opened, name.encode())
        if not isinstance(found, h5py.h5g.GroupID):
            raise DataError(f"{self.where}: {name} is no group")
        return _Group(found, f"{self.where}{separator}{name}")

    def _check(self, name: str) -> None:
        kind = self.kinds.get(name.encode())
        if kind is None:
            raise DataError(f"{self.where}: {name} is missing")
        if kind != h5py.h5l.TYPE_HARD:
            raise DataError(
                f"{self.where}: {name} is a link to something else, and only data in the file itself are read"
            )


@dataclass(frozen=True)
class _Type:
    """What the elements of an array are: on disk, in NumPy, and what HDF5 converts them to."""

    stored: h5py.h5t.TypeID
    dtype: np.dtype
    memory: h5py.h5t.TypeID

    @classmethod
    def of(cls, array: h5py.h5d.DatasetID, stored: h5py.h5t.TypeID) -> "_Type":
        native = array.dtype.newbyteorder("=")
        return cls(stored, native, h5py.h5t.py_create(native))


@dataclass(frozen=True)
class _Array:
    """An array that is opened and not read."""

    stored: h5py.h5d.DatasetID
    shape: tuple[int, ...]
    type: _Type

    @property
    def dtype(self) -> np.dtype:
        return self.type.dtype

    def read(self) -> np.ndarray:
        values = np.empty(self.shape, self.dtype)
        self.stored.read(h5py.h5s.ALL, h5py.h5s.ALL, values, mtype=self.type.memory)
        return values


class _Reader:
    """Opens the arrays of one file; what a leaf's type means is worked out once, for episode after episode has it."""

    def __init__(self) -> None:
        self.types: dict[Leaf, _Type] = {}

    def array(self, episode: _Group, leaf: Leaf) -> _Array:
        group = episode
        for name in leaf.path[:-1]:
            group = group.group(name)
        found = group.array(leaf.path[-1])
        if found is None:
            raise DataError(f"{episode.where}: {leaf.name} is no array")
        shape, type_ = found.shape, self.type_of(found, leaf)
        made = found.get_create_plist()
        layout = made.get_layout()
        if layout == h5py.h5d.CHUNKED:
            size = type_.dtype.itemsize
            refuse_chunks(made.get_chunk(), size, math.prod(shape) * size, f"{episode.where}: {leaf.name}")
        elif layout == h5py.h5d.VIRTUAL or made.get_external_count() > 0:
            raise DataError(
                f"{episode.where}: {leaf.name} lies in another file, and only data in the file itself are read"
            )
        return _Array(found, shape, type_)

    def type_of(self, found: h5py.h5d.DatasetID, leaf: Leaf) -> _Type:
        stored = found.get_type()
        if leaf not in self.types or not stored.equal(self.types[leaf].stored):
            self.types[leaf] = _Type.of(found, stored)
        return self.types[leaf]
