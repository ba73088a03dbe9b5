"""The training loop: one run, its batches a function of (seed, step), its step compiled where a compiler is found."""

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

from corruptbench.algos.adam import Adam
from corruptbench.algos.agent import Agent, State
from corruptbench.errors import Diverged, UsageError
from corruptbench.numerics import mean_and_std
from corruptbench.optimizers import Optimizer
from corruptbench.rng import batch_indices, stream
from corruptbench.types import Batch, TransitionDataset

log = logging.getLogger(__name__)

Update = Callable[[Batch, Tensor, Tensor, Tensor], dict[str, Tensor]]
"""Batch, number of the step, learning rate, learning rate under the cosine -> losses by objective."""

CHECK_EVERY = 1_000
"""Steps between looks for a loss that is not finite."""

ENGINES = ("auto", "compiled", "eager")


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


class Learner:
    """An agent in training: its state, Adam's moments, and the number of steps taken.

    ``engine`` is ``eager``, ``compiled``, or ``auto``: compiled where a C++ compiler is found.
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
        self.agent, self.optimizer, self.seed, self.steps = agent, optimizer, seed, steps
        self.step = 0
        self.normalisation = Normalisation.of(dataset)
        self.rows = Batch(
            self.normalisation(torch.tensor(dataset.observations)).to(dtype),
            torch.tensor(dataset.actions, dtype=dtype),
            torch.tensor(dataset.rewards, dtype=dtype),
            self.normalisation(torch.tensor(dataset.next_observations)).to(dtype),
            torch.tensor(dataset.terminations, dtype=dtype),
        )
        self.state: State = agent.init(
            dataset.observations.shape[1], dataset.actions.shape[1], lambda name: stream(seed, "init", name)
        )
        self.state = {group: [p.to(dtype) for p in params] for group, params in self.state.items()}
        self.moments = {objective.group: Adam(self.state[objective.group]) for objective in agent.objectives}
        self.engine = resolve_engine(engine)
        self.update = make_update(agent, optimizer, self.state, self.moments)
        if self.engine == "compiled":
            self.update = self.compiled(self.update, required=engine == "compiled")

    def advance(self, count: int, on_step: Callable[[], object] = lambda: None) -> dict[str, float]:
        """Takes ``count`` steps and returns the last step's losses; raises Diverged where one is not finite."""
        losses: dict[str, Tensor] = {}
        for _ in range(count):
            self.step += 1
            losses = self.update(self.batch(self.step), *self.schedule(self.step))
            if self.step % CHECK_EVERY == 0:
                self.check(losses)
            on_step()
        self.check(losses)
        return {name: float(loss) for name, loss in losses.items()}

    def compiled(self, update: Update, required: bool) -> Update:
        """``update`` in compiled form; eager from its first step on where it can't be compiled and needn't be."""
        torch._dynamo.reset()  # each learner compiles afresh, however many came before it in this process
        fast = torch.compile(update, fullgraph=True, dynamic=False)

        def first(*inputs: Any) -> dict[str, Tensor]:
            self.update = fast
            try:
                return fast(*inputs)
            except (TorchDynamoException, InductorError) as error:
                if required:
                    raise
                reason = str(error).strip().partition("\n")[0]
                log.warning("%s cannot be compiled and is trained eagerly: %s", self.agent.name, reason)
                self.engine, self.update = "eager", update
                return update(*inputs)

        return first

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        indices = batch_indices(self.seed, step, self.agent.batch_size, len(self.rows.rewards))
        chosen = torch.from_numpy(indices)
        return Batch(*(field.index_select(0, chosen) for field in self.rows))

    def schedule(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Number of the step, learning rate, and learning rate under the cosine to 0 over the declared steps."""
        rate = self.agent.learning_rate
        cosine = rate * (1 + math.cos(math.pi * (step - 1) / self.steps)) / 2
        return tuple(torch.tensor(x, dtype=torch.float64) for x in (step, rate, cosine))  # type: ignore[return-value]

    def check(self, losses: dict[str, Tensor]) -> None:
        """Raises Diverged, with the step, for a loss or weights that are not finite."""
        for name, loss in losses.items():
            if not torch.isfinite(loss).all():
                raise Diverged(f"step {self.step}: the loss of {name} is {float(loss)}")
        for group, params in self.state.items():
            if not all(torch.isfinite(p).all() for p in params):
                raise Diverged(f"step {self.step}: weights of {group} are not finite")

    def policy(self) -> "Policy":
        """The actor as it stands."""
        return Policy(self.agent, self.state, self.normalisation)


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


def make_update(agent: Agent, optimizer: Optimizer, state: State, moments: dict[str, Adam]) -> Update:
    """One training step, in place on ``state`` and ``moments``: targets once, then the objectives in order."""
    objectives = agent.objectives

    def update(batch: Batch, step: Tensor, lr: Tensor, cosine_lr: Tensor) -> dict[str, Tensor]:
        targets = agent.targets(state, batch)
        losses = {}
        for objective in objectives:
            params = state[objective.group]

            def loss(p, objective=objective):  # type: ignore[no-untyped-def]
                return objective.loss(p, batch, targets)

            gradient, losses[objective.name] = optimizer.gradient(objective.name, loss, params)
            moments[objective.group].update_(params, gradient, step, cosine_lr if objective.cosine else lr)
        agent.update_targets_(state)
        return losses

    return update


def resolve_engine(engine: str) -> str:
    """``auto`` becomes ``compiled`` where a C++ compiler is on the path, else ``eager``."""
    if engine not in ENGINES:
        raise UsageError(f"engine is {engine!r}, allowed are {', '.join(ENGINES)}")
    if engine != "auto":
        return engine
    return "compiled" if any(shutil.which(name) for name in ("g++", "clang++", "c++")) else "eager"
