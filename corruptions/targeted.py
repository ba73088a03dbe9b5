"""Attacks on the best rows instead of random ones: obs-targeted, act-targeted, dyn-targeted, rew-targeted."""

from dataclasses import dataclass

import numpy as np
import torch

from corruptbench.corruptions.attack import CHUNK, OnActions, OnDynamics, OnObservations, ValueAttack
from corruptbench.corruptions.reward import RewardReversal
from corruptbench.errors import UsageError, nearest
from corruptbench.numerics import episode_returns
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Streams, Surrogate, TransitionDataset

BY = ("return", "advantage")


@dataclass(frozen=True)
class Targeted(ValueAttack):
    """The solver of section 2 on the round(rate N) rows of the highest episode return, or of the highest advantage."""

    by: str = "return"  # or advantage, Q(s, a) - Q(s, pi(s)) of the surrogate

    mode = "targeted"

    @property
    def reads_episodes(self) -> bool:
        return self.by == "return"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in BY:
            raise UsageError(f"{self.name}: by is {self.by!r}, allowed are {' and '.join(BY)}{nearest(self.by, BY)}")

    def rows(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> np.ndarray:
        if self.by == "return":
            return highest(row_returns(dataset), self.rate)
        return highest(advantages(dataset, self.needed(surrogate, dataset)), self.rate)


@CORRUPTIONS.register("obs-targeted")
@dataclass(frozen=True)
class TargetedObservations(Targeted, OnObservations):
    """obs-adv on the best rows."""


@CORRUPTIONS.register("act-targeted")
@dataclass(frozen=True)
class TargetedActions(Targeted, OnActions):
    """act-adv on the best rows."""


@CORRUPTIONS.register("dyn-targeted")
@dataclass(frozen=True)
class TargetedDynamics(Targeted, OnDynamics):
    """dyn-adv on the best rows."""


@CORRUPTIONS.register("rew-targeted")
@dataclass(frozen=True)
class TargetedRewards(RewardReversal):
    """rew-adv on the rows of the highest episode return."""

    mode = "targeted"
    reads_episodes = True

    def rows(self, dataset: TransitionDataset, streams: Streams) -> np.ndarray:
        return highest(row_returns(dataset), self.rate)


def highest(figures: np.ndarray, rate: float) -> np.ndarray:
    """Mask ``(N,)`` of the round(rate N) rows with the highest figure; of equal rows the earlier ones."""
    rows = np.zeros(len(figures), bool)
    rows[np.argsort(-figures, kind="stable")[: round(rate * len(figures))]] = True
    return rows


def row_returns(dataset: TransitionDataset) -> np.ndarray:
    """The undiscounted return of the episode that each row belongs to, ``(N,)`` float64."""
    returns, lengths = episode_returns(dataset.rewards, dataset.episodes)
    return np.repeat(returns, lengths)


def advantages(dataset: TransitionDataset, surrogate: Surrogate) -> np.ndarray:
    """Q(s, a) - Q(s, pi(s)) of each row, ``(N,)`` float32."""
    found = np.empty(len(dataset), np.float32)
    with torch.no_grad():
        for first in range(0, len(dataset), CHUNK):
            part = slice(first, first + CHUNK)
            s, a = torch.tensor(dataset.observations[part]), torch.tensor(dataset.actions[part])
            found[part] = (surrogate.value(s, a) - surrogate.value(s, surrogate.policy(s))).numpy()
    return found
