"""Cliffs of a reward surface: sudden large drops of the return on the way out from a run's weights.

Sullivan, Terry, Black & Dickerson 2022, "Cliff Diving: Exploring Reward Surfaces in Reinforcement Learning
Environments", arXiv 2205.07015, with the rule of its released code (``scripts/compute_cliff.py``): a drop is a cliff
where what is left is at most half of the return before, and the drop is over 25 % of the surface's range. The release
looks at the first step of a line at high resolution, and then at each point against the two before it.
"""

from typing import NamedTuple

import numpy as np

from corruptbench.landscape.surface import Lines

LEFT = 0.5
"""Share of the return before that is left below a cliff, at most."""
FALL = 0.25
"""Share of the surface's range that a cliff falls by more than."""


class Cliffs(NamedTuple):
    """How many of the ways out have one."""

    first: int  # within the first step
    along: int  # within the first step or anywhere behind it, one step or two steps wide
    ways: int  # two a direction


def cliffs(returns: Lines) -> Cliffs:
    """Counts over every direction and its opposite; the range is that of all the run's lines."""
    sides = returns.sides.reshape(-1, returns.sides.shape[-1])  # (ways, points + 1)
    spread = float(returns.values.max() - returns.values.min())
    first = _falls(sides[:, :1], sides[:, 1:2], spread)
    along = _falls(sides[:, :-1], sides[:, 1:], spread).any(1) | _falls(sides[:, :-2], sides[:, 2:], spread).any(1)
    return Cliffs(int(first.sum()), int(along.sum()), len(sides))


def _falls(before: np.ndarray, after: np.ndarray, spread: float) -> np.ndarray:
    """Whether each pair of returns is a cliff."""
    return (after <= LEFT * before) & (before - after > FALL * spread)
