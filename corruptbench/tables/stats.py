"""Statistics over units, as pure functions (section 5). A unit is one pair of seeds; episodes are no replication."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from corruptbench.rng import stream, uniforms

RESAMPLES = 10_000


def mean(scores: Sequence[float]) -> float:
    return float(np.mean(scores))


def std(scores: Sequence[float]) -> float | None:
    """Sample standard deviation over units (ddof 1), None for a single unit."""
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else None


def worst_quarter(scores: Sequence[float]) -> float:
    """Mean of the ceil(n/4) lowest: corruption makes learners collapse, and a mean hides that."""
    return float(np.mean(sorted(scores)[: math.ceil(len(scores) / 4)]))


def interval(scores: Sequence[float], name: str, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile bootstrap of the mean over units; None under 5 units, where it covers far less than it says.

    ``name`` names the random stream, so a table is the same to the byte whenever it is built.
    """
    n = len(scores)
    if n < 5:
        return None
    chosen = (uniforms(stream("bootstrap", name), RESAMPLES, n) * n).astype(int)
    means = np.sort(np.asarray(scores)[chosen].mean(1))
    tail = (1 - level) / 2
    return float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def t_interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval of the mean for 2 to 10 units, None for any other number.

    With few units it is wide, and unlike the bootstrap's it covers what it says where scores are about normal.
    """
    n = len(scores)
    if not 2 <= n <= 10:
        return None
    half = _STUDENT[n - 2] * float(np.std(scores, ddof=1)) / math.sqrt(n)
    return mean(scores) - half, mean(scores) + half


_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)
"""The 97.5 % quantiles of Student's distribution with 1 to 9 degrees of freedom."""


class WorstCase(NamedTuple):
    """The lowest of several attacks' means over the same units."""

    attack: str
    mean: float
    bounds: tuple[float, float] | None  # 95 % interval, None under 5 units


def worst_case(scores: Mapping[str, Sequence[float]], name: str, level: float = 0.95) -> WorstCase:
    """The minimum over attacks of the units' mean, each attack's scores in the same order of units.

    In every bootstrap replicate units are drawn for all attacks together and the minimum is taken again: the minimum of
    noisy means is biased, and the interval shows it. ``name`` names the random stream.
    """
    table = np.array(list(scores.values()))  # (attacks, units)
    means = table.mean(1)
    lowest = int(means.argmin())
    n, bounds = table.shape[1], None
    if n >= 5:
        chosen = (uniforms(stream("bootstrap", name), RESAMPLES, n) * n).astype(int)
        replicates = table[:, chosen].mean(2).min(0)
        tail = (1 - level) / 2
        bounds = float(np.quantile(replicates, tail)), float(np.quantile(replicates, 1 - tail))
    return WorstCase(list(scores)[lowest], float(means[lowest]), bounds)


def with_floor(scores: Sequence[float | None], sound_in_cell: Sequence[float]) -> list[float] | None:
    """Every unit's score; one that diverged or failed (None) scores min(0, lowest sound run of the cell), section 4.

    None where no run of the cell is sound, so there is nothing to measure the floor by.
    """
    if all(score is not None for score in scores):
        return [score for score in scores if score is not None]
    if not sound_in_cell:
        return None
    floor = min(0.0, *sound_in_cell)
    return [floor if score is None else score for score in scores]
