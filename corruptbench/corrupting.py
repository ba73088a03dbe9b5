"""From the words of a threat model to corrupted data: what ``run``, ``corrupt`` and ``data info`` have in common."""

from corruptbench import settings
from corruptbench.contract import apply
from corruptbench.corruptions.corruption import Corruption
from corruptbench.registry import CORRUPTIONS
from corruptbench.rng import unit_seeds
from corruptbench.surrogates import surrogate_for
from corruptbench.types import Corrupted, Streams, TransitionDataset


def named_corruption(text: str) -> tuple[str, Corruption]:
    """Name and threat model of ``obs-adv:rate=0.1``; raises UsageError for a wrong name or setting."""
    name, values = settings.parse_threat(text)
    return name, settings.build(CORRUPTIONS.get(name), values, f"--corrupt {name}")


def corrupt(
    dataset: TransitionDataset, text: str, unit: int = 0, seed: int | None = None
) -> tuple[Corruption, Corrupted]:
    """A dataset under a threat model, with a unit's corruption seed or one of the user's own."""
    name, corruption = named_corruption(text)
    surrogate = surrogate_for(dataset) if corruption.needs_surrogate else None
    streams = Streams(unit_seeds(unit)[1] if seed is None else seed)
    return corruption, apply(corruption, name, dataset, streams, surrogate)
