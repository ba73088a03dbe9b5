"""The four elements at once, each with rows of its own, all computed from the clean data: mix-random, mix-adv."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from corruptbench.corruptions.attack import ActionAttack, DynamicsAttack, ObservationAttack
from corruptbench.corruptions.corruption import FIELDS, Corruption
from corruptbench.corruptions.noise import ActionNoise, DynamicsNoise, ObservationNoise
from corruptbench.corruptions.reward import RewardNoise, RewardReversal
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset


@dataclass(frozen=True)
class Mixture(Corruption):
    """1 - (1 - rate)^4 of the rows are touched; every element is what it would be alone."""

    clip: bool = False  # keep corrupted actions inside [-1, 1]

    element = "mix"

    @abstractmethod
    def parts(self) -> tuple[Corruption, ...]:
        """The four corruptions, in any order."""

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        fields: dict[str, np.ndarray] = {}
        masks: dict[str, np.ndarray] = {}
        audit: dict[str, Any] = {}
        if self.needs_surrogate:
            surrogate = self.needed(surrogate, dataset)
        for part in self.parts():
            alone = part(dataset, streams, surrogate)
            fields[FIELDS[part.element]] = getattr(alone.dataset, FIELDS[part.element])
            masks.update(alone.masks)
            audit.update(alone.audit)
        audit["mix"] = {"touched": float(np.logical_or.reduce(list(masks.values())).mean())}
        return Corrupted(dataset.replace(**fields), masks, audit)


@CORRUPTIONS.register("mix-random")
@dataclass(frozen=True)
class RandomMixture(Mixture):
    """obs-random, act-random, rew-random and dyn-random at once."""

    mode = "random"

    def parts(self) -> tuple[Corruption, ...]:
        rate, scale = self.rate, self.scale
        return (
            ObservationNoise(rate, scale),
            ActionNoise(rate, scale, clip=self.clip),
            RewardNoise(rate, scale),
            DynamicsNoise(rate, scale),
        )


@CORRUPTIONS.register("mix-adv")
@dataclass(frozen=True)
class AdversarialMixture(Mixture):
    """obs-adv, act-adv, rew-adv and dyn-adv at once."""

    mode = "adv"
    needs_surrogate = True

    def parts(self) -> tuple[Corruption, ...]:
        rate, scale = self.rate, self.scale
        return (
            ObservationAttack(rate, scale),
            ActionAttack(rate, scale, clip=self.clip),
            RewardReversal(rate, scale),
            DynamicsAttack(rate, scale),
        )
