"""Moments against a loop over rows in pure Python, to the last bit (section 1)."""

import math

import numpy as np
import pytest

from corruptbench import numerics
from corruptbench.numerics import mean_and_std


def slow(*blocks):
    """Mean and standard deviation per column as lists: two passes, one row after the other, in Python's floats."""
    rows = [[float(x) for x in np.atleast_1d(row)] for block in blocks for row in block]
    means, deviations = [], []
    for column in range(len(rows[0])):
        total = 0.0
        for row in rows:
            total += row[column]
        mean = total / len(rows)
        total = 0.0
        for row in rows:
            total += (row[column] - mean) * (row[column] - mean)
        means.append(mean)
        deviations.append(math.sqrt(total / len(rows)))
    return means, deviations


def table(rows, columns, dtype=np.float32, seed=0):
    """Values of many magnitudes: a thousand float32 of one magnitude add up exactly, in whatever order."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, columns)) + np.linspace(-5, 5, columns)
    return (values * np.exp2(generator.uniform(-30, 30, size=(rows, columns)))).astype(dtype)


def assert_same_bits(found, expected):
    """Two pairs of mean and standard deviation, equal as bytes; NaN and the sign of 0 count."""
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float64
        assert a.tobytes() == np.asarray(b, np.float64).tobytes()


@pytest.mark.parametrize("chunk", [1, 2, 7, 999, 1000, 1001, 1 << 16])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matrix(monkeypatch, chunk, dtype):
    monkeypatch.setattr(numerics, "CHUNK", chunk)
    values = table(1000, 4, dtype)
    mean, std = mean_and_std(values)
    assert mean.shape == std.shape == (4,)
    assert_same_bits((mean, std), slow(values))


@pytest.mark.parametrize("chunk", [1, 3, 1 << 16])
def test_vector(monkeypatch, chunk):
    monkeypatch.setattr(numerics, "CHUNK", chunk)
    values = table(1000, 1)[:, 0]
    mean, std = mean_and_std(values)
    assert mean.shape == std.shape == ()
    expected_mean, expected_std = slow(values)
    assert_same_bits((mean, std), (expected_mean[0], expected_std[0]))


@pytest.mark.parametrize("chunk", [1, 6, 250, 1 << 16])
def test_two_blocks_are_one_after_the_other(monkeypatch, chunk):
    monkeypatch.setattr(numerics, "CHUNK", chunk)
    first, second = table(700, 3, seed=1), table(501, 3, seed=2)
    expected = slow(first, second)
    assert_same_bits(mean_and_std(first, second), expected)
    assert_same_bits(mean_and_std(np.concatenate([first, second])), expected)
    assert_same_bits(mean_and_std(first[:0], first, second), expected)  # an empty block adds nothing


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_these_values_tell_a_pairwise_sum_from_one_row_after_row(dtype):
    values = table(1000, 4, dtype)
    mean, _ = mean_and_std(values)
    columns = np.ascontiguousarray(values.T, np.float64)
    pairwise, exact = columns.sum(1) / 1000, np.array([math.fsum(column) for column in columns]) / 1000
    assert (mean != pairwise).any()
    assert (mean != exact).any()
    np.testing.assert_allclose(mean, exact, rtol=1e-12)


def test_the_default_chunk_does_not_show_in_more_rows_than_it_holds():
    values = table(numerics.CHUNK + 10, 2)
    assert_same_bits(mean_and_std(values), slow(values))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_are_left_as_they_were(dtype):
    values = table(100, 3, dtype)
    before = values.copy()
    mean_and_std(values, values[:10])
    assert np.array_equal(values, before)
    values.flags.writeable = False
    mean_and_std(values)


def test_small_cases_by_hand():
    assert_same_bits(mean_and_std(np.array([1.0, 2.0, 3.0, 6.0])), (3.0, math.sqrt(3.5)))
    assert_same_bits(mean_and_std(np.array([[4, -2]])), ([4.0, -2.0], [0.0, 0.0]))  # integers, a single row
    assert_same_bits(mean_and_std(np.array([1e16, 1.0, -1e16], np.float64))[:1], (0.0,))  # 1 is lost, as row after row
