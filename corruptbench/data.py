"""Datasets by name: those shipped in the package, and HDF5 files in D4RL's layout.

Rows of section 1, i counting a file's steps; ``|`` ends an episode, by a terminal or by a timeout::

    observations       s0 s1 s2 | s0 s1 ...
    next observations  s1 s2 s3 | s1 ...       s3 is the episode's final observation, where the file keeps it
"""

from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np

from corruptbench.environments import environment, make
from corruptbench.errors import DataError, IntegrityError, UsageError, unknown
from corruptbench.store import read_json, sha256_file
from corruptbench.types import Environment, TransitionDataset

ASSETS = Path(str(files("corruptbench.assets")))
FIELDS = ("observations", "actions", "rewards", "terminals", "timeouts")


def shipped() -> dict[str, dict]:
    """The cards of the datasets in the package, by name."""
    return {path.parent.name: read_json(path) for path in sorted(ASSETS.glob("*/card.json"))}


def load(name: str, env: Environment | None = None) -> TransitionDataset:
    """The dataset called ``name``: a shipped one, or ``file:PATH`` with the environment it belongs to.

    Raises UsageError for an unknown name, DataError for an unsound file, IntegrityError for a shipped file that
    changed.
    """
    if name.startswith("file:"):
        path = Path(name.removeprefix("file:"))
        if env is None:
            raise UsageError(f"--dataset {name}: a file needs the environment it belongs to, as --env Hopper-v5")
        return read_hdf5(path, f"file:{path.name}", env)
    cards = shipped()
    if name not in cards:
        raise unknown("dataset", name, cards)
    path = ASSETS / name / "data.hdf5"
    if not path.is_file() or sha256_file(path) != cards[name]["sha256"]:
        raise IntegrityError(f"{path}: its content is not what the card of {name!r} says was shipped")
    return read_hdf5(path, name, env or environment(cards[name]["environment"]))


def read_hdf5(path: Path, name: str, env: Environment) -> TransitionDataset:
    """The rows of section 1 from a file in D4RL's keys.

    With ``final_observations`` (one row an episode, ours) or ``next_observations`` every step is a row; with neither,
    timeout rows and the last row are dropped, and a terminal row's s' is s.
    """
    steps = _read(path)
    ends = steps["terminals"] | steps["timeouts"]
    episodes = np.cumsum(ends) - ends
    observations = steps["observations"]
    keep = np.ones(len(ends), bool)
    if "next_observations" in steps:
        following = steps["next_observations"]
    else:
        following = np.concatenate([observations[1:], observations[-1:]])
        if "final_observations" in steps:
            if len(steps["final_observations"]) != ends.sum() or not ends[-1]:
                raise DataError(f"{path}: {len(steps['final_observations'])} final observations, {ends.sum()} ends")
            following[ends] = steps["final_observations"]
        else:
            following[steps["terminals"]] = observations[steps["terminals"]]
            keep = ~steps["timeouts"]
            keep[-1] = False
    if not keep.any():
        raise DataError(f"{path}: no step of it has a next observation, so there is nothing to learn from")
    made = make(env)
    low, high = (bound.astype(np.float64) for bound in (made.action_space.low, made.action_space.high))  # type: ignore[attr-defined]
    for field, shape in (("actions", low.shape), ("observations", made.observation_space.shape)):
        if steps[field].shape[1:] != shape:
            raise DataError(f"{path}: {field} of {steps[field].shape[1:]}, and {env.id} has {shape}")
    actions = ((2 * steps["actions"] - (low + high)) / (high - low)).astype(np.float32)
    return TransitionDataset(
        id=name,
        environment=env,
        observations=observations[keep],
        actions=actions[keep],
        rewards=steps["rewards"][keep],
        next_observations=following[keep],
        terminations=steps["terminals"][keep],
        episodes=episodes[keep].astype(np.int64),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """The known fields of a file, checked for presence, shape and finite numbers, in float32 and bool."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            missing = [field for field in FIELDS if field not in file]
            if missing:
                raise DataError(f"{path}: the key {missing[0]!r} is missing")
            names = [*FIELDS, *(n for n in ("next_observations", "final_observations") if n in file)]
            for field in names:
                if not isinstance(file[field], h5py.Dataset) or not file[field].shape:
                    raise DataError(f"{path}: {field} is no array")
            steps = {field: np.asarray(file[field][...]) for field in names}
    except OSError as error:
        raise DataError(f"{path}: not readable as HDF5: {' '.join(str(error).split())}") from error
    count = len(steps["observations"])
    if count == 0:
        raise DataError(f"{path}: there is nothing in it")
    for field, values in steps.items():
        if field != "final_observations" and len(values) != count:
            raise DataError(f"{path}: {field} has {len(values)} rows and observations {count}")
        if values.dtype.kind not in "fiub":
            raise DataError(f"{path}: {field} is {values.dtype}, and only numbers can be read")
        flat = field in ("rewards", "terminals", "timeouts")
        if flat:
            values = values.reshape(count, -1)
            if values.shape[1] != 1:
                raise DataError(f"{path}: {field} has {values.shape[1]} values a row, and one is needed")
            values = values[:, 0]
        elif values.ndim != 2:
            raise DataError(f"{path}: {field} has {values.ndim} axes, and two are needed")
        if not flat and field != "actions" and values.shape[1] != steps["observations"].shape[1]:
            width = steps["observations"].shape[1]
            raise DataError(f"{path}: {field} has {values.shape[1]} values a row and observations {width}")
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is found in the next line
            values = values.astype(np.float32)
        bad = ~np.isfinite(values)
        if bad.any():
            first = int(np.flatnonzero(bad.reshape(len(values), -1).any(1))[0])
            raise DataError(f"{path}: {field} has {bad.sum()} values that are not finite, the first in row {first}")
        steps[field] = values.astype(bool) if field in ("terminals", "timeouts") else values
    return steps
