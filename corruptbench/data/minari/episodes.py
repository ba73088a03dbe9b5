"""Episodes into flat fields, whatever they are stored in: each array is looked at before it is read."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from corruptbench.bars import progress
from corruptbench.data.flat import refuse_claim
from corruptbench.data.minari.spaces import REWARDS, TERMINATIONS, TRUNCATIONS, Leaf, Leaves
from corruptbench.errors import DataError

Fields = dict[str, np.ndarray]


class Stored(Protocol):
    """An array of a file: its shape and type, and its values when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def read(self) -> np.ndarray: ...


def fields_of(
    episodes: Mapping[str, Callable[[Leaf], np.ndarray | Stored]],
    leaves: Leaves,
    metadata: Mapping[str, Any],
    where: Path,
    size: int | None,
) -> Fields:
    """The flat fields, filled episode by episode; what they claim to hold is compared with the ``size`` of their file,
    None for what is in memory."""
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
    for name, stored in progress(episodes.items(), desc="episodes", unit="", leave=False, delay=2):
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


def _values(stored: np.ndarray | Stored, leaf: Leaf, steps: int, where: str) -> np.ndarray:
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
