"""The corruptions are section 2 of the protocol: compared with the slow version, and its promises one by one."""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from builders_corruptions import (
    ConstantSurrogate,
    Float32Surrogate,
    LinearSurrogate,
    MisleadingSurrogate,
    NetworkSurrogate,
    ValleySurrogate,
    awkward_transitions,
    dataset_of,
    integer_transitions,
    transitions,
)
from reference_corruptions import (
    FIELDS,
    HASHED,
    PGD_STEPS,
    attacked_value,
    slow_attack,
    slow_noise,
    slow_random,
    slow_reward_attack,
    slow_rows,
    slow_sha256,
    slow_std,
)

from corruptbench.corruptions import attack
from corruptbench.corruptions.audit import audit_value
from corruptbench.errors import UsageError
from corruptbench.numerics import mean_and_std
from corruptbench.registry import CORRUPTIONS
from corruptbench.rng import unit_seeds
from corruptbench.types import Streams

ELEMENTS = ("obs", "act", "rew", "dyn")
ATTACKED = ("obs", "act", "dyn")
RANDOM = tuple(f"{element}-random" for element in (*ELEMENTS, "mix"))
ADVERSARIAL = tuple(f"{element}-adv" for element in (*ELEMENTS, "mix"))
ALL = (*RANDOM, *ADVERSARIAL)
NEED_SURROGATE = ("obs-adv", "act-adv", "dyn-adv", "mix-adv")
CLIPPING = ("act-random", "act-adv", "mix-random", "mix-adv")
GOLDEN = json.loads((Path(__file__).parent / "golden" / "corruptions.json").read_text("utf-8"))


def corrupt(name, dataset, seed=0, surrogate=None, **settings):
    """The corruption called as a run calls it, with the network surrogate where none is given."""
    return CORRUPTIONS.get(name)(**settings)(dataset, Streams(seed), surrogate or NetworkSurrogate())


def fields_of(name):
    """The dataset's fields that a threat model touches."""
    element = name.partition("-")[0]
    return tuple(FIELDS.values()) if element == "mix" else (FIELDS[element],)


def same_bytes(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def rows_that_differ(a, b):
    """Mask ``(N,)``; a whole row, since an attack's steps from the bound of the box can end at z = 0 exactly."""
    return (a != b).reshape(len(a), -1).any(axis=1)


def content(dataset):
    """The bytes that the hash covers, computed anew: ``sha256`` remembers what it once found."""
    return slow_sha256(dataset)


def moved(out, clean, element):
    """z of every row in float64, and what float32 may have rounded off it; both 0 in constant columns."""
    field = FIELDS[element]
    old, new = getattr(clean, field).astype(np.float64), getattr(out.dataset, field).astype(np.float64)
    std = np.array(slow_std(getattr(clean, field)))
    z = np.divide(new - old, std, out=np.zeros_like(old), where=std > 0)
    rounding = np.divide(np.spacing(np.abs(new).astype(np.float32)), std, out=np.zeros_like(old), where=std > 0)
    return z, rounding


def mean_value(surrogate, element, dataset, values, rows):
    """The surrogate's mean over ``rows``, row by row, with ``values`` ``(N, d)`` in place of the attacked field."""
    figures = [float(attacked_value(surrogate, element, dataset, i, torch.tensor(values[i]).double())) for i in rows]
    return math.fsum(figures) / len(figures)


@functools.cache
def slow_network_attack(element, scale):
    return slow_attack(transitions(), NetworkSurrogate(), 11, element, 0.3, scale)


# (a) The random ones, byte for byte


@pytest.mark.parametrize(("rate", "scale", "seed"), [(0.3, 1.0, 0), (0.1, 0.5, 1), (0.7, 0.3, 2**32 - 1), (1, 3.7, 77)])
@pytest.mark.parametrize("make", [transitions, awkward_transitions])
@pytest.mark.parametrize("element", ELEMENTS)
def test_random_corruption_has_the_bytes_of_the_slow_version(element, make, rate, scale, seed):
    dataset = make()
    out = CORRUPTIONS.get(f"{element}-random")(rate=rate, scale=scale)(dataset, Streams(seed))
    values, rows = slow_random(dataset, seed, element, rate, scale)
    assert same_bytes(getattr(out.dataset, FIELDS[element]), values)
    assert same_bytes(out.masks[FIELDS[element]], rows)


@pytest.mark.parametrize(("rate", "scale", "seed"), [(0.3, 1.0, 0), (0.1, 2.0, 5), (0.5, 0.3, 123456789)])
@pytest.mark.parametrize("make", [transitions, awkward_transitions])
def test_random_mixture_has_the_bytes_of_the_slow_version(make, rate, scale, seed):
    dataset = make()
    out = CORRUPTIONS.get("mix-random")(rate=rate, scale=scale)(dataset, Streams(seed))
    for element, field in FIELDS.items():
        values, rows = slow_random(dataset, seed, element, rate, scale)
        assert same_bytes(getattr(out.dataset, field), values)
        assert same_bytes(out.masks[field], rows)


def test_random_corruption_of_many_rows_has_the_bytes_of_the_slow_version():
    dataset = transitions(70_000, do=1, da=1)
    out = CORRUPTIONS.get("obs-random")(rate=0.01)(dataset, Streams(3))
    assert same_bytes(out.dataset.observations, slow_random(dataset, 3, "obs", 0.01, 1.0)[0])


@pytest.mark.parametrize("dataset", [transitions(70_000, do=2, da=1), awkward_transitions()], ids=len)
def test_standard_deviation_is_summed_row_after_row_to_the_last_bit(dataset):
    # Rounding to float32 hides a sum in another order nearly always, and nearly is not what section 6 A promises.
    for field in FIELDS.values():
        assert np.atleast_1d(mean_and_std(getattr(dataset, field))[1]).tolist() == slow_std(getattr(dataset, field))


# (b) The adversarial ones


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("make", [transitions, awkward_transitions])
def test_reward_attack_is_exactly_minus_scale_times_the_reward(make, rate, scale):
    dataset = make()
    out = CORRUPTIONS.get("rew-adv")(rate=rate, scale=scale)(dataset, Streams(4))
    values, rows = slow_reward_attack(dataset, 4, rate, scale)
    assert same_bytes(out.dataset.rewards, values)
    assert same_bytes(out.masks["rewards"], rows)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("element", ATTACKED)
def test_attack_agrees_with_the_slow_solver(element, scale):
    dataset, field = transitions(), FIELDS[element]
    out = corrupt(f"{element}-adv", dataset, 11, scale=scale)
    values, rows, _ = slow_network_attack(element, scale)
    assert same_bytes(out.masks[field], rows)
    difference = np.abs(getattr(out.dataset, field)[rows].astype(np.float64) - values[rows])
    assert (difference <= 1e-5).mean() >= 0.99


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("element", ATTACKED)
def test_attack_stays_inside_the_box(element, scale):
    dataset = transitions()
    out = corrupt(f"{element}-adv", dataset, 11, scale=scale, rate=1.0)
    z, rounding = moved(out, dataset, element)
    assert (np.abs(z) <= scale * (1 + 1e-6) + rounding).all()
    assert (np.abs(z) >= 0.99 * scale).mean() > 0.2  # the box is used, too


@pytest.mark.parametrize("element", ATTACKED)
def test_attack_is_nowhere_worse_than_its_start_and_better_almost_everywhere(element):
    dataset, surrogate = transitions(), NetworkSurrogate()
    out = corrupt(f"{element}-adv", dataset, 11, surrogate)
    clean, std = getattr(dataset, FIELDS[element]), slow_std(getattr(dataset, FIELDS[element]))
    start = clean + np.array(slow_noise(11, element, "start", 1.0, len(dataset), len(std))) * std
    after = getattr(out.dataset, FIELDS[element])
    gains = []
    for i in np.flatnonzero(out.masks[FIELDS[element]]):
        began = attacked_value(surrogate, element, dataset, i, torch.tensor(start[i]))
        ended = attacked_value(surrogate, element, dataset, i, torch.tensor(after[i]).double())
        gains.append(float(began - ended))
    assert min(gains) >= -1e-5
    assert np.mean(np.array(gains) > 1e-3) > 0.95


LINEAR = LinearSurrogate(w=[1.0, -2.0, 0.5, 3.0], v=[-1.0, 0.25, 2.0], p=[[-3, 0, 1, 1], [0, 4, 0, -1], [1, 1, -2, 0]])


@pytest.mark.parametrize("element", ATTACKED)
def test_attack_on_a_linear_surrogate_ends_exactly_in_the_lowest_corner(element):
    dataset, field = transitions(), FIELDS[element]
    gradient = LINEAR.gradient(element)
    assert set(np.sign(gradient)) == {-1, 1}
    clean = getattr(dataset, field)
    corner = (clean - np.sign(gradient) * np.array(slow_std(clean))).astype(np.float32)
    out = corrupt(f"{element}-adv", dataset, 5, LINEAR, rate=1.0)
    assert same_bytes(getattr(out.dataset, field), corner)
    assert out.audit[element]["at_bound"] == 1.0
    assert out.audit[element]["largest_z"] == 1.0


def test_dynamics_attack_follows_the_policy_too():
    gradient = LINEAR.gradient("dyn")
    assert (np.sign(gradient) != np.sign(LINEAR.gradient("obs"))).any()
    z, _ = moved(corrupt("dyn-adv", transitions(), 5, LINEAR, rate=1.0), transitions(), "dyn")
    np.testing.assert_allclose(z, np.broadcast_to(-np.sign(gradient), z.shape), atol=1e-5)


def test_attack_keeps_the_best_iterate_where_steps_jump_over_the_minimum():
    dataset, centre = transitions(do=1), 0.3
    out = corrupt("obs-adv", dataset, 5, ValleySurrogate(centre), rate=1.0)
    z, _ = moved(out, dataset, "obs")
    wanted = (centre - dataset.observations.astype(np.float64)) / np.array(slow_std(dataset.observations))
    inside = np.abs(wanted) < 1
    assert inside.sum() > 50
    stride = 2.5 / PGD_STEPS
    assert np.abs(z - wanted)[inside].max() <= stride / 2 + 1e-4
    np.testing.assert_allclose(z[~inside], np.sign(wanted[~inside]), atol=1e-5)


def test_attack_counts_its_start_among_the_iterates():
    dataset = transitions()
    out = corrupt("obs-adv", dataset, 5, MisleadingSurrogate(), rate=1.0)
    std = np.array(slow_std(dataset.observations))
    start = np.array(slow_noise(5, "obs", "start", 1.0, len(dataset), len(std)))
    np.testing.assert_allclose(out.dataset.observations, dataset.observations + start * std, atol=2e-6, rtol=0)


def test_attack_reaches_every_row_of_a_large_dataset():
    dataset = transitions(9_000, do=2, da=1)
    surrogate = LinearSurrogate(w=[1.0, -1.0], v=[1.0], p=[[1.0, 1.0]])
    out = corrupt("obs-adv", dataset, 5, surrogate, rate=1.0)
    corner = (dataset.observations - np.array([1, -1]) * np.array(slow_std(dataset.observations))).astype(np.float32)
    assert same_bytes(out.dataset.observations, corner)


@pytest.mark.parametrize("element", ATTACKED)
def test_attack_in_pieces_is_the_attack_at_once(element, monkeypatch):
    dataset, field = transitions(), FIELDS[element]
    at_once = corrupt(f"{element}-adv", dataset, 11)
    monkeypatch.setattr(attack, "CHUNK", 17)
    in_pieces = corrupt(f"{element}-adv", dataset, 11)
    close = np.abs(getattr(at_once.dataset, field) - getattr(in_pieces.dataset, field)) <= 1e-5
    assert close.mean() >= 0.99
    for key, figure in at_once.audit[element].items():
        assert in_pieces.audit[element][key] == pytest.approx(figure, abs=1e-3)


@pytest.mark.parametrize("name", NEED_SURROGATE)
def test_surrogate_is_asked_in_float32_about_raw_rows_that_are_touched(name):
    dataset, surrogate = transitions(), Float32Surrogate(4, 3)
    out = corrupt(name, dataset, 11, surrogate)
    assert all(s.dtype == a.dtype == torch.float32 for s, a in surrogate.seen)
    sizes = {int(out.masks[FIELDS[e]].sum()) for e in ATTACKED if FIELDS[e] in out.masks}
    assert {len(s) for s, _ in surrogate.seen} == {len(a) for _, a in surrogate.seen} == sizes


# (c) Rows


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("element", ELEMENTS)
def test_realised_rate_is_within_four_standard_errors(element, rate):
    dataset = transitions(20_000, do=1, da=1)
    for unit in range(3):
        out = CORRUPTIONS.get(f"{element}-random")(rate=rate)(dataset, Streams(unit_seeds(unit)[1]))
        realised = out.masks[FIELDS[element]].mean()
        assert abs(realised - rate) <= 4 * math.sqrt(rate * (1 - rate) / len(dataset))
        assert out.audit[element]["rate"] == realised


@pytest.mark.parametrize("element", ELEMENTS)
def test_number_of_touched_rows_is_binomial_over_seeds(element):
    dataset, rate, seeds = transitions(), 0.3, 200
    corruption, field = CORRUPTIONS.get(f"{element}-random")(rate=rate), FIELDS[element]
    counts = np.array([corruption(dataset, Streams(seed)).masks[field].sum() for seed in range(seeds)])
    variance = len(dataset) * rate * (1 - rate)
    assert abs(counts.mean() - len(dataset) * rate) <= 4 * math.sqrt(variance / seeds)
    assert abs(counts.var(ddof=1) / variance - 1) <= 4 * math.sqrt(2 / (seeds - 1))  # not a fixed number of rows


def test_elements_choose_their_rows_independently():
    dataset = transitions(20_000, do=1, da=1)
    masks = CORRUPTIONS.get("mix-random")(rate=0.3)(dataset, Streams(2)).masks
    for one, other in itertools.combinations(FIELDS.values(), 2):
        both = (masks[one] & masks[other]).mean()
        assert abs(both - 0.09) <= 4 * math.sqrt(0.09 * 0.91 / len(dataset))


@pytest.mark.parametrize("name", ALL)
def test_only_the_touched_rows_of_the_touched_fields_change(name):
    dataset = transitions()
    out = corrupt(name, dataset, 3)
    assert set(out.masks) == set(fields_of(name))
    for field in (*HASHED, "episodes"):
        old, new = getattr(dataset, field), getattr(out.dataset, field)
        untouched = ~out.masks[field] if field in out.masks else np.ones(len(dataset), bool)
        assert same_bytes(new[untouched], old[untouched])
        if field in out.masks:
            assert 0 < untouched.sum() < len(dataset)
            assert rows_that_differ(new, old)[~untouched].all()
    assert out.dataset.environment == dataset.environment


@pytest.mark.parametrize("name", ALL)
def test_rate_zero_touches_nothing_and_works(name):
    dataset = transitions()
    out = corrupt(name, dataset, 3, rate=0.0)
    assert content(out.dataset) == content(dataset)
    assert not any(mask.any() for mask in out.masks.values())
    for figures in out.audit.values():
        assert all(math.isfinite(figure) for figure in figures.values())
        assert figures.get("rate", 0.0) == figures.get("touched", 0.0) == 0.0
        assert figures.get("surrogate_weak", False) is False


@pytest.mark.parametrize("name", ALL)
def test_rate_one_touches_every_row(name):
    dataset = transitions()
    out = corrupt(name, dataset, 3, rate=1.0)
    for field in fields_of(name):
        assert out.masks[field].all()
        assert rows_that_differ(getattr(out.dataset, field), getattr(dataset, field)).all()


def test_constant_column_stays_as_it_is():
    dataset = awkward_transitions()
    assert slow_std(dataset.observations)[0] == 0
    for name in ("obs-random", "obs-adv"):
        out = corrupt(name, dataset, 3, NetworkSurrogate(4, 2), rate=1.0)
        assert same_bytes(out.dataset.observations[:, 0], dataset.observations[:, 0])


# (d) Severity curves are paired


@pytest.mark.parametrize("name", ALL)
def test_rows_are_nested_over_rates(name):
    dataset = transitions()
    low, middle, high = (corrupt(name, dataset, 8, rate=rate) for rate in (0.1, 0.3, 0.5))
    for field in fields_of(name):
        for fewer, more in ((low, middle), (middle, high)):
            assert not (fewer.masks[field] & ~more.masks[field]).any()
            assert fewer.masks[field].sum() < more.masks[field].sum()
            common = fewer.masks[field]
            a, b = getattr(fewer.dataset, field)[common], getattr(more.dataset, field)[common]
            if name in NEED_SURROGATE:
                assert (np.abs(a - b) <= 1e-5).mean() >= 0.99
            else:
                assert same_bytes(a, b)


@pytest.mark.parametrize("name", ALL)
def test_rows_are_the_same_over_scales(name):
    one, two = (corrupt(name, transitions(), 8, scale=scale) for scale in (1.0, 2.0))
    assert all(same_bytes(one.masks[field], two.masks[field]) for field in fields_of(name))


@pytest.mark.parametrize("element", ELEMENTS)
def test_noise_at_twice_the_scale_is_twice_the_noise(element):
    dataset, field = transitions(), FIELDS[element]
    one, two = (getattr(corrupt(f"{element}-random", dataset, 8, scale=scale).dataset, field) for scale in (1.0, 2.0))
    if element == "rew":
        rows = slow_rows(8, "rew", 0.3, len(dataset))
        assert same_bytes(two[rows], 2 * one[rows])
    else:
        clean = getattr(dataset, field).astype(np.float64)
        rounding = np.spacing(np.abs(one)) + np.spacing(np.abs(two))
        assert (np.abs((two - clean) - 2 * (one - clean)) <= rounding).all()


# (e) Nothing is changed in place


@pytest.mark.parametrize("name", ["none", *ALL])
def test_input_is_what_it_was(name):
    dataset = transitions()
    before, named = content(dataset), dataset.sha256
    out = corrupt(name, dataset, 3)
    assert content(dataset) == before == named
    for field in out.masks:
        assert not np.shares_memory(getattr(out.dataset, field), getattr(dataset, field))


@pytest.mark.parametrize("name", ["none", *ALL])
def test_no_array_of_a_dataset_can_be_written(name):
    dataset = transitions()
    for held in (dataset, corrupt(name, dataset, 3).dataset):
        for field in (*HASHED, "episodes"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(held, field)[0] = 0


@pytest.mark.parametrize("name", ["none", *ALL])
def test_hash_is_that_of_the_slow_version(name):
    out = corrupt(name, transitions(), 3)
    assert out.dataset.sha256 == slow_sha256(out.dataset)
    assert (out.dataset.sha256 != transitions().sha256) == (name != "none")


# (f) What decides the bytes


@pytest.mark.parametrize("name", ALL)
def test_same_seed_same_bytes_and_another_seed_other_bytes(name):
    dataset = transitions()
    first, again, other = (corrupt(name, dataset, seed) for seed in (3, 3, 4))
    for field in fields_of(name):
        assert same_bytes(getattr(first.dataset, field), getattr(again.dataset, field))
        assert same_bytes(first.masks[field], again.masks[field])
        assert not same_bytes(getattr(first.dataset, field), getattr(other.dataset, field))
        assert not same_bytes(first.masks[field], other.masks[field])
    assert first.audit == again.audit


@pytest.mark.parametrize("name", ALL)
def test_global_random_state_is_neither_read_nor_written(name):
    def set_all(seed):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)

    def drawn():
        return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002

    dataset, surrogate = transitions(), NetworkSurrogate()
    hashes = set()
    for seed in (0, 1):
        set_all(seed)
        untouched = drawn()
        set_all(seed)
        hashes.add(corrupt(name, dataset, 3, surrogate).dataset.sha256)
        assert drawn() == untouched
    assert len(hashes) == 1


def test_streams_hold_the_corruption_seed_and_no_other():
    assert [field.name for field in dataclasses.fields(Streams)] == ["seed"]
    train, corruption = unit_seeds(0)
    for seed, use in ((train, "train"), (corruption, "corruption")):
        assert seed == int.from_bytes(hashlib.sha256(f"cb2026/unit/0/{use}".encode("ascii")).digest()[:4], "big")
    assert corruption == GOLDEN["corruption_seed"]


@pytest.mark.parametrize("name", [*RANDOM, "rew-adv"])
def test_surrogate_plays_no_role_where_none_is_needed(name):
    dataset = transitions()
    with_one = corrupt(name, dataset, 3, LINEAR)
    without = CORRUPTIONS.get(name)()(dataset, Streams(3))
    assert with_one.dataset.sha256 == without.dataset.sha256


# (g) Mixtures


@pytest.mark.parametrize("mode", ["random", "adv"])
def test_every_element_of_a_mixture_is_what_it_is_alone(mode):
    dataset = transitions()
    mix = corrupt(f"mix-{mode}", dataset, 6, rate=0.4, scale=0.7)
    for element, field in FIELDS.items():
        alone = corrupt(f"{element}-{mode}", dataset, 6, rate=0.4, scale=0.7)
        assert same_bytes(getattr(mix.dataset, field), getattr(alone.dataset, field))
        assert same_bytes(mix.masks[field], alone.masks[field])
        assert mix.audit[element] == alone.audit[element]


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_mixture_touches_one_minus_the_fourth_power_of_the_rows(rate):
    dataset = transitions(20_000, do=1, da=1)
    out = CORRUPTIONS.get("mix-random")(rate=rate)(dataset, Streams(2))
    share, touched = 1 - (1 - rate) ** 4, np.zeros(len(dataset), bool)
    for mask in out.masks.values():
        touched |= mask
    assert abs(touched.mean() - share) <= 4 * math.sqrt(share * (1 - share) / len(dataset))
    assert out.audit["mix"] == {"touched": touched.mean()}


def test_mixtures_of_both_modes_touch_the_same_rows():
    by_noise, by_attack = (corrupt(name, transitions(), 6) for name in ("mix-random", "mix-adv"))
    assert all(same_bytes(by_noise.masks[field], by_attack.masks[field]) for field in FIELDS.values())


# (h) Errors are sentences


@pytest.mark.parametrize("rate", [-0.1, 1.0001, 30, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["none", *ALL])
def test_rate_outside_zero_to_one_is_an_error(name, rate):
    with pytest.raises(UsageError) as error:
        CORRUPTIONS.get(name)(rate=rate)
    assert str(error.value) == f"{name}: rate is {rate}, allowed is 0 to 1"


@pytest.mark.parametrize("scale", [0, 0.0, -1.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["none", *ALL])
def test_scale_that_is_not_a_number_above_zero_is_an_error(name, scale):
    with pytest.raises(UsageError) as error:
        CORRUPTIONS.get(name)(scale=scale)
    assert str(error.value) == f"{name}: scale is {scale}, allowed is any number above 0"


@pytest.mark.parametrize("name", NEED_SURROGATE)
def test_attack_without_a_surrogate_is_an_error_that_names_it(name):
    corruption = CORRUPTIONS.get(name)()
    assert corruption.needs_surrogate
    with pytest.raises(UsageError) as error:
        corruption(transitions(), Streams(0), None)
    assert str(error.value) == f"{name} needs a surrogate, and dataset 'test:corruptions' came with none"


def test_unknown_corruption_is_an_error_with_the_nearest_name():
    with pytest.raises(UsageError) as error:
        CORRUPTIONS.get("obs-randm")
    known = ", ".join(CORRUPTIONS.names())
    assert str(error.value) == f"unknown corruption 'obs-randm': known are {known} (did you mean 'obs-random'?)"


# (i) The audit


def plain(figures, keys):
    """The figures have these keys and are plain floats, the flag a bool, fit for JSON."""
    assert figures.keys() == set(keys)
    assert all(type(figure) is (bool if key == "surrogate_weak" else float) for key, figure in figures.items())
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    return figures


NOISE_KEYS = ("rate", "largest_z", "unmoved", "at_bound")
VALUE_KEYS = ("value_before", "value_under_noise", "value_after", "surrogate_weak")


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("element", ATTACKED)
def test_audit_of_noise(element, scale):
    dataset = transitions()
    out = corrupt(f"{element}-random", dataset, 9, scale=scale)
    figures = plain(out.audit[element], NOISE_KEYS)
    rows = slow_rows(9, element, 0.3, len(dataset))
    noise = slow_noise(9, element, "noise", scale, len(dataset), getattr(dataset, FIELDS[element]).shape[1])
    sizes = [abs(x) for row, touched in zip(noise, rows, strict=True) if touched for x in row]
    assert out.audit.keys() == {element}
    assert figures["rate"] == sum(rows) / len(rows)
    assert figures["largest_z"] == max(sizes) <= scale
    assert figures["unmoved"] == pytest.approx(sum(x < 0.05 * scale for x in sizes) / len(sizes), abs=1e-12)
    assert figures["at_bound"] == pytest.approx(sum(x > 0.95 * scale for x in sizes) / len(sizes), abs=1e-12)
    assert 0 < figures["unmoved"] < 0.15
    assert 0 < figures["at_bound"] < 0.15


@pytest.mark.parametrize("name", ["rew-random", "rew-adv"])
def test_audit_of_rewards(name):
    dataset = transitions()
    out = corrupt(name, dataset, 9)
    figures = plain(out.audit["rew"], ("rate", "mean_change"))
    rows = slow_rows(9, "rew", 0.3, len(dataset))
    change = np.abs(out.dataset.rewards.astype(np.float64) - dataset.rewards)[rows]
    assert out.audit.keys() == {"rew"}
    assert figures["rate"] == sum(rows) / len(rows)
    in_deviations = math.fsum(change) / sum(rows) / slow_std(dataset.rewards)[0]
    assert figures["mean_change"] == pytest.approx(in_deviations, rel=1e-6)


@pytest.mark.parametrize("element", ATTACKED)
def test_audit_of_an_attack_measures_the_dataset_that_is_returned(element):
    dataset, field, surrogate, scale = transitions(), FIELDS[element], NetworkSurrogate(), 0.6
    out = corrupt(f"{element}-adv", dataset, 9, surrogate, scale=scale)
    figures = plain(out.audit[element], (*NOISE_KEYS, *VALUE_KEYS))
    rows = np.flatnonzero(slow_rows(9, element, 0.3, len(dataset)))
    clean, std = getattr(dataset, field), slow_std(getattr(dataset, field))
    noisy = clean + np.array(slow_noise(9, element, "noise", scale, len(dataset), len(std))) * std
    assert out.audit.keys() == {element}
    assert figures["rate"] == len(rows) / len(dataset)
    for key, values in (("before", clean), ("under_noise", noisy), ("after", getattr(out.dataset, field))):
        assert figures[f"value_{key}"] == pytest.approx(mean_value(surrogate, element, dataset, values, rows), abs=1e-5)
    assert figures["value_after"] < figures["value_under_noise"]
    assert figures["surrogate_weak"] is False
    z, rounding = moved(out, dataset, element)
    size, off = np.abs(z[rows]), rounding[rows] + 1e-6
    assert figures["largest_z"] == pytest.approx(size.max(), abs=off.max())
    assert figures["largest_z"] <= scale * (1 + 1e-6)
    assert (size < 0.05 * scale - off).mean() <= figures["unmoved"] <= (size < 0.05 * scale + off).mean()
    assert (size > 0.95 * scale + off).mean() <= figures["at_bound"] <= (size > 0.95 * scale - off).mean()


@pytest.mark.parametrize("name", ["act-adv", "mix-adv"])
def test_audit_of_a_clipped_attack_measures_the_dataset_that_is_returned(name):
    dataset, surrogate = transitions(), NetworkSurrogate()
    out = corrupt(name, dataset, 9, surrogate, clip=True)
    rows = np.flatnonzero(out.masks["actions"])
    noise = np.array(slow_noise(9, "act", "noise", 1.0, len(dataset), 3)) * slow_std(dataset.actions)
    for key, values in (("after", out.dataset.actions), ("under_noise", np.clip(dataset.actions + noise, -1, 1))):
        expected = mean_value(surrogate, "act", dataset, values, rows)
        assert out.audit["act"][f"value_{key}"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("mode", ["random", "adv"])
def test_audit_of_a_mixture_lists_its_elements(mode):
    out = corrupt(f"mix-{mode}", transitions(), 9)
    assert out.audit.keys() == {*ELEMENTS, "mix"}
    plain(out.audit["mix"], ("touched",))


def test_audit_of_the_clean_dataset_is_empty():
    out = corrupt("none", transitions())
    assert not out.masks
    assert not out.audit
    assert content(out.dataset) == content(transitions())


@pytest.mark.parametrize(("after", "weak"), [((7, 7), True), ((1, 9), False), ((-4, 5), False), ((5, 5.5), True)])
def test_surrogate_is_weak_where_noise_lowers_its_value_more(after, weak):
    figures = audit_value(np.array([9.0, 11.0]), np.array([4.0, 6.0]), np.array(after))
    assert figures == {
        "value_before": 10.0,
        "value_under_noise": 5.0,
        "value_after": sum(after) / 2,
        "surrogate_weak": weak,
    }
    assert type(figures["surrogate_weak"]) is bool


def test_flag_is_raised_in_a_call_where_the_attack_did_worse_than_noise():
    dataset, flags = transitions(), []
    for seed in range(6):
        figures = corrupt("obs-adv", dataset, seed, MisleadingSurrogate()).audit["obs"]
        assert figures["surrogate_weak"] is (figures["value_after"] > figures["value_under_noise"])
        flags.append(figures["surrogate_weak"])
    assert {True, False} == set(flags)


@pytest.mark.parametrize("name", ["obs-adv", "act-adv", "mix-adv"])
def test_constant_surrogate_is_not_flagged(name):
    audit = corrupt(name, transitions(), 9, ConstantSurrogate()).audit
    for element in set(audit) & {"obs", "act"}:
        figures = audit[element]
        assert figures["value_before"] == figures["value_under_noise"] == figures["value_after"] == 7.0
        assert figures["surrogate_weak"] is False


# (j) Clipping


@pytest.mark.parametrize("name", CLIPPING)
def test_actions_are_clipped_only_on_demand(name):
    dataset = transitions()
    free, default, clipped = (corrupt(name, dataset, 3, **options) for options in ({"clip": False}, {}, {"clip": True}))
    assert np.abs(default.dataset.actions).max() > 1
    assert default.dataset.sha256 == free.dataset.sha256
    assert np.abs(clipped.dataset.actions).max() == 1
    assert same_bytes(clipped.dataset.actions, np.clip(free.dataset.actions, -1, 1))
    for field in set(HASHED) - {"actions"}:
        assert same_bytes(getattr(clipped.dataset, field), getattr(free.dataset, field))


def test_clipped_noise_has_the_bytes_of_the_slow_version():
    dataset = transitions()
    out = CORRUPTIONS.get("act-random")(rate=0.5, scale=2.0, clip=True)(dataset, Streams(3))
    assert same_bytes(out.dataset.actions, slow_random(dataset, 3, "act", 0.5, 2.0, clip=True)[0])


def test_clipping_leaves_untouched_rows_alone():
    clean = transitions()
    wide = dataset_of(clean.observations, 3 * clean.actions, clean.rewards, clean.next_observations, clean.terminations)
    out = CORRUPTIONS.get("act-random")(clip=True)(wide, Streams(3))
    untouched = ~out.masks["actions"]
    assert np.abs(wide.actions[untouched]).max() > 1
    assert same_bytes(out.dataset.actions[untouched], wide.actions[untouched])


# (k) Golden hashes, made by golden/make_corruptions.py


@pytest.mark.parametrize("name", sorted(GOLDEN["sha256"]))
def test_published_hashes(name):
    out = CORRUPTIONS.get(name)()(integer_transitions(), Streams(GOLDEN["corruption_seed"]))
    assert slow_sha256(out.dataset) == out.dataset.sha256 == GOLDEN["sha256"][name]


def test_published_hashes_cover_every_random_corruption():
    drawn = {name for name in CORRUPTIONS.names() if CORRUPTIONS.get(name).mode in ("gauss", "swap", "zero")}
    assert GOLDEN["sha256"].keys() == {"none", *RANDOM, *drawn}
