"""What is measured around a run's weights w: lines w + a d and a plane w + a d0 + b d1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from corruptbench.algos.agent import State
from corruptbench.evaluate import evaluate_all
from corruptbench.landscape.directions import direction, moved
from corruptbench.train import Policy
from corruptbench.types import Environment

Measure = Callable[[Sequence[State]], list[float]]
"""States to one value each."""

Done = Callable[[int], object]
"""Is told how many points have been measured."""

AT_ONCE = 400
"""Episodes that are stepped together: more gain nothing, and each takes memory."""


@dataclass(frozen=True)
class Grid:
    """Where is measured: ``points`` steps each way from 0 to ``radius``, which is a share of every unit's norm."""

    radius: float
    points: int

    @property
    def offsets(self) -> list[float]:
        """a and b, ``2 points + 1`` of them from -radius to radius: the middle one is 0."""
        return [self.radius * i / self.points for i in range(-self.points, self.points + 1)]

    @property
    def radii(self) -> list[float]:
        """The offsets above 0."""
        return self.offsets[self.points + 1 :]


@dataclass(frozen=True)
class Lines:
    """Values along several directions, ``(directions, offsets)``; all lines meet at 0."""

    values: np.ndarray

    @property
    def center(self) -> float:
        """The value at w."""
        return float(self.values[0, self.values.shape[1] // 2])

    @property
    def sides(self) -> np.ndarray:
        """Each direction's way out from 0, one way and the other: ``(directions, 2, points + 1)``."""
        middle = self.values.shape[1] // 2
        return np.stack([self.values[:, middle:], self.values[:, middle::-1]], 1)

    @property
    def drops(self) -> np.ndarray:
        """How far each direction lies below the value at w, mean of both sides: ``(directions, points)``.

        A rise is negative. A direction and its opposite are equally likely, and in their mean the slope at w, which
        says nothing of a flat or a sharp place, cancels.
        """
        return self.center - self.sides[:, :, 1:].mean(1)


@dataclass(frozen=True)
class Surface:
    """One quantity around w."""

    lines: Lines
    plane: np.ndarray | None  # (offsets a, offsets b)


def lines(
    state: State, groups: Sequence[str], grid: Grid, directions: int, center: float, measure: Measure, done: Done
) -> Lines:
    """Along directions 0 to ``directions`` - 1 of ``groups``; ``center`` is what was measured at w."""
    values = []
    for number in range(directions):
        step = direction(state, groups, number)
        found = measure([moved(state, (a, step)) for a in grid.offsets if a])
        values.append([*found[: grid.points], center, *found[grid.points :]])
        done(len(found))
    return Lines(np.array(values))


def plane(state: State, groups: Sequence[str], grid: Grid, measure: Measure, done: Done) -> np.ndarray:
    """Values at w + a d0 + b d1, ``(offsets a, offsets b)``, of directions 0 and 1."""
    first, second = (direction(state, groups, number) for number in (0, 1))
    values = []
    for a in grid.offsets:
        values.append(measure([moved(state, (a, first), (b, second)) for b in grid.offsets]))
        done(len(grid.offsets))
    return np.array(values)


def mean_return(model: Policy, environment: Environment, episodes: int) -> Measure:
    """A state's mean return over the same episodes 0 to ``episodes`` - 1, those of a run's final evaluation."""

    def measure(states: Sequence[State]) -> list[float]:
        policies = [Policy(model.agent, state, model.normalisation) for state in states]
        together = max(1, AT_ONCE // episodes)
        parts = [policies[i : i + together] for i in range(0, len(policies), together)]
        return [found.return_mean for part in parts for found in evaluate_all(part, environment, episodes)]

    return measure
