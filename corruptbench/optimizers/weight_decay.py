"""A control of SAM as a regulariser: weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.algos.adam import BETA1
from corruptbench.algos.agent import Agent
from corruptbench.optimizers.optimizer import Optimizer, sharp_objectives


@dataclass(frozen=True)
class WeightDecay(Optimizer):
    """Control: Adam with decoupled weight decay, AdamW (Loshchilov & Hutter 2019).

    w <- w - rate decay w, and Adam's step from there (algorithm 2), rate the learning rate, under the cosine where the
    objective has one. All parameters decay, biases too.
    """

    decay: float = 1e-2  # lambda; PyTorch's default

    name: ClassVar[str] = "wd"

    def __post_init__(self) -> None:
        self.require("decay", 0 < self.decay < float("inf"), "any number above 0")

    @classmethod
    def usual(cls, agent: Agent) -> tuple[str, ...]:
        return sharp_objectives(agent)

    def numbers(self, update: int, updates: int, count: int) -> tuple[float, ...]:
        """Adam's correction of the first moment, without which its rate is the learning rate."""
        return (1 - BETA1**count,)

    def decayed(self, weights: Tensor, rate: Tensor, numbers: list[Tensor]) -> list[Tensor]:
        return [weights - self.decay * rate * numbers[0] * weights]
