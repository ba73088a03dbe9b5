"""Values that are lost: obs-zero, act-zero, rew-zero, dyn-zero."""

from dataclasses import dataclass

import numpy as np

from corruptbench.corruptions.replacement import Replacement
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Streams


@dataclass(frozen=True)
class Zeros(Replacement):
    """x becomes 0, in the units of the dataset, actions in those of [-1, 1]: a sensor that fell silent."""

    mode = "zero"

    def values(self, clean: np.ndarray, rows: np.ndarray, streams: Streams) -> np.ndarray:
        return np.zeros_like(clean[rows])


@CORRUPTIONS.register("obs-zero")
@dataclass(frozen=True)
class ZeroObservations(Zeros):
    """Observations become zeros."""

    element = "obs"


@CORRUPTIONS.register("act-zero")
@dataclass(frozen=True)
class ZeroActions(Zeros):
    """Actions become zeros."""

    element = "act"


@CORRUPTIONS.register("rew-zero")
@dataclass(frozen=True)
class ZeroRewards(Zeros):
    """Rewards become zeros."""

    element = "rew"


@CORRUPTIONS.register("dyn-zero")
@dataclass(frozen=True)
class ZeroDynamics(Zeros):
    """Next observations become zeros."""

    element = "dyn"
