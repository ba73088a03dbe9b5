"""One training step (section 3), in place: of one run, or of every member of a population at once."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from corruptbench.algos.adam import Adam
from corruptbench.algos.agent import Agent, Objective, State
from corruptbench.algos.networks import unflatten
from corruptbench.optimizers import Optimizer
from corruptbench.types import Batch

Weights = dict[str, Tensor]
"""The weights of every group: ``(P,)`` of one run, ``(M, P)`` of M members."""

Numbers = dict[str, Tensor]
"""Numbers of the algorithm, and rho, in which members differ: ``(M,)`` each."""


class Step:
    """Targets once, the objectives in order, the target networks.

    ``shapes`` are those of one run's parameters. With ``differing``, possibly empty, all tensors of a step have a
    leading axis of members, and ``torch.func.vmap`` gives each member's part to the same code.
    """

    def __init__(
        self,
        agent: Agent,
        optimizer: Optimizer,
        shapes: dict[str, list[torch.Size]],
        differing: Numbers | None = None,
    ) -> None:
        self.agent, self.optimizer, self.shapes, self.differing = agent, optimizer, shapes, differing
        self.objectives = agent.objectives

    def __call__(self, weights: Weights, moments: dict[str, Adam], batch: Batch, rates: Tensor) -> dict[str, Tensor]:
        """Losses by objective; ``rates`` ``(3, 1)`` or ``(3, M, 1)``: Adam's rate, that under the cosine, and root."""
        rate, cosine_rate, root = rates.unbind()
        targets = self.each(self.targets, weights, batch)
        losses = {}
        for number, objective in enumerate(self.objectives):
            group = objective.group

            def gradient(agent: Agent, optimizer: Optimizer, w: Tensor, b: Batch, t: Any, k: int = number) -> Any:
                return self.gradient(self.objective(agent, k), optimizer, w, b, t)

            found, losses[objective.name] = self.each(gradient, weights[group], batch, targets)
            moments[group].update_(weights[group], found, cosine_rate if objective.cosine else rate, root)
        for group, moved in self.each(self.moved, weights).items():
            weights[group].copy_(moved)
        return losses

    def targets(self, agent: Agent, optimizer: Optimizer, weights: Weights, batch: Batch) -> Any:
        """The algorithm's, in a list, for ``vmap`` can return a list of nothing and no None."""
        found = agent.targets(self.state(weights), batch)
        return [] if found is None else [found]

    def gradient(
        self, objective: Objective, optimizer: Optimizer, weights: Tensor, batch: Batch, targets: Any
    ) -> tuple[Tensor, Tensor]:
        shapes, fixed = self.shapes[objective.group], targets[0] if targets else None
        return optimizer.gradient(objective.name, lambda w: objective.loss(unflatten(w, shapes), batch, fixed), weights)

    def moved(self, agent: Agent, optimizer: Optimizer, weights: Weights) -> Weights:
        """The target networks after the step: (1 - rate) target + rate source."""
        return {
            target: torch.lerp(weights[target], weights[source], rate)
            for target, (source, rate) in agent.target_networks.items()
        }

    def state(self, weights: Weights) -> State:
        """One run's parameters as views of its weights."""
        return {group: unflatten(w, self.shapes[group]) for group, w in weights.items()}

    def objective(self, agent: Agent, number: int) -> Objective:
        """An objective of an agent; those of a single run are made once."""
        return self.objectives[number] if agent is self.agent else agent.objectives[number]

    def each(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """``function`` of agent, optimizer and inputs: once, or for every member along the inputs' first axis."""
        if self.differing is None:
            return function(self.agent, self.optimizer, *inputs)

        def of_member(numbers: Numbers, *own: Any) -> Any:
            return function(_with(self.agent, numbers), _with(self.optimizer, numbers), *own)

        return vmap(of_member)(self.differing, *inputs)


def _with(settings: Any, numbers: Numbers) -> Any:
    """Settings with a member's own numbers in their places; they were checked when the member was made."""
    own = {name: number for name, number in numbers.items() if hasattr(settings, name)}
    if not own:
        return settings
    changed = copy.copy(settings)
    for name, number in own.items():
        object.__setattr__(changed, name, number)
    return changed
