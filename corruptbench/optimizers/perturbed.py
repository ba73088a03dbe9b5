"""Optimizers that take the gradient elsewhere than at the weights: within a radius around them."""

from dataclasses import dataclass

from torch import Tensor

from corruptbench.algos.agent import Agent
from corruptbench.errors import UsageError
from corruptbench.optimizers.optimizer import Optimizer, sharp_objectives


@dataclass(frozen=True)
class Perturbed(Optimizer):
    """The gradient at w + e, the step from w. The norm of e is over all parameters of the objective of one run.

    The critics of an ensemble are one objective, and targets stay those that were computed at w.
    """

    rho: float = 0.05  # radius, the length of e

    def __post_init__(self) -> None:
        if not 0 < self.rho < float("inf"):
            raise UsageError(f"--rho is {self.rho}, allowed is any number above 0")

    @classmethod
    def usual(cls, agent: Agent) -> tuple[str, ...]:
        return sharp_objectives(agent)


def norm(vector: Tensor) -> Tensor:
    """The 2-norm."""
    return vector.square().sum().sqrt()


def along(direction: Tensor, length: float | Tensor) -> Tensor:
    """A vector of this length in a direction; no vector where the direction is zero."""
    return direction * (length / (norm(direction) + 1e-12))
