"""A control of SAM as a way to flat minima: averaged weights (Izmailov et al. 2018, arXiv 1803.05407)."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.algos.agent import Agent
from corruptbench.optimizers.optimizer import Optimizer


@dataclass(frozen=True)
class Averaging(Optimizer):
    """Control: Adam, and in the end the average of the last weights, SWA (Izmailov et al. 2018).

    average <- average + (w - average) / n after the n-th of the steps that follow the first floor(start steps)
    (algorithm 1, each step counted). It is on every objective where none are named, the actor among them: on the others
    alone it changes no policy. Training goes on with w, and target networks follow w; those that are saved are averages
    of what they follow. Weights from before a reset or a shrinking are in the average with those from after it.
    """

    start: float = 0.75  # share of the steps before the average begins

    name: ClassVar[str] = "swa"
    remembers: ClassVar[tuple[str, ...]] = ("average",)

    def __post_init__(self) -> None:
        self.require("start", 0 <= self.start < 1, "0 and above, and under 1")

    @classmethod
    def usual(cls, agent: Agent) -> tuple[str, ...]:
        return tuple(objective.name for objective in agent.objectives)

    def numbers(self, update: int, updates: int, count: int) -> tuple[float, ...]:
        """The share of this step in the average, 0 before it begins."""
        averaged = update - math.floor(self.start * updates)
        return (1 / averaged if averaged > 0 else 0.0,)

    def remembered(self, weights: Tensor, memory: dict[str, Tensor], numbers: list[Tensor]) -> dict[str, Tensor]:
        return {"average": memory["average"].lerp(weights, numbers[0])}

    def shown(self, weights: Tensor, memory: dict[str, Tensor], step: int, steps: int) -> Tensor:
        return memory["average"] if step > math.floor(self.start * steps) else weights
