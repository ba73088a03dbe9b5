"""Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412), on one objective at a time.

e = rho g / (|g|_2 + 1e-12); the step uses the gradient at w + e. The norm is taken over all parameters of the objective
of one run, the critics of an ensemble together, and targets stay those that were computed at w.
"""

from collections.abc import Callable

from torch import Tensor
from torch.func import grad_and_value

Loss = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
"""Weights ``(P,)`` -> loss and info."""


def plain_gradient(loss: Loss, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient ``(P,)`` and loss at ``weights``."""
    gradient, (value, _) = grad_and_value(loss, has_aux=True)(weights)
    return gradient, value


def sam_gradient(loss: Loss, weights: Tensor, rho: float) -> tuple[Tensor, Tensor]:
    """The gradient at w + e and the loss at w."""
    gradient, value = plain_gradient(loss, weights)
    perturbation = gradient * (rho / (norm(gradient) + 1e-12))
    return plain_gradient(loss, weights + perturbation)[0], value


def norm(gradient: Tensor) -> Tensor:
    """The 2-norm."""
    return gradient.square().sum().sqrt()
