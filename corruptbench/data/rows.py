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
            if not ends[-1]:
                raise DataError(f"{where}: the last step ends no episode, so it has no final observation")
            if len(steps.final_observations) != ends.sum():
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
    """The timeouts of D4RL's ``qlearning_dataset`` for a file without any, ``(N,)`` bool.

    It counts an episode's steps from 0 and ends it at ``horizon`` - 1. After a terminal it counts from 1, because the
    counter is set back before it is moved on; its rows are kept, so that they are the rows of other work.
    """
    found = np.zeros(len(terminals), bool)
    start = counted = 0
    for end in (*np.flatnonzero(terminals).tolist(), len(terminals) - 1):
        first = start + horizon - 1 - counted
        if first >= start:
            found[first : end + 1 : horizon] = True
        counted = 0 if found[end] else 1
        start = end + 1
    return found


@dataclass(frozen=True)
class Discontinuities:
    """Rows inside an episode whose next observation is not the following row's observation."""

    count: int
    inside: int  # rows inside an episode
    first: int | None  # the first such row

    def sentence(self) -> str:
        return (
            f"the next observation is not the following row's observation in {self.count} of {self.inside} rows "
            f"({100 * self.count / self.inside:.1f} %), the first is row {self.first}"
        )


def discontinuities(observations: np.ndarray, following: np.ndarray, ends: np.ndarray) -> Discontinuities:
    """Compares the bytes of ``(N, do)`` next observations and observations; ``ends`` ``(N,)`` end an episode.

    Rows with a value that is not finite are another fault, and left out.
    """
    count, first, last = 0, None, len(ends) - 1
    for part in chunks(last):
        one, other = following[part], observations[part.start + 1 : part.stop + 1]
        differs = (_bits(one) != _bits(other)).any(1) & ~ends[part]
        differs &= np.isfinite(one).all(1) & np.isfinite(other).all(1)
        if differs.any() and first is None:
            first = part.start + int(differs.argmax())
        count += int(differs.sum())
    return Discontinuities(count, last - int(ends[:-1].sum()), first)


def _bits(values: np.ndarray) -> np.ndarray:
    """The numbers as unsigned integers, which tell 0 from -0."""
    return np.ascontiguousarray(values).view(f"u{values.itemsize}")


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
