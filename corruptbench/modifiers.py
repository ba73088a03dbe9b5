"""Whether a run heeds the modifiers that its algorithm's settings name: layer normalization, activation, resets."""

import copy

import torch
from torch import Tensor

from corruptbench.algos.agent import Agent
from corruptbench.algos.networks import PLAIN, Params
from corruptbench.errors import CorruptBenchError, PluginError, UsageError, sentence
from corruptbench.rng import stream
from corruptbench.types import Batch, TransitionDataset

ROWS = 8
"""Of the dataset, that it is tried on."""


def require_at_work(agent: Agent, steps: int) -> None:
    """Raises UsageError for a reset or a shrinking that no step follows: it would be the same run under another id."""
    for name in ("reset_every", "shrink_every"):
        if getattr(agent, name) >= steps:
            raise UsageError(
                f"{agent.name}: {name} is {getattr(agent, name)} in a run of {steps:,} steps, allowed is less than "
                "those, or 0 for none"
            )


def require_heeded(agent: Agent, dataset: TransitionDataset) -> None:
    """Raises UsageError for an algorithm that computes its networks without the modifiers that its settings name.

    A plug-in that calls the functions ``init_mlp`` and ``mlp``, and not its own methods of these names, would train
    plain networks under the name of others. Raises PluginError for whatever else it raises.
    """
    if agent.network_kind == PLAIN:
        return
    try:
        plain = _computed_plainly(agent, dataset)
    except CorruptBenchError:
        raise
    except Exception as error:
        raise PluginError(
            f"algorithm {agent.name!r} with layer_norm={agent.layer_norm} and activation={agent.activation} raised "
            f"{sentence(error)}"
        ) from error
    if plain:
        raise UsageError(
            f"{agent.name}: its {plain} has no use for layer_norm and activation, allowed are the usual ones, "
            "unless it computes its networks with self.init_mlp and self.mlp"
        )


def _computed_plainly(agent: Agent, dataset: TransitionDataset) -> str | None:
    """The first thing that is computed without :meth:`Agent.mlp`; a group without hidden layers may do without."""
    called: list[Params] = []

    def noticed(params: Params, x: Tensor) -> Tensor:
        called.append(params)
        return agent.mlp(params, x)

    watched = copy.copy(agent)
    object.__setattr__(watched, "mlp", noticed)
    widths = dataset.observations.shape[1], dataset.actions.shape[1]
    state = watched.init(*widths, lambda name: stream("heeded", name))
    batch = Batch(*(torch.tensor(getattr(dataset, name)[:ROWS], dtype=torch.float32) for name in Batch._fields))
    targets = watched.targets(state, batch)
    for objective in watched.objectives:
        called.clear()
        objective.loss(state[objective.group], batch, targets)
        if len(state[objective.group]) > 2 and not called:
            return f"loss {objective.name!r}"
    called.clear()
    watched.act(state, batch.observations)
    return None if called else "way to act"
