"""Uniform noise in units of the clean standard deviation: obs-random, act-random, dyn-random."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from corruptbench.corruptions import released
from corruptbench.corruptions.audit import NoiseAudit
from corruptbench.corruptions.corruption import FIELDS, Corruption
from corruptbench.numerics import mean_and_std
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset


@dataclass(frozen=True)
class UniformNoise(Corruption):
    """x + lambda * std(x), lambda ~ U(-scale, scale) per dimension, on the touched rows."""

    mode = "random"

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        field = FIELDS[self.element]
        clean = getattr(dataset, field)
        std = mean_and_std(clean)[1]
        rows = self.rows(dataset, streams)
        changed, audit = np.array(clean), NoiseAudit(self.scale)
        for part, uniforms in streams.uniform_blocks(self.element, "noise", *clean.shape):
            touched = rows[part]
            noise = self.noise(uniforms[touched])
            changed[part][touched] = self.clipped(clean[part][touched] + noise * std)
            audit.add(noise)
        return self.replaced(dataset, field, changed, rows, audit.figures())

    @property
    def radii(self) -> Mapping[str, float]:
        return {FIELDS[self.element]: self.scale}

    def noise(self, uniforms: np.ndarray) -> np.ndarray:
        """Uniforms in [0, 1) to lambda."""
        return signed(uniforms, self.scale)

    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Values are not clipped unless the threat model says so."""
        return values


@dataclass(frozen=True)
class NoiseOnActions(UniformNoise):
    """Noise on the actions."""

    clip: bool = False  # keep corrupted actions inside [-1, 1]

    element = "act"

    @property
    def radii(self) -> Mapping[str, float]:
        return {} if self.clip else super().radii  # a clean action outside [-1, 1] may move further

    def clipped(self, values: np.ndarray) -> np.ndarray:
        return np.clip(values, -1, 1) if self.clip else values


def signed(uniforms: np.ndarray, scale: float) -> np.ndarray:
    """scale (2u - 1): uniforms in [0, 1) to noise in [-scale, scale)."""
    return scale * (2 * uniforms - 1)


def uniform_noise(
    streams: Streams, element: str, purpose: str, shape: tuple[int, ...], scale: float, rows: np.ndarray
) -> np.ndarray:
    """Noise of the masked rows, ``(touched, ...)`` float64, drawn for all rows, so it is the same at every rate."""
    blocks = streams.uniform_blocks(element, purpose, *shape)
    return np.concatenate([signed(uniforms[rows[part]], scale) for part, uniforms in blocks])


@CORRUPTIONS.register("obs-random")
@dataclass(frozen=True)
class ObservationNoise(UniformNoise):
    """Uniform noise on the observations."""

    preset: str = ""  # rdt2025: along trajectories

    element = "obs"
    presets = ("rdt2025",)

    @property
    def fields(self) -> tuple[str, ...]:
        return released.ALONG if self.preset == "rdt2025" else super().fields

    @property
    def reads_episodes(self) -> bool:
        return self.preset == "rdt2025"

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        corrupted = super().__call__(dataset, streams, surrogate)
        return released.along_trajectories(dataset, corrupted) if self.preset else corrupted


@CORRUPTIONS.register("act-random")
@dataclass(frozen=True)
class ActionNoise(NoiseOnActions):
    """Uniform noise on the actions."""


@CORRUPTIONS.register("dyn-random")
@dataclass(frozen=True)
class DynamicsNoise(UniformNoise):
    """Uniform noise on the next observations."""

    element = "dyn"
