"""A plain network with fixed weights, as an attack asks for it: again and again, for its value and its slope in x."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def layers_of(params: Sequence[Tensor], x: Tensor) -> list[Tensor]:
    """What each layer of a plain network puts out for x ``(rows, inputs)``, ``(rows, units)``, the outputs at the end.

    What :func:`corruptbench.algos.networks.mlp` computes, without its copies.
    """
    layers = []
    for w, b in zip(params[:-2:2], params[1:-2:2], strict=True):
        x = torch.relu_(torch.mm(x, w).add_(b))
        layers.append(x)
    return [*layers, torch.mm(x, params[-2]).add_(params[-1])]


class Frozen(torch.autograd.Function):
    """``apply(x, w0, b0, ...)``: ``(rows, inputs)`` to ``(rows, outputs)``, as :func:`corruptbench.algos.networks.mlp`.

    Only x gets a gradient, and the way back is gone by those rows alone whose outputs have one: of min_k Q_k each row
    has one such network, and the others would go through all products with zeros. Raises ValueError for weights that
    ask for a gradient; torch.func does not take it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *params: Tensor) -> Tensor:
        if any(ctx.needs_input_grad[1:]):
            raise ValueError("a frozen network has no gradient for its weights")
        *layers, outputs = layers_of(params, x)
        ctx.save_for_backward(*params[::2], *layers)
        return outputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        weights, layers = saved[: len(saved) // 2 + 1], saved[len(saved) // 2 + 1 :]
        rows = gradient.any(-1).nonzero().squeeze(-1)
        d = gradient.index_select(0, rows)
        for w, layer in zip(reversed(weights[1:]), reversed(layers), strict=True):
            d = torch.ops.aten.threshold_backward(torch.mm(d, w.t()), layer.index_select(0, rows), 0)  # relu's
        found = gradient.new_zeros(len(gradient), weights[0].shape[0])
        return (found.index_copy(0, rows, torch.mm(d, weights[0].t())), *(None,) * (2 * len(weights)))
