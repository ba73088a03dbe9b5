"""Sign-gradient PGD inside a box (Madry et al. 2018, arXiv 1706.06083), as section 2 fixes it."""

from collections.abc import Callable

import torch
from torch import Tensor

Value = Callable[[Tensor], Tensor]
"""z of some rows ``(rows, d)`` to the value of each, ``(rows,)``."""

STEPS = 40  # T


def minimise(value: Value, start: Tensor, radius: float, steps: int = STEPS) -> Tensor:
    """The best iterate per row of z <- clip(z - 2.5 radius / T sign(grad), -radius, radius), the start included.

    ``value`` maps ``(rows, d)`` to ``(rows,)``, each row on its own; ``start`` lies in the box.
    """
    stride = 2.5 * radius / steps
    z = best = start
    lowest = torch.full(start.shape[:1], float("inf"))
    for step in range(steps + 1):
        z = z.detach().requires_grad_()
        reached = value(z)
        better = reached.detach() < lowest
        lowest = torch.where(better, reached.detach(), lowest)
        best = torch.where(better[:, None], z.detach(), best)
        if step < steps:
            (gradient,) = torch.autograd.grad(reached.sum(), z)
            z = (z.detach() - stride * gradient.sign()).clamp(-radius, radius)
    return best
