"""Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.optimizers.optimizer import Found, Given, Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along


@dataclass(frozen=True)
class SAM(Perturbed):
    """Sharpness-aware minimisation (Foret et al. 2021): the gradient at the worst point nearby.

    e = rho g / (|g|_2 + 1e-12), g the gradient at w (eq. 2 for p = 2); the step uses the gradient at w + e. Two passes.
    """

    name: ClassVar[str] = "sam"

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """The gradient at w + e and the loss at w."""
        gradient, value, _ = plain_gradient(loss, weights)
        return Found(plain_gradient(loss, weights + along(gradient, self.rho)).gradient, value, {})
