"""The random streams of section 2 against hashlib and numpy's PCG64, spelled out here a second time."""

import hashlib

import numpy as np
import pytest
import torch

from corruptbench import rng
from corruptbench.rng import batch_indices, episode_seeds, seed_from, stream, uniforms, unit_seeds


def slow_stream(text):
    """Python floats in [0, 1) from the stream called ``text``, one raw output at a time."""
    bits = np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode("ascii")).digest(), "big"))
    while True:
        yield (int(bits.random_raw()) >> 11) * 2.0**-53


def slow_uniforms(text, count):
    source = slow_stream(text)
    return [next(source) for _ in range(count)]


class AllOnes:
    """A bit generator whose every raw output is the largest one."""

    def random_raw(self, count):
        return np.full(count, 2**64 - 1, np.uint64)


@pytest.mark.parametrize("text", ["cb2026/unit/0/train", "", "a longer text / with spaces"])
def test_seed_from_is_the_first_four_bytes_of_the_hash(text):
    assert seed_from(text) == int(hashlib.sha256(text.encode("ascii")).hexdigest()[:8], 16)


def test_seeds_are_the_published_numbers():
    assert seed_from("abc") == 0xBA7816BF  # FIPS 180-2 prints the SHA-256 of "abc"
    assert unit_seeds(0) == (2538573378, 881822659)
    assert episode_seeds(3) == [572424803, 419421048, 2081825494]


@pytest.mark.parametrize("unit", [0, 1, 9, 123456])
def test_unit_seeds(unit):
    words = [hashlib.sha256(f"cb2026/unit/{unit}/{kind}".encode()).hexdigest() for kind in ("train", "corruption")]
    assert unit_seeds(unit) == (int(words[0][:8], 16), int(words[1][:8], 16))


def test_seeds_of_units_differ():
    seeds = [seed for unit in range(200) for seed in unit_seeds(unit)]
    assert len(set(seeds)) == 400
    assert all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)


def test_episode_seeds():
    expected = [int(hashlib.sha256(f"cb2026/episode/{e}".encode()).hexdigest()[:8], 16) for e in range(100)]
    assert episode_seeds(100) == expected
    assert episode_seeds(7) == expected[:7]  # an episode's seed does not depend on how many there are
    assert episode_seeds(0) == []


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((0, "obs", "rows"), "cb2026/0/obs/rows"),
        ((4294967295, "rew", "noise"), "cb2026/4294967295/rew/noise"),
        (("bootstrap", "x/y"), "cb2026/bootstrap/x/y"),
        ((), "cb2026"),
    ],
)
def test_stream_and_uniforms(parts, text):
    found = uniforms(stream(*parts), 100)
    assert found.dtype == np.float64
    assert found.tolist() == slow_uniforms(text, 100)


def test_streams_begin_anew_and_differ_by_name():
    first = uniforms(stream(1, "obs", "rows"), 50)
    assert np.array_equal(first, uniforms(stream(1, "obs", "rows"), 50))
    others = [(2, "obs", "rows"), (1, "act", "rows"), (1, "obs", "noise"), (1, "obs"), (1, "obs", "rows", "")]
    for other in others:
        assert not np.isin(uniforms(stream(*other), 50), first).any(), other


def test_uniforms_are_in_c_order_and_go_on_where_they_stopped():
    expected = slow_uniforms("cb2026/7/dyn/start", 60)
    bits = stream(7, "dyn", "start")
    first, second = uniforms(bits, 2, 3, 4), uniforms(bits, 36)
    assert first.shape == (2, 3, 4)
    assert [first[i, j, k] for i in range(2) for j in range(3) for k in range(4)] == expected[:24]
    assert second.tolist() == expected[24:]
    assert uniforms(stream(7), 0, 5).shape == (0, 5)


def test_uniforms_stay_below_one():
    assert uniforms(AllOnes(), 3).tolist() == [1 - 2.0**-53] * 3


def test_batch_indices_are_a_function_of_seed_and_step():
    for seed, step, size, rows in [(0, 1, 256, 100_000), (seed_from("x"), 49_999, 32, 7), (3, 2, 1, 1)]:
        found = batch_indices(seed, step, size, rows)
        expected = [int(u * rows) for u in slow_uniforms(f"cb2026/{seed}/batch/{step}", size)]
        assert (found.dtype, found.shape) == (np.int64, (size,))
        assert found.tolist() == expected
    late = batch_indices(5, 1000, 16, 10_000)  # asked for first, so nothing before it was drawn
    for step in range(1, 1000, 111):
        assert not np.array_equal(batch_indices(5, step, 16, 10_000), late)
    assert np.array_equal(batch_indices(5, 1000, 16, 10_000), late)
    assert not np.array_equal(batch_indices(6, 1000, 16, 10_000), late)


def test_batch_indices_are_uniform():
    rows = 20
    found = np.concatenate([batch_indices(11, step, 256, rows) for step in range(1, 401)])
    counts = np.bincount(found, minlength=rows)
    assert len(counts) == rows
    expected = len(found) / rows
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-square with 19 degrees of freedom, p = 0.001


def test_batch_indices_stay_in_range(monkeypatch):
    monkeypatch.setattr(rng, "stream", lambda *parts: AllOnes())
    for rows in [*range(1, 3000), 2**31 - 1, 2**31, 2**31 + 1, 10**12 + 7]:
        assert batch_indices(0, 1, 2, rows).tolist() == [rows - 1] * 2


def test_no_global_random_state_is_read_or_written():
    def draw():
        return uniforms(stream(1, "obs"), 5).tolist(), batch_indices(1, 1, 5, 100).tolist(), unit_seeds(1)

    first = draw()
    np.random.seed(12345)  # noqa: NPY002  the global state is what this test is about
    torch.manual_seed(12345)
    before = np.random.get_state(legacy=False)["state"]["key"].tolist(), torch.get_rng_state()  # noqa: NPY002
    assert draw() == first
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before[0]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
