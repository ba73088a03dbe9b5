"""Sharpness-aware minimisation (Foret et al. 2021, arXiv 2010.01412), on one objective at a time.

e = rho g / (|g|_2 + 1e-12); the step uses the gradient at w + e. The norm is taken over all parameters of the objective
of one run, the critics of an ensemble together, and targets stay those that were computed at w.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad_and_value

from corruptbench.algos.networks import Params

Loss = Callable[[Params], tuple[Tensor, dict[str, Tensor]]]


def plain_gradient(loss: Loss, params: Params) -> tuple[Params, Tensor]:
    """Gradient and loss at ``params``."""
    gradient, (value, _) = grad_and_value(loss, has_aux=True)(params)
    return gradient, value


def sam_gradient(loss: Loss, params: Params, rho: float) -> tuple[Params, Tensor]:
    """The gradient at w + e and the loss at w."""
    gradient, value = plain_gradient(loss, params)
    scale = rho / (norm(gradient) + 1e-12)
    perturbed = [w + scale * g for w, g in zip(params, gradient, strict=True)]
    return plain_gradient(loss, perturbed)[0], value


def norm(gradient: Params) -> Tensor:
    """The 2-norm over all tensors of one run."""
    return torch.stack([g.square().sum() for g in gradient]).sum().sqrt()
