"""Statistics over units against values worked out by hand and against a slow bootstrap (section 5)."""

import hashlib
import itertools
import math
import statistics

import numpy as np
import pytest

from corruptbench.errors import DataError
from corruptbench.tables.stats import (
    RESAMPLES,
    aggregate_interval,
    correlation,
    correlation_interval,
    drop,
    holm,
    interval,
    iqm,
    mean,
    mean_of_all,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    profile_band,
    sign_flip,
    smallest_p,
    std,
    t_interval,
    with_floor,
    worst_quarter,
)

SCORES = [12.0, 30.5, -4.0, 55.25, 21.0, 8.0, 44.0]


def test_mean_and_std():
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert std([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt((4 + 1 + 9) / 2), rel=1e-15)  # n - 1, not n
    assert std([5.0, 5.0]) == 0.0
    assert std([5.0]) is None
    assert mean(SCORES) == pytest.approx(statistics.fmean(SCORES), rel=1e-15)
    assert std(SCORES) == pytest.approx(statistics.stdev(SCORES), rel=1e-14)
    assert type(mean(SCORES)) is type(std(SCORES)) is type(worst_quarter(SCORES)) is float


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], 7.0),
        ([7.0, -3.0], -3.0),
        ([4.0, 3.0, 2.0, 1.0], 1.0),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 1.5),  # ceil(5 / 4) = 2
        ([8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0], 1.5),
        ([9.0, 8.0, 1.0, 7.0, 2.0, 6.0, 3.0, 5.0, 4.0], 2.0),  # ceil(9 / 4) = 3
        ([0.0, 100.0, 100.0, 100.0, -50.0, 100.0, 100.0, 100.0, 100.0, 100.0], 50 / 3),
    ],
)
def test_worst_quarter(scores, expected):
    assert worst_quarter(scores) == pytest.approx(expected, rel=1e-15)


def test_nothing_is_sorted_in_place():
    scores = list(SCORES)
    worst_quarter(scores)
    interval(scores, "x")
    with_floor(scores, scores)
    assert scores == SCORES


@pytest.mark.parametrize(
    ("scores", "sound", "expected"),
    [
        ([1.0, -9.0, 3.0], [1.0, -9.0, 3.0], [1.0, -9.0, 3.0]),
        ([1.0, -9.0], [], [1.0, -9.0]),  # nothing has failed, so nothing is asked for
        ([50.0, None, 60.0], [50.0, 60.0], [50.0, 0.0, 60.0]),  # min(0, lowest) with all above 0
        ([50.0, None, None], [50.0, -7.5, 60.0], [50.0, -7.5, -7.5]),  # the lowest is another algorithm's
        ([None], [3.0], [0.0]),
        ([None], [0.0], [0.0]),
        ([None, 2.0], [2.0, -0.5], [-0.5, 2.0]),
        ([None, None], [], None),
        ([], [], []),
    ],
)
def test_floor(scores, sound, expected):
    assert with_floor(scores, sound) == expected


def test_no_interval_under_5_units():
    for n in range(5):
        assert interval(SCORES[:n], "x") is None
    assert interval(SCORES[:5], "x") is not None


def drawn_units(n, name):
    """10,000 times n of n units, drawn with replacement from the stream ``bootstrap/<name>``."""
    seed = hashlib.sha256(f"cb2026/bootstrap/{name}".encode()).digest()
    raw = np.random.PCG64(int.from_bytes(seed, "big")).random_raw(10_000 * n).tolist()
    drawn = [int((number >> 11) * 2.0**-53 * n) for number in raw]
    return [drawn[i : i + n] for i in range(0, len(drawn), n)]


def slow_interval(scores, name, level):
    """Percentiles of 10,000 means of as many scores."""
    means = sorted(sum(scores[unit] for unit in chosen) / len(scores) for chosen in drawn_units(len(scores), name))

    def percentile(share):
        place = share * (len(means) - 1)  # linear between the two nearest
        below = math.floor(place)
        return means[below] + (place - below) * (means[min(below + 1, len(means) - 1)] - means[below])

    return percentile((1 - level) / 2), percentile((1 + level) / 2)


@pytest.mark.parametrize("level", [0.95, 0.8])
@pytest.mark.parametrize("name", ["x", "cb2026/hopper-replay/iql"])
def test_interval_is_the_slow_one(name, level):
    assert RESAMPLES == 10_000
    assert interval(SCORES, name, level) == pytest.approx(slow_interval(SCORES, name, level), rel=1e-12)


def test_interval_is_deterministic_and_named():
    low, high = interval(SCORES, "x")
    assert (low, high) == interval(list(SCORES), "x")
    assert type(low) is type(high) is float
    assert low < mean(SCORES) < high
    assert (low, high) != interval(SCORES, "y")
    assert interval(SCORES, "y") == pytest.approx((low, high), abs=1.0)
    wide = interval(SCORES, "x", 0.99)
    assert wide[0] < low
    assert wide[1] > high


def test_interval_of_equal_scores_is_a_point():
    assert interval([7.0] * 5, "x") == (7.0, 7.0)


def test_interval_moves_with_the_scores():
    low, high = interval(SCORES, "x")
    moved = interval([100 + 2 * score for score in SCORES], "x")
    assert moved == pytest.approx((100 + 2 * low, 100 + 2 * high), rel=1e-12)


def test_interval_covers():
    """95 % intervals of 10 units of a normal score hold its mean about as often: a bootstrap is a little too narrow."""
    rng = np.random.default_rng(0)
    covered = 0
    for case in range(300):
        low, high = interval((50 + 10 * rng.normal(size=10)).tolist(), str(case))
        covered += low <= 50 <= high
    assert 0.86 < covered / 300 < 0.95


def test_students_interval_of_a_few_units():
    """Against the quantile by bisection of the distribution function, integrated numerically."""
    for n in range(2, 11):
        scores = [float((7 * i) % 5) for i in range(n)]
        low, high = t_interval(scores)
        assert (low + high) / 2 == pytest.approx(np.mean(scores))
        quantile = (high - low) / 2 / (np.std(scores, ddof=1) / math.sqrt(n))
        x = np.linspace(0, quantile, 200_001)
        density = (1 + x**2 / (n - 1)) ** (-n / 2)
        density *= math.gamma(n / 2) / (math.sqrt((n - 1) * math.pi) * math.gamma((n - 1) / 2))
        assert np.trapezoid(density, x) == pytest.approx(0.475, abs=2e-5)
    assert t_interval([1.0]) is None
    assert t_interval([1.0] * 11) is None


# Across cells: (units, cells)

STATISTICS = (iqm, mean_of_all, median, optimality_gap)

TABLE = [[10.0, 80.0], [20.0, 90.0], [0.0, 130.0], [40.0, -20.0], [30.0, 70.0]]
"""5 units of 2 cells, with means of 20 and 70."""


def test_aggregates_by_hand():
    ordered = [-20, 0, 10, 20, 30, 40, 70, 80, 90, 130]  # int(2.5) = 2 are cut off at each end
    assert iqm(TABLE) == pytest.approx(sum(ordered[2:-2]) / 6, rel=1e-15) == 250 / 6
    assert median(TABLE) == 45.0
    assert median([[1.0, 5.0, 100.0]]) == 5.0  # over cells, not over scores
    assert median([[0.0, 5.0, 6.0], [90.0, 5.0, 8.0]]) == 7.0  # of the cells' means 45, 5, 7
    assert optimality_gap(TABLE) == pytest.approx(100 - (20 * 5 + 320 - 100 + 100 - 100 + 100) / 10)
    assert optimality_gap([[130.0, 70.0]]) == 15.0  # 30 points above gamma make up for nothing
    assert optimality_gap([[130.0, 70.0]], gamma=150.0) == 50.0
    assert iqm([[1.0, 2.0, 9.0]]) == 4.0  # too few to cut any off
    assert iqm([[1.0, 2.0, 4.0, 90.0]]) == 3.0
    assert mean_of_all(TABLE) == 45.0
    for statistic in STATISTICS:
        assert isinstance(statistic(TABLE), float)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (10, 9), (4, 1)])
def test_many_tables_at_once_are_each_alone(statistic, shape):
    tables = np.random.default_rng(3).normal(70, 40, (2, 6, *shape))
    alone = [[statistic(table) for table in row] for row in tables]
    np.testing.assert_allclose(statistic(tables), alone, rtol=1e-13)
    assert statistic(tables).shape == (2, 6)


def test_iqm_is_what_scipy_trims():
    """rliable's is ``scipy.stats.trim_mean(scores, 0.25, axis=None)``: int(0.25 * count) at each end, of all scores."""
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (3, 3), (5, 7), (10, 9), (4, 1)):
        scores = rng.normal(50, 30, shape)
        kept = sorted(scores.ravel().tolist())
        for _ in range(int(0.25 * scores.size)):
            kept = kept[1:-1]
        assert iqm(scores) == pytest.approx(sum(kept) / len(kept), rel=1e-12)


@pytest.mark.parametrize("scores", [[1.0, 2.0], [[1.0, math.nan]], [[math.inf]], [], [[]], np.zeros((2, 0))])
def test_a_gap_is_refused(scores):
    """Sorted to the end, a NaN would be cut off by an IQM, and a failed run with it."""
    for function in STATISTICS:
        with pytest.raises(DataError, match=r"needed is \(units, cells\) with a finite number in each place"):
            function(scores)


def test_units_are_resampled_whole():
    """Cells of a unit that move together do not average out; drawn apart, as independent runs, they would."""
    assert aggregate_interval(TABLE[:4], iqm, "x") is None
    shared = np.repeat(np.array(SCORES)[:, None], 20, axis=1)
    low, high = aggregate_interval(shared, mean_of_all, "x")
    assert (low, high) == pytest.approx(interval(SCORES, "x"), rel=1e-12)
    assert (low, high) != aggregate_interval(shared, mean_of_all, "y")
    opposed = np.array([SCORES, [100 - score for score in SCORES]]).T
    assert aggregate_interval(opposed, mean_of_all, "x") == pytest.approx((50, 50))
    slowly = [iqm(np.array(TABLE)[chosen]) for chosen in drawn_units(5, "x")]
    assert aggregate_interval(TABLE, iqm, "x") == pytest.approx(np.quantile(slowly, [0.025, 0.975]), rel=1e-12)
    with pytest.raises(DataError, match=r"a statistic of 10000 tables has shape \(\), needed is \(10000,\)"):
        aggregate_interval(TABLE, lambda table: float(table.mean()), "x")
    narrow = aggregate_interval(TABLE, iqm, "x", 0.5)
    wide = aggregate_interval(TABLE, iqm, "x")
    assert wide == aggregate_interval(np.array(TABLE), iqm, "x")
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_performance_profile():
    thresholds = [-50.0, 10.0, 79.9, 80.0, 200.0]
    assert performance_profile(TABLE, thresholds).tolist() == [1.0, 0.7, 0.3, 0.2, 0.0]  # above, not at
    assert profile_band(TABLE[:4], thresholds, "x") is None
    low, high = profile_band(TABLE, thresholds, "x")
    assert low.shape == high.shape == (5,)
    assert (low[0], high[0], low[-1], high[-1]) == (1.0, 1.0, 0.0, 0.0)
    for i, threshold in enumerate(thresholds):
        shares = [sum(score > threshold for score in unit) / 2 for unit in TABLE]
        assert (low[i], high[i]) == pytest.approx(interval(shares, "x"))
    assert profile_band(TABLE, [], "x")[0].shape == (0,)


def test_probability_of_improvement():
    a, b = [[3.0, 1.0], [5.0, 1.0]], [[3.0, 1.0], [4.0, 2.0], [9.0, 0.0]]
    first = (0.5 + 0 + 0 + 1 + 1 + 0) / 6  # 3 and 5 against 3, 4, 9
    second = 2 * (0.5 + 0 + 1) / 6
    assert probability_of_improvement(a, b) == pytest.approx((first + second) / 2)
    assert probability_of_improvement(b, a) == pytest.approx(1 - (first + second) / 2)
    assert probability_of_improvement(TABLE, TABLE) == 0.5
    with pytest.raises(DataError, match="2 are not 1"):
        probability_of_improvement(a, [[1.0]])


def test_drop():
    assert drop([80.0, 120.0], [30.0, 20.0]) == (75.0, 75.0)
    assert drop([40.0], [50.0]) == (-10.0, -25.0)
    assert drop([50.0], [-50.0]) == (100.0, 200.0)
    assert drop([0.0], [-3.0]) == (3.0, None)  # no share of nothing
    assert drop([-1.0], [-3.0]) == (2.0, None)


def slow_sign_flip(differences):
    """The share of all 2^n sign patterns whose sum is as far from 0 as the one that was seen."""
    patterns = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(sign * value for sign, value in zip(signs, differences, strict=True))) for signs in patterns]
    return sum(total >= sums[0] for total in sums) / len(sums)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 2.0, 3.0], 0.25),  # +++ and ---
        ([5.0] * 5, 0.0625),
        ([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0], 0.03125),
        ([1.0, -1.0], 1.0),
        ([3.0, 1.0, -1.0], 0.75),  # sums 3 5 1 3 and their opposites: 3 is reached by six of eight
        ([0.0, 0.0, 0.0], 1.0),
        ([2.0, 0.0, 0.0], 1.0),  # a unit that tied takes no side
        ([4.0], 1.0),
        ([], 1.0),
    ],
)
def test_sign_flip_by_hand(differences, p):
    assert sign_flip(differences) == p == slow_sign_flip(differences)
    assert sign_flip([-value for value in differences]) == p


def test_sign_flip_is_the_slow_one_and_counts_ties():
    rng = np.random.default_rng(3)
    for n in range(2, 11):
        differences = rng.integers(-9, 12, n).astype(float).tolist()  # sums of whole numbers tie, and exactly
        assert sign_flip(differences) == slow_sign_flip(differences)
        assert sign_flip([value / 10 for value in differences]) == slow_sign_flip(differences)  # these are rounded


def test_sign_flip_of_many_units_is_drawn():
    """Above 14 units 10,000 patterns and the observed one, always the same: never 0, and near the exact p."""
    rng = np.random.default_rng(4)
    differences = rng.normal(0.5, 1, 15).tolist()
    assert sign_flip(differences) == sign_flip(differences) == pytest.approx(slow_sign_flip(differences), abs=0.02)
    assert sign_flip([1.0 + i for i in range(40)]) == 1 / 10_001 == smallest_p(40)


def test_smallest_p():
    """What section 5 prints: n = 3 0.25, n = 5 0.0625, n = 10 0.002; a family of 3 makes it three times as large."""
    assert [smallest_p(n) for n in (0, 1, 2, 3, 5, 10)] == [1.0, 1.0, 0.5, 0.25, 0.0625, 2 / 1024]
    for n in (3, 5, 10, 14):
        assert sign_flip([1.0 + i for i in range(n)]) == smallest_p(n)
        assert holm([smallest_p(n)] * 3) == [smallest_p(n, 3)] * 3
    assert smallest_p(3, 28) == 1.0


def test_holm():
    """By hand: 3 x 0.01, 2 x 0.02 and 0.04 as it is, but never below the one before."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_an_a_a_comparison_and_a_true_difference():
    """1,000 pairs of 10 units: the same algorithm differs in 5 % at most, one that is two deviations better in 90 %."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (2, 1000, 10))
    called = np.mean([sign_flip(pair) < 0.05 for pair in noise[0] - noise[1]])
    assert called <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)
    found = np.mean([sign_flip(pair + 2) < 0.05 for pair in noise[0] - noise[1]])
    assert found >= 0.9
    assert not any(sign_flip(pair[:5] + 100) < 0.05 for pair in noise[0])  # 5 units can call none, however clear


def test_correlation_is_within_cells():
    """Between cells both rise together, within them one falls: it is the fall that counts."""
    cells = ["a", "a", "a", "b", "b", "b"]
    x, y = [1.0, 2, 3, 101, 102, 103], [12.0, 11, 10, 52, 51, 50]
    assert np.corrcoef(x, y)[0, 1] > 0.99
    assert correlation(x, y, cells) == pytest.approx(-1)
    bent = [12.0, 9, 10, 52, 51, 55]
    a, b = [-1, 0, 1] * 2, [12 - 31 / 3, 9 - 31 / 3, 10 - 31 / 3, 52 - 158 / 3, 51 - 158 / 3, 55 - 158 / 3]
    by_hand = sum(p * q for p, q in zip(a, b, strict=True)) / math.sqrt(4 * sum(q * q for q in b))
    assert correlation(x, bent, cells) == pytest.approx(by_hand)
    assert correlation([1.0, 1, 5, 5], [1.0, 2, 3, 4], list("aabb")) == 0  # x varies in no cell


def test_the_partial_correlation_is_yules():
    """(r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)), within cells; its interval leaves units out."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=24)
    x, y = z + rng.normal(size=24), 0.5 * z + rng.normal(size=24)
    cells, units = list("aabb") * 6, [i // 4 for i in range(24)]

    def yule(kept):
        own = [cell for cell, keep in zip(cells, kept, strict=True) if keep]
        xy, xz, yz = (correlation(a[kept], b[kept], own) for a, b in ((x, y), (x, z), (y, z)))
        return (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))

    whole = yule(np.ones(24, dtype=bool))
    assert correlation(x, y, cells, z) == pytest.approx(whole)
    assert correlation(x + 100 * (np.array(cells) == "a"), y, cells, z) == pytest.approx(whole)
    assert correlation(x, y, cells, [5.0] * 24) == pytest.approx(correlation(x, y, cells))  # it varies in no cell
    found = np.arctanh([yule(np.array(units) != unit) for unit in range(6)])
    half = 2.5706 * math.sqrt(5 / 6 * ((found - found.mean()) ** 2).sum())
    expected = [math.tanh(math.atanh(whole) + side * half) for side in (-1, 1)]
    assert correlation_interval(x, y, cells, units, z) == pytest.approx(expected, rel=1e-4)


def test_the_interval_of_a_correlation_leaves_whole_units_out():
    """Two cells, three units of one run each: by hand, with the cells' means anew each time."""
    cells, units = list("aaabbb"), [0, 1, 2, 0, 1, 2]
    x, y = np.array([1.0, 2, 4, 3, 3, 7]), np.array([2.0, 1, 6, 0, 5, 4])
    without = []
    for unit in range(3):
        kept = [i for i in range(6) if units[i] != unit]
        a, b = x[kept], y[kept]
        a, b = (np.concatenate([v[:2] - v[:2].mean(), v[2:] - v[2:].mean()]) for v in (a, b))
        without.append(math.atanh(a @ b / math.sqrt((a @ a) * (b @ b))))
    middle = sum(without) / 3
    half = 4.3027 * math.sqrt(2 / 3 * sum((z - middle) ** 2 for z in without))
    z = math.atanh(correlation(x, y, cells))
    found = correlation_interval(x, y, cells, units)
    assert found == pytest.approx((math.tanh(z - half), math.tanh(z + half)))
    shuffled = [4, 0, 5, 2, 1, 3]
    again = correlation_interval(x[shuffled], y[shuffled], [cells[i] for i in shuffled], [units[i] for i in shuffled])
    assert again == pytest.approx(found)


def test_a_correlation_has_an_interval_of_three_to_ten_units():
    for n, given in ((2, False), (3, True), (10, True), (11, False)):
        values = [math.sin(i) for i in range(n)]
        found = correlation_interval(values, values[::-1], ["a"] * n, list(range(n)))
        assert (found is not None) is given
    same = correlation_interval([1.0, 2, 3, 5], [1.0, 2, 3, 5], ["a"] * 4, [0, 1, 2, 3])
    assert same == pytest.approx((1, 1))
