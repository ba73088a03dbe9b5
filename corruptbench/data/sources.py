"""Datasets by name: shipped in the package, D4RL's, Minari's, or a file of the user's. All of them pass the gate.

``hopper-replay``, ``d4rl:hopper-medium-replay-v2``, ``d4rl:PATH``, ``minari:mujoco/hopper/medium-v0``, ``file:PATH``.
"""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from corruptbench.data import d4rl, minari
from corruptbench.data.flat import Column, expanded, open_flat
from corruptbench.data.gate import Report, admit
from corruptbench.data.rows import Rows
from corruptbench.environments import Space, environment, environment_of, space
from corruptbench.errors import DataError, IntegrityError, ResourceError, UsageError, unknown
from corruptbench.names import check_file_name, check_printable, refuse_pickle
from corruptbench.store import read_json, sha256_file
from corruptbench.types import Environment, TransitionDataset

log = logging.getLogger(__name__)

ASSETS = Path(str(files("corruptbench.assets")))
SOURCES = ("d4rl", "file", "minari")


@dataclass(frozen=True)
class Loaded:
    """Rows as their source has them, actions still in the environment's own units, and where they came from."""

    id: str
    environment: Environment
    space: Space
    rows: Rows
    report: Report
    file_sha256: str | None  # of its file, or of the list of its files; None where nothing says what it should be

    def dataset(self) -> TransitionDataset:
        """The dataset of section 1, actions rescaled to [-1, 1]."""
        return TransitionDataset(
            id=self.id,
            environment=self.environment,
            **{**vars(self.rows), "actions": self.space.to_unit(self.rows.actions)},
            provenance={"file_sha256": self.file_sha256, "gate": self.report.to_json()},
        )


def shipped() -> dict[str, dict]:
    """The cards of the datasets in the package, by name."""
    return {path.parent.name: read_json(path) for path in sorted(ASSETS.glob("*/card.json"))}


def home(name: str) -> Environment | None:
    """The environment that a dataset belongs to, None for one that nobody knows, as for any ``file:``."""
    card = shipped().get(name)
    return environment(card["environment"]) if card else environment_of(name)


def id_of(name: str) -> str:
    """What records call the dataset that ``name`` means: ``file:logs.hdf5`` for ``file:data/logs.hdf5``.

    Raises UsageError for a file of D4RL's that is none.
    """
    source, _, rest = name.partition(":")
    if source == "file":
        return f"file:{expanded(rest).name}"
    return f"d4rl:{d4rl.resolve(rest)[0].name}" if source == "d4rl" else name


def cache() -> Path:
    """Where what was downloaded, computed or noted is kept: ``$CORRUPTBENCH_CACHE`` or ``~/.cache/corruptbench``."""
    return Path(os.environ.get("CORRUPTBENCH_CACHE") or Path.home() / ".cache" / "corruptbench")


def load(
    name: str, env: Environment | None = None, *, on_nonfinite: str = "refuse", download: bool = False
) -> TransitionDataset:
    """The dataset called ``name``; ``env`` takes the place of the environment it belongs to.

    Raises UsageError for a wrong name, DataError for unsound data or an environment that nobody knows, IntegrityError
    for a file that is no longer what it was, NetworkError where a download fails.
    """
    loaded = load_rows(name, env, on_nonfinite=on_nonfinite, download=download)
    for sentence in loaded.report.sentences:
        log.info("%s: %s", loaded.id, sentence)
    return loaded.dataset()


def load_rows(
    name: str, env: Environment | None = None, *, on_nonfinite: str = "refuse", download: bool = False
) -> Loaded:
    """As :func:`load`, with actions in the environment's own units and the gate's report."""
    check_printable(name, "--dataset")
    source, colon, rest = name.partition(":")
    if not colon:
        return _shipped(name, env, on_nonfinite)
    if source not in SOURCES:
        raise unknown("source of data", source, SOURCES)
    if source == "file":
        path = expanded(rest)
        if not path.name:
            raise UsageError(f"--dataset {name}: a file's path follows the colon")
        refuse_pickle(path, f"--dataset {name}")
        check_file_name(path, "--dataset file:")
        if env is None:
            raise DataError(f"--dataset {name}: a file needs the environment it belongs to, as --env Hopper-v5")
        return _flat(id_of(name), path, env, on_nonfinite, _check_sidecar(path))
    if source == "d4rl":
        entry, given = d4rl.resolve(rest)
        env = env or _known_environment(f"d4rl:{entry.name}")
        path, sha256 = d4rl.file_of(entry, given, cache=cache())
        return _flat(id_of(name), path, env, on_nonfinite, sha256, d4rl_rows=True, horizon=entry.horizon)
    if not download:
        minari.require(rest)
    env = env or _known_environment(name)  # before anything is downloaded
    columns, noted = minari.read(rest, cache=cache(), download=download)
    return _admitted(name, name, columns, env, on_nonfinite, noted)


def read_hdf5(path: Path, name: str, env: Environment) -> TransitionDataset:
    """A flat file under a name of the caller's."""
    return _flat(name, path, env, "refuse", None).dataset()


def _shipped(name: str, env: Environment | None, on_nonfinite: str) -> Loaded:
    cards = shipped()
    if name not in cards:
        raise unknown("dataset", name, cards)
    path = ASSETS / name / "data.hdf5"
    if not path.is_file() or sha256_file(path) != cards[name]["sha256"]:
        raise IntegrityError(f"{path}: its content is not what the card of {name!r} says was shipped")
    return _flat(name, path, env or environment(cards[name]["environment"]), on_nonfinite, cards[name]["sha256"])


def _known_environment(name: str) -> Environment:
    found = environment_of(name)
    if found is None:
        raise DataError(
            f"--dataset {name}: its environment is not in our table, so say which, as --env Hopper-v5 "
            "(D4RL/Hopper for data that come from D4RL)"
        )
    return found


def _check_sidecar(path: Path) -> str | None:
    """SHA-256 of a file that says so itself, in ``<file>.sha256`` beside it, as ``sha256sum`` writes it; or None.

    Raises IntegrityError where the two differ.
    """
    sidecar = path.with_name(f"{path.name}.sha256")
    try:
        if not (path.is_file() and sidecar.is_file()):
            return None
        with sidecar.open(encoding="ascii") as file:
            words = file.read(4096).split()
        found = sha256_file(path)
    except OSError as error:
        raise ResourceError(f"{path}: could not be read: {error.strerror}") from error
    except ValueError:
        words = []
    expected = words[0].lower() if words else ""
    if not re.fullmatch("[0-9a-f]{64}", expected):
        raise IntegrityError(f"{sidecar}: it holds no SHA-256 as sha256sum writes it")
    if found != expected:
        raise IntegrityError(f"{path}: its SHA-256 is {found[:16]}..., and {sidecar.name} says {expected[:16]}...")
    return found


def _flat(
    name: str, path: Path, env: Environment, on_nonfinite: str, sha256: str | None, *, d4rl_rows: bool = False,
    horizon: int | None = None,
) -> Loaded:  # fmt: skip
    with open_flat(path) as columns:
        return _admitted(name, str(path), columns, env, on_nonfinite, sha256, d4rl_rows=d4rl_rows, horizon=horizon)


def _admitted(
    name: str, where: str, columns: Mapping[str, Column], env: Environment, on_nonfinite: str, sha256: str | None, *,
    d4rl_rows: bool = False, horizon: int | None = None,
) -> Loaded:  # fmt: skip
    box = space(env)
    rows, report = admit(columns, where, box, env.id, d4rl=d4rl_rows, horizon=horizon, on_nonfinite=on_nonfinite)
    return Loaded(name, env, box, rows, report, sha256)
