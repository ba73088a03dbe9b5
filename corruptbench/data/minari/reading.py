"""Reads a dataset's episodes into flat fields: straight from HDF5, or through Minari's own code."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from tqdm import tqdm

from corruptbench.data.flat import refuse_chunks, refuse_claim
from corruptbench.data.ledger import check_or_record
from corruptbench.data.minari.places import check_id, confined, default_root, local_ids, minari_at, regular
from corruptbench.data.minari.remote import download_dataset
from corruptbench.data.minari.spaces import REWARDS, TERMINATIONS, TRUNCATIONS, Leaf, Leaves, leaves_of, metadata_of
from corruptbench.errors import CorruptBenchError, DataError, UsageError, nearest, sentence
from corruptbench.links import without_links

Fields = dict[str, np.ndarray]

_FORMATS = ("arrow", "hdf5", "parquet")


def read(
    dataset_id: str, *, cache: Path, root: Path | None = None, download: bool = False
) -> tuple[Fields, str | None]:
    """Every step of a dataset, in the order of its episodes, and the SHA-256 of its file, None where it has more.

    The fields are ``observations``, ``next_observations`` ``(N, do)``, ``actions`` ``(N, da)``, ``rewards`` ``(N,)`` in
    the types they are stored in, ``terminals`` and ``timeouts`` ``(N,)`` bool. Dict observations are their arrays side
    by side in the order of their keys, as ``gymnasium.spaces.flatten`` has them. The last step of an episode that is
    neither terminated nor truncated counts as a timeout.

    The SHA-256 is noted below ``cache`` at the first read and compared at every later one. Raises UsageError for what
    is no id or needs an extra, DataError for unsound or missing data, IntegrityError for a file that changed,
    NetworkError where a download fails.
    """
    check_id(dataset_id)
    root = root or default_root()
    data = confined(root, root / dataset_id / "data")
    if not data.is_dir():
        if not download:
            known = nearest(dataset_id, local_ids(root))
            raise DataError(f"minari:{dataset_id} is not in {root}{known}: --download fetches it")
        download_dataset(dataset_id, root)
    path = regular(root, data / "metadata.json")
    metadata = metadata_of(path)
    observations = leaves_of(metadata, "observation_space", "observations", path)
    actions = leaves_of(metadata, "action_space", "actions", path)
    if actions[0].name != "actions":
        raise DataError(f"{path}: actions are a Dict, and only a Box can be read")
    stored_as = metadata.get("data_format", "hdf5")
    if stored_as not in _FORMATS:
        raise DataError(f"{path}: data_format is {stored_as!r}, allowed are {', '.join(_FORMATS)}")
    leaves = (*observations, *actions, REWARDS, TERMINATIONS, TRUNCATIONS)
    if stored_as != "hdf5":
        for path in data.rglob("*"):
            confined(root, path)
        return _read_through_minari(data, leaves, metadata, stored_as), None
    file = regular(root, data / "main_data.hdf5")
    record = without_links(cache, cache / "sha256" / "minari" / f"{dataset_id}.json")
    what = f"minari:{dataset_id}"
    known_sha256 = check_or_record(file, record, what) if record.exists() else None
    fields = _read_hdf5(file, leaves, metadata)
    return fields, known_sha256 or check_or_record(file, record, what)  # only what could be read is noted


def _read_hdf5(path: Path, leaves: Leaves, metadata: Mapping[str, Any]) -> Fields:
    """Straight from the file, on h5py's low level: opening an array costs more than its bytes do.

    Whatever h5py makes of damaged bytes is one DataError.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            top = _Group(file["/"].id, str(path))
            read = _Reader()
            episodes = {name: partial(read.array, top.group(name, ": ")) for name in _in_order(file.keys(), path)}
            return _fields(episodes, leaves, metadata, path, path.stat().st_size)
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
    """An array of a file: its shape and type, and its values when they are asked for."""

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


def _read_through_minari(data: Path, leaves: Leaves, metadata: Mapping[str, Any], stored_as: str) -> Fields:
    """The other formats, through Minari's own code.

    It makes an environment where a space is missing from the metadata, and ``leaves`` were made from both spaces.
    """
    try:
        import minari

        with minari_at(default_root()):
            found = {f"episode_{e.id}": vars(e) for e in minari.MinariDataset(data).iterate_episodes()}
        return _fields({name: partial(_leaf_of, found[name]) for name in found}, leaves, metadata, data, None)
    except (CorruptBenchError, MemoryError):
        raise
    except ImportError as error:
        raise UsageError(f"{data}: {stored_as} data need pyarrow: pip install 'minari[arrow]'") from error
    except Exception as error:
        raise DataError(f"{data}: not readable by Minari: {sentence(error)}") from error


def _leaf_of(episode: Mapping[str, Any], leaf: Leaf) -> np.ndarray:
    return np.asarray(reduce(getitem, leaf.path, episode))


def _fields(
    episodes: Mapping[str, Callable[[Leaf], np.ndarray | _Array]],
    leaves: Leaves,
    metadata: Mapping[str, Any],
    where: Path,
    size: int | None,
) -> Fields:
    """The flat fields, filled episode by episode; what episodes claim to hold is compared with the file's ``size``."""
    rewards = {name: stored(REWARDS) for name, stored in episodes.items()}  # opening one takes longer than reading it
    steps = {name: (found.shape or (0,))[0] for name, found in rewards.items()}
    if not steps:
        raise DataError(f"{where}: there is no episode in it")
    if not all(steps.values()):
        raise DataError(f"{where}: {min(steps, key=lambda name: steps[name])} has no step")
    count = sum(steps.values())
    for key, found in (("total_episodes", len(steps)), ("total_steps", count)):
        if metadata.get(key, found) != found:
            raise DataError(f"{where}: its {key} are {found}, and metadata.json says {metadata[key]!r}")
    claimed = 8 * count * sum(math.prod(leaf.shape) for leaf in leaves)
    if size is not None:
        refuse_claim(claimed, size, f"{where}: it")
    fields: Fields = {}
    first = 0
    for name, stored in tqdm(episodes.items(), desc="episodes", unit="", disable=None, leave=False, delay=2):
        episode = {
            leaf.name: _values(
                rewards[name] if leaf is REWARDS else stored(leaf), leaf, steps[name], f"{where}: {name}"
            )
            for leaf in leaves
        }
        rows = slice(first, first + steps[name])
        for field, values in _rows(episode, steps[name], f"{where}: {name}").items():
            if field not in fields:
                fields[field] = np.zeros((count, *values.shape[1:]), values.dtype)
            elif fields[field].dtype != values.dtype:  # rewards of one episode may all be integers
                fields[field] = fields[field].astype(np.result_type(fields[field].dtype, values.dtype), copy=False)
            fields[field][rows] = values
        first = rows.stop
    return fields


def _values(stored: np.ndarray | _Array, leaf: Leaf, steps: int, where: str) -> np.ndarray:
    """An array of an episode of ``steps`` steps, once its shape and type are right; flags as bool."""
    needed = (steps + (leaf.path[0] == "observations"), *leaf.shape)
    shape, dtype = stored.shape, stored.dtype
    if shape != needed:
        raise DataError(f"{where}: {leaf.name} has shape {shape}, and {steps} rewards need {needed}")
    if dtype.kind not in "fiub":
        raise DataError(f"{where}: {leaf.name} is {dtype}, and only numbers can be read")
    values = stored if isinstance(stored, np.ndarray) else stored.read()
    if leaf is not TERMINATIONS and leaf is not TRUNCATIONS:
        return values
    numbers = values.view(np.uint8) if values.dtype == bool else values  # a bool on disk may be any byte
    if ((numbers != 0) & (numbers != 1)).any():
        raise DataError(f"{where}: {leaf.name} has values that are neither 0 nor 1")
    return numbers == 1


def _rows(episode: Mapping[str, np.ndarray], steps: int, where: str) -> Fields:
    """The rows of one episode, from its arrays by the names of their leaves."""
    states = [values.reshape(steps + 1, -1) for name, values in episode.items() if name.startswith("observations")]
    visited = states[0] if len(states) == 1 else np.concatenate(states, axis=1)
    if episode["terminations"][:-1].any() or episode["truncations"][:-1].any():
        raise DataError(f"{where}: it goes on after a step that is terminated or truncated")
    timeouts = episode["truncations"].copy()
    timeouts[-1] |= not episode["terminations"][-1]
    return {
        "observations": visited[:-1],
        "actions": episode["actions"].reshape(steps, -1),
        "rewards": episode["rewards"],
        "next_observations": visited[1:],
        "terminals": episode["terminations"],
        "timeouts": timeouts,
    }
