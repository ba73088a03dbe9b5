"""Moments that are the same on every machine: float64, two passes, summed row after row (section 1)."""

from collections.abc import Iterable, Iterator

import numpy as np

_CHUNK = 1 << 16


def mean_and_std(*blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation (ddof 0) per dimension over all rows of all blocks, in float64.

    Each block is ``(N, d)`` or ``(N,)``, the results are ``(d,)`` or have no axis.
    """
    count = sum(len(block) for block in blocks)
    mean = _sum(_chunks(blocks)) / count
    variance = _sum((rows - mean) ** 2 for rows in _chunks(blocks)) / count
    return mean, np.sqrt(variance)


def _chunks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        for start in range(0, len(block), _CHUNK):
            yield block[start : start + _CHUNK].astype(np.float64)


def _sum(chunks: Iterable[np.ndarray]) -> np.ndarray:
    """Row after row, not pairwise as ``np.sum``, whose order depends on the processor."""
    total: np.ndarray | float = 0.0
    for rows in chunks:
        rows[0] += total
        total = np.add.accumulate(rows, axis=0)[-1]
    return np.asarray(total)
