"""Adaptive SAM (Kwon et al. 2021, arXiv 2102.11600)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.optimizers.optimizer import Found, Given, Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along


@dataclass(frozen=True)
class ASAM(Perturbed):
    """Adaptive SAM (Kwon et al. 2021): a weight moves in proportion to its size, so scaling layers changes nothing.

    e = rho T^2 g / (|T g|_2 + 1e-12), T = diag(|w| + eta) (algorithm 1), g the gradient at w. Two passes.
    rho is the length of e / T. Biases are scaled as weights are; the authors' code leaves them unscaled.
    """

    rho: float = 0.5
    eta: float = 0.01  # what T has more than the size of the weights, so that a weight at zero can move

    name: ClassVar[str] = "asam"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("eta", 0 <= self.eta < float("inf"), "0 and above")

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """The gradient at w + e and the loss at w."""
        gradient, value, _ = plain_gradient(loss, weights)
        sizes = weights.abs() + self.eta
        return Found(plain_gradient(loss, weights + sizes * along(sizes * gradient, self.rho)).gradient, value, {})
