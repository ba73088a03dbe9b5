"""Scores a policy in the clean environment (section 4)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from corruptbench.environments import make_flat
from corruptbench.errors import Diverged, PluginError
from corruptbench.rng import episode_seeds
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


def evaluate(policy: Callable[[np.ndarray], np.ndarray], environment: Environment, episodes: int) -> Evaluation:
    """Episodes 0 to ``episodes`` - 1, all stepped together, actions clipped to the action space.

    ``policy`` maps observations ``(episodes, do)`` to actions ``(episodes, da)`` in [-1, 1]; episodes that ended keep
    their last observation in the batch, because its size moves the last bits. Raises Diverged for an action that is
    not finite, before the environment sees it, and PluginError for one of the wrong shape.
    """
    seeds = episode_seeds(episodes)
    envs = [make_flat(environment) for _ in seeds]
    space = envs[0].action_space
    low, high = space.low, space.high  # type: ignore[attr-defined]
    center, half = (low + high) / 2, (high - low) / 2
    observations = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)])
    returns, lengths = np.zeros(episodes), np.zeros(episodes, int)
    running = np.ones(episodes, bool)
    while running.any():
        actions = policy(observations)
        if actions.shape != (episodes, *space.shape):  # type: ignore[misc]
            raise PluginError(f"the policy returned actions {actions.shape}, needed is {(episodes, *space.shape)}")  # type: ignore[misc]
        if not np.isfinite(actions[running]).all():
            raise Diverged(
                f"the policy returned an action that is not finite, after {lengths.max()} steps of evaluation"
            )
        actions = np.clip(center + half * actions, low, high).astype(np.float32)
        for i in np.flatnonzero(running):
            observations[i], reward, terminated, truncated, _ = envs[i].step(actions[i])
            returns[i] += float(reward)
            lengths[i] += 1
            running[i] = not (terminated or truncated)
    for env in envs:
        env.close()
    return Evaluation(returns.tolist(), lengths.tolist(), seeds)
