"""Momentum-SAM (Becker, Altrock & Risse 2024, arXiv 2401.12033)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.optimizers.optimizer import Found, Given, Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along


@dataclass(frozen=True)
class MSAM(Perturbed):
    """SAM along the momentum instead of the gradient, without a second pass (Becker, Altrock & Risse 2024).

    e = -rho m / (|m|_2 + 1e-12), m Adam's first moment before the update; the step uses the gradient at w + e
    (algorithm 1). The sign is the paper's: against the momentum, the way that the weights are about to go, as in
    Nesterov's method, and not up the loss as SAM. In the first update m = 0 and e = 0.
    """

    name: ClassVar[str] = "msam"

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """The gradient and the loss at w + e; the loss at w would be a pass of its own."""
        return plain_gradient(loss, weights - along(given.momentum, self.rho))
