"""Reads a dataset that is here, or is fetched: which one, where it lies, and whether it is what it was."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from corruptbench.data.ledger import check_or_record, check_or_record_files
from corruptbench.data.minari.episodes import Fields
from corruptbench.data.minari.hdf5 import read_hdf5
from corruptbench.data.minari.places import check_id, confined, default_root, local_ids, regular
from corruptbench.data.minari.remote import download_dataset
from corruptbench.data.minari.spaces import leaves_of_dataset, metadata_of
from corruptbench.data.minari.tables import read_tables
from corruptbench.errors import DataError, nearest, shown
from corruptbench.links import without_links

_METADATA = "metadata.json"
_FORMATS = ("arrow", "hdf5", "parquet")


def read(dataset_id: str, *, cache: Path, root: Path | None = None, download: bool = False) -> tuple[Fields, str]:
    """Every step of a dataset, in the order of its episodes, and the SHA-256 of its file or of the list of its files.

    The fields are ``observations``, ``next_observations`` ``(N, do)``, ``actions`` ``(N, da)``, ``rewards`` ``(N,)`` in
    the types they are stored in, ``terminals`` and ``timeouts`` ``(N,)`` bool. Dict observations are their arrays side
    by side in the order of their keys, as ``gymnasium.spaces.flatten`` has them. The last step of an episode that is
    neither terminated nor truncated counts as a timeout.

    The SHA-256 is noted below ``cache`` at the first read and compared at every later one. Raises UsageError for what
    is no id or needs an extra, DataError for unsound or missing data, IntegrityError for a file that changed,
    NetworkError where a download fails.
    """
    root = root or default_root()
    if not download:
        data = require(dataset_id, root)
    elif not (data := _folder(dataset_id, root)).is_dir():
        download_dataset(dataset_id, root)
    path = regular(root, data / _METADATA)
    metadata = metadata_of(path)
    leaves = leaves_of_dataset(metadata, path)
    stored_as = metadata.get("data_format", "hdf5")
    if stored_as not in _FORMATS:
        raise DataError(f"{path}: data_format is {stored_as!r}, allowed are {', '.join(_FORMATS)}")
    record = without_links(cache, cache / "sha256" / "minari" / f"{dataset_id}.json")
    what = f"minari:{dataset_id}"
    noted: Callable[[], str]
    reading: Callable[[], Fields]
    if stored_as == "hdf5":
        file = regular(root, data / "main_data.hdf5")
        noted = partial(check_or_record, file, record, what)
        reading = partial(read_hdf5, file, leaves, metadata)
    else:
        files = _tables(data)
        noted = partial(check_or_record_files, data, files, record, what)
        reading = partial(read_tables, path, files, stored_as)
    known_sha256 = noted() if record.exists() else None
    fields = reading()
    return fields, known_sha256 or noted()  # only what could be read is noted


def _tables(data: Path) -> list[Path]:
    """Every file that Arrow may come upon; raises DataError for what leads elsewhere or has no plain name."""
    files = []
    for path in data.rglob("*"):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", path.name):
            raise DataError(
                f"{data}: {shown(path.name)} is no name of a table: letters, digits, ., - and _ are allowed"
            )
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise DataError(f"{path}: it is no regular file, and tables lie in such ones")
        if path.is_file() and path.name != _METADATA:
            files.append(path)
    return files


def require(dataset_id: str, root: Path | None = None) -> Path:
    """The folder of a dataset's data; raises UsageError for what is no id, DataError where it isn't there."""
    root = root or default_root()
    data = _folder(dataset_id, root)
    if not data.is_dir():
        known = nearest(dataset_id, local_ids(root))
        raise DataError(f"minari:{dataset_id} is not in {root}{known}: --download fetches it")
    return data


def _folder(dataset_id: str, root: Path) -> Path:
    check_id(dataset_id)
    return confined(root, root / dataset_id / "data")
