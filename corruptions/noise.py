"""Uniform noise in units of the clean standard deviation: obs-random, act-random, dyn-random."""

from dataclasses import dataclass

import numpy as np

from corruptbench.corruptions.audit import audit_noise
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
        rows = self.rows(dataset, streams)
        noise = uniform_noise(streams, self.element, "noise", clean.shape, self.scale)
        values = clean + noise * mean_and_std(clean)[1]
        return self.corrupted(dataset, field, self.clipped(values), rows, audit_noise(noise[rows], self.scale))

    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Values are not clipped unless the threat model says so."""
        return values


def uniform_noise(streams: Streams, element: str, purpose: str, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """scale (2u - 1) for every row and dimension, so the noise is the same at every rate."""
    return scale * (2 * streams.uniforms(element, purpose, *shape) - 1)


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
