"""What a collection is asked for, what its policy was worth on the way, and what ended it."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from corruptbench.collect.sac import SACConfig


@dataclass(frozen=True)
class CollectConfig:
    """One collection: the same configuration gives the same bytes on the same stack and kind of CPU.

    A step is one step of the environment, a return the sum of an episode's rewards without discount.
    """

    env: str = "Hopper-v5"  # Gymnasium environment; observations and bounded actions are one-dimensional Boxes
    seed: int = 0  # of the learner, its exploration and the environment
    target_return: float | None = 1281.5  # mean evaluation return that ends collecting, None for no target
    transitions: int = 100_000  # no target ends collecting earlier, and this many steps or a little more are kept
    max_steps: int = 1_000_000  # collecting ends here at the latest
    eval_every: int = 5_000  # steps between evaluations of the deterministic policy
    eval_episodes: int = 10  # episodes of one evaluation
    eval_window: int = 3  # the target is compared with the mean of this many evaluations
    eval_steps: int = 1_000  # length of an evaluation's episode where the environment has no time limit
    policy: str = "sac"  # or random: uniform actions, nothing is learned and nothing evaluated
    sac: SACConfig = field(default_factory=SACConfig)


class Evaluation(NamedTuple):
    """The deterministic policy over some episodes."""

    step: int  # environment steps taken so far
    mean_return: float
    mean_length: float  # steps of an episode


def recent_mean(config: CollectConfig, evaluations: list[Evaluation]) -> float:
    """Mean return over the last ``eval_window`` evaluations, over all of them where there are fewer."""
    return float(np.mean([e.mean_return for e in evaluations[-config.eval_window :]]))


def reached(config: CollectConfig, evaluations: list[Evaluation]) -> bool:
    """Whether the target was met at any evaluation, by a whole window of them and not before ``transitions`` steps."""
    if config.target_return is None:
        return False
    return any(
        evaluations[count - 1].step >= config.transitions
        and recent_mean(config, evaluations[:count]) >= config.target_return
        for count in range(config.eval_window, len(evaluations) + 1)
    )


def ended(config: CollectConfig, evaluations: list[Evaluation]) -> str:
    """What ended a collection: ``target``, ``max-steps`` before its target, or ``steps`` where it had none."""
    if config.target_return is None or config.policy == "random":
        return "steps"
    return "target" if reached(config, evaluations) else "max-steps"
