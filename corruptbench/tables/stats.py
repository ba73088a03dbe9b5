"""Statistics over units, as pure functions (section 5). A unit is one pair of seeds; episodes are no replication.

Those across cells take arrays of shape ``(units, cells)``, rliable's runs x tasks, without gaps: every unit has a score
in every cell, with :func:`with_floor` for the ones that failed. A :data:`Statistic` takes many of them at once.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from corruptbench.errors import DataError
from corruptbench.rng import stream, uniforms

Statistic = Callable[[np.ndarray], Any]
"""Scores ``(..., units, cells)`` -> ``(...)``; of a single table a float."""

RESAMPLES = 10_000
FEWEST = 5
"""Units below which there is no bootstrap interval, no rank and no test."""
EXACT = 14
"""Units up to which the sign-flip test goes through all 2^n sign patterns."""


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
    if len(scores) < FEWEST:
        return None
    return _bounds(np.asarray(scores)[_draws(len(scores), name)].mean(1), level)


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
    if n >= FEWEST:
        bounds = _bounds(table[:, _draws(n, name)].mean(2).min(0), level)
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


def iqm(scores: ArrayLike) -> Any:
    """Interquartile mean over all units and cells together: a quarter of the scores is cut off at each end (rliable).

    As many as ``int(0.25 * count)`` are cut, so under 4 scores it is their mean. A :data:`Statistic`.
    """
    tables = _tables(scores)
    ordered = np.sort(tables.reshape(*tables.shape[:-2], -1))
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(-1)


def mean_of_all(scores: ArrayLike) -> Any:
    """Mean over all units and cells (rliable's aggregate_mean). A :data:`Statistic`."""
    return _tables(scores).mean((-2, -1))


def median(scores: ArrayLike) -> Any:
    """Median over cells of the mean over units (rliable's aggregate_median). A :data:`Statistic`."""
    return np.median(_tables(scores).mean(-2), -1)


def optimality_gap(scores: ArrayLike, gamma: float = 100.0) -> Any:
    """How far the scores fall short of ``gamma`` on average; what lies above it makes up for nothing (rliable).

    A :data:`Statistic`.
    """
    return gamma - np.minimum(_tables(scores), gamma).mean((-2, -1))


def aggregate_interval(
    scores: ArrayLike, statistic: Statistic, name: str, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile bootstrap of a statistic of ``(units, cells)``; None under 5 units.

    Cells are the strata: each keeps its n scores in every replicate, so none is easier than the benchmark. Units are
    drawn for all cells together. rliable draws them for each cell anew, as independent runs allow; here the cells of a
    unit share its seeds, and drawing them apart would make the interval too narrow. ``name`` names the random stream.
    Raises DataError for a statistic that makes one figure of many tables.
    """
    table = _matrix(scores)
    if len(table) < FEWEST:
        return None
    replicates = statistic(table[_draws(len(table), name)])
    if np.shape(replicates) != (RESAMPLES,):
        raise DataError(f"a statistic of {RESAMPLES} tables has shape {np.shape(replicates)}, needed is ({RESAMPLES},)")
    return _bounds(replicates, level)


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """The fraction of all scores above each threshold, ``(thresholds,)`` (rliable's run-score distribution)."""
    return _above(scores, thresholds).mean(0)


def profile_band(
    scores: ArrayLike, thresholds: ArrayLike, name: str, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper bound of :func:`performance_profile`, each ``(thresholds,)``; None under 5 units.

    Whole units are resampled as in :func:`aggregate_interval`. The band holds at each threshold, not along all of them.
    """
    above = _above(scores, thresholds)
    if len(above) < FEWEST:
        return None
    chosen = _draws(len(above), name)
    bounds = np.array([_bounds(column[chosen].mean(1), level) for column in above.T]).reshape(-1, 2)
    return bounds[:, 0], bounds[:, 1]


def probability_of_improvement(a: ArrayLike, b: ArrayLike) -> float:
    """P(a score of a > a score of b) over all pairs of units, mean over cells; a tie counts half (rliable).

    The cells are the same and in the same order, the numbers of units may differ.
    """
    mine, theirs = _matrix(a)[:, None], _matrix(b)[None]  # (units a, 1, cells), (1, units b, cells)
    if mine.shape[2] != theirs.shape[2]:
        raise DataError(f"the cells of two algorithms are compared: {mine.shape[2]} are not {theirs.shape[2]}")
    return float(((mine > theirs) + 0.5 * (mine == theirs)).mean())


class Drop(NamedTuple):
    """What corruption costs an algorithm, against its own score on clean data; a gain is negative."""

    points: float  # normalized points
    percent: float | None  # of the clean score; None where that is not above 0, so there is nothing to lose a share of


def drop(clean: Sequence[float] | np.ndarray, corrupted: Sequence[float] | np.ndarray) -> Drop:
    """Robustness drop: mean clean score - mean corrupted score, and the same as a share of the clean one."""
    start = float(np.mean(clean))
    points = start - float(np.mean(corrupted))
    return Drop(points, 100 * points / start if start > 0 else None)


def sign_flip(differences: ArrayLike) -> float:
    """Two-sided p of paired differences, one a unit, by the sign-flip permutation test of their sum.

    If two algorithms are the same, each difference could as well have the other sign. p is the share of sign patterns
    whose sum is at least as far from 0: of all 2^n up to 14 units, and above that of 10,000 patterns of a fixed stream
    and the observed one, (k + 1)/(m + 1).
    """
    values = np.asarray(differences, dtype=float)
    n = len(values)
    if n <= EXACT:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)  # (patterns, units), the first as observed
    else:
        signs = np.vstack([np.ones(n), np.where(uniforms(stream("sign-flip", n), RESAMPLES, n) < 0.5, -1.0, 1.0)])
    sums = np.abs((signs * values).sum(1))
    rounding = 1e-12 * np.abs(values).sum()  # a sum in another order is a tie
    return float(np.mean(sums >= sums[0] - rounding))


def correlation(x: ArrayLike, y: ArrayLike, cells: Sequence[Hashable], given: ArrayLike | None = None) -> float:
    """Pearson's r of x and y ``(runs,)`` within cells: of both, the mean over a run's cell is taken off first.

    With ``given`` ``(runs,)`` the partial r (Yule 1907, Proc. R. Soc. A 79): of both, what least squares foretell from
    it within cells is taken off as well. 0 where one of them varies in no cell.
    """
    a, b = (_within(values, cells) for values in (x, y))
    if given is not None:
        c = _within(given, cells)
        length = float(c @ c)
        a, b = (values - c * (float(values @ c) / length) if length else values for values in (a, b))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale else 0.0


def correlation_interval(
    x: ArrayLike,
    y: ArrayLike,
    cells: Sequence[Hashable],
    units: Sequence[int],
    given: ArrayLike | None = None,
) -> tuple[float, float] | None:
    """Student's 95 % interval of :func:`correlation` by the jackknife over units; None but for 3 to 10 of them.

    Runs of a unit share its seeds, so each unit is left out with all its runs, and what is left has its cells' means
    anew. Fisher's z = atanh r has standard error sqrt((n - 1)/n sum (z_without - their mean)^2). Sources: Tukey 1958,
    Ann. Math. Stat. 29; Fisher 1921, Metron 1.
    """
    values, others, groups = np.asarray(x, dtype=float), np.asarray(y, dtype=float), np.asarray(units)
    taken = None if given is None else np.asarray(given, dtype=float)
    found = sorted(set(units))
    n = len(found)
    if not 3 <= n <= 10:
        return None

    def z(kept: np.ndarray) -> float:
        own = [cell for cell, keep in zip(cells, kept, strict=True) if keep]
        r = correlation(values[kept], others[kept], own, None if taken is None else taken[kept])
        return math.atanh(max(-_NEARLY_ONE, min(_NEARLY_ONE, r)))

    without = np.array([z(groups != unit) for unit in found])
    half = _STUDENT[n - 2] * math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    whole = z(groups == groups)
    return math.tanh(whole - half), math.tanh(whole + half)


_NEARLY_ONE = 1 - 1e-12


def _within(values: ArrayLike, cells: Sequence[Hashable]) -> np.ndarray:
    numbers = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
    codes = np.array([numbers[cell] for cell in cells])
    flat = np.asarray(values, dtype=float)
    means: np.ndarray = np.bincount(codes, weights=flat) / np.bincount(codes)
    return flat - means[codes]


def smallest_p(n: int, family: int = 1) -> float:
    """The smallest p that :func:`sign_flip` of n units and :func:`holm` over ``family`` comparisons can reach."""
    return min(1.0, family * (2.0 ** (1 - n) if n <= EXACT else 1 / (RESAMPLES + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p of a family of comparisons, in their order: below 0.05 all hold with 95 % together."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _tables(scores: ArrayLike) -> np.ndarray:
    """Scores ``(..., units, cells)``; raises DataError for a gap, which sorting would put where an IQM cuts it off."""
    tables = np.asarray(scores, dtype=float)
    if tables.ndim < 2 or not tables.size or not np.isfinite(tables).all():
        raise DataError(f"scores of shape {tables.shape}: needed is (units, cells) with a finite number in each place")
    return tables


def _matrix(scores: ArrayLike) -> np.ndarray:
    """As :func:`_tables`, of a single table."""
    if np.ndim(scores) > 2:
        raise DataError(f"scores of shape {np.shape(scores)}: needed is one table (units, cells)")
    return _tables(scores)


def _above(scores: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """Each unit's share of cells above each threshold, ``(units, thresholds)``."""
    return (_matrix(scores)[:, :, None] > np.asarray(thresholds, dtype=float)).mean(1)


def _draws(n: int, name: str) -> np.ndarray:
    """Which units each bootstrap replicate takes, ``(RESAMPLES, n)``."""
    return (uniforms(stream("bootstrap", name), RESAMPLES, n) * n).astype(int)


def _bounds(replicates: np.ndarray, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    return float(np.quantile(replicates, tail)), float(np.quantile(replicates, 1 - tail))
