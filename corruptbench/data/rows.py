"""From the steps of a file to the rows of section 1.

i counts a file's steps; ``|`` ends an episode, by a terminal or by a timeout::

    observations       s0 s1 s2 | s0 s1 ...
    next observations  s1 s2 s3 | s1 ...       s3 is the episode's final observation, where the file keeps it
"""

from dataclasses import dataclass, fields

import numpy as np

from corruptbench.errors import DataError
from corruptbench.numerics import chunks


@dataclass
class Steps:
    """One row a step, as stored, in float32 and bool; actions are in the environment's own units."""

    observations: np.ndarray  # (N, do)
    actions: np.ndarray  # (N, da)
    rewards: np.ndarray  # (N,)
    terminals: np.ndarray  # (N,)
    timeouts: np.ndarray  # (N,)
    next_observations: np.ndarray | None = None  # (N, do)
    final_observations: np.ndarray | None = None  # (episodes, do)


@dataclass
class Rows:
    """Transitions (s, a, r, s', d) and the number of the episode each belongs to."""

    observations: np.ndarray  # (N, do) float32
    actions: np.ndarray  # (N, da) float32, in the environment's own units
    rewards: np.ndarray  # (N,) float32
    next_observations: np.ndarray  # (N, do) float32
    terminations: np.ndarray  # (N,) bool
    episodes: np.ndarray  # (N,) int64

    def __len__(self) -> int:
        return len(self.rewards)

    def keep(self, mask: np.ndarray) -> "Rows":
        """The rows of a mask ``(N,)``, moved together in place; this object is used up."""
        return Rows(**{field.name: _compacted(getattr(self, field.name), mask) for field in fields(self)})


def rows_of(steps: Steps, where: str, *, d4rl: bool = False) -> Rows:
    """The rows of section 1; ``steps`` is used up. Raises DataError where no step has a next observation.

    With ``d4rl`` those of D4RL's ``qlearning_dataset``: timeout rows and the last row are dropped, s' is the stored
    next observation or the following one, on a terminal row without one s' = s. Otherwise every step is a row where the
    file stores next or final observations, and the ``d4rl`` rule holds where it does not.
    """
    ends = steps.terminals | steps.timeouts
    episodes = np.cumsum(ends, dtype=np.int64)
    episodes -= ends
    drop = d4rl or (steps.next_observations is None and steps.final_observations is None)
    following = steps.next_observations
    if following is None:
        following = _shifted(steps.observations)
        if steps.final_observations is not None and not d4rl:
            if len(steps.final_observations) != ends.sum() or not ends[-1]:
                raise DataError(f"{where}: {len(steps.final_observations)} final observations, {ends.sum()} ends")
            following[ends] = steps.final_observations
        else:
            following[steps.terminals] = steps.observations[steps.terminals]
    rows = Rows(steps.observations, steps.actions, steps.rewards, following, steps.terminals, episodes)
    if drop:
        keep = ~steps.timeouts
        keep[-1] = False
        rows = rows.keep(keep)
    if not len(rows):
        raise DataError(f"{where}: no step of it has a next observation, so there is nothing to learn from")
    return rows


def timeouts_by_count(terminals: np.ndarray, horizon: int) -> np.ndarray:
    """D4RL's timeouts for a file without any: every ``horizon``-th step since the last end, ``(N,)`` bool."""
    first = np.zeros(len(terminals), np.int64)
    starts = np.flatnonzero(terminals[:-1]) + 1
    first[starts] = starts
    position = np.arange(len(terminals)) - np.maximum.accumulate(first)
    return position % horizon == horizon - 1


def _shifted(observations: np.ndarray) -> np.ndarray:
    """The following row for each row; the last one follows itself."""
    following = np.empty_like(observations)
    following[:-1] = observations[1:]
    following[-1] = observations[-1]
    return following


def _compacted(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    filled = 0
    for part in chunks(len(mask)):
        kept = values[part][mask[part]]
        values[filled : filled + len(kept)] = kept
        filled += len(kept)
    return values[:filled]
