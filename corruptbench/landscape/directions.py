"""Directions in the space of a network's weights that mean the same for every run: filter normalisation.

Li, Xu, Taylor, Studer & Goldstein 2018, "Visualizing the Loss Landscape of Neural Nets", arXiv 1712.09913, section 4:
d_ij <- d_ij ||w_ij|| / ||d_ij|| for filter j of layer i, of a dense layer the weights that lead to one unit. Here the
unit's bias belongs to them, as the weight of an input that is always 1: a unit whose weights and bias are c times as
large puts out c times as much, and its direction changes that by c times as much.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from corruptbench.algos.agent import State
from corruptbench.algos.networks import Params
from corruptbench.errors import UsageError
from corruptbench.numerics import normal_quantile
from corruptbench.rng import stream, uniforms


def direction(state: State, groups: Sequence[str], number: int) -> State:
    """Direction ``number`` of some groups of a state, filter-normalised there."""
    return {group: normalised(gaussian(number, group, state[group]), state[group]) for group in groups}


def gaussian(number: int, group: str, params: Params) -> Params:
    """Direction ``number`` before it is normalised: independent N(0, 1), float64, in the shapes of ``params``.

    Each network of a group draws from a stream of its own, ``landscape/<number>/<group>/<network>``, layer after layer.
    So the direction is the same for all runs with networks of these shapes, and the first of five critics moves as the
    first of two.
    """
    networks = []
    for network in range(math.prod(params[0].shape[:-2])):
        bits = stream("landscape", number, group, network)
        networks.append([normal_quantile(uniforms(bits, *p.shape[-2:])) for p in params])
    stacked = [np.stack(tensors) for tensors in zip(*networks, strict=True)]
    return [torch.from_numpy(tensors).reshape(p.shape) for tensors, p in zip(stacked, params, strict=True)]


def normalised(found: Params, params: Params) -> Params:
    """Each unit's part of a direction with the norm of that unit's weights and bias in ``params``, per network.

    A unit is a column of a layer's ``w`` ``(*lead, inputs, outputs)`` with its bias; the result is float32.
    """
    scaled: Params = []
    for own, drawn in zip(layers(params), layers(found), strict=True):
        factor = _norms(*own) / _norms(*drawn)
        scaled += [(part * factor).float() for part in drawn]
    return scaled


def _norms(w: Tensor, b: Tensor) -> Tensor:
    """The norm of each unit's weights and bias, ``(*lead, 1, outputs)`` float64."""
    return torch.cat([w, b], -2).double().norm(dim=-2, keepdim=True)


def moved(state: State, *steps: tuple[float, State]) -> State:
    """The state with w + a d + ... in place of each w that a direction d, taken a times, knows."""
    changed = dict(state)
    for length, found in steps:
        for group, tensors in found.items():
            changed[group] = [p + length * d for p, d in zip(changed[group], tensors, strict=True)]
    return changed


def layers(params: Params) -> Iterator[tuple[Tensor, Tensor]]:
    """Weights and bias of each layer."""
    return zip(params[::2], params[1::2], strict=True)


def widths(state: State, groups: Sequence[str], where: str) -> dict[str, tuple[int, ...]]:
    """Inputs and units of each layer by group; raises UsageError for what is no network of layers with a bias each.

    How many networks a group has is left out: the first of each have the same directions.
    """
    found = {}
    for group in groups:
        if group not in state:
            raise UsageError(f"{where}: its networks are {', '.join(sorted(state))}, and there is no {group!r} to move")
        params = state[group]
        shapes = [tuple(p.shape) for p in params]
        pairs = list(zip(shapes[::2], shapes[1::2], strict=False))
        if len(shapes) % 2 or not all(len(w) >= 2 and b == (*w[:-2], 1, w[-1]) for w, b in pairs):
            raise UsageError(f"{where}: its {group} has tensors {shapes}, needed are weights and bias of each layer")
        found[group] = (*(w[-2] for w, _ in pairs), pairs[-1][0][-1])
    return found
