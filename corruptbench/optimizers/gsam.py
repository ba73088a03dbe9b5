"""Surrogate gap guided SAM (Zhuang et al. 2022, arXiv 2203.08065)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.optimizers.optimizer import Found, Given, Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along, norm


@dataclass(frozen=True)
class GSAM(Perturbed):
    """SAM that also narrows the gap between the loss nearby and the loss here (Zhuang et al. 2022).

    g the gradient at w, g_p the gradient at w + rho g / |g|_2, u = g_p / |g_p|_2; the step uses
    g_p - alpha (g - (g . u) u) (algorithm 1). Two passes. The radius stays what it is: the paper lets it follow the
    learning rate, which is constant for all objectives here but the actor's.
    """

    alpha: float = 0.4  # weight of what is left of g across g_p

    name: ClassVar[str] = "gsam"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("alpha", 0 <= self.alpha < float("inf"), "0 and above")

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """The gradient that is put together, and the loss at w."""
        gradient, value, _ = plain_gradient(loss, weights)
        perturbed = plain_gradient(loss, weights + along(gradient, self.rho)).gradient
        unit = perturbed / (norm(perturbed) + 1e-12)
        across = gradient - (gradient * unit).sum() * unit
        return Found(perturbed - self.alpha * across, value, {})
