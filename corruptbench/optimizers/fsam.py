"""Friendly SAM (Li et al. 2024, arXiv 2403.12350)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from corruptbench.optimizers.optimizer import Found, Given, Loss, plain_gradient
from corruptbench.optimizers.perturbed import Perturbed, along


@dataclass(frozen=True)
class FriendlySAM(Perturbed):
    """SAM along what is the batch's own in the gradient: without the mean of gradients (Li et al. 2024).

    e = rho d / (|d|_2 + 1e-12), d = g - sigma m, g the gradient at w; the step uses the gradient at w + e. Afterwards
    m <- lmbda m + (1 - lmbda) g, after the first update m = g. Two passes. The paper takes away the mean that has g
    in it already; here, as in the authors' code, it is the one before. With sigma 1 both have the same direction.
    """

    sigma: float = 1.0  # how much of the mean is taken away
    lmbda: float = 0.9  # lambda, share of the mean that stays from one update to the next

    name: ClassVar[str] = "fsam"
    remembers: ClassVar[tuple[str, ...]] = ("mean",)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("sigma", 0 <= self.sigma < float("inf"), "0 and above")
        self.require("lmbda", 0 <= self.lmbda < 1, "0 and above, and under 1")

    def numbers(self, update: int, updates: int, count: int) -> tuple[float, ...]:
        """The share of g in the mean: all of it at first."""
        return (1 - self.lmbda if update > 1 else 1.0,)

    def gradient(self, loss: Loss, weights: Tensor, given: Given) -> Found:
        """The gradient at w + e and the loss at w."""
        gradient, value, _ = plain_gradient(loss, weights)
        mean = given.memory["mean"]
        perturbed = plain_gradient(loss, weights + along(gradient - self.sigma * mean, self.rho)).gradient
        return Found(perturbed, value, {"mean": mean.lerp(gradient, given.numbers[0])})
