"""The loss surface: an objective of a run on a fixed batch, with the targets of the run's own weights."""

from collections.abc import Sequence

import numpy as np
import torch

from corruptbench.algos.agent import Agent, Objective, State
from corruptbench.batches import MEASURED_ROWS, measured_rows
from corruptbench.errors import Diverged, UsageError, unknown
from corruptbench.landscape.surface import Measure
from corruptbench.train import Normalisation, Policy
from corruptbench.types import Batch, TransitionDataset

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
    """The rows of a dataset that measurements are made on, as the run's networks see them."""
    return normalisation.batch(dataset, measured_rows(len(dataset), MEASURED_ROWS))


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
            raise Diverged(f"the loss of {objective.name} is not finite")
        return found

    return measure
