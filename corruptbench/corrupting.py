"""From the words of a threat model to corrupted data: what ``run``, ``corrupt`` and ``data info`` have in common."""

from corruptbench import settings
from corruptbench.contract import apply
from corruptbench.corruptions.corruption import Corruption
from corruptbench.errors import UsageError
from corruptbench.registry import CORRUPTIONS
from corruptbench.rng import unit_seeds
from corruptbench.surrogates import surrogate_for
from corruptbench.types import Corrupted, Streams, TransitionDataset


def named_corruption(text: str) -> tuple[str, Corruption]:
    """Name and threat model of ``obs-adv:rate=0.1``; raises UsageError for a wrong name or setting."""
    name, values = settings.parse_threat(text)
    return name, settings.build(CORRUPTIONS.get(name), values, f"--corrupt {name}")


def corruption_seed(unit: int | None = None, seed: int | None = None) -> int:
    """A unit's corruption seed, unit 0 by default, or one of the user's own; raises UsageError."""
    for name, value in (("--unit", unit), ("--corruption-seed", seed)):
        if value is not None and value < 0:
            raise UsageError(f"{name} is {value}, allowed is 0 and above")
    if unit is not None and seed is not None:
        raise UsageError("--unit stands for a corruption seed: say --unit or --corruption-seed")
    return unit_seeds(unit or 0)[1] if seed is None else seed


def corrupt(dataset: TransitionDataset, text: str, seed: int) -> Corrupted:
    """A dataset under a threat model, as ``--corrupt`` spells it, with a corruption seed."""
    name, corruption = named_corruption(text)
    surrogate = surrogate_for(dataset) if corruption.needs_surrogate else None
    return apply(corruption, name, dataset, Streams(seed), surrogate)
