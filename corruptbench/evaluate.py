"""Scores a policy in the clean environment (section 4)."""

from collections.abc import Callable, Sequence
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
    return evaluate_all([policy], environment, episodes, world)[0]


def evaluate_all(
    policies: Sequence[Callable[[np.ndarray], np.ndarray]],
    environment: Environment,
    episodes: int,
    world: Simulation | None = None,
) -> list[Evaluation]:
    """:func:`evaluate` of each policy, over the same episodes, all of them stepped together.

    A policy sees the batch that it would see alone, so its returns are the same to the last bit.
    """
    seeds = episode_seeds(episodes)
    count = len(policies) * episodes  # the episodes of a policy lie side by side
    world = world or simulation(environment, count, torch.get_num_threads())
    center, half = (world.low + world.high) / 2, (world.high - world.low) / 2
    observations = world.reset(seeds * len(policies))
    stepped = np.zeros((count, *world.low.shape), np.float32)
    returns, lengths = np.zeros(count), np.zeros(count, int)
    running = np.arange(count)
    while len(running):
        owners = running // episodes
        for number in np.unique(owners):
            own = slice(number * episodes, (number + 1) * episodes)
            actions = policies[number](observations[own])
            if actions.shape != (episodes, *world.low.shape):
                raise PluginError(
                    f"the policy returned actions {actions.shape}, needed is {(episodes, *world.low.shape)}"
                )
            if not np.isfinite(actions[running[owners == number] - own.start]).all():
                raise Diverged(
                    f"the policy returned an action that is not finite, after {lengths.max()} steps of evaluation"
                )
            stepped[own] = np.clip(center + half * actions, world.low, world.high)
        observations[running], rewards, ended = world.step(running, stepped[running])
        returns[running] += rewards
        lengths[running] += 1
        running = running[~ended]
    world.close()
    parts = zip(returns.reshape(-1, episodes), lengths.reshape(-1, episodes), strict=True)
    return [Evaluation(total.tolist(), steps.tolist(), seeds) for total, steps in parts]
