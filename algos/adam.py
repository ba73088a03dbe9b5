"""Adam (Kingma & Ba 2015, algorithm 1), in place, with PyTorch's order of operations."""

import math

from torch import Tensor

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class Adam:
    """First and second moments of a tensor of weights, of any shape: ``(P,)`` of one run, ``(M, P)`` of M members."""

    def __init__(self, weights: Tensor) -> None:
        self.first = weights.new_zeros(weights.shape)
        self.second = weights.new_zeros(weights.shape)

    def update_(self, weights: Tensor, gradient: Tensor, rate: Tensor, root: Tensor) -> None:
        """w <- w - rate m / (sqrt(v) / root + eps), rate and root those of :func:`corrected`.

        Both broadcast against the weights: without axes, ``(1,)``, or ``(M, 1)`` with a rate for each member.
        """
        m, v = self.first, self.second
        m.lerp_(gradient, 1 - BETA1)
        v.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        weights.sub_(rate * m / (v.sqrt() / root + EPS))


def corrected(step: int, learning_rate: float) -> tuple[float, float]:
    """Learning rate and root with which m and v of update ``step``, from 1, make up for their start at zero."""
    return learning_rate / (1 - BETA1**step), math.sqrt(1 - BETA2**step)
