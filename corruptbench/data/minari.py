"""Minari's datasets: read without trusting what they say, written with Minari's own code.

A dataset is ``<root>/<id>/data/metadata.json`` and ``main_data.hdf5``; its episode of T steps::

    episode_7/observations  o0 o1 ... o(T-1) oT   (T + 1, ...), an array or a group of arrays
    episode_7/actions       a0 a1 ... a(T-1)      (T, ...), as rewards, terminations, truncations (T,)

Row t is (o_t, a_t, r_t, o_(t+1)). An environment is never made from the metadata: its entry point can run any command.
"""

import importlib
import io
import json
import math
import os
import re
import secrets
import shutil
import socket
import threading
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h5py
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from corruptbench.data.ledger import check_or_record
from corruptbench.errors import CorruptBenchError, DataError, NetworkError, ResourceError, UsageError, nearest, sentence
from corruptbench.numerics import chunks
from corruptbench.store import parse_json

Fields = dict[str, np.ndarray]

REMOTE = "hf://farama-minari"
PROBE_SECONDS = 2.5
"""How long the network gets to answer at all; Minari itself would try for 24 seconds."""

_FORMATS = ("arrow", "hdf5", "parquet")
_ID = re.compile(r"([A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+-v[0-9]+")
_LONGEST_ID = 200
_LARGEST_RATIO = 1100
"""Bytes that deflate can make of one, rounded up: a file that claims more is a trap for memory."""


@dataclass(frozen=True)
class Leaf:
    """One array of every episode."""

    path: tuple[str, ...]  # ("observations", "achieved_goal")
    shape: tuple[int, ...]  # of one row

    @property
    def name(self) -> str:
        return "/".join(self.path)


REWARDS, TERMINATIONS, TRUNCATIONS = (Leaf((name,), ()) for name in ("rewards", "terminations", "truncations"))
Leaves = tuple[Leaf, ...]
Stored = Any
"""An array, or an HDF5 dataset of h5py's low level: ``shape`` and ``dtype`` are known before anything is read."""


# Where datasets lie


def default_root() -> Path:
    """Minari's own folder: ``$MINARI_DATASETS_PATH`` or ``~/.minari/datasets``."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def local_ids(root: Path | None = None) -> list[str]:
    """The ids of the datasets below ``root``, in order; links are not followed."""
    root = root or default_root()
    found = []
    for folder, below, _ in os.walk(root):
        if (Path(folder) / "data" / "metadata.json").is_file():
            found.append(Path(folder).relative_to(root).as_posix())
            below.clear()
    return sorted(name for name in found if _ID.fullmatch(name))


def _check_id(dataset_id: str) -> None:
    if _ID.fullmatch(f"{dataset_id}-v0") and not _ID.fullmatch(dataset_id):
        raise UsageError(f"minari:{dataset_id} lacks the version at its end, as in minari:{dataset_id}-v0")
    if not _ID.fullmatch(dataset_id) or len(dataset_id) > _LONGEST_ID:
        raise UsageError(
            f"{dataset_id!r} is no Minari id: allowed are names of letters, digits, - and _ with / between them and a "
            f"version at the end, as mujoco/hopper/medium-v0, up to {_LONGEST_ID} characters"
        )


def _confined(root: Path, path: Path) -> Path:
    """``path``; raises DataError where a link leads it out of ``root``, or in a circle."""
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # the circle
        inside = False
    if not inside:
        raise DataError(f"{path}: a link on the way to it does not stay below {root}")
    return path


def _regular(root: Path, path: Path) -> Path:
    if not _confined(root, path).is_file():
        raise DataError(f"{path}: there is no such file")
    return path


# Reading


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
    _check_id(dataset_id)
    root = root or default_root()
    data = _confined(root, root / dataset_id / "data")
    if not data.is_dir():
        if not download:
            known = nearest(dataset_id, local_ids(root))
            raise DataError(f"minari:{dataset_id} is not in {root}{known}: --download fetches it")
        _download(dataset_id, root)
    path = _regular(root, data / "metadata.json")
    metadata = _metadata(path)
    observations = _leaves(metadata, "observation_space", "observations", path)
    actions = _leaves(metadata, "action_space", "actions", path)
    if actions[0].name != "actions":
        raise DataError(f"{path}: actions are a Dict, and only a Box can be read")
    stored_as = metadata.get("data_format", "hdf5")
    if stored_as not in _FORMATS:
        raise DataError(f"{path}: data_format is {stored_as!r}, allowed are {', '.join(_FORMATS)}")
    leaves = (*observations, *actions, REWARDS, TERMINATIONS, TRUNCATIONS)
    if stored_as != "hdf5":
        for path in data.rglob("*"):
            _confined(root, path)
        return _read_through_minari(data, leaves, metadata, stored_as), None
    file = _regular(root, data / "main_data.hdf5")
    record = cache / "sha256" / "minari" / f"{dataset_id.replace('/', '__')}.json"
    what = f"minari:{dataset_id}"
    known_sha256 = check_or_record(file, record, what) if record.exists() else None
    fields = _read_hdf5(file, leaves, metadata)
    return fields, known_sha256 or check_or_record(file, record, what)  # only what could be read is noted


def _metadata(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: it is no JSON object")
    return found


def _leaves(metadata: Mapping[str, Any], key: str, name: str, path: Path) -> list[Leaf]:
    """The arrays of a space, which the metadata give as JSON in a string (bounds in it may be infinite)."""
    if key not in metadata:
        raise DataError(f"{path}: the key {key!r} is missing")
    try:
        leaves = list(_walk(json.loads(metadata[key]), (name,), path))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: {key} describes no space") from error
    if not sum(math.prod(leaf.shape) for leaf in leaves):
        raise DataError(f"{path}: {key} has no values")
    return leaves


def _walk(space: dict[str, Any], at: tuple[str, ...], path: Path) -> Iterator[Leaf]:
    kind = space["type"]
    if kind == "Dict":
        for key in sorted(space["subspaces"]):
            if "/" in key or key in ("", "."):  # would be another place in the file
                raise ValueError(key)
            yield from _walk(space["subspaces"][key], (*at, key), path)
        return
    shape = tuple(space["shape"]) if kind == "Box" else ()
    if len(shape) > 1 and space["dtype"] == "uint8":
        kind = "an image"
    if kind != "Box":
        raise DataError(f"{path}: {'/'.join(at)} is {kind}, and only a Box or a Dict of them can be read")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(shape)
    yield Leaf(at, shape)


def _read_hdf5(path: Path, leaves: Leaves, metadata: Mapping[str, Any]) -> Fields:
    """Straight from the file, on h5py's low level: opening an array costs more than its bytes do.

    Whatever h5py makes of damaged bytes is one DataError.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            top = file["/"].id
            episodes = {
                name: partial(_array, _group(top, name, f"{path}"), f"{path}: {name}")
                for name in _in_order(file.keys(), path)
            }
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


def _open(parent: h5py.h5g.GroupID, name: str, where: str) -> Any:
    """What a group holds under a name, by the kind of link that every array has."""
    links, key = parent.links, name.encode()
    if not links.exists(key):
        raise DataError(f"{where}: {name} is missing")
    if links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise DataError(f"{where}: {name} is a link to something else, and only data in the file itself are read")
    return h5py.h5o.open(parent, key)


def _group(parent: h5py.h5g.GroupID, name: str, where: str) -> h5py.h5g.GroupID:
    found = _open(parent, name, where)
    if not isinstance(found, h5py.h5g.GroupID):
        raise DataError(f"{where}: {name} is no group")
    return found


def _array(episode: h5py.h5g.GroupID, where: str, leaf: Leaf) -> h5py.h5d.DatasetID:
    group, place = episode, where
    for name in leaf.path[:-1]:
        group, place = _group(group, name, place), f"{place}/{name}"
    found = _open(group, leaf.path[-1], place)
    if not isinstance(found, h5py.h5d.DatasetID):
        raise DataError(f"{where}: {leaf.name} is no array")
    made = found.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
        raise DataError(f"{where}: {leaf.name} lies in another file, and only data in the file itself are read")
    return found


def _read_through_minari(data: Path, leaves: Leaves, metadata: Mapping[str, Any], stored_as: str) -> Fields:
    """The other formats, through Minari's own code.

    It makes an environment where a space is missing from the metadata, and ``leaves`` were made from both spaces.
    """
    try:
        import minari  # type: ignore[import-untyped]

        with _minari_at(default_root()):
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
    episodes: Mapping[str, Callable[[Leaf], Stored]],
    leaves: Leaves,
    metadata: Mapping[str, Any],
    where: Path,
    size: int | None,
) -> Fields:
    """The flat fields, filled episode by episode; what episodes claim to hold is compared with the file's ``size``."""
    steps = {name: (stored(REWARDS).shape or (0,))[0] for name, stored in episodes.items()}
    if not steps:
        raise DataError(f"{where}: there is no episode in it")
    if not all(steps.values()):
        raise DataError(f"{where}: {min(steps, key=lambda name: steps[name])} has no step")
    count = sum(steps.values())
    for key, found in (("total_episodes", len(steps)), ("total_steps", count)):
        if metadata.get(key, found) != found:
            raise DataError(f"{where}: its {key} are {found}, and metadata.json says {metadata[key]!r}")
    claimed = 8 * count * sum(math.prod(leaf.shape) for leaf in leaves)
    if size is not None and claimed > max(_LARGEST_RATIO * size, 1 << 20):
        raise DataError(f"{where}: it claims {claimed} bytes of data, and {size} cannot hold them")
    fields: Fields = {}
    first = 0
    for name, stored in tqdm(episodes.items(), desc="episodes", unit="", disable=None, leave=False, delay=2):
        episode = {leaf.name: _values(stored(leaf), leaf, steps[name], f"{where}: {name}") for leaf in leaves}
        rows = slice(first, first + steps[name])
        for field, values in _rows(episode, steps[name]).items():
            if field not in fields:
                fields[field] = np.zeros((count, *values.shape[1:]), values.dtype)
            elif fields[field].dtype != values.dtype:  # rewards of one episode may all be integers
                fields[field] = fields[field].astype(np.result_type(fields[field].dtype, values.dtype), copy=False)
            fields[field][rows] = values
        first = rows.stop
    return fields


def _values(stored: Stored, leaf: Leaf, steps: int, where: str) -> np.ndarray:
    """An array of an episode of ``steps`` steps, once its shape and type are right; flags as bool."""
    needed = (steps + (leaf.path[0] == "observations"), *leaf.shape)
    shape, dtype = stored.shape, stored.dtype
    if shape != needed:
        raise DataError(f"{where}: {leaf.name} has shape {shape}, and {steps} rewards need {needed}")
    if dtype.kind not in "fiub":
        raise DataError(f"{where}: {leaf.name} is {dtype}, and only numbers can be read")
    values = stored
    if not isinstance(values, np.ndarray):
        values = np.empty(shape, dtype.newbyteorder("="))
        stored.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    if leaf is not TERMINATIONS and leaf is not TRUNCATIONS:
        return values
    numbers = values.view(np.uint8) if values.dtype == bool else values  # a bool on disk may be any byte
    if ((numbers != 0) & (numbers != 1)).any():
        raise DataError(f"{where}: {leaf.name} has values that are neither 0 nor 1")
    return numbers == 1


def _rows(episode: Mapping[str, np.ndarray], steps: int) -> Fields:
    """The rows of one episode, from its arrays by the names of their leaves."""
    states = [values.reshape(steps + 1, -1) for name, values in episode.items() if name.startswith("observations")]
    visited = states[0] if len(states) == 1 else np.concatenate(states, axis=1)
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


# Downloading and writing


@contextmanager
def _minari_at(root: Path) -> Iterator[None]:
    """Minari at work on ``root`` and its default remote, without its prints and warnings.

    Its environment variables are the only way to tell it; they are as before afterwards.
    """
    told = {"MINARI_DATASETS_PATH": str(root), "MINARI_REMOTE": REMOTE}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _appearing(dataset_id: str, root: Path) -> Iterator[Path]:
    """A folder to make a dataset in, as if it were the root; one rename puts the dataset where it belongs.

    Raises ResourceError where the disk does not allow it.
    """
    temporary = root / f".{secrets.token_hex(8)}"
    target = _confined(root, root / dataset_id)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        target.parent.mkdir(parents=True, exist_ok=True)
        for namespace in Path(dataset_id).parents[:-1]:
            description = namespace / "namespace_metadata.json"  # by which Minari knows a namespace
            if (temporary / description).is_file() and not (root / description).exists():
                os.rename(temporary / description, root / description)
        os.rename(temporary / dataset_id, target)
    except OSError as error:
        raise ResourceError(f"{target}: could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _download(dataset_id: str, root: Path) -> None:
    try:
        constants = importlib.import_module("huggingface_hub.constants")
    except ImportError as error:
        raise UsageError(
            f"--download of minari:{dataset_id} needs huggingface_hub: pip install 'corruptbench[hub]'"
        ) from error
    _probe(constants.ENDPOINT, dataset_id)
    import minari

    with _appearing(dataset_id, root) as temporary:
        try:
            with _minari_at(temporary):
                minari.download_dataset(dataset_id)
        except ValueError as error:  # Minari's own: no such dataset, or one that it cannot read
            raise DataError(f"minari:{dataset_id} cannot be downloaded: {' '.join(str(error).split())}") from error
        except Exception as error:
            raise NetworkError(f"minari:{dataset_id} was not downloaded: {sentence(error)}") from error
        if not (temporary / dataset_id / "data").is_dir():
            raise NetworkError(f"minari:{dataset_id} was not downloaded: nothing came")


def _probe(endpoint: str, dataset_id: str) -> None:
    """Raises NetworkError unless the host, or the proxy in front of it, answers soon."""
    url = urlsplit(endpoint)
    proxy = urllib.request.getproxies().get(url.scheme)
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = url.port or (443 if url.scheme == "https" else 80)
    problems = [f"no answer in {PROBE_SECONDS} seconds"]

    def connect() -> None:
        try:
            socket.create_connection((url.hostname, port), PROBE_SECONDS).close()
            problems.clear()
        except OSError as error:
            problems[:] = [str(error)]

    attempt = threading.Thread(target=connect, daemon=True)  # a name may take longer to look up than any timeout
    attempt.start()
    attempt.join(PROBE_SECONDS)
    if problems:
        raise NetworkError(
            f"minari:{dataset_id} was not downloaded: {url.hostname}:{port} cannot be reached ({problems[0]})"
        )


def write(
    dataset_id: str,
    fields: Mapping[str, np.ndarray],
    *,
    env_id: str,
    action_low: ArrayLike,
    action_high: ArrayLike,
    description: str,
    author: str = "",
    author_email: str = "",
    algorithm_name: str = "",
    code_permalink: str = "",
    root: Path | None = None,
) -> Path:
    """Writes the fields of :func:`read` as a Minari dataset, whole or not at all, and returns its folder.

    An episode ends at a terminal or a timeout, its final observation is the next observation of its last row. Where the
    data end before their last episode does, it is written as truncated there. Actions are in the environment's own
    units, ``action_low`` and ``action_high`` ``(da,)`` are their bounds. ``read`` gives every field back to the byte.

    Raises UsageError for what is no id and for one that exists, DataError where next observations do not go on inside
    an episode, which Minari cannot store, ResourceError where the disk does not allow it.
    """
    _check_id(dataset_id)
    root = root or default_root()
    if os.path.lexists(root / dataset_id):
        raise UsageError(f"minari:{dataset_id} is in {root} already, and nothing is overwritten: choose another id")
    ends = fields["terminals"] | fields["timeouts"]
    if not len(ends):
        raise DataError(f"minari:{dataset_id}: there is nothing to write")
    _check_continuous(fields["observations"], fields["next_observations"], ends, dataset_id)
    import gymnasium
    import minari

    stops = np.flatnonzero(np.append(ends[:-1], True)) + 1
    truncations = fields["timeouts"].copy()
    truncations[-1] |= not ends[-1]
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=np.concatenate([fields["observations"][a:b], fields["next_observations"][b - 1 : b]]),
            actions=fields["actions"][a:b],
            rewards=fields["rewards"][a:b],
            terminations=fields["terminals"][a:b],
            truncations=truncations[a:b],
        )
        for a, b in zip([0, *stops[:-1]], stops, strict=True)
    ]
    # Given a name or a specification as ``env``, Minari would make the environment: both are noted afterwards.
    spec = gymnasium.registry.get(env_id)
    with _appearing(dataset_id, root) as temporary, _minari_at(temporary):
        observed, acted = fields["observations"], fields["actions"]
        low, high = (np.broadcast_to(bound, acted.shape[1:]).astype(acted.dtype) for bound in (action_low, action_high))
        try:
            dataset = minari.create_dataset_from_buffers(
                dataset_id,
                buffers,
                eval_env=spec,
                algorithm_name=algorithm_name or None,
                author=author or None,
                author_email=author_email or None,
                code_permalink=code_permalink or None,
                observation_space=gymnasium.spaces.Box(-np.inf, np.inf, observed.shape[1:], observed.dtype.type),
                action_space=gymnasium.spaces.Box(low, high, dtype=acted.dtype.type),
                description=description,
                data_format="hdf5",
            )
        except ValueError as error:  # Minari is stricter with some ids
            raise UsageError(f"minari:{dataset_id} cannot be written: {' '.join(str(error).split())}") from error
        dataset.storage.update_metadata({"env_id": env_id} | ({"env_spec": spec.to_json()} if spec else {}))
    return root / dataset_id


def _check_continuous(observations: np.ndarray, following: np.ndarray, ends: np.ndarray, dataset_id: str) -> None:
    broken, first, last = 0, -1, len(ends) - 1
    for part in chunks(last):
        bad = (following[part] != observations[part.start + 1 : part.stop + 1]).any(1) & ~ends[part]
        if bad.any() and not broken:
            first = part.start + int(bad.argmax())
        broken += int(bad.sum())
    if broken:
        inside = last - int(ends[:-1].sum())
        raise DataError(
            f"minari:{dataset_id}: the next observation is not the following row's observation in {broken} of {inside} "
            f"rows ({100 * broken / inside:.1f} %), the first is row {first}, and Minari stores none of their own"
        )
