"""What every corruption owes, checked each time one was called: plug-ins break in ways that a score would hide."""

import hashlib
from collections.abc import Mapping

import numpy as np

from corruptbench.corruptions.corruption import Corruption
from corruptbench.errors import CorruptBenchError, PluginError, sentence
from corruptbench.numerics import chunks
from corruptbench.store import canonical
from corruptbench.types import HASHED, Corrupted, Streams, Surrogate, TransitionDataset


def apply(
    corruption: Corruption, name: str, clean: TransitionDataset, streams: Streams, surrogate: Surrogate | None
) -> Corrupted:
    """The corrupted dataset; raises PluginError that names the corruption and says what was wrong."""
    before = _digests(clean)
    try:
        result = corruption(clean, streams, surrogate)
    except (CorruptBenchError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"corruption {name!r} raised {sentence(error)}") from error
    for field, digest in _digests(clean).items():
        if digest != before[field]:
            raise PluginError(f"corruption {name!r} changed its input: {field} is no longer what it was")
    check(clean, result, f"corruption {name!r}")
    return result


def check(clean: TransitionDataset, result: object, where: str) -> None:
    """Type, shapes, dtypes, finite values, terminations untouched, and masks that name every changed row."""
    if not isinstance(result, Corrupted):
        raise PluginError(f"{where} returned a {type(result).__name__}, needed is a Corrupted")
    for part, value, kind in (
        ("dataset", result.dataset, TransitionDataset),
        ("masks", result.masks, Mapping),
        ("audit", result.audit, Mapping),
    ):
        if not isinstance(value, kind):
            raise PluginError(f"{where} returned {part} of type {type(value).__name__}, needed is a {kind.__name__}")
    try:
        canonical(dict(result.audit))
    except (TypeError, ValueError) as error:
        raise PluginError(f"{where} returned an audit that is no JSON: {error}") from error
    for field in HASHED:
        old, new = getattr(clean, field), getattr(result.dataset, field)
        if new.shape != old.shape or new.dtype != old.dtype:
            raise PluginError(f"{where} returned {field} {new.dtype} {new.shape}, needed is {old.dtype} {old.shape}")
        bad = sum(int((~np.isfinite(new[rows])).sum()) for rows in chunks(len(new)))
        if bad:
            raise PluginError(f"{where} returned {field} with {bad} values that are not finite")
        changed = np.zeros(len(old), bool)
        for rows in chunks(len(old)):
            changed[rows] = (new[rows] != old[rows]).reshape(len(old[rows]), -1).any(1)
        mask = np.asarray(result.masks.get(field, np.zeros(len(old), bool)))
        if not isinstance(result.masks.get(field, mask), np.ndarray):
            raise PluginError(f"{where} returned a mask of {field} that is no array")
        if mask.shape != changed.shape or mask.dtype != bool:
            raise PluginError(
                f"{where} returned a mask of {field} {mask.dtype} {mask.shape}, needed is bool {changed.shape}"
            )
        if (changed & ~mask).any():
            raise PluginError(f"{where} changed {(changed & ~mask).sum()} rows of {field} that its mask does not name")
    if (result.dataset.terminations != clean.terminations).any():
        raise PluginError(f"{where} changed terminations, which are never corrupted")


def _digests(dataset: TransitionDataset) -> dict[str, bytes]:
    """A hash of each field: what it takes to see a change, without a copy of the data."""
    return {field: hashlib.blake2b(np.ascontiguousarray(getattr(dataset, field)).data).digest() for field in HASHED}
