"""Trained networks as safetensors: nothing of anyone's is unpickled.

Tensors are named ``<group>.<number>`` in the order of ``Params`` and ``normalisation.mean`` and ``.scale``; the header
holds the algorithm's name and settings as canonical JSON.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from corruptbench.algos.agent import Agent
from corruptbench.errors import IntegrityError, PluginError
from corruptbench.names import refuse_pickle
from corruptbench.registry import ALGORITHMS, source_sha256
from corruptbench.settings import build
from corruptbench.spec import AlgorithmSpec
from corruptbench.store import canonical, parse_json
from corruptbench.train import Normalisation, Policy

_HEADER = "corruptbench"
_LARGEST_HEADER = 1 << 20
"""Bytes; ours have about two thousand."""


def save_weights(path: Path, policy: Policy, algorithm: AlgorithmSpec, groups: Iterable[str] | None = None) -> None:
    """Writes the named groups of a policy's state, all of them where none is named."""
    chosen = policy.state if groups is None else {group: policy.state[group] for group in groups}
    tensors = {f"{group}.{i}": p.contiguous() for group, params in chosen.items() for i, p in enumerate(params)}
    tensors["normalisation.mean"] = policy.normalisation.mean
    tensors["normalisation.scale"] = policy.normalisation.scale
    header = canonical({"algorithm": algorithm.name, "options": algorithm.options})
    path.write_bytes(save(tensors, metadata={_HEADER: header}))  # not save_file: its errors hide the system's own


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors as they are stored; no algorithm is made. Raises IntegrityError, as :func:`load_weights`."""
    try:
        _check_header(path)
        with safe_open(path, "pt") as file:
            header = parse_json((file.metadata() or {})[_HEADER])
            tensors = {name: _sound(name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  not a mapping
        if not isinstance(header, dict) or not {"algorithm", "options"} <= header.keys():
            raise ValueError("its header names no algorithm")
    except (OSError, SafetensorError, KeyError, RecursionError, ValueError) as error:
        raise IntegrityError(f"{path}: not readable as weights of this project: {error}") from error
    return header, tensors


def load_weights(path: Path) -> Policy:
    """The inverse of :func:`save_weights`; raises IntegrityError for a file that is damaged or not ours."""
    header, tensors = read_weights(path)
    try:
        agent: Agent = build(ALGORITHMS.known(header["algorithm"]), header["options"], str(path))
        normalisation = Normalisation(tensors.pop("normalisation.mean"), tensors.pop("normalisation.scale"))
        state: dict[str, list] = {}
        for group, number in sorted((name.rpartition(".")[0], int(name.rpartition(".")[2])) for name in tensors):
            state.setdefault(group, []).append(tensors.pop(f"{group}.{number}"))
        policy = Policy(agent, state, normalisation)
        _check_shapes(policy)
    except (AttributeError, KeyError, TypeError, ValueError, PluginError) as error:
        raise IntegrityError(f"{path}: not readable as weights of this project: {error}") from error
    return policy


def _check_header(path: Path) -> None:
    """Raises ValueError for a header that is not worth parsing: its length stands in the first 8 bytes."""
    refuse_pickle(path, str(path))
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _LARGEST_HEADER:
        raise ValueError(f"its header claims {length} bytes, allowed are {_LARGEST_HEADER}")


def _sound(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        raise ValueError(f"{name} is {str(tensor.dtype).removeprefix('torch.')}, needed is float32")
    if not tensor.isfinite().all():
        raise ValueError(f"{name} has values that are not finite")
    return tensor


def _check_shapes(policy: Policy) -> None:
    """Raises ValueError unless the groups are networks on the normalised observations, and on actions beside them.

    What the groups of a plug-in are is its own affair.
    """
    mean, scale = policy.normalisation.mean, policy.normalisation.scale
    if mean.ndim != 1 or mean.shape != scale.shape or not (scale > 0).all():
        raise ValueError("its normalisation is no mean and scale of the same observations")
    if source_sha256(type(policy.agent)) is not None:
        return
    kind = policy.agent.network_kind
    for group, params in policy.state.items():
        lead, inputs = params[0].shape[:-2], params[0].shape[-2:-1]
        known = inputs == mean.shape if group in policy.agent.acting else inputs >= mean.shape
        for w, b in zip(params[::2], params[1::2], strict=True):
            outputs = w.shape[-1:]
            if not known or w.shape != (*lead, *inputs, *outputs) or b.shape != (*lead, 1, *outputs):
                raise ValueError(f"the shapes of {group} are not those of a network on {len(mean)} observed values")
            inputs = torch.Size(map(kind.width, outputs))
