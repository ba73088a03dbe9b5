"""Uniform noise in units of the clean standard deviation: obs-random, act-random, dyn-random."""

from dataclasses import dataclass

import numpy as np

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
            noise = signed(uniforms[touched], self.scale)
            changed[part][touched] = self.clipped(clean[part][touched] + noise * std)
            audit.add(noise)
        return self.replaced(dataset, field, changed, rows, audit.figures())

    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Values are not clipped unless the threat model says so."""
        return values


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

    element = "obs"


@CORRUPTIONS.register("act-random")
@dataclass(frozen=True)
class ActionNoise(UniformNoise):
    """Uniform noise on the actions."""

    clip: bool = False  # keep corrupted actions inside [-1, 1]

    element = "act"

    def clipped(self, values: np.ndarray) -> np.ndarray:
        return np.clip(values, -1, 1) if self.clip else values


@CORRUPTIONS.register("dyn-random")
@dataclass(frozen=True)
class DynamicsNoise(UniformNoise):
    """Uniform noise on the next observations."""

    element = "dyn"
