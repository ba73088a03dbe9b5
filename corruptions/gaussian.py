"""Gaussian noise with the spread of the uniform noise: obs-gauss, act-gauss, dyn-gauss."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from corruptbench.corruptions.noise import NoiseOnActions, UniformNoise
from corruptbench.numerics import normal_quantile
from corruptbench.registry import CORRUPTIONS


@dataclass(frozen=True)
class GaussianNoise(UniformNoise):
    """x + lambda * std(x), lambda ~ N(0, scale^2 / 3) per dimension: the variance of U(-scale, scale), and no bound."""

    mode = "gauss"

    @property
    def radii(self) -> Mapping[str, float]:
        return {}

    def noise(self, uniforms: np.ndarray) -> np.ndarray:
        return self.scale / np.sqrt(3.0) * normal_quantile(uniforms)


@CORRUPTIONS.register("obs-gauss")
@dataclass(frozen=True)
class GaussianObservations(GaussianNoise):
    """Gaussian noise on the observations."""

    element = "obs"


@CORRUPTIONS.register("act-gauss")
@dataclass(frozen=True)
class GaussianActions(GaussianNoise, NoiseOnActions):
    """Gaussian noise on the actions."""


@CORRUPTIONS.register("dyn-gauss")
@dataclass(frozen=True)
class GaussianDynamics(GaussianNoise):
    """Gaussian noise on the next observations."""

    element = "dyn"
