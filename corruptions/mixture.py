"""The elements at once, each with rows of its own, all computed from the clean data: mix-random, mix-adv."""

from abc import abstractmethod
from collections.abc import Mapping
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
    preset: str = ""  # rdt2025 has no dynamics, and observations along trajectories; riql2024 its attacks in a row

    element = "mix"

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(field for part in self.parts() for field in part.fields))

    @property
    def radii(self) -> Mapping[str, float]:
        return {field: radius for part in self.parts() for field, radius in part.radii.items()}

    @property
    def reads_episodes(self) -> bool:
        return any(part.reads_episodes for part in self.parts())

    @abstractmethod
    def parts(self) -> tuple[Corruption, ...]:
        """The corruptions, in order: with ``riql2024`` later ones see what the earlier ones did."""

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        fields: dict[str, np.ndarray] = {}
        masks: dict[str, np.ndarray] = {}
        drawn = np.zeros(len(dataset), bool)
        audit: dict[str, Any] = {}
        if self.needs_surrogate:
            surrogate = self.needed(surrogate, dataset)
        for part in self.parts():
            seen = dataset.replace(**fields) if self.preset == "riql2024" else dataset
            alone = part(seen, streams, surrogate)
            fields.update({field: getattr(alone.dataset, field) for field in alone.masks})
            masks.update(alone.masks)
            drawn |= alone.masks[FIELDS[part.element]]
            audit.update(alone.audit)
        audit["mix"] = {"touched": float(drawn.mean())}
        return Corrupted(dataset.replace(**fields), masks, audit)


@CORRUPTIONS.register("mix-random")
@dataclass(frozen=True)
class RandomMixture(Mixture):
    """obs-random, act-random, rew-random and dyn-random at once."""

    mode = "random"
    presets = ("rdt2025",)

    def parts(self) -> tuple[Corruption, ...]:
        rate, scale = self.rate, self.scale
        observations = ObservationNoise(rate, scale, preset=self.preset)
        others = (ActionNoise(rate, scale, clip=self.clip), RewardNoise(rate, scale))
        return (observations, *others) if self.preset else (observations, *others, DynamicsNoise(rate, scale))


@CORRUPTIONS.register("mix-adv")
@dataclass(frozen=True)
class AdversarialMixture(Mixture):
    """obs-adv, act-adv, rew-adv and dyn-adv at once."""

    surrogate: str = ""  # as in obs-adv

    mode = "adv"
    needs_surrogate = True
    presets = ("riql2024", "rdt2025")

    def parts(self) -> tuple[Corruption, ...]:
        rate, scale, preset = self.rate, self.scale, self.preset
        observations = ObservationAttack(rate, scale, preset=preset)
        others = (ActionAttack(rate, scale, clip=self.clip, preset=preset), RewardReversal(rate, scale))
        if preset == "rdt2025":
            return (observations, *others)
        return (observations, *others, DynamicsAttack(rate, scale, preset=preset))
