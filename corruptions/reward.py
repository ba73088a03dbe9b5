"""Rewards: replaced by uniform noise, or turned round. The published definitions, which are no budget."""

from dataclasses import dataclass

import numpy as np

from corruptbench.corruptions.audit import audit_reward
from corruptbench.corruptions.corruption import Corruption
from corruptbench.corruptions.noise import signed
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset


@CORRUPTIONS.register("rew-random")
@dataclass(frozen=True)
class RewardNoise(Corruption):
    """r is replaced by U(-30 scale, 30 scale)."""

    element = "rew"
    mode = "random"

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        rows = self.rows(dataset, streams)
        values = 30 * signed(streams.uniforms("rew", "noise", len(dataset)), self.scale)
        return self.corrupted(dataset, "rewards", values, rows, audit_reward(dataset.rewards, values, rows))


@CORRUPTIONS.register("rew-adv")
@dataclass(frozen=True)
class RewardReversal(Corruption):
    """r becomes -scale r."""

    element = "rew"
    mode = "adv"

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        rows = self.rows(dataset, streams)
        values = -self.scale * dataset.rewards.astype(np.float64)
        return self.corrupted(dataset, "rewards", values, rows, audit_reward(dataset.rewards, values, rows))
