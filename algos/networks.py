"""Multi-layer perceptrons as plain functions over lists of tensors.

``Params`` is ``[w0, b0, w1, b1, ...]``, ``w`` shaped ``(*lead, inputs, outputs)`` and ``b`` ``(*lead, 1, outputs)``.
Leading axes are free: an ensemble of K critics is one such axis, and the same functions serve with or without it.
What stands between the layers is a :class:`Kind`, which has no parameters of its own.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from numpy.random import PCG64
from torch import Tensor
from torch.nn.functional import layer_norm

from corruptbench.rng import uniforms

Params = list[Tensor]

ACTIVATIONS = ("relu", "crelu")

LAYER_NORM_EPS = 1e-5
"""PyTorch's default."""


class Kind(NamedTuple):
    """What a hidden layer does with z = x W + b."""

    layer_norm: bool = False
    activation: str = "relu"  # one of ACTIVATIONS

    def width(self, units: int) -> int:
        """Outputs of a hidden layer with so many units, which the next layer takes."""
        return 2 * units if self.activation == "crelu" else units

    def __call__(self, z: Tensor) -> Tensor:
        """``(..., units)`` to ``(..., width(units))``.

        Layer normalization (arXiv 1607.06450, eq. 3) is over the units of one layer, of each network and row, and has
        no gain and shift of its own: the next layer's weights and biases are there, and b comes before it. Concatenated
        ReLU (arXiv 1603.05201) is [relu(z), relu(-z)].
        """
        if self.layer_norm:
            z = layer_norm(z, z.shape[-1:], eps=LAYER_NORM_EPS)
        if self.activation == "crelu":
            return torch.cat([torch.relu(z), torch.relu(-z)], -1)
        return torch.relu(z)


PLAIN = Kind()


def uniform(bits: PCG64, bound: float, *shape: int) -> Tensor:
    """A float32 tensor of independent U(-bound, bound)."""
    return torch.from_numpy(bound * (2 * uniforms(bits, *shape) - 1)).float()


def init_mlp(bits: PCG64, sizes: Sequence[int], ensemble: tuple[int, ...] = (), kind: Kind = PLAIN) -> Params:
    """PyTorch's default initialisation of a linear layer, U(-1/sqrt(inputs), 1/sqrt(inputs)) for weights and biases.

    ``sizes`` are the inputs, the units of each hidden layer and the outputs.
    """
    params: Params = []
    for number, (units, outputs) in enumerate(itertools.pairwise(sizes)):
        inputs = kind.width(units) if number else units
        bound = 1 / math.sqrt(inputs)
        params.append(uniform(bits, bound, *ensemble, inputs, outputs))
        params.append(uniform(bits, bound, *ensemble, 1, outputs))
    return params


def mlp(params: Params, x: Tensor, kind: Kind = PLAIN) -> Tensor:
    """``x`` ``(*lead, batch, inputs)`` to ``(*lead, batch, outputs)``; leading axes broadcast."""
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = kind(torch.matmul(x, w) + b)
    return torch.matmul(x, params[-2]) + params[-1]


def hidden_layers(params: Params, x: Tensor, kind: Kind = PLAIN) -> list[Tensor]:
    """What the hidden layers of :func:`mlp` put out, ``(*lead, batch, outputs)`` each."""
    layers = []
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = kind(torch.matmul(x, w) + b)
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
