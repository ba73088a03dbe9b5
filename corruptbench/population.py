"""Runs of one algorithm that are trained together: what a GPU is good at, where one run leaves it idle."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from corruptbench.algos.adam import Adam
from corruptbench.batches import Table
from corruptbench.engine import Update, choose_update
from corruptbench.errors import UsageError
from corruptbench.step import Numbers, Step
from corruptbench.train import Learner


class Population:
    """Members differ in data, corruption, seed and any number of their algorithm, and share everything else.

    A member is a :class:`Learner` made with the engine ``eager``. From here on its weights, moments and memory are rows
    of the population's tensors, so that its state, its policy and its checks are what they are for a run alone; only
    the last bits differ. Raises UsageError where members differ in what they must share.
    """

    def __init__(self, members: Sequence[Learner], *, engine: str = "auto") -> None:
        self.members, first = tuple(members), members[0]
        require_shared(members)
        self.take = Step(first.agent, first.optimizer, first.shapes, differing(members))
        self.weights = {name: torch.stack([m.weights[name] for m in members]) for name in first.weights}
        self.moments = {name: Adam(self.weights[name]) for name in first.moments}
        for i, member in enumerate(members):
            for name, moments in member.moments.items():
                shared = self.moments[name]
                shared.first[i], shared.second[i] = moments.first, moments.second
                moments.first, moments.second = shared.first[i], shared.second[i]
            member.weights = {name: weights[i] for name, weights in self.weights.items()}
        self.memory = {
            group: {name: torch.stack([m.memory[group][name] for m in members]) for name in memory}
            for group, memory in first.memory.items()
        }
        for i, member in enumerate(members):
            member.memory = {
                group: {name: values[i] for name, values in memory.items()} for group, memory in self.memory.items()
            }
        rows = max(len(member.table) for member in members)
        self.values = first.table.values.new_zeros(len(members), rows, first.table.values.shape[1])
        for i, member in enumerate(members):
            self.values[i, : len(member.table)] = member.table.values
            member.table = dataclasses.replace(member.table, values=self.values[i, : len(member.table)])
        self.offsets = rows * torch.arange(len(members))[:, None]
        self.engine: str
        self.update: Update
        choose_update(self, engine, f"a population of {first.agent.name}")

    def advance(self, count: int) -> list[dict[str, float]]:
        """Takes ``count`` steps; the last step's losses of each member, who raises Diverged where it is checked."""
        losses: dict[str, Tensor] = {}
        for _ in range(count):
            for member in self.members:
                member.renew()
                member.step += 1
            first = self.members[0]
            for update in first.updates(first.step):
                indices = torch.stack([member.indices(update) for member in self.members])
                rates = torch.stack([member.rates(update) for member in self.members], 1)
                drawn = [member.noise(update) for member in self.members]
                noise = {name: torch.stack([own[name] for own in drawn]) for name in drawn[0]}
                losses = self.update(indices, rates, noise, first.optimizer.whole(update))
        return [{name: float(loss[i]) for name, loss in losses.items()} for i in range(len(self.members))]

    def step_as_written(
        self, indices: Tensor, rates: Tensor, noise: dict[str, Tensor], whole: bool = True
    ) -> dict[str, Tensor]:
        """One update of every member: rows ``(M, batch)``, rates ``(3 + n, M, 1)``, noise ``(M, P)`` by objective."""
        table: Table = self.members[0].table
        chosen = self.values.flatten(0, 1).index_select(0, (indices + self.offsets).flatten())
        batch = table.split(chosen.view(*indices.shape, -1))
        return self.take(self.weights, self.moments, self.memory, batch, rates, noise, whole)


def require_shared(members: Sequence[Learner]) -> None:
    """Raises UsageError, with what was found, where members differ in what a population shares."""
    kinds = {
        "algorithm": lambda m: m.agent.name,
        "optimizer": lambda m: (m.optimizer.name, *m.optimizer.on),
        "shapes of the networks": lambda m: {name: [tuple(s) for s in shapes] for name, shapes in m.shapes.items()},
        "batch size": lambda m: m.agent.batch_size,
        "widths of the data": lambda m: (m.table.observation_dim, m.table.action_dim),
        "numbers of steps": lambda m: (m.step, m.steps),
        "updates a step": lambda m: m.updates_a_step,
        "dtype": lambda m: m.dtype,
    }
    for what, of in kinds.items():
        found = [of(member) for member in members]
        other = next((value for value in found if value != found[0]), None)
        if other is not None:
            raise UsageError(f"the members of a population have {what} in common: found {found[0]} and {other}")


def differing(members: Sequence[Learner]) -> Numbers:
    """The numbers of algorithm and optimizer that are not the same for all; the learning rate acts elsewhere."""
    numbers: Numbers = {"agent": {}, "optimizer": {}}
    for whose, settings in (("agent", [m.agent for m in members]), ("optimizer", [m.optimizer for m in members])):
        for field in dataclasses.fields(settings[0]):
            values = [getattr(one, field.name) for one in settings]
            if field.name == "learning_rate" or all(value == values[0] for value in values):
                continue
            if not all(isinstance(value, float) for value in values):
                raise UsageError(f"the members of a population have {field.name} in common: found {values}")
            numbers[whose][field.name] = torch.tensor(values, dtype=members[0].dtype)
    return numbers
