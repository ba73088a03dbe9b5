"""Curvature of a loss: extreme eigenvalues and trace of its Hessian, trace of its empirical Fisher matrix."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, vjp

from corruptbench.algos.networks import hidden_layers
from corruptbench.errors import DataError
from corruptbench.rng import stream, uniforms
from corruptbench.sharpness.problem import Loss, Problem

Product = Callable[[Tensor], Tensor]
"""v ``(P,)`` -> H v ``(P,)``."""

ROUNDING = 8
"""How many units of rounding a product with the Hessian may be off by, beside the largest eigenvalue."""
CHECKED_ROWS = 4
"""Of the Fisher matrix: their gradients are also taken one by one."""


class Eigenvalue(NamedTuple):
    """A Ritz value, and the length of H q - value q for its unit vector q: an eigenvalue lies that near, at most.

    Which one is not said: the smallest Ritz value is no more than an upper bound of the smallest eigenvalue until its
    residual is small beside it, as the largest is a lower bound. The residual is at least the rounding of the type.
    """

    value: float
    residual: float


class Estimate(NamedTuple):
    """A mean over random vectors with its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, found: Sequence[float]) -> "Estimate":
        """Of two vectors or more."""
        return cls(float(np.mean(found)), float(np.std(found, ddof=1)) / math.sqrt(len(found)))


def hessian(loss: Loss, weights: Tensor) -> Product:
    """Products with the Hessian at ``weights`` ``(P,)``, by a second backward pass.

    The forward pass and the first backward pass are done once for all products.
    """
    pull = vjp(grad(loss), weights)[1]
    return lambda v: pull(v)[0]  # the Hessian is its own transpose


def signs(number: int, like: Tensor) -> Tensor:
    """The probe vector of a number: independent -1 and 1 in equal shares, in the shape and type of ``like``."""
    drawn = uniforms(stream("sharpness", "probe", number), *like.shape)
    return torch.from_numpy(np.where(drawn < 0.5, -1.0, 1.0)).to(like.dtype)


def extremes(product: Product, start: Tensor, steps: int) -> tuple[Eigenvalue, Eigenvalue]:
    """Smallest and largest eigenvalue by Lanczos' method from ``start`` ``(P,)``, with full reorthogonalisation.

    Products are taken in the type of ``start``, all else in float64: lengths and sums of so many terms need it.
    Source: Golub & Van Loan, Matrix Computations, 4th ed., section 10.1. Raises DataError for a product that is not
    finite.
    """
    rounding = ROUNDING * torch.finfo(start.dtype).eps
    basis = [start.double() / start.double().norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        found = product(basis[-1].to(start.dtype)).double()
        diagonal.append(float(found.dot(basis[-1])))
        if not math.isfinite(diagonal[-1]):
            raise DataError(f"a product with the Hessian is {diagonal[-1]}: only what is finite has a sharpness")
        known = torch.stack(basis)
        for _ in range(2):  # once leaves what rounding made of it
            found = found - known.T @ (known @ found)
        length = float(found.norm())
        if len(diagonal) == min(steps, len(start)) or length <= rounding * max(map(abs, [*diagonal, *beside])):
            break
        beside.append(length)
        basis.append(found / length)
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    residuals = np.maximum(length * np.abs(vectors[-1]), rounding * np.abs(values).max())
    ends = [Eigenvalue(float(values[i]), float(residuals[i])) for i in (0, -1)]
    return ends[0], ends[1]


def trace(product: Product, like: Tensor, probes: int) -> Estimate:
    """Hutchinson's estimate: mean v' H v over vectors of random signs (1989, Commun. Stat. Simul. 18)."""
    return Estimate.of([float(v.dot(product(v))) for v in (signs(number, like) for number in range(probes))])


def fisher_trace(problem: Problem) -> float:
    """Trace of the empirical Fisher matrix: the mean over rows of the squared length of a row's gradient.

    A row's loss is that of a batch of this row alone. For a network whose input is known, and whose loss is a mean over
    rows, all lengths come from one backward pass; whether that holds is seen on the first rows.
    """
    checked = range(min(CHECKED_ROWS, problem.rows))
    slowly = torch.stack([_squared_length(problem.row(number)) for number in checked])
    if problem.inputs is not None:
        quickly = squared_lengths(problem, problem.inputs)
        if torch.allclose(quickly[: len(checked)], slowly, rtol=1e-3, atol=1e-3 * float(slowly.mean())):
            return float(quickly.mean(dtype=torch.float64))
    others = [_squared_length(problem.row(number)) for number in range(len(checked), problem.rows)]
    return float(torch.stack([*slowly, *others]).mean(dtype=torch.float64))


def _squared_length(problem: Problem) -> Tensor:
    return grad(problem.loss)(problem.weights).square().sum()


def squared_lengths(problem: Problem, inputs: Tensor) -> Tensor:
    """The squared length of every row's gradient ``(rows,)``, from one backward pass.

    A layer z = x W + b has the row's gradients x d' for W and d for b, d that for z: together (|x|^2 + 1) |d|^2. The
    bias, given to every row as its own, has d as its gradient (Goodfellow 2015, arXiv 1510.01799).
    """
    weights, biases = problem.params[::2], problem.params[1::2]
    own = [b.expand(*b.shape[:-2], problem.rows, b.shape[-1]) for b in biases]

    def total(own: list[Tensor]) -> Tensor:
        return problem.rows * problem.loss_of([p for layer in zip(weights, own, strict=True) for p in layer])

    x = inputs if weights[0].ndim == 2 else inputs.unsqueeze(-3)
    taken = [x, *hidden_layers(problem.params, x, problem.kind)]
    found = inputs.new_zeros(problem.rows)
    for x, d in zip(taken, grad(total)(own), strict=True):
        squared = (x.square().sum(-1) + 1) * d.square().sum(-1)
        found = found + (squared if squared.ndim == 1 else squared.sum(0))
    return found
