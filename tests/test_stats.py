"""Statistics over units against values worked out by hand and against a slow bootstrap (section 5)."""

import hashlib
import math
import statistics

import numpy as np
import pytest

from corruptbench.tables.stats import RESAMPLES, interval, mean, std, t_interval, with_floor, worst_quarter

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


def slow_interval(scores, name, level):
    """Percentiles of 10,000 means of as many scores, drawn with replacement from the stream ``bootstrap/<name>``."""
    seed = hashlib.sha256(f"cb2026/bootstrap/{name}".encode()).digest()
    bits = np.random.PCG64(int.from_bytes(seed, "big"))
    n = len(scores)
    raw = bits.random_raw(10_000 * n).tolist()
    drawn = [scores[int((number >> 11) * 2.0**-53 * n)] for number in raw]
    means = sorted(sum(drawn[i : i + n]) / n for i in range(0, len(drawn), n))

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
