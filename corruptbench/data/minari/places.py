"""Where Minari's datasets lie, and which names are names of datasets."""

import io
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from corruptbench.errors import DataError, ResourceError, UsageError, shown

REMOTE = "hf://farama-minari"

_ID = re.compile(r"([A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+-v[0-9]+")
_LONGEST_ID = 200


def default_root() -> Path:
    """Minari's own folder, ``$MINARI_DATASETS_PATH`` or ``~/.minari/datasets``, absolute as Minari needs it."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets").absolute()


def local_ids(root: Path | None = None) -> list[str]:
    """The ids of the datasets below ``root``, in order; links are not followed."""
    root = root or default_root()
    found = []
    for folder, below, _ in os.walk(root):
        if (Path(folder) / "data" / "metadata.json").is_file():
            found.append(Path(folder).relative_to(root).as_posix())
            below.clear()
    return sorted(name for name in found if _ID.fullmatch(name))


def check_id(dataset_id: str) -> None:
    if len(dataset_id) <= _LONGEST_ID and _ID.fullmatch(f"{dataset_id}-v0") and not _ID.fullmatch(dataset_id):
        raise UsageError(f"minari:{dataset_id} lacks the version at its end, as in minari:{dataset_id}-v0")
    if not _ID.fullmatch(dataset_id) or len(dataset_id) > _LONGEST_ID:
        raise UsageError(
            f"{shown(dataset_id)} is no Minari id: allowed are names of letters, digits, - and _ with / between them "
            f"and a version at the end, as mujoco/hopper/medium-v0, up to {_LONGEST_ID} characters"
        )


def confined(root: Path, path: Path) -> Path:
    """``path``; raises DataError where a link leads it out of ``root``, or in a circle."""
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # the circle
        inside = False
    if not inside:
        raise DataError(f"{path}: a link on the way to it does not stay below {root}")
    return path


def regular(root: Path, path: Path) -> Path:
    if not confined(root, path).is_file():
        raise DataError(f"{path}: there is no such file")
    return path


@contextmanager
def minari_at(root: Path) -> Iterator[None]:
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
def appearing(dataset_id: str, root: Path) -> Iterator[Path]:
    """A folder to make a dataset in, as if it were the root; one rename puts the dataset where it belongs.

    Raises ResourceError where the disk does not allow it.
    """
    temporary = root / f".{secrets.token_hex(8)}"
    target = confined(root, root / dataset_id)
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
