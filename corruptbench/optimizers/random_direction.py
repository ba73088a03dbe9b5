"""A control of SAM: the same radius, and no care for the direction."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.optimizers.optimizer import Found, Given, Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along


@dataclass(frozen=True)
class RandomDirection(Perturbed):
    """Control: SAM's radius in a random direction, drawn afresh for each update.

    e = rho z / (|z|_2 + 1e-12), z ~ N(0, 1) for each parameter, so that all directions are alike; the step uses the
    gradient at w + e. One pass.
    """

    name: ClassVar[str] = "random"
    draws: ClassVar[bool] = True

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """The gradient and the loss at w + e; the loss at w would be a pass of its own."""
        assert given.noise is not None
        return plain_gradient(loss, weights + along(given.noise, self.rho))
