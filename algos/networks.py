"""Multi-layer perceptrons as plain functions over lists of tensors.

``Params`` is ``[w0, b0, w1, b1, ...]``, ``w`` shaped ``(*lead, inputs, outputs)`` and ``b`` ``(*lead, 1, outputs)``.
Leading axes are free: an ensemble of K critics is one such axis, and the same functions serve with or without it.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from numpy.random import PCG64
from torch import Tensor

from corruptbench.rng import uniforms

Params = list[Tensor]


def uniform(bits: PCG64, bound: float, *shape: int) -> Tensor:
    """A float32 tensor of independent U(-bound, bound)."""
    return torch.from_numpy(bound * (2 * uniforms(bits, *shape) - 1)).float()


def init_mlp(bits: PCG64, sizes: Sequence[int], ensemble: tuple[int, ...] = ()) -> Params:
    """PyTorch's default initialisation of a linear layer, U(-1/sqrt(inputs), 1/sqrt(inputs)) for weights and biases."""
    params: Params = []
    for inputs, outputs in itertools.pairwise(sizes):
        bound = 1 / math.sqrt(inputs)
        params.append(uniform(bits, bound, *ensemble, inputs, outputs))
        params.append(uniform(bits, bound, *ensemble, 1, outputs))
    return params


def mlp(params: Params, x: Tensor) -> Tensor:
    """ReLU network: ``x`` ``(*lead, batch, inputs)`` to ``(*lead, batch, outputs)``; leading axes broadcast."""
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = torch.relu(torch.matmul(x, w) + b)
    return torch.matmul(x, params[-2]) + params[-1]


def clone(params: Params) -> Params:
    """A copy that shares no storage."""
    return [p.clone() for p in params]


def ema_(targets: Params, params: Params, rate: float) -> None:
    """Moves ``targets`` towards ``params`` in place: target <- (1 - rate) target + rate param."""
    for target, param in zip(targets, params, strict=True):
        target.lerp_(param, rate)
