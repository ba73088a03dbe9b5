"""Runs of one algorithm that are trained together: what a GPU is good at, where one run leaves it idle."""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from corruptbench.algos.adam import Adam
from corruptbench.batches import Table
from corruptbench.engine import Update, choose_update
from corruptbench.errors import Diverged, UsageError
from corruptbench.step import Numbers, Step
from corruptbench.train import AHEAD, CHECK_EVERY, Learner


class Population:
    """Members differ in data, corruption, seed and any number of their algorithm, and share everything else.

    A member is a :class:`Learner`. From here on its weights, moments and memory are rows of the population's tensors,
    which lie on ``device``, so that its state, its policy and its checks are what they are for a run alone; only the
    last bits differ. Raises UsageError where members differ in what they must share.

    A member that diverges has left: it stays at the step where that was seen, and is found in ``diverged`` under its
    number, with the error that it would have raised alone. The others go on.
    """

    def __init__(self, members: Sequence[Learner], *, engine: str = "auto", device: str | torch.device = "cpu") -> None:
        self.members, first = tuple(members), members[0]
        require_shared(members)
        self.step, self.steps, self.device = first.step, first.steps, torch.device(device)
        self.losses = {name: torch.stack([m.losses[name] for m in members]).to(device) for name in first.losses}
        self.left: set[int] = set()
        self.diverged: dict[int, Diverged] = {}
        numbers = differing(members)
        own = {whose: {name: value.to(device) for name, value in found.items()} for whose, found in numbers.items()}
        self.take = Step(first.agent, first.optimizer, first.shapes, own)
        self.weights = {name: torch.stack([m.weights[name] for m in members]).to(device) for name in first.weights}
        self.moments = {name: Adam(self.weights[name]) for name in first.moments}
        for i, member in enumerate(members):
            for name, moments in member.moments.items():
                shared = self.moments[name]
                shared.first[i], shared.second[i] = moments.first, moments.second
                moments.first, moments.second = shared.first[i], shared.second[i]
            member.weights = {name: weights[i] for name, weights in self.weights.items()}
        self.memory = {
            group: {name: torch.stack([m.memory[group][name] for m in members]).to(device) for name in memory}
            for group, memory in first.memory.items()
        }
        for i, member in enumerate(members):
            member.memory = {
                group: {name: values[i] for name, values in memory.items()} for group, memory in self.memory.items()
            }
        rows = max(len(member.table) for member in members)
        self.values = first.table.values.new_zeros(len(members), rows, first.table.values.shape[1], device=device)
        for i, member in enumerate(members):
            self.values[i, : len(member.table)] = member.table.values
            member.table = dataclasses.replace(member.table, values=self.values[i, : len(member.table)])
        self.offsets = rows * torch.arange(len(members), device=device)[:, None]
        self._drawn: dict[int, tuple[Tensor, Tensor]] = {}
        self.engine: str
        self.update: Update
        choose_update(self, engine, f"a population of {first.agent.name}", self.device.type)

    def advance(self, count: int, on_step: Callable[[], object] = lambda: None) -> list[dict[str, float]]:
        """Takes ``count`` steps and returns each member's last losses; ``on_step`` is called after each."""
        for _ in range(count):
            for member in self.standing:
                member.renew()
                member.step += 1
            self.step += 1
            for update in self.members[0].updates(self.step):
                self.losses = self.update(*self.inputs(update), self.members[0].optimizer.whole(update))
            if self.step % CHECK_EVERY == 0 or self.step == self.steps:
                self.check()
            on_step()
        self.tell()
        return [{name: float(loss) for name, loss in member.losses.items()} for member in self.members]

    @property
    def standing(self) -> list[Learner]:
        """The members that have not left."""
        return [member for i, member in enumerate(self.members) if i not in self.left]

    def leave(self, number: int) -> None:
        """A member stays at this step; what is computed for it from now on is nothing that anyone sees."""
        self.left.add(number)

    def inputs(self, update: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Rows ``(M, batch)``, rates ``(3 + n, M, 1)`` and noise ``(M, P)`` by objective of one update."""
        drawn = [member.noise(update) for member in self.members]
        noise = {name: torch.stack([own[name] for own in drawn]).to(self.device) for name in drawn[0]}
        return *self.drawn(update), noise

    def drawn(self, update: int) -> tuple[Tensor, Tensor]:
        """Rows and rates of one update, brought to the device with those of the next: the host waits for each move."""
        if update not in self._drawn:
            ahead = range(update, update + AHEAD)
            found = [[member.drawn(number) for member in self.members] for number in ahead]
            rows = torch.stack([torch.stack([own for own, _ in members]) for members in found])
            rates = torch.stack([torch.stack([own for _, own in members], 1) for members in found])
            self._drawn = dict(zip(ahead, zip(rows.to(self.device), rates.to(self.device), strict=True), strict=True))
        return self._drawn[update]

    def tell(self) -> None:
        """Gives the members that stand their losses."""
        for i, member in enumerate(self.members):
            if i not in self.left:
                member.losses = {name: loss[i] for name, loss in self.losses.items()}

    def check(self) -> None:
        """Looks for members whose losses or weights are not finite."""
        self.tell()
        for i, member in enumerate(self.members):
            if i not in self.left:
                try:
                    member.check(member.losses)
                except Diverged as error:
                    self.diverged[i] = error
                    self.leave(i)

    def step_as_written(
        self, indices: Tensor, rates: Tensor, noise: dict[str, Tensor], whole: bool = True
    ) -> dict[str, Tensor]:
        """One update of every member, of what :meth:`inputs` gives."""
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
