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
from corruptbench.optimizers.optimizer import Found, Given, Optimizer, plain_gradient
from corruptbench.types import Batch

Weights = dict[str, Tensor]
"""The weights of every group: ``(P,)`` of one run, ``(M, P)`` of M members."""

Memory = dict[str, dict[str, Tensor]]
"""What the optimizer remembers of a group, by group and name, shaped as its weights."""

Numbers = dict[str, dict[str, Tensor]]
"""Numbers in which members differ, ``(M,)`` each: those of the ``agent``, which may be called as its are, and those of
the ``optimizer``."""


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

    def __call__(
        self,
        weights: Weights,
        moments: dict[str, Adam],
        memory: Memory,
        batch: Batch,
        rates: Tensor,
        noise: dict[str, Tensor],
        whole: bool = True,
    ) -> dict[str, Tensor]:
        """Losses by objective.

        ``rates`` ``(3 + n, 1)`` or ``(3 + n, M, 1)``: Adam's rate, that under the cosine, root, and n numbers of the
        optimizer's own. ``noise``: standard normals by objective, shaped as its weights, for an optimizer that draws.
        ``whole`` is what the optimizer says of the update.
        """
        rate, cosine_rate, root, *numbers = rates.unbind()
        targets = self.each(self.targets, weights, batch)
        losses = {}
        for number, objective in enumerate(self.objectives):
            w, adam, chosen = weights[objective.group], moments[objective.group], objective.name in self.optimizer.on
            own_rate = cosine_rate if objective.cosine else rate
            drawn = [noise[objective.name]] if chosen and self.optimizer.draws else []
            kept = memory[objective.group] if chosen else {}

            def gradient(agent: Agent, optimizer: Optimizer, *inputs: Any, k: int = number) -> Any:
                return self.gradient(self.objective(agent, k), optimizer, whole, *inputs)

            found: Found = self.each(gradient, w, adam.first, drawn, kept, numbers, batch, targets)
            losses[objective.name] = found.loss
            for decayed in self.each(self.decayed, w, own_rate, numbers) if chosen else ():
                w.copy_(decayed)
            adam.update_(w, found.gradient, own_rate, root)
            remembered = self.each(self.remembered, w, kept, numbers) if chosen else {}
            for name, values in {**found.memory, **remembered}.items():
                kept[name].copy_(values)
        for group, moved in self.each(self.moved, weights).items():
            weights[group].copy_(moved)
        return losses

    def targets(self, agent: Agent, optimizer: Optimizer, weights: Weights, batch: Batch) -> Any:
        """The algorithm's, in a list, for ``vmap`` can return a list of nothing and no None."""
        found = agent.targets(self.state(weights), batch)
        return [] if found is None else [found]

    def gradient(
        self,
        objective: Objective,
        optimizer: Optimizer,
        whole: bool,
        weights: Tensor,
        momentum: Tensor,
        drawn: list[Tensor],
        memory: dict[str, Tensor],
        numbers: list[Tensor],
        batch: Batch,
        targets: Any,
    ) -> Found:
        """The optimizer's gradient and loss where it is on, the plain ones elsewhere."""
        shapes, fixed = self.shapes[objective.group], targets[0] if targets else None

        def loss(w: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return objective.loss(unflatten(w, shapes), batch, fixed)

        if objective.name not in optimizer.on:
            return plain_gradient(loss, weights)
        return optimizer.gradient(loss, weights, Given(momentum, drawn[0] if drawn else None, memory, numbers, whole))

    def decayed(self, agent: Agent, optimizer: Optimizer, *inputs: Any) -> list[Tensor]:
        return optimizer.decayed(*inputs)

    def remembered(self, agent: Agent, optimizer: Optimizer, *inputs: Any) -> dict[str, Tensor]:
        return optimizer.remembered(*inputs)

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
            agent, optimizer = _with(self.agent, numbers["agent"]), _with(self.optimizer, numbers["optimizer"])
            return function(agent, optimizer, *own)

        return vmap(of_member)(self.differing, *inputs)


def _with(settings: Any, numbers: dict[str, Tensor]) -> Any:
    """Settings with a member's own numbers in their places; they were checked when the member was made."""
    if not numbers:
        return settings
    changed = copy.copy(settings)
    for name, number in numbers.items():
        object.__setattr__(changed, name, number)
    return changed
