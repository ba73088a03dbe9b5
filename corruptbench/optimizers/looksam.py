"""LookSAM (Liu et al. 2022, arXiv 2203.02714)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.optimizers.optimizer import Found, Given, Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along, norm


@dataclass(frozen=True)
class LookSAM(Perturbed):
    """SAM in every k-th update, and between two of them a reminder of what it changed (Liu et al. 2022).

    g the gradient at w, g_s the one at w + rho g / |g|_2, u = g / |g|_2. Updates 1, k + 1, 2 k + 1, ... use g_s and
    remember the direction of what of it lies across g, g_v = g_s - (g_s . u) u; the others use
    g + alpha |g|_2 g_v / |g_v|_2. Two passes in every k-th update, one in the others.
    """

    k: int = 5  # updates from one of SAM to the next
    alpha: float = 0.7  # length of what is added, in those of g

    name: ClassVar[str] = "looksam"
    remembers: ClassVar[tuple[str, ...]] = ("across",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("k", self.k >= 1, "1 and above")
        self.require("alpha", 0 <= self.alpha < float("inf"), "0 and above")

    def whole(self, update: int) -> bool:
        return (update - 1) % self.k == 0

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """SAM's gradient or the one that is put together, and the loss at w."""
        gradient, value, _ = plain_gradient(loss, weights)
        if not given.whole:
            return Found(gradient + self.alpha * norm(gradient) * given.memory["across"], value, {})
        perturbed = plain_gradient(loss, weights + along(gradient, self.rho)).gradient
        unit = along(gradient, 1.0)
        return Found(perturbed, value, {"across": along(perturbed - (perturbed * unit).sum() * unit, 1.0)})
