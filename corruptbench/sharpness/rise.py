"""How much a loss rises within a radius around the weights: along the gradient, and in random directions.

All of it in float64: the differences are small beside the loss.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from corruptbench.rng import stream
from corruptbench.sharpness.curvature import Estimate
from corruptbench.sharpness.problem import Loss

RADII = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""rho of SAM sharpness."""

RELATIVE_RADII = (0.001, 0.003, 0.01)
"""rho as a share of the weights' length: a network and the same function in scaled weights are equally sharp."""

ADAPTIVE_RADII = (0.1, 0.5, 2.0)
"""rho of ASAM sharpness; 0.5 is the paper's."""

AVERAGE_RADII = (0.2,)
AVERAGE_RELATIVE_RADII = (0.1,)

ETA = 0.01
"""What ASAM adds to |w|."""


@dataclass(frozen=True)
class Rise:
    """L(w + e) - L(w) for several kinds of e."""

    loss: Loss
    weights: Tensor  # (P,)
    gradient: Tensor  # (P,)
    base: float  # the loss at the weights

    def at(self, perturbation: Tensor) -> float:
        """For e itself, ``(P,)``."""
        return float(self.loss(self.weights + perturbation)) - self.base

    def along(self, direction: Tensor, radius: float) -> float:
        """At rho in a direction, 0 where that has no length."""
        length = float(direction.norm())
        return self.at(direction * (radius / length)) if length else 0.0

    def sam(self, radius: float) -> float:
        """Along the gradient: what SAM takes for the largest within rho (arXiv 2010.01412, eq. 2)."""
        return self.along(self.gradient, radius)

    def asam(self, radius: float) -> float:
        """At e = rho T^2 g / |T g|, T = |w| + eta for each weight (arXiv 2102.11600)."""
        scale = self.weights.abs() + ETA
        length = float((scale * self.gradient).norm())
        return self.at(scale.square() * self.gradient * (radius / length)) if length else 0.0

    def average(self, radius: float, directions: int) -> Estimate:
        """The mean at rho in random directions, each taken both ways, so that no slope is in it."""
        found = []
        for number in range(directions):
            drawn = np.random.Generator(stream("sharpness", "direction", number)).standard_normal(self.weights.shape)
            u = torch.from_numpy(drawn).to(self.weights.dtype)
            found.append((self.along(u, radius) + self.along(-u, radius)) / 2)
        return Estimate.of(found)
