"""The loss surface: an objective of a run on a fixed batch, with the targets of the run's own weights."""

from collections.abc import Sequence

import numpy as np
import torch

from corruptbench.algos.agent import Agent, Objective, State
from corruptbench.errors import Diverged, UsageError, unknown
from corruptbench.landscape.surface import Measure
from corruptbench.rng import stream, uniforms
from corruptbench.train import Normalisation, Policy
from corruptbench.types import Batch, TransitionDataset

ROWS = 4096
"""Transitions of the batch."""
CRITIC = "critic"
"""The group that algorithms with critics have them in."""


def objective_of(agent: Agent, name: str | None) -> Objective:
    """An objective by its name, that of the critics where none is given; raises UsageError."""
    for objective in agent.objectives:
        if objective.name == name or (name is None and objective.group == CRITIC):
            return objective
    known = [objective.name for objective in agent.objectives]
    if name is None:
        raise UsageError(f"{agent.name} has no critics whose loss could be shown: name one of {', '.join(known)}")
    raise unknown(f"objective of {agent.name}", name, known)


def fixed_batch(dataset: TransitionDataset, normalisation: Normalisation) -> Batch:
    """Rows of a dataset as the run's networks see them, drawn with replacement from the stream ``landscape/batch``.

    Runs on datasets of the same size have the same rows, and so have a dataset and its corrupted version.
    """
    rows = (uniforms(stream("landscape", "batch"), ROWS) * len(dataset)).astype(int)
    return Batch(
        normalisation(torch.from_numpy(dataset.observations[rows])),
        torch.from_numpy(dataset.actions[rows]),
        torch.from_numpy(dataset.rewards[rows]),
        normalisation(torch.from_numpy(dataset.next_observations[rows])),
        torch.from_numpy(dataset.terminations[rows]).float(),
    )


def loss_of(model: Policy, objective: Objective, batch: Batch) -> Measure:
    """A state's loss; whatever a training step holds fixed is computed once, from the run's own weights.

    Raises Diverged for a loss that is not finite.
    """
    with torch.no_grad():
        targets = model.agent.targets(model.state, batch)

    @torch.no_grad()
    def measure(states: Sequence[State]) -> list[float]:
        found = [float(objective.loss(state[objective.group], batch, targets)[0]) for state in states]
        if not np.isfinite(found).all():
            raise Diverged(f"the loss of {objective.name} is not finite there: a smaller --radius stays nearer")
        return found

    return measure
