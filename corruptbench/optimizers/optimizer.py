"""What an optimizer is: what it does otherwise than Adam, on some objectives. A step knows none of them by name."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, NamedTuple

from torch import Tensor
from torch.func import grad_and_value

from corruptbench.algos.agent import Agent
from corruptbench.errors import UsageError

Loss = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
"""Weights ``(P,)`` -> loss and info."""


class Given(NamedTuple):
    """What an update hands to a gradient."""

    momentum: Tensor  # (P,) Adam's first moment before the update
    noise: Tensor | None  # (P,) standard normals, for an optimizer that draws
    memory: dict[str, Tensor]  # what it remembers, (P,) each
    numbers: Sequence[Tensor]  # those of Optimizer.numbers, (1,) each
    whole: bool  # what Optimizer.whole says of the update


class Found(NamedTuple):
    """What a gradient comes with."""

    gradient: Tensor  # (P,) that Adam takes
    loss: Tensor  # to look at
    memory: dict[str, Tensor]  # what it remembers from now on, where that changes


@dataclass(frozen=True)
class Optimizer:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980) on every objective.

    The others are made from it, and say what they do otherwise. Tensors are those of one objective of one run, all its
    parameters side by side, ``(P,)``; in a population each member's part is given to the same code, and a number in
    which members differ is a tensor without axes.
    """

    on: tuple[str, ...] = ()  # objectives it applies to, in the agent's order; on the others it is Adam

    name: ClassVar[str] = "adam"
    draws: ClassVar[bool] = False  # its gradient takes standard normals, which are drawn for each update
    remembers: ClassVar[tuple[str, ...]] = ()  # tensors ``(P,)`` of its own, zero at first, kept from step to step

    @classmethod
    def usual(cls, agent: Agent) -> tuple[str, ...]:
        """Objectives it is on where none are named; none for one that tells no objectives apart."""
        return ()

    def updates(self, agent: Agent) -> Fraction:
        """Updates for each step of a run: t steps are the whole part of t times as many."""
        return Fraction(1)

    def whole(self, update: int) -> bool:
        """Whether an update, from 1, goes the whole way; :meth:`gradient` may have a shorter one for the others.

        Each of the two ways is a program of its own where steps are compiled, so the shorter one costs what it costs.
        """
        return True

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """What Adam takes."""
        return plain_gradient(loss, weights)

    def decayed(self, weights: Tensor, rate: Tensor, numbers: list[Tensor]) -> list[Tensor]:
        """The weights that Adam's step begins from, where they are not those that the gradient was taken for.

        ``rate`` is Adam's, with its correction, ``numbers`` are those of :meth:`numbers`, all of them ``(1,)``.
        """
        return []

    def remembered(self, weights: Tensor, memory: dict[str, Tensor], numbers: list[Tensor]) -> dict[str, Tensor]:
        """What it ``remembers``, after Adam's step to ``weights``."""
        return {}

    def numbers(self, update: int, updates: int, count: int) -> tuple[float, ...]:
        """What it computes from the number of an update, from 1, of as many; ``count`` is Adam's, from a reset on."""
        return ()

    def shown(self, weights: Tensor, memory: dict[str, Tensor], step: int, steps: int) -> Tensor:
        """The weights of the policy after ``step`` steps; training goes on with ``weights``."""
        return weights

    def require_fit(self, agent: Agent) -> None:
        """Raises UsageError where an algorithm lacks what it needs of its objectives."""

    def require_update(self, agent: Agent, steps: int) -> None:
        """Raises UsageError where it takes no update in so many steps."""
        least = math.ceil(1 / self.updates(agent))
        if steps < least:
            raise UsageError(f"--steps is {steps}, and with --optimizer {self.name} allowed is {least} and above")

    def require(self, name: str, sound: bool, allowed: str) -> None:
        """Raises UsageError, with the value found and the values allowed, for a setting that makes no sense."""
        if not sound:
            raise UsageError(f"--{self.name}.{name} is {getattr(self, name)}, allowed is {allowed}")


def plain_gradient(loss: Loss, weights: Tensor) -> Found:
    """Gradient and loss at ``weights``."""
    gradient, (value, _) = grad_and_value(loss, has_aux=True)(weights)
    return Found(gradient, value, {})


def sharp_objectives(agent: Agent) -> tuple[str, ...]:
    """The objectives that an algorithm's file names for SAM, all of them where it names none."""
    return agent.sam_on or tuple(objective.name for objective in agent.objectives)
