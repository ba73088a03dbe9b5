"""The losses that are measured, each a function of one group's weights with everything else held fixed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from corruptbench.algos.agent import Agent, State
from corruptbench.algos.networks import PLAIN, Kind, Params, flatten, unflatten
from corruptbench.types import Batch, TransitionDataset

COMMON = "common"
"""The loss that is the same for all algorithms with critics, whose own losses differ in curvature by construction."""

Loss = Callable[[Tensor], Tensor]
"""Weights ``(P,)`` -> loss."""


@dataclass(frozen=True)
class Problem:
    """A loss on fixed rows, and the weights that it is measured at."""

    name: str
    group: str
    params: Params
    loss_of: Callable[[Params], Tensor]
    row: Callable[[int], "Problem"]  # the same on one of the rows alone
    rows: int
    inputs: Tensor | None  # of the group's networks, (rows, inputs), None where they take neither s nor [s, a]
    kind: Kind = PLAIN  # of the group's networks

    @property
    def weights(self) -> Tensor:
        """``(P,)``."""
        return flatten(self.params)

    def loss(self, weights: Tensor) -> Tensor:
        """At weights ``(P,)``."""
        return self.loss_of(unflatten(weights, [p.shape for p in self.params]))


def problems(agent: Agent, state: State, batch: Batch, y: Tensor | None) -> list[Problem]:
    """Each objective with its targets frozen, and with ``y`` ``(rows,)`` the common loss of the critics."""
    names = [objective.name for objective in agent.objectives] + [COMMON] * (y is not None)
    targets = agent.targets(state, batch)
    return [_problem(agent, state, batch, y, name, targets) for name in names]


def _problem(agent: Agent, state: State, batch: Batch, y: Tensor | None, name: str, targets: Any) -> Problem:
    group, loss = (
        _common(agent, batch, y) if name == COMMON and y is not None else _objective(agent, batch, name, targets)
    )

    def row(number: int) -> Problem:
        part = slice(number, number + 1)
        alone = Batch(*(field[part] for field in batch))
        return _problem(agent, state, alone, None if y is None else y[part], name, agent.targets(state, alone))

    inputs = inputs_of(state[group], batch)
    return Problem(name, group, state[group], loss, row, len(batch.rewards), inputs, agent.network_kind)


def _objective(agent: Agent, batch: Batch, name: str, targets: Any) -> tuple[str, Callable[[Params], Tensor]]:
    objective = next(objective for objective in agent.objectives if objective.name == name)
    return objective.group, lambda params: objective.loss(params, batch, targets)[0]


def _common(agent: Agent, batch: Batch, y: Tensor) -> tuple[str, Callable[[Params], Tensor]]:
    """mean_k mean (y - Q_k(s, a))^2."""
    return "critic", lambda params: (y - agent.q_values(params, batch.observations, batch.actions)).square().mean()


def has_critics(state: State, dataset: TransitionDataset) -> bool:
    """Whether there is a group ``critic`` of networks side by side that take [s, a] and put out one value."""
    if "critic" not in state:
        return False
    first, last = state["critic"][0], state["critic"][-1]
    inputs = dataset.observations.shape[1] + dataset.actions.shape[1]
    return first.ndim == 3 and first.shape[-2] == inputs and last.shape[-1] == 1


def inputs_of(params: Params, batch: Batch) -> Tensor | None:
    """s or [s, a], whichever networks of this width take; None where they take neither."""
    both = torch.cat([batch.observations, batch.actions], -1)
    return next((x for x in (batch.observations, both) if x.shape[-1] == params[0].shape[-2]), None)
