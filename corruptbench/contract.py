"""What every corruption owes, checked each time one was called: plug-ins break in ways that a score would hide."""

import hashlib
import math
from collections.abc import Mapping

import numpy as np

from corruptbench.corruptions.corruption import FIELDS, Corruption
from corruptbench.errors import CorruptBenchError, PluginError, nearest, sentence
from corruptbench.numerics import chunks, mean_and_std
from corruptbench.resources import lack_of
from corruptbench.store import canonical
from corruptbench.types import HASHED, Corrupted, Streams, Surrogate, TransitionDataset

LUCK = 6
"""Standard deviations that the number of touched rows may lie from what the rate says, and as many rows more."""


def apply(
    corruption: Corruption, name: str, clean: TransitionDataset, streams: Streams, surrogate: Surrogate | None
) -> Corrupted:
    """The corrupted dataset; raises PluginError that names the corruption and says what was wrong."""
    before = _digests(clean)
    try:
        result = corruption(clean, streams, surrogate)
        for field, digest in _digests(clean).items():
            if digest != before[field]:
                raise PluginError(f"corruption {name!r} changed its input: {field} is no longer what it was")
        check(corruption, clean, result, f"corruption {name!r}")
    except CorruptBenchError:
        raise
    except (Exception, SystemExit) as error:
        raise lack_of(error) or PluginError(f"corruption {name!r} raised {sentence(error)}") from error
    return result


def check(corruption: Corruption, clean: TransitionDataset, result: object, where: str) -> None:
    """Whether a result is sound, and no more than what the corruption's class declares; raises PluginError.

    A mask names the rows that were touched: every row that changed, and perhaps one whose new value is the old one.
    """
    check_sound(clean, result, where)
    assert isinstance(result, Corrupted)
    _check_declared(corruption, result.masks, where)
    if corruption.rated:
        _check_rate(corruption.rate, result.masks, len(clean), where)
    for field, radius in corruption.radii.items():
        _check_radius(field, radius, clean, result.dataset, where)


def check_sound(clean: TransitionDataset, result: object, where: str) -> None:
    """What holds for every corruption, whatever its class declares; raises PluginError."""
    _check_kinds(result, where)
    assert isinstance(result, Corrupted)
    for field in HASHED:
        _check_field(field, clean, result, where)
    for name in ("terminations", "episodes"):
        if not np.array_equal(getattr(result.dataset, name), getattr(clean, name)):
            raise PluginError(f"{where} changed {name}, which are never corrupted")
    if (result.dataset.id, result.dataset.environment) != (clean.id, clean.environment):
        raise PluginError(f"{where} changed the dataset's id or environment, which are never corrupted")


def _check_kinds(result: object, where: str) -> None:
    """The types of what was returned, and an audit that is JSON."""
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


def _check_field(field: str, clean: TransitionDataset, result: Corrupted, where: str) -> None:
    """Shape, dtype, finite values, and a mask that names every changed row."""
    old, new = getattr(clean, field), getattr(result.dataset, field)
    if new.shape != old.shape or new.dtype != old.dtype:
        raise PluginError(f"{where} returned {field} {new.dtype} {new.shape}, needed is {old.dtype} {old.shape}")
    bad = sum(int((~np.isfinite(new[rows])).sum()) for rows in chunks(len(new)))
    if bad:
        raise PluginError(f"{where} returned {field} with {bad} values that are not finite")
    changed = differing_rows(old, new)
    mask = np.asarray(result.masks.get(field, np.zeros(len(old), bool)))
    if not isinstance(result.masks.get(field, mask), np.ndarray):
        raise PluginError(f"{where} returned a mask of {field} that is no array")
    if mask.shape != changed.shape or mask.dtype != bool:
        raise PluginError(
            f"{where} returned a mask of {field} {mask.dtype} {mask.shape}, needed is bool {changed.shape}"
        )
    if (changed & ~mask).any():
        raise PluginError(f"{where} changed {(changed & ~mask).sum()} rows of {field} that its mask does not name")


def _check_declared(corruption: Corruption, masks: Mapping[str, np.ndarray], where: str) -> None:
    """That nothing was touched but the fields that the class declares."""
    for field in (*corruption.fields, *corruption.radii):
        if field not in FIELDS.values():
            known = ", ".join(FIELDS.values())
            raise PluginError(f"{where} declares a field {field!r}: known are {known}{nearest(field, FIELDS.values())}")
    for name, mask in masks.items():
        if name not in HASHED:
            raise PluginError(f"{where} returned a mask of {name!r}, which is no field{nearest(name, HASHED)}")
        if name not in corruption.fields and mask.any():
            declared = " and ".join(corruption.fields) or "no field"
            raise PluginError(f"{where} touched {mask.sum()} rows of {name}, and its class declares {declared}")


def _check_rate(rate: float, masks: Mapping[str, np.ndarray], count: int, where: str) -> None:
    """That no field has more touched rows than the rate allows, and that all of them together have no fewer."""
    luck = LUCK * (math.sqrt(count * rate * (1 - rate)) + 1) if 0 < rate < 1 else 0.0
    together = np.zeros(count, bool)
    for field, mask in masks.items():
        together |= mask
        if mask.sum() > rate * count + luck:
            raise PluginError(f"{where} touched {mask.sum()} of {count} rows of {field}, too many for a rate of {rate}")
    if together.sum() < rate * count - luck:
        raise PluginError(f"{where} touched {together.sum()} of {count} rows, too few for a rate of {rate}")


def _check_radius(
    field: str, radius: float, clean: TransitionDataset, corrupted: TransitionDataset, where: str
) -> None:
    """That no value moved further than ``radius`` standard deviations of the clean field, but for rounding."""
    before, after = getattr(clean, field), getattr(corrupted, field)
    std = mean_and_std(before)[1]
    furthest = 0.0
    for rows in chunks(len(before)):
        old, new = before[rows].astype(np.float64), after[rows].astype(np.float64)
        rounding = np.spacing(np.maximum(np.abs(before[rows]), np.abs(after[rows])))
        moved = np.abs(new - old)
        outside = moved > radius * std * (1 + 1e-6) + rounding  # z may be a rounded number, too
        if outside.any():
            with np.errstate(divide="ignore", invalid="ignore"):
                furthest = max(furthest, float((moved / std)[outside].max()))
    if furthest:
        raise PluginError(
            f"{where} moved {field} by up to {furthest:.4g} standard deviations, and its class declares {radius:g}"
        )


def differing_rows(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mask ``(N,)`` of the rows in which two arrays of the same shape differ."""
    found = np.zeros(len(one), bool)
    for rows in chunks(len(one)):
        found[rows] = (one[rows] != other[rows]).reshape(len(one[rows]), -1).any(1)
    return found


def _digests(dataset: TransitionDataset) -> dict[str, bytes]:
    """A hash of each field: what it takes to see a change, without a copy of the data."""
    return {field: hashlib.blake2b(np.ascontiguousarray(getattr(dataset, field)).data).digest() for field in HASHED}
