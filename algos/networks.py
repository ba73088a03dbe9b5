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


def hidden_layers(params: Params, x: Tensor) -> list[Tensor]:
    """What the hidden layers of :func:`mlp` put out, ``(*lead, batch, units)`` each."""
    layers = []
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = torch.relu(torch.matmul(x, w) + b)
        layers.append(x)
    return layers


def flatten(params: Params) -> Tensor:
    """All parameters side by side in a new tensor ``(P,)``."""
    return torch.cat([p.reshape(-1) for p in params])


def unflatten(weights: Tensor, shapes: Sequence[torch.Size]) -> Params:
    """The parameters as views of ``weights`` ``(P,)``: the inverse of :func:`flatten`."""
    parts = weights.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


def clone(params: Params) -> Params:
    """A copy that shares no storage."""
    return [p.clone() for p in params]
