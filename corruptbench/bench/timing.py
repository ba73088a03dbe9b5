"""What the parts measure with: wall time, peak memory, and the rate of matrix products that this core reaches."""

import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch


def rate(steps: Callable[[int], object], seconds: float, count: int = 10) -> float:
    """Steps per second, ``count`` of them at least; ``steps(n)`` takes n of them."""
    taken, begin, passed = 0, time.perf_counter(), 0.0
    while passed < seconds:
        steps(count)
        taken += count
        passed = time.perf_counter() - begin
    return taken / passed


def matrix_rate(products: int = 200) -> float:
    """FLOP per second of ``torch.mm(out=)``, 256 x 256 x 256, float32, warm, the median of five."""
    left, right, out = (torch.ones(256, 256) for _ in range(3))
    rates = []
    for _ in range(6):
        begin = time.perf_counter()
        for _ in range(products):
            torch.mm(left, right, out=out)
        rates.append(products * 2 * 256**3 / (time.perf_counter() - begin))
    return statistics.median(rates[1:])


def median_ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of measurements that were taken in turns."""
    return statistics.median(a / b for a, b in zip(ours, others, strict=True))


def peak_memory_mb() -> float | None:
    """Peak resident memory of this process; None on Windows, which does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
