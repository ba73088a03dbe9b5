"""What takes the actions of a collection: SAC that learns on the way, or uniform noise."""

import contextlib
import math
from typing import Protocol

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from corruptbench.collect.config import CollectConfig, Evaluation
from corruptbench.collect.sac import SAC
from corruptbench.collect.steps import Replay
from corruptbench.environments import environment, make
from corruptbench.errors import Diverged
from corruptbench.rng import batch_indices, seed_from, stream
from corruptbench.types import Batch


class Explorer(Protocol):
    """Its whole state is ``exploration`` and ``tensors``; the latter are changed in place."""

    exploration: Generator

    def act(self, observation: np.ndarray, step: int) -> np.ndarray:
        """The action of environment step ``step``, from 1: ``(do,)`` to ``(da,)`` float32 in [-1, 1]."""

    def learn(self, replay: Replay, step: int) -> None:
        """What is learned after that step."""

    def tensors(self) -> dict[str, Tensor]:
        """What was learned so far, by name."""


class Uniform:
    """Uniform actions, whatever is observed; nothing is learned."""

    def __init__(self, config: CollectConfig, action_dim: int) -> None:
        self.exploration = Generator(stream(config.seed, "random", "exploration"))
        self.action_dim = action_dim

    def act(self, observation: np.ndarray, step: int) -> np.ndarray:
        return self.exploration.uniform(-1, 1, self.action_dim).astype(np.float32)

    def learn(self, replay: Replay, step: int) -> None:
        pass

    def tensors(self) -> dict[str, Tensor]:
        return {}


class Learner:
    """SAC with its exploration: uniform actions first, then one update a step. ``engine`` is compiled or eager."""

    def __init__(
        self, config: CollectConfig, observation_dim: int, center: np.ndarray, half: np.ndarray, engine: str
    ) -> None:
        self.config, self.center, self.half = config, center, half
        self.exploration = Generator(stream(config.seed, "sac", "exploration"))
        self.agent = agent = SAC(observation_dim, len(center), config.seed, config.sac)
        self.update = torch.compile(agent.update, fullgraph=True) if engine == "compiled" else agent.update

    def act(self, observation: np.ndarray, step: int) -> np.ndarray:
        width = len(self.center)
        noise = torch.from_numpy(self.exploration.standard_normal((1, width), np.float32))  # drawn even if unused
        if step <= self.config.sac.random_steps:
            return self.exploration.uniform(-1, 1, width).astype(np.float32)
        return _act(self.agent, observation, noise)

    def learn(self, replay: Replay, step: int) -> None:
        if step > self.config.sac.random_steps:
            self.update(*learning_inputs(replay, self.config, step, self.center, self.half, self.exploration))

    def tensors(self) -> dict[str, Tensor]:
        return self.agent.tensors()


def learning_inputs(
    replay: Replay, config: CollectConfig, step: int, center: np.ndarray, half: np.ndarray, exploration: Generator
) -> tuple[Batch, Tensor, Tensor]:
    """The batch, the noise and the number of the update that belongs to environment step ``step``."""
    size = config.sac.batch_size
    rows = batch_indices(config.seed, step, size, replay.size)
    batch = Batch(
        torch.from_numpy(replay.observations[rows]),
        torch.from_numpy(((replay.actions[rows] - center) / half).astype(np.float32)),
        torch.from_numpy(replay.rewards[rows]),
        torch.from_numpy(replay.next_observations[rows]),
        torch.from_numpy(replay.terminals[rows].astype(np.float32)),
    )
    noise = torch.from_numpy(exploration.standard_normal((2, size, replay.actions.shape[1]), np.float32))
    return batch, noise, torch.tensor(float(step - config.sac.random_steps), dtype=torch.float64)


def evaluate(agent: SAC, config: CollectConfig, step: int, center: np.ndarray, half: np.ndarray) -> Evaluation:
    """The deterministic policy over ``eval_episodes`` episodes, the same initial states each time.

    Raises Diverged where the mean return is not finite.
    """
    returns, lengths = [], []
    with contextlib.closing(make(environment(config.env))) as env:
        limit = config.eval_steps if env.spec is None or env.spec.max_episode_steps is None else math.inf
        for episode in range(config.eval_episodes):
            observation, _ = env.reset(seed=seed_from(f"collect/{config.seed}/eval/{episode}"))
            total, length, done = 0.0, 0, False
            while not done:
                action = (center + half * _act(agent, observation)).astype(np.float32)
                observation, reward, terminal, timeout, _ = env.step(action)
                total, length = total + float(reward), length + 1
                done = terminal or timeout or length >= limit
            returns.append(total)
            lengths.append(length)
    mean = float(np.mean(returns))
    if not math.isfinite(mean):
        raise Diverged(f"step {step}: the mean return of the policy is {mean}")
    return Evaluation(step, mean, float(np.mean(lengths)))


@torch.no_grad()
def _act(agent: SAC, observation: np.ndarray, noise: Tensor | None = None) -> np.ndarray:
    """``(do,)`` to ``(da,)``, in float32."""
    return agent.act(torch.from_numpy(np.array(observation, np.float32))[None], noise)[0].numpy()
