"""Moments that are the same on every machine: float64, two passes, summed row after row (section 1)."""

from collections.abc import Iterable, Iterator

import numpy as np

CHUNK = 1 << 16
"""Rows that are handled together, so that what is temporary stays small beside the data."""


def chunks(count: int) -> Iterator[slice]:
    """Slices that cover ``count`` rows in order."""
    return (slice(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK))


def mean_and_std(*blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation (ddof 0) per dimension over all rows of all blocks, in float64.

    Each block is ``(N, d)`` or ``(N,)``, the results are ``(d,)`` or have no axis.
    """
    count = sum(len(block) for block in blocks)
    mean = _sum(_float64(blocks)) / count
    variance = _sum((rows - mean) ** 2 for rows in _float64(blocks)) / count
    return mean, np.sqrt(variance)


def _float64(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        for part in chunks(len(block)):
            yield block[part].astype(np.float64)


def _sum(pieces: Iterable[np.ndarray]) -> np.ndarray:
    """Row after row, not pairwise as ``np.sum``, whose order depends on the processor."""
    total: np.ndarray | float = 0.0
    for rows in pieces:
        rows[0] += total
        total = np.add.accumulate(rows, axis=0)[-1]
    return np.asarray(total)
