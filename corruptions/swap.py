"""Values that belong to another row: obs-swap, act-swap, rew-swap, dyn-swap."""

from dataclasses import dataclass

import numpy as np

from corruptbench.corruptions.replacement import Replacement
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Streams


@dataclass(frozen=True)
class Swap(Replacement):
    """The touched rows exchange their values at random: logs that were joined wrongly. Every value is a real one."""

    mode = "swap"

    def values(self, clean: np.ndarray, rows: np.ndarray, streams: Streams) -> np.ndarray:
        order = np.argsort(streams.uniforms(self.element, "noise", len(clean))[rows], kind="stable")
        return clean[rows][order]


@CORRUPTIONS.register("obs-swap")
@dataclass(frozen=True)
class SwappedObservations(Swap):
    """Observations are exchanged between rows."""

    element = "obs"


@CORRUPTIONS.register("act-swap")
@dataclass(frozen=True)
class SwappedActions(Swap):
    """Actions are exchanged between rows."""

    element = "act"


@CORRUPTIONS.register("rew-swap")
@dataclass(frozen=True)
class SwappedRewards(Swap):
    """Rewards are exchanged between rows."""

    element = "rew"


@CORRUPTIONS.register("dyn-swap")
@dataclass(frozen=True)
class SwappedDynamics(Swap):
    """Next observations are exchanged between rows."""

    element = "dyn"
