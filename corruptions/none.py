"""The clean dataset, so that it is a cell like any other."""

from dataclasses import dataclass

from corruptbench.corruptions.corruption import Corruption
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset


@CORRUPTIONS.register("none")
@dataclass(frozen=True)
class Clean(Corruption):
    """The clean dataset."""

    rate: float = 0.0
    scale: float = 1.0

    element = "none"
    mode = "none"
    rated = False
    fields = ()

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        return Corrupted(dataset, {}, {})
