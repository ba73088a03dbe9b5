"""The training loop: one run, its batches a function of (seed, update), its step compiled where a compiler is found."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from corruptbench.algos.adam import Adam, corrected
from corruptbench.algos.agent import Agent, Objective, State
from corruptbench.algos.networks import flatten, unflatten
from corruptbench.algos.renewal import is_due, last_reset, renew_
from corruptbench.batches import Table
from corruptbench.engine import Update, choose_update
from corruptbench.errors import Diverged, UsageError
from corruptbench.numerics import mean_and_std
from corruptbench.optimizers.optimizer import Optimizer
from corruptbench.rng import batch_indices, normals, stream
from corruptbench.step import Memory, Step
from corruptbench.types import Batch, TransitionDataset

CHECK_EVERY = 1_000
"""Steps between looks for a loss or weights that are not finite."""

AHEAD = 32
"""Updates whose batches and rates are drawn together."""


@dataclass(frozen=True)
class Normalisation:
    """Observations become (s - mean) / (std + 1e-3), with the statistics of what the learner sees (section 3)."""

    mean: Tensor  # (do,) float32
    scale: Tensor  # (do,) float32, std + 1e-3

    @classmethod
    def of(cls, dataset: TransitionDataset) -> "Normalisation":
        """Of observations and next observations together."""
        mean, std = mean_and_std(dataset.observations, dataset.next_observations)
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(std + 1e-3).float())

    def __call__(self, observations: Tensor) -> Tensor:
        return (observations - self.mean) / self.scale

    def batch(
        self, dataset: TransitionDataset, rows: np.ndarray | slice = slice(None), dtype: torch.dtype = torch.float32
    ) -> Batch:
        """Rows of a dataset as a learner sees them."""
        return Batch(
            self(torch.tensor(dataset.observations[rows])).to(dtype),
            torch.tensor(dataset.actions[rows], dtype=dtype),
            torch.tensor(dataset.rewards[rows], dtype=dtype),
            self(torch.tensor(dataset.next_observations[rows])).to(dtype),
            torch.tensor(dataset.terminations[rows], dtype=dtype),
        )


class Learner:
    """An agent in training: its weights, Adam's moments, what its optimizer remembers, and the number of steps taken.

    A step is one update, but for optimizers that take more or fewer. Batches, rates and noise are functions of the
    update.

    The weights of a group lie in one tensor ``(P,)``, and ``state`` is the agent's view of them. ``engine`` is
    ``eager``, ``compiled``, or ``auto``: compiled where a C++ compiler is found.
    """

    def __init__(
        self,
        agent: Agent,
        optimizer: Optimizer,
        dataset: TransitionDataset,
        *,
        seed: int,
        steps: int,
        engine: str = "auto",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if steps < 1:
            raise UsageError(f"steps is {steps}, allowed is 1 and above")
        self.agent, self.optimizer, self.seed, self.steps, self.dtype = agent, optimizer, seed, steps, dtype
        self.step = 0
        self.updates_a_step = optimizer.updates(agent)
        optimizer.require_update(agent, steps)
        self.losses = {objective.name: torch.zeros((), dtype=dtype) for objective in agent.objectives}
        self.normalisation = Normalisation.of(dataset)
        self.table = Table.of(self.normalisation.batch(dataset, dtype=dtype))
        start = self.fresh("init")
        self.shapes = {group: [p.shape for p in params] for group, params in start.items()}
        self.weights = {group: flatten(params).to(dtype) for group, params in start.items()}
        self.moments = {objective.group: Adam(self.weights[objective.group]) for objective in agent.objectives}
        on = {objective.group: self.weights[objective.group] for objective in self.chosen}
        self.memory: Memory = {
            group: {name: torch.zeros_like(weights) for name in optimizer.remembers} for group, weights in on.items()
        }
        self._drawn: dict[int, tuple[Tensor, Tensor]] = {}
        self.take = Step(agent, optimizer, self.shapes)
        self.engine: str
        self.update: Update
        choose_update(self, engine, agent.name)

    @property
    def chosen(self) -> list[Objective]:
        """The objectives that the optimizer is on."""
        return [objective for objective in self.agent.objectives if objective.name in self.optimizer.on]

    @property
    def state(self) -> State:
        """The parameters of every group, views of the weights: what changes one changes the other."""
        return self.take.state(self.weights)

    def advance(self, count: int, on_step: Callable[[], object] = lambda: None) -> dict[str, float]:
        """Takes ``count`` steps and returns the last update's losses; ``on_step`` is called between two of them.

        They are 0 before the first update. Raises Diverged for a loss or weights that are not finite. It looks for them
        at fixed steps, the last one among them, so that the step it names does not depend on how often this was called.
        """
        for _ in range(count):
            self.renew()
            self.step += 1
            for update in self.updates(self.step):
                inputs = *self.drawn(update), self.noise(update)
                self.losses = self.update(*inputs, self.optimizer.whole(update))
            if self.step % CHECK_EVERY == 0 or self.step == self.steps:
                self.check(self.losses)
            on_step()
        return {name: float(loss) for name, loss in self.losses.items()}

    def fresh(self, *purpose: object) -> State:
        """What the agent starts from, drawn from streams of the training seed, a purpose and the network's name."""
        widths = self.table.observation_dim, self.table.action_dim
        return self.agent.init(*widths, lambda name: stream(self.seed, *purpose, name))

    def fresh_here(self, purpose: str) -> State:
        """As :meth:`fresh`, for this step, on the device of the weights."""
        start = self.fresh(purpose, self.step)
        return {group: [p.to(self.weights[group].device) for p in params] for group, params in start.items()}

    def renew(self) -> None:
        """Resets and shrinks what is due after the steps taken so far; to be called before the next one."""
        if is_due(self.agent, self.step):
            moments = {
                group: [unflatten(moment, self.shapes[group]) for moment in (adam.first, adam.second)]
                for group, adam in self.moments.items()
            }
            renew_(self.agent, self.step, self.state, moments, self.fresh_here)

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights, moments, memory ``(P,)`` and the last losses by name: with its number, the state of training."""
        tensors = {f"weights.{group}": weights for group, weights in self.weights.items()}
        for group, memory in self.memory.items():
            tensors |= {f"{name}.{group}": remembered for name, remembered in memory.items()}
        for group, moments in self.moments.items():
            tensors |= {f"first.{group}": moments.first, f"second.{group}": moments.second}
        tensors |= {f"loss.{name}": loss for name, loss in self.losses.items()}
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    def restore(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Stands where :meth:`arrays` was asked for, after ``step`` steps; before it is a member of a population."""
        self.step = step
        for name, values in self.arrays().items():
            values[...] = arrays[name]  # a view of the tensor

    def step_as_written(
        self, indices: Tensor, rates: Tensor, noise: dict[str, Tensor], whole: bool = True
    ) -> dict[str, Tensor]:
        """One update, in place on weights, moments and memory: the losses by objective."""
        return self.take(self.weights, self.moments, self.memory, self.table.batch(indices), rates, noise, whole)

    def updates(self, step: int) -> range:
        """The numbers of the updates of one step; after it there were floor(step updates_a_step)."""
        return range(self.updates_until(step - 1) + 1, self.updates_until(step) + 1)

    def updates_until(self, step: int) -> int:
        return math.floor(step * self.updates_a_step)

    def drawn(self, update: int) -> tuple[Tensor, Tensor]:
        """Rows and rates of one update, drawn some updates ahead: what draws them leaves the caches in every step."""
        if update not in self._drawn:
            ahead = range(update, update + AHEAD)
            self._drawn = {number: (self.indices(number), self.rates(number)) for number in ahead}
        return self._drawn[update]

    def indices(self, update: int) -> Tensor:
        """The rows of the batch of one update."""
        return torch.from_numpy(batch_indices(self.seed, update, self.agent.batch_size, len(self.table)))

    def batch(self, update: int) -> Batch:
        """The batch of one update."""
        return self.table.batch(self.indices(update))

    def rates(self, update: int) -> Tensor:
        """What one update takes, ``(3 + n, 1)``: Adam's rate, that under the cosine to 0 over all updates, root, and n
        numbers of the optimizer's own."""
        updates = self.updates_until(self.steps)
        begun = self.updates_until(last_reset(self.agent, math.ceil(update / self.updates_a_step)))
        count = update - begun
        rate, root = corrected(count, self.agent.learning_rate)
        cosine = (1 + math.cos(math.pi * (update - 1) / updates)) / 2
        rates = [rate, cosine * rate, root, *self.optimizer.numbers(update, updates, count)]
        return torch.tensor([[value] for value in rates], dtype=self.dtype)

    def noise(self, update: int) -> dict[str, Tensor]:
        """Standard normals ``(P,)`` by objective for one update of an optimizer that draws."""
        if not self.optimizer.draws:
            return {}
        sizes = {objective.name: self.weights[objective.group].numel() for objective in self.chosen}
        return {
            name: torch.from_numpy(normals(self.seed, name, update, size)).to(self.dtype)
            for name, size in sizes.items()
        }

    def check(self, losses: dict[str, Tensor]) -> None:
        """Raises Diverged, with the step, for a loss or weights that are not finite."""
        for name, loss in losses.items():
            if not torch.isfinite(loss).all():
                raise Diverged(f"step {self.step}: the loss of {name} is {float(loss)}")
        for group, weights in self.weights.items():
            if not torch.isfinite(weights).all():
                raise Diverged(f"step {self.step}: weights of {group} are not finite")

    def policy(self) -> "Policy":
        """The networks as the optimizer shows them after this step, in the memory of the CPU.

        Where it shows a group's average, target networks that follow the group are that average: what is measured of
        the networks holds them against each other, and those that follow the last weights are ahead of it.
        """
        shown = dict(self.weights)
        for group, memory in self.memory.items():
            shown[group] = self.optimizer.shown(self.weights[group], memory, self.step, self.steps)
        for target, (source, _) in self.agent.target_networks.items():
            if shown[source] is not self.weights[source]:
                shown[target] = shown[source].clone()
        weights = {group: weights.cpu() for group, weights in shown.items()}
        return Policy(self.agent, self.take.state(weights), self.normalisation)


@dataclass(frozen=True)
class Policy:
    """A trained actor with its normalisation: raw observations to actions in [-1, 1]."""

    agent: Agent
    state: State
    normalisation: Normalisation

    @torch.no_grad()
    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """``(batch, do)`` float to ``(batch, da)`` float32."""
        normalised = self.normalisation(torch.tensor(observations, dtype=torch.float32))
        return self.agent.act(self.state, normalised).numpy()
