"""Records everything a SAC learner sees from its first step until it is a medium policy (D4RL's ``medium-replay``).

What the learner sees, as it is stored (one line a step; ``final`` is kept once an episode)::

    observations  s0  s1  s2 |  s0  s1 ...        terminals  0  0  1 | 0  0 ...   the Markov chain ended
    actions       a0  a1  a2 |  a0  a1 ...        timeouts   0  0  0 | 0  1 ...   only the clock ran out
    rewards       r0  r1  r2 |  r0  r1 ...        final      s3      | ...        what the last action led to
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from numpy.random import Generator
from tqdm import tqdm

from corruptbench.collect.sac import SAC, Batch, SACConfig
from corruptbench.environments import environment, make
from corruptbench.errors import DataError
from corruptbench.rng import batch_indices, seed_from, stream
from corruptbench.train import resolve_engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectConfig:
    env: str = "Hopper-v5"  # Gymnasium environment with Box observations and actions
    seed: int = 0  # of the learner, its exploration and the environment
    target_return: float = 1281.5  # mean evaluation return of a medium policy, at which collecting ends
    transitions: int = 100_000  # at least as many steps are collected, and this many or a little more are kept
    max_steps: int = 1_000_000  # collecting ends here at the latest
    eval_every: int = 5_000  # steps between evaluations of the deterministic policy
    eval_episodes: int = 10  # episodes of one evaluation
    eval_window: int = 3  # the target is compared with the mean of this many evaluations
    sac: SACConfig = field(default_factory=SACConfig)


class Evaluation(NamedTuple):
    step: int  # environment steps taken so far
    mean_return: float  # of the deterministic policy
    mean_length: float


class Replay:
    """A growing record of steps in float32; ``actions`` are in the environment's own units."""

    def __init__(self, observation_dim: int, action_dim: int, capacity: int) -> None:
        self.size = 0
        self.observations = np.zeros((capacity, observation_dim), np.float32)
        self.actions = np.zeros((capacity, action_dim), np.float32)
        self.rewards = np.zeros(capacity, np.float32)
        self.next_observations = np.zeros((capacity, observation_dim), np.float32)
        self.terminals = np.zeros(capacity, bool)
        self.timeouts = np.zeros(capacity, bool)

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: float,
        next_observation: np.ndarray,
        terminal: bool,
        timeout: bool,
    ) -> None:
        i = self.size
        self.observations[i], self.actions[i], self.rewards[i] = observation, action, reward
        self.next_observations[i], self.terminals[i], self.timeouts[i] = next_observation, terminal, timeout
        self.size += 1


def collect(config: CollectConfig, *, engine: str = "auto") -> tuple[Replay, list[Evaluation]]:
    """Trains SAC from nothing, one update a step, and returns all it saw and how good it was on the way.

    Ends with the episode in which the policy is found to be medium; at ``max_steps`` the last episode is cut off and
    marked as a timeout. Raises DataError for an environment without Box observations and actions.
    """
    env = make(environment(config.env))
    observed, acted = env.observation_space.shape, env.action_space.shape
    if not observed or len(observed) != 1 or not acted:
        raise DataError(
            f"{config.env} observes {env.observation_space}, and only one-dimensional Boxes can be collected"
        )
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    center, half = (low + high) / 2, (high - low) / 2
    agent = SAC(observed[0], acted[0], config.seed, config.sac)
    update = torch.compile(agent.update, fullgraph=True) if resolve_engine(engine) == "compiled" else agent.update
    exploration = Generator(stream(config.seed, "sac", "exploration"))
    replay = Replay(observed[0], acted[0], config.max_steps)
    evaluations: list[Evaluation] = []
    medium = False
    bar = tqdm(total=config.max_steps, unit="step", disable=None, smoothing=0.01)

    observation, _ = env.reset(seed=seed_from(f"collect/{config.seed}/env"))
    for step in range(1, config.max_steps + 1):
        noise = torch.from_numpy(exploration.standard_normal((1, acted[0]), np.float32))
        if step <= config.sac.random_steps:
            unit_action = exploration.uniform(-1, 1, acted[0]).astype(np.float32)
        else:
            with torch.no_grad():
                unit_action = agent.act(torch.from_numpy(observation).float()[None], noise)[0].numpy()
        action = (center + half * unit_action).astype(np.float32)
        next_observation, reward, terminal, timeout, _ = env.step(action)
        cut = step == config.max_steps
        replay.add(observation, action, float(reward), next_observation, terminal, (timeout or cut) and not terminal)
        observation = env.reset()[0] if terminal or timeout else next_observation

        if step > config.sac.random_steps:
            update(*learning_inputs(replay, config, step, center, half, exploration))
        if step % config.eval_every == 0:
            evaluations.append(evaluate(agent, config, step, center, half))
            recent = [e.mean_return for e in evaluations[-config.eval_window :]]
            log.info(
                "step %d: return %.1f, mean of the last %d %.1f", *evaluations[-1][:2], len(recent), np.mean(recent)
            )
            bar.set_postfix(medium=f"{np.mean(recent):.0f}/{config.target_return:.0f}")
            reached = len(recent) == config.eval_window and np.mean(recent) >= config.target_return
            medium = medium or bool(reached and step >= config.transitions)
        bar.update()
        if medium and (terminal or timeout):
            break
    bar.close()
    env.close()
    return replay, evaluations


def learning_inputs(
    replay: Replay, config: CollectConfig, step: int, center: np.ndarray, half: np.ndarray, exploration: Generator
) -> tuple[Batch, torch.Tensor, torch.Tensor]:
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
    """The deterministic policy over ``eval_episodes`` episodes, the same initial states each time."""
    env = make(environment(config.env))
    returns, lengths = [], []
    for episode in range(config.eval_episodes):
        observation, _ = env.reset(seed=seed_from(f"collect/{config.seed}/eval/{episode}"))
        total, length, done = 0.0, 0, False
        while not done:
            with torch.no_grad():
                unit_action = agent.act(torch.from_numpy(observation).float()[None])[0].numpy()
            observation, reward, terminal, timeout, _ = env.step((center + half * unit_action).astype(np.float32))
            total, length, done = total + float(reward), length + 1, terminal or timeout
        returns.append(total)
        lengths.append(length)
    env.close()
    return Evaluation(step, float(np.mean(returns)), float(np.mean(lengths)))


def episodes_kept(replay: Replay, transitions: int) -> np.ndarray:
    """Mask ``(steps,)`` of whole episodes drawn evenly over the course of training, ``transitions`` or a little more.

    An episode is kept where what is kept so far is less than its share of what was seen so far.
    """
    n = replay.size
    share = min(1.0, transitions / n)
    kept = np.zeros(n, bool)
    count = start = 0
    for end in (np.flatnonzero(replay.terminals[:n] | replay.timeouts[:n]) + 1).tolist():
        if count < share * end:
            kept[start:end] = True
            count += end - start
        start = end
    return kept


def write_hdf5(path: Path, replay: Replay, kept: np.ndarray) -> None:
    """The kept steps in D4RL's keys, with ``final_observations``, one row an episode, in order."""
    n = replay.size
    ends = (replay.terminals[:n] | replay.timeouts[:n]) & kept
    with h5py.File(path, "w") as file:
        for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
            values = getattr(replay, name)[:n][kept]
            file.create_dataset(name, data=values, compression="gzip", compression_opts=9, shuffle=True)
        finals = replay.next_observations[:n][ends]
        file.create_dataset("final_observations", data=finals, compression="gzip", compression_opts=9, shuffle=True)
