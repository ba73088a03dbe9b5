"""The losses of section 3, of each row."""

import torch
from torch import Tensor


def expectile_loss(u: Tensor, tau: float) -> Tensor:
    """|tau - 1(u < 0)| u^2, u = q - V(s) (IQL, arXiv 2110.06169, eq. 5)."""
    one = u.new_ones(())  # of two plain numbers torch.where makes a float32, whatever u is
    return torch.where(u < 0, (1 - tau) * one, tau * one) * u.square()


def huber_loss(u: Tensor, delta: float) -> Tensor:
    """u^2 / (2 delta) for |u| < delta, else |u| - delta / 2 (RIQL, arXiv 2310.12955)."""
    size = u.abs()
    return torch.where(size < delta, u.square() / (2 * delta), size - delta / 2)


def weighted_regression_loss(policy: Tensor, actions: Tensor, advantage: Tensor, beta: float) -> Tensor:
    """min(exp(beta A), 100) sum_j (pi_j(s) - a_j)^2, ``(..., batch)`` (IQL, eq. 7, for a deterministic actor)."""
    weight = (beta * advantage).exp().clamp(max=100)
    return weight * (policy - actions).square().sum(-1)


def quantile(values: Tensor, alpha: float | Tensor) -> Tensor:
    """The alpha-quantile over the ensemble axis, ``(..., K, batch)`` to ``(..., batch)``, linear between neighbours."""
    ordered = values.sort(-2).values
    position = alpha * (values.shape[-2] - 1)
    if isinstance(position, Tensor):  # alpha without axes: every neighbour by its share
        ranks = torch.arange(values.shape[-2], device=values.device)
        shares = (1 - (ranks - position).abs()).clamp(min=0)
        return (shares[:, None] * ordered).sum(-2)
    low = int(position)
    high = min(low + 1, values.shape[-2] - 1)
    return torch.lerp(ordered.select(-2, low), ordered.select(-2, high), position - low)
