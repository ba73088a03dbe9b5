"""What a dataset's metadata say of the arrays of its episodes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corruptbench.errors import DataError, IntegrityError
from corruptbench.store import parse_json, read_json


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

_MOST_AXES = 32
"""Of an array in HDF5."""


def metadata_of(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except IntegrityError as error:
        raise DataError(" ".join(str(error).split())) from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: it is no JSON object")
    return found


def leaves_of_dataset(metadata: Mapping[str, Any], path: Path) -> Leaves:
    """Every array of an episode: observations, actions, and what each dataset has."""
    observations = leaves_of(metadata, "observation_space", "observations", path)
    actions = leaves_of(metadata, "action_space", "actions", path)
    if actions[0].name != "actions":
        raise DataError(f"{path}: actions are a Dict, and only a Box can be read")
    return (*observations, *actions, REWARDS, TERMINATIONS, TRUNCATIONS)


def leaves_of(metadata: Mapping[str, Any], key: str, name: str, path: Path) -> list[Leaf]:
    """The arrays of a space, which the metadata give as JSON in a string (bounds in it may be infinite)."""
    if key not in metadata:
        raise DataError(f"{path}: the key {key!r} is missing")
    try:
        leaves = list(_walk(parse_json(metadata[key], infinite=True), (name,), path))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
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
    if len(shape) > _MOST_AXES or not all(type(size) is int and 0 <= size < 1 << 32 for size in shape):
        raise ValueError(shape)
    yield Leaf(at, shape)
