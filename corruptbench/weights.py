"""Trained networks as safetensors: nothing of anyone's is unpickled.

Tensors are named ``<group>.<number>`` in the order of ``Params`` and ``normalisation.mean`` and ``.scale``; the header
holds the algorithm's name and settings as canonical JSON.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from corruptbench.algos.agent import Agent
from corruptbench.errors import IntegrityError
from corruptbench.registry import ALGORITHMS
from corruptbench.settings import build
from corruptbench.spec import AlgorithmSpec
from corruptbench.store import canonical, parse_json
from corruptbench.train import Normalisation, Policy

_HEADER = "corruptbench"


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
        with safe_open(path, "pt") as file:
            header = parse_json((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
        if not isinstance(header, dict) or not {"algorithm", "options"} <= header.keys():
            raise ValueError("its header names no algorithm")
    except (OSError, SafetensorError, KeyError, RecursionError, ValueError) as error:
        raise IntegrityError(f"{path}: not readable as weights of this project: {error}") from error
    return header, tensors


def load_weights(path: Path) -> Policy:
    """The inverse of :func:`save_weights`; raises IntegrityError for a file that is damaged or not ours."""
    header, tensors = read_weights(path)
    try:
        agent: Agent = build(ALGORITHMS.get(header["algorithm"]), header["options"], str(path))
        normalisation = Normalisation(tensors.pop("normalisation.mean"), tensors.pop("normalisation.scale"))
        state: dict[str, list] = {}
        for name in sorted(tensors, key=lambda name: (name.rpartition(".")[0], int(name.rpartition(".")[2]))):
            state.setdefault(name.rpartition(".")[0], []).append(tensors[name])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path}: not readable as weights of this project: {error}") from error
    return Policy(agent, state, normalisation)
