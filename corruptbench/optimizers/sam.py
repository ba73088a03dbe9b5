"""Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.optimizers.optimizer import Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along


@dataclass(frozen=True)
class SAM(Perturbed):
    """Sharpness-aware minimisation (Foret et al. 2021): the gradient at the worst point nearby.

    e = rho g / (|g|_2 + 1e-12), g the gradient at w (eq. 2 for p = 2); the step uses the gradient at w + e. Two passes.
    """

    name: ClassVar[str] = "sam"

    def gradient(self, loss: Loss, weights: Tensor, momentum: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
        """The gradient at w + e and the loss at w."""
        gradient, value = plain_gradient(loss, weights)
        return plain_gradient(loss, weights + along(gradient, self.rho))[0], value
