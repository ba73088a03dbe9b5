"""Scores a policy in the clean environment (section 4)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from corruptbench.errors import Diverged, PluginError
from corruptbench.rng import episode_seeds
from corruptbench.simulation import Simulation, simulation
from corruptbench.types import Environment

FINAL_EPISODES = 100
CURVE_EPISODES = 10


@dataclass(frozen=True)
class Evaluation:
    """One entry an episode."""

    returns: list[float]  # undiscounted
    lengths: list[int]  # steps
    seeds: list[int]  # of the reset

    @property
    def return_mean(self) -> float:
        return float(np.mean(self.returns))


def evaluate(
    policy: Callable[[np.ndarray], np.ndarray], environment: Environment, episodes: int, world: Simulation | None = None
) -> Evaluation:
    """Episodes 0 to ``episodes`` - 1, all stepped together, actions clipped to the action space.

    ``policy`` maps observations ``(episodes, do)`` to actions ``(episodes, da)`` in [-1, 1]; episodes that ended keep
    their last observation in the batch, because its size moves the last bits. Raises Diverged for an action that is
    not finite, before the environment sees it, and PluginError for one of the wrong shape. ``world`` is a simulation of
    that many episodes, by default the fastest that there is; it is closed at the end.
    """
    seeds = episode_seeds(episodes)
    world = world or simulation(environment, episodes, torch.get_num_threads())
    center, half = (world.low + world.high) / 2, (world.high - world.low) / 2
    observations = world.reset(seeds)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, int)
    running = np.arange(episodes)
    while len(running):
        actions = policy(observations)
        if actions.shape != (episodes, *world.low.shape):
            raise PluginError(f"the policy returned actions {actions.shape}, needed is {(episodes, *world.low.shape)}")
        if not np.isfinite(actions[running]).all():
            raise Diverged(
                f"the policy returned an action that is not finite, after {lengths.max()} steps of evaluation"
            )
        actions = np.clip(center + half * actions, world.low, world.high).astype(np.float32)
        observations[running], rewards, ended = world.step(running, actions[running])
        returns[running] += rewards
        lengths[running] += 1
        running = running[~ended]
    world.close()
    return Evaluation(returns.tolist(), lengths.tolist(), seeds)
