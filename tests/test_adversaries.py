"""Presets of published attacks and the other adversaries: compared with slow versions, and what they promise."""

import collections
import functools
import hashlib
import itertools
import math
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders_corruptions import (
    ConstantSurrogate,
    LinearSurrogate,
    MisleadingSurrogate,
    awkward_transitions,
    dataset_of,
    integer_transitions,
    transitions,
)
from reference_corruptions import (
    FIELDS,
    HASHED,
    attacked_value,
    slow_advantage,
    slow_along_trajectories,
    slow_attack,
    slow_gauss,
    slow_highest,
    slow_noise,
    slow_quantile,
    slow_random,
    slow_released,
    slow_released_row,
    slow_reward_attack,
    slow_row_returns,
    slow_rows,
    slow_std,
    slow_swap,
    slow_uniforms,
    slow_zero,
)

from corruptbench.corruptions import pgd, released
from corruptbench.corruptions.audit import audit_value
from corruptbench.corruptions.mixture import Mixture
from corruptbench.data.rows import discontinuities
from corruptbench.errors import UsageError
from corruptbench.numerics import normal_quantile
from corruptbench.registry import CORRUPTIONS
from corruptbench.rng import unit_seeds
from corruptbench.types import Streams

ATTACKED = ("obs", "act", "dyn")
ELEMENTS = tuple(FIELDS)
RADII = (0.3, 1.0, 2.0)
LATTICE = 2.0**-53
"""Uniforms are its multiples."""


class CriticsSurrogate:
    """Critics v_k.|W_k (s, a) + b_k|, whose slopes are steep and change at once, and a tanh policy; Q is their minimum.

    It computes in float64 and answers in the precision of its input.
    """

    sha256 = "6" * 64

    def __init__(self, do=4, da=3, count=3, hidden=6, seed=7):
        generator = torch.Generator().manual_seed(seed)

        def random(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.w, self.b, self.v = random(do + da, count, hidden), 3 * random(count, hidden), random(count, hidden)
        self.actor = random(do, da) / 2

    def critics(self, observations, actions):
        x = torch.cat([observations, actions], -1).double()
        features = torch.einsum("ri,ikh->rkh", x, self.w) + self.b
        return (features.abs() * self.v).sum(-1).to(observations.dtype)

    def value(self, observations, actions):
        return self.critics(observations, actions).amin(-1)

    def policy(self, observations):
        return torch.tanh(observations.double() @ self.actor).to(observations.dtype)


def seen_as(surrogate, statistic):
    """The surrogate as one that has nothing but a value, which is this function of (surrogate, s, a)."""
    return SimpleNamespace(value=lambda s, a: statistic(surrogate, s, a), policy=surrogate.policy)


def mean_of(surrogate):
    return seen_as(surrogate, lambda q, s, a: q.critics(s, a).mean(-1))


def mirrored(surrogate):
    return seen_as(surrogate, lambda q, s, a: -q.value(s, a))


class Recorder:
    """A value that keeps every z that it is asked about."""

    def __init__(self, value):
        self.value, self.asked = value, []

    def __call__(self, z):
        self.asked.append(z.detach().clone())
        return self.value(z)


def corrupt(name, dataset, seed=0, surrogate=None, **settings):
    """The corruption called as a run calls it, with the critics' surrogate where none is given."""
    return CORRUPTIONS.get(name)(**settings)(dataset, Streams(seed), surrogate or CriticsSurrogate())


def same_bytes(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def close(a, b, mask=slice(None)):
    """The share of the masked rows whose every coordinate agrees to float32's precision."""
    return (np.abs(a[mask].astype(np.float64) - b[mask]) <= 1e-5).all(axis=1).mean()


def row_values(surrogate, element, dataset, values, rows):
    """The surrogate's value of each of ``rows`` with ``values`` ``(N, d)`` in place of the field, in float64."""
    found = [attacked_value(surrogate, element, dataset, i, torch.tensor(values[i]).double()) for i in rows]
    return np.array([float(value) for value in found])


def error_of(name, **settings):
    """The whole message of the UsageError that these settings raise."""
    with pytest.raises(UsageError) as error:
        CORRUPTIONS.get(name)(**settings)
    return str(error.value)


# (a) The solvers, step by step


def problem(statistic="min", rows=20, seed=0):
    """Value of z ``(rows, 4)`` in float64 on observations of a dataset, and starts, some of them outside the box."""
    surrogate, dataset = CriticsSurrogate(), transitions(rows, seed=seed)
    x, a = torch.tensor(dataset.observations).double(), torch.tensor(dataset.actions).double()
    std = torch.tensor(slow_std(dataset.observations), dtype=torch.float64)
    if statistic == "mean":
        return lambda z: surrogate.critics(x + z * std, a).mean(-1)
    return lambda z: surrogate.value(x + z * std, a)


def starts(radius, rows=20):
    """z in the box, ``(rows, 4)`` float64."""
    return torch.tensor(slow_noise(0, "obs", "start", radius, rows, 4), dtype=torch.float64)


def gradient_of(value, z):
    z = z.detach().requires_grad_()
    return torch.autograd.grad(value(z).sum(), z)[0]


def difference_quotients(value, z, h=1e-6):
    """The gradient of every row's value by central differences, ``(rows, d)``."""
    found = torch.empty_like(z)
    for j in range(z.shape[1]):
        step = torch.zeros_like(z)
        step[:, j] = h
        found[:, j] = (value(z + step) - value(z - step)) / (2 * h)
    return found


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("statistic", ["mean", "min"])
def test_released_loop_is_a_fresh_adam_in_every_step(statistic, radius, steps):
    value = Recorder(problem(statistic))
    start = 1.5 * starts(radius)
    assert (start.abs() > radius).any()
    assert (start.abs() < radius).any()
    expected = slow_released(value, start, radius, steps)
    assert len(value.asked) == steps
    assert min(float(gradient_of(value.value, z).abs().min()) for z in value.asked) > 1e-3  # far above Adam's 1e-8
    found = released.minimise(value.value, start, radius, steps)
    assert found.dtype == torch.float64
    assert not found.requires_grad
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_released_loop_takes_a_hundred_steps():
    value = Recorder(problem())
    found = released.minimise(value, starts(1.0), 1.0)
    assert len(value.asked) == 100
    np.testing.assert_allclose(found, slow_released(value, starts(1.0), 1.0, 100), rtol=0, atol=1e-6)


def test_released_loop_returns_the_last_iterate_though_it_met_better_ones():
    value = Recorder(lambda z: (z - 0.2371).abs().sum(-1))  # a valley that every step jumps over
    last = released.minimise(value, starts(1.0), 1.0)
    one_more = value.asked[-1] - 0.01 * gradient_of(value.value, value.asked[-1]).sign()
    np.testing.assert_allclose(last, one_more.clamp(-1, 1), rtol=0, atol=1e-12)
    best = torch.stack([value.value(z) for z in value.asked]).amin(0)
    assert (value.value(last) > best + 1e-3).sum() > 3


@pytest.mark.parametrize("radius", RADII)
def test_released_loop_asks_about_its_start_wherever_it_lies_and_then_stays_in_the_box(radius):
    value = Recorder(problem())
    start = 3 * starts(radius)
    assert (start.abs() > 2 * radius).any()
    last = released.minimise(value, start, radius)
    first, *others = value.asked
    assert torch.equal(first, start)
    assert max(float(z.abs().max()) for z in (*others, last)) == radius


@pytest.mark.parametrize("radius", RADII)
def test_no_iterate_of_the_solver_leaves_the_box(radius):
    value = Recorder(problem())
    best = pgd.minimise(value, starts(radius), radius)
    assert len(value.asked) == 41
    assert torch.equal(value.asked[0], starts(radius))
    assert max(float(z.abs().max()) for z in (*value.asked, best)) == radius


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("turned", [False, True])
def test_solver_returns_the_best_of_all_it_asked_about_and_nothing_worse_than_its_start(turned, radius):
    down = problem()

    def misleading(z):
        return 2 * down(z).detach() - down(z)

    value = Recorder(misleading if turned else down)
    best, start = pgd.minimise(value, starts(radius), radius), starts(radius)
    assert torch.equal(down(best), torch.stack([down(z) for z in value.asked]).amin(0))
    assert (down(best) <= down(start)).all()
    improved = (down(best) < down(start)).float().mean()
    assert improved < 0.1 if turned else improved > 0.9


@pytest.mark.parametrize("minimise", [pgd.minimise, released.minimise])
@pytest.mark.parametrize("statistic", ["mean", "min"])
def test_first_step_goes_against_the_slope(statistic, minimise):
    value = Recorder(problem(statistic))
    start = 0.5 * starts(1.0)
    slopes = difference_quotients(value.value, start)
    assert slopes.abs().min() > 1e-3
    assert set(slopes.sign().unique().tolist()) == {-1, 1}
    minimise(value, start, 1.0)
    step = value.asked[1] - value.asked[0]
    assert torch.equal(step.sign(), -slopes.sign())
    size = 2.5 / 40 if minimise is pgd.minimise else 0.01
    np.testing.assert_allclose(step.abs(), size, rtol=0, atol=1e-12)


@pytest.mark.parametrize("element", ATTACKED)
@pytest.mark.parametrize(
    ("mode", "settings", "direction", "size"),
    [
        ("adv", {}, -1, 2.5 / 40),
        ("adv", {"preset": "riql2024"}, -1, 0.01),
        ("targeted", {}, -1, 2.5 / 40),
        ("inflate", {}, 1, 2.5 / 40),
    ],
)
def test_first_step_of_each_corruption_goes_its_way_along_the_slope(element, mode, settings, direction, size):
    value, start = Recorder(problem()), 0.5 * starts(1.0)
    CORRUPTIONS.get(f"{element}-{mode}")(**settings).solve(value, start, torch.ones(4, dtype=torch.float64))
    step = value.asked[1] - value.asked[0]
    slopes = difference_quotients(value.value, start)
    np.testing.assert_allclose(step, direction * size * slopes.sign(), rtol=0, atol=1e-12)


# (b) The presets' attacks, row by row

PRESETS = [(e, "riql2024") for e in ATTACKED] + [("obs", "rdt2025"), ("act", "rdt2025")]
FEW = 60
"""Rows of the datasets that are attacked slowly."""


def attacked_by(preset):
    """The surrogate as the preset sees it: the mean of its critics, or the minimum."""
    return mean_of(CriticsSurrogate()) if preset == "riql2024" else CriticsSurrogate()


@functools.cache
def slow_preset(element, preset):
    surrogate = attacked_by(preset)
    return slow_attack(transitions(FEW), surrogate, 11, element, 0.3, 0.7, solve_row=slow_released_row)


@pytest.mark.parametrize(("element", "preset"), PRESETS)
def test_preset_agrees_with_the_slow_version(element, preset):
    dataset, field = transitions(FEW), FIELDS[element]
    out = corrupt(f"{element}-adv", dataset, 11, scale=0.7, preset=preset)
    values, rows, _ = slow_preset(element, preset)
    along = {"next_observations"} if (element, preset) == ("obs", "rdt2025") else set()
    assert set(out.masks) == {field} | along
    assert same_bytes(out.masks[field], rows)
    assert same_bytes(getattr(out.dataset, field)[~rows], getattr(dataset, field)[~rows])
    assert close(getattr(out.dataset, field), values, rows) >= 0.97


@pytest.mark.parametrize("element", ["obs", "act"])
def test_presets_differ_from_each_other_and_from_the_solver(element):
    mean, rows, _ = slow_preset(element, "riql2024")
    least, _, _ = slow_preset(element, "rdt2025")
    ours = getattr(corrupt(f"{element}-adv", transitions(FEW), 11, scale=0.7).dataset, FIELDS[element])
    for one, other in itertools.combinations((mean, least, ours), 2):
        assert close(one, other, rows) < 0.5


@pytest.mark.parametrize("preset", ["riql2024", "rdt2025"])
def test_preset_starts_at_the_noise_times_the_deviation_once_too_often(preset):
    dataset, scale = transitions(FEW), 2.0
    surrogate, asked = CriticsSurrogate(), []

    def critics(s, a):
        asked.append(s.detach().numpy().copy())
        return surrogate.critics(s, a)

    def value(s, a):
        return critics(s, a).amin(-1)

    watched = SimpleNamespace(critics=critics, value=value, policy=surrogate.policy)
    rows = corrupt("obs-adv", dataset, 11, watched, scale=scale, preset=preset).masks["observations"]
    std = np.array(slow_std(dataset.observations))
    start = np.array(slow_noise(11, "obs", "start", scale, FEW, 4)) * std
    assert (np.abs(start[rows]) > scale).any()
    np.testing.assert_allclose(asked[0], (dataset.observations + start * std)[rows], rtol=0, atol=1e-5)
    later = (asked[1] - dataset.observations[rows]) / std
    assert np.abs(later).max() <= scale + 1e-5


@pytest.mark.parametrize(("element", "preset"), PRESETS)
def test_audit_of_a_preset_tells_the_minimum_of_the_critics_whatever_was_attacked(element, preset):
    dataset, field, surrogate = transitions(FEW), FIELDS[element], CriticsSurrogate()
    out = corrupt(f"{element}-adv", dataset, 11, surrogate, preset=preset)
    rows, figures = np.flatnonzero(out.masks[field]), out.audit[element]
    clean, std = getattr(dataset, field), slow_std(getattr(dataset, field))
    noisy = clean + np.array(slow_noise(11, element, "noise", 1.0, FEW, len(std))) * std
    for key, values in (("before", clean), ("under_noise", noisy), ("after", getattr(out.dataset, field))):
        assert figures[f"value_{key}"] == pytest.approx(
            row_values(surrogate, element, dataset, values, rows).mean(), abs=1e-4
        )
    assert figures["largest_z"] <= 1 + 1e-6
    assert figures["surrogate_weak"] is False


def test_preset_without_a_surrogate_is_an_error():
    for preset in ("riql2024", "rdt2025"):
        with pytest.raises(UsageError) as error:
            CORRUPTIONS.get("mix-adv")(preset=preset)(transitions(), Streams(0))
        assert str(error.value) == "mix-adv needs a surrogate, and dataset 'test:corruptions' came with none"


def test_dynamics_of_the_preset_without_dynamics_is_an_error():
    message = "dyn-adv: preset is 'rdt2025', allowed is riql2024"
    assert error_of("dyn-adv", preset="rdt2025") == message


@pytest.mark.parametrize(
    ("name", "preset", "end"),
    [
        ("obs-adv", "riql", "allowed are riql2024 and rdt2025 (did you mean 'riql2024'?)"),
        ("act-adv", "RDT2025", "allowed are riql2024 and rdt2025 (did you mean 'rdt2025'?)"),
        ("mix-adv", "published", "allowed are riql2024 and rdt2025"),
        ("dyn-adv", "iql2024", "allowed is riql2024 (did you mean 'riql2024'?)"),
        ("obs-random", "riql2024", "allowed is rdt2025"),
        ("mix-random", "published", "allowed is rdt2025"),
    ],
)
def test_unknown_preset_is_an_error_that_names_the_known_ones(name, preset, end):
    assert error_of(name, preset=preset) == f"{name}: preset is {preset!r}, {end}"


# (c) Along trajectories

LENGTHS = (40, 1, 25, 1, 1, 60, 2, 70)
TORN = (7, 100)
"""Rows inside an episode whose next observation is not the following row's observation."""
HANDED_OVER = (39, 65)
"""Final rows whose next observation is the first observation of the next episode, which is another one all the same."""


def trajectories():
    """200 rows in episodes of several lengths, most of which lead to the row after them."""
    rng = np.random.default_rng(3)
    rows = sum(LENGTHS)
    episodes = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    observations = rng.normal(size=(rows, 4)) * [0.5, 1, 2, 1] + [0, 1, -1, 2]
    following = np.roll(observations, -1, axis=0)
    ends = np.append(episodes[1:] != episodes[:-1], True)
    apart = ends.copy()
    apart[list(HANDED_OVER)] = False
    apart[list(TORN)] = True
    following[apart] = rng.normal(size=(apart.sum(), 4))
    actions = np.tanh(rng.normal(size=(rows, 3)))
    made = dataset_of(observations, actions, rng.normal(1, 2, rows), following, np.zeros(rows))
    return made.replace(episodes=episodes), ends


ALONG = ("obs-random", "obs-adv", "mix-random", "mix-adv")


@pytest.mark.parametrize("rate", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("name", ALONG)
def test_corrupted_state_is_the_observation_of_one_row_and_the_next_of_the_row_before(name, rate):
    dataset, _ = trajectories()
    out = corrupt(name, dataset, 5, rate=rate, preset="rdt2025")
    rows = slow_rows(5, "obs", rate, len(dataset))
    following, before = slow_along_trajectories(dataset, out.dataset.observations, rows)
    assert same_bytes(out.masks["observations"], np.array(rows))
    assert same_bytes(out.masks["next_observations"], before)
    assert same_bytes(out.dataset.next_observations, following)
    assert (out.dataset.next_observations != dataset.next_observations).any(axis=1)[before].all()


@pytest.mark.parametrize("name", ["obs-random", "obs-adv"])
def test_final_observations_first_rows_and_torn_rows_stay_apart(name):
    dataset, ends = trajectories()
    out = corrupt(name, dataset, 5, rate=1.0, preset="rdt2025")
    apart = ends.copy()
    apart[list(TORN)] = True
    assert out.masks["observations"].all()
    assert same_bytes(out.masks["next_observations"], ~apart)
    assert same_bytes(out.dataset.next_observations[apart], dataset.next_observations[apart])
    assert (out.dataset.next_observations[:-1] == out.dataset.observations[1:])[~apart[:-1]].all()


@pytest.mark.parametrize("name", ALONG)
def test_next_observations_continue_as_they_did(name):
    dataset, ends = trajectories()
    clean = discontinuities(dataset.observations, dataset.next_observations, ends)
    assert (clean.count, clean.first) == (len(TORN), TORN[0])
    along = corrupt(name, dataset, 5, preset="rdt2025").dataset
    assert discontinuities(along.observations, along.next_observations, ends) == clean
    by_rows = corrupt(name, dataset, 5).dataset
    assert discontinuities(by_rows.observations, by_rows.next_observations, ends).count > 20


def test_one_row_has_nothing_before_it():
    dataset = transitions(1)
    out = corrupt("obs-random", dataset, 5, rate=1.0, preset="rdt2025")
    assert out.masks["observations"].tolist() == [True]
    assert out.masks["next_observations"].tolist() == [False]
    assert same_bytes(out.dataset.next_observations, dataset.next_observations)


def test_noise_along_trajectories_has_the_bytes_of_the_noise_by_rows():
    dataset, _ = trajectories()
    out = corrupt("obs-random", dataset, 5, rate=0.4, scale=0.7, preset="rdt2025")
    values, rows = slow_random(dataset, 5, "obs", 0.4, 0.7)
    assert same_bytes(out.dataset.observations, values)
    assert same_bytes(out.dataset.next_observations, slow_along_trajectories(dataset, values, rows)[0])


@pytest.mark.parametrize("name", ALONG)
def test_masks_along_trajectories_name_every_row_that_changed_and_no_other_field_is_touched(name):
    dataset, _ = trajectories()
    out = corrupt(name, dataset, 5, preset="rdt2025")
    expected = {"observations", "next_observations", *(("actions", "rewards") if name.startswith("mix") else ())}
    assert set(out.masks) == expected
    for field in (*HASHED, "episodes"):
        changed = (getattr(out.dataset, field) != getattr(dataset, field)).reshape(len(dataset), -1).any(axis=1)
        assert same_bytes(changed, out.masks.get(field, np.zeros(len(dataset), bool)))


@pytest.mark.parametrize("mode", ["random", "adv"])
def test_mixture_along_trajectories_is_its_three_elements_each_from_clean_data(mode):
    dataset, _ = trajectories()
    mix = corrupt(f"mix-{mode}", dataset, 6, rate=0.4, scale=0.7, preset="rdt2025")
    options = {"obs": {"preset": "rdt2025"}, "act": {"preset": "rdt2025"} if mode == "adv" else {}, "rew": {}}
    assert set(mix.audit) == {*options, "mix"}
    for element, settings in options.items():
        alone = corrupt(f"{element}-{mode}", dataset, 6, rate=0.4, scale=0.7, **settings)
        for field in alone.masks:
            assert same_bytes(getattr(mix.dataset, field), getattr(alone.dataset, field))
            assert same_bytes(mix.masks[field], alone.masks[field])
        assert mix.audit[element] == alone.audit[element]


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_mixture_without_dynamics_touches_one_minus_the_third_power_of_the_rows(rate):
    dataset = transitions(20_000, do=1, da=1)  # no row leads to the one after it
    out = CORRUPTIONS.get("mix-random")(rate=rate, preset="rdt2025")(dataset, Streams(2))
    share = 1 - (1 - rate) ** 3
    drawn = np.logical_or.reduce([slow_rows(2, element, rate, len(dataset)) for element in ("obs", "act", "rew")])
    assert not out.masks["next_observations"].any()
    assert abs(drawn.mean() - share) <= 4 * math.sqrt(share * (1 - share) / len(dataset))
    assert same_bytes(np.logical_or.reduce(list(out.masks.values())), drawn)
    assert out.audit["mix"] == {"touched": drawn.mean()}


# (d) The order of a mixture


def shuffled(monkeypatch, cls):
    """From now on the mixture's parts come the other way round."""
    parts = cls.parts
    monkeypatch.setattr(cls, "parts", lambda self: parts(self)[::-1])


@pytest.mark.parametrize(
    ("name", "preset"), [("mix-random", ""), ("mix-random", "rdt2025"), ("mix-adv", ""), ("mix-adv", "rdt2025")]
)
def test_mixture_does_not_depend_on_the_order_of_its_elements(name, preset, monkeypatch):
    dataset, _ = trajectories()
    one = corrupt(name, dataset, 6, preset=preset)
    shuffled(monkeypatch, CORRUPTIONS.get(name))
    other = corrupt(name, dataset, 6, preset=preset)
    assert list(one.audit) != list(other.audit)
    assert one.dataset.sha256 == other.dataset.sha256
    assert one.audit == other.audit
    assert all(same_bytes(one.masks[field], other.masks[field]) for field in (*one.masks, *other.masks))


def test_mixture_of_the_published_loop_depends_on_it(monkeypatch):
    dataset, _ = trajectories()
    one = corrupt("mix-adv", dataset, 6, preset="riql2024")
    shuffled(monkeypatch, CORRUPTIONS.get("mix-adv"))
    other = corrupt("mix-adv", dataset, 6, preset="riql2024")
    assert same_bytes(one.dataset.next_observations, other.dataset.next_observations)
    assert not same_bytes(one.dataset.observations, other.dataset.observations)
    assert not same_bytes(one.dataset.actions, other.dataset.actions)


def test_mixture_of_the_published_loop_attacks_actions_at_the_corrupted_observations():
    dataset, settings = transitions(), {"rate": 0.5, "scale": 0.7, "preset": "riql2024"}
    mix = corrupt("mix-adv", dataset, 6, **settings)
    alone = {e: corrupt(f"{e}-adv", dataset, 6, **settings) for e in ATTACKED}
    seen = dataset.replace(observations=alone["obs"].dataset.observations)
    on_corrupted = corrupt("act-adv", seen, 6, **settings)
    assert same_bytes(mix.dataset.actions, on_corrupted.dataset.actions)
    assert mix.audit["act"] == on_corrupted.audit["act"]
    assert not same_bytes(mix.dataset.actions, alone["act"].dataset.actions)
    for element in ("obs", "dyn"):
        assert same_bytes(getattr(mix.dataset, FIELDS[element]), getattr(alone[element].dataset, FIELDS[element]))
        assert mix.audit[element] == alone[element].audit[element]
    assert same_bytes(mix.dataset.rewards, slow_reward_attack(dataset, 6, 0.5, 0.7)[0])
    assert all(same_bytes(mix.masks[f], np.array(slow_rows(6, e, 0.5, len(dataset)))) for e, f in FIELDS.items())


def test_every_mixture_is_looked_at():
    mixtures = {name for name in CORRUPTIONS.names() if issubclass(CORRUPTIONS.get(name), Mixture)}
    assert mixtures == {"mix-random", "mix-adv"}


# (e) Inflation


@pytest.mark.parametrize("scale", [0.3, 1.0])
@pytest.mark.parametrize("element", ATTACKED)
def test_inflation_agrees_with_the_slow_solver_on_the_mirrored_value(element, scale):
    dataset, field = transitions(FEW), FIELDS[element]
    out = corrupt(f"{element}-inflate", dataset, 11, scale=scale)
    values, rows, _ = slow_attack(dataset, mirrored(CriticsSurrogate()), 11, element, 0.3, scale)
    assert same_bytes(out.masks[field], rows)
    assert close(getattr(out.dataset, field), values, rows) >= 0.97


@pytest.mark.parametrize("element", ATTACKED)
def test_inflation_has_the_bytes_of_the_attack_on_the_mirrored_value(element):
    dataset, field = transitions(), FIELDS[element]
    up = corrupt(f"{element}-inflate", dataset, 11)
    down = corrupt(f"{element}-adv", dataset, 11, mirrored(CriticsSurrogate()))
    assert up.dataset.sha256 == down.dataset.sha256
    assert same_bytes(up.masks[field], down.masks[field])
    for key in ("value_before", "value_under_noise", "value_after"):
        assert up.audit[element][key] == -down.audit[element][key]
    assert up.audit[element]["surrogate_weak"] is down.audit[element]["surrogate_weak"] is False


@pytest.mark.parametrize("element", ATTACKED)
def test_inflation_raises_the_value_of_nearly_all_rows_and_of_none_below_its_start(element):
    dataset, field, surrogate = transitions(), FIELDS[element], CriticsSurrogate()
    out = corrupt(f"{element}-inflate", dataset, 11, surrogate)
    clean, std = getattr(dataset, field), np.array(slow_std(getattr(dataset, field)))
    rows = np.flatnonzero(out.masks[field])
    start = clean + np.array(slow_noise(11, element, "start", 1.0, len(dataset), len(std))) * std
    before, began, after = (
        row_values(surrogate, element, dataset, values, rows) for values in (clean, start, getattr(out.dataset, field))
    )
    assert (after >= before).mean() > 0.97
    assert (after > before + 0.1).mean() > 0.9
    assert (after >= began - 1e-4).all()
    figures = out.audit[element]
    assert figures["value_before"] == pytest.approx(before.mean(), abs=1e-4)
    assert figures["value_after"] == pytest.approx(after.mean(), abs=1e-4)
    assert figures["value_after"] > max(figures["value_under_noise"], figures["value_before"])


LINEAR = LinearSurrogate(w=[1.0, -2.0, 0.5, 3.0], v=[-1.0, 0.25, 2.0], p=[[-3, 0, 1, 1], [0, 4, 0, -1], [1, 1, -2, 0]])


@pytest.mark.parametrize("element", ATTACKED)
def test_inflation_of_a_linear_surrogate_ends_exactly_in_the_highest_corner(element):
    dataset, field = transitions(), FIELDS[element]
    clean = getattr(dataset, field)
    corner = (clean + np.sign(LINEAR.gradient(element)) * np.array(slow_std(clean))).astype(np.float32)
    out = corrupt(f"{element}-inflate", dataset, 5, LINEAR, rate=1.0)
    assert same_bytes(getattr(out.dataset, field), corner)
    assert out.audit[element]["at_bound"] == out.audit[element]["largest_z"] == 1.0


def test_inflated_actions_are_clipped_only_on_demand():
    free, clipped = (corrupt("act-inflate", transitions(), 3, clip=clip).dataset.actions for clip in (False, True))
    assert np.abs(free).max() > 1
    assert np.abs(clipped).max() == 1
    assert same_bytes(clipped, np.clip(free, -1, 1))


@pytest.mark.parametrize(("after", "weak"), [((7, 7), False), ((1, 9), False), ((-4, 5), True), ((5, 4.5), True)])
def test_surrogate_is_weak_where_noise_raises_its_value_more(after, weak):
    figures = audit_value(np.array([1.0, 2.0]), np.array([4.0, 6.0]), np.array(after), raises=True)
    assert figures == {
        "value_before": 1.5,
        "value_under_noise": 5.0,
        "value_after": sum(after) / 2,
        "surrogate_weak": weak,
    }
    assert type(figures["surrogate_weak"]) is bool


def test_flag_is_raised_in_a_call_where_inflation_did_worse_than_noise():
    flags = []
    for seed in range(6):
        figures = corrupt("obs-inflate", transitions(), seed, MisleadingSurrogate()).audit["obs"]
        assert figures["surrogate_weak"] is (figures["value_after"] < figures["value_under_noise"])
        flags.append(figures["surrogate_weak"])
    assert {True, False} == set(flags)


@pytest.mark.parametrize("name", ["obs-inflate", "act-inflate", "obs-targeted", "act-targeted"])
def test_constant_surrogate_is_not_flagged(name):
    (figures,) = corrupt(name, transitions(), 9, ConstantSurrogate()).audit.values()
    assert figures["value_before"] == figures["value_under_noise"] == figures["value_after"] == 7.0
    assert figures["surrogate_weak"] is False


# (f) The best rows

TARGETED = tuple(f"{element}-targeted" for element in ELEMENTS)


def advantages_of(dataset, surrogate):
    return [slow_advantage(surrogate, dataset, i) for i in range(len(dataset))]


def tied():
    """Episodes of 40 rows, the last one of 20, whose returns are 40, 80, 80, 0, 80, 40, 120 and 80."""
    dataset = transitions(300)
    rewards = np.concatenate([np.full(40, r) for r in (1, 2, 2, 0, 2, 1, 3)] + [np.full(20, 4)])
    return dataset.replace(rewards=rewards.astype(np.float32))


@functools.cache
def returns_of(make):
    return slow_row_returns(make())


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.3, 0.335, 0.5, 1.0])
@pytest.mark.parametrize("make", [transitions, tied])
@pytest.mark.parametrize("name", TARGETED)
def test_targeted_rows_are_those_of_the_highest_episode_return(name, make, rate):
    dataset = make()
    out = corrupt(name, dataset, rate=rate)
    (mask,) = out.masks.values()
    returns = returns_of(make)
    assert same_bytes(mask, slow_highest(returns, rate))
    assert mask.sum() == round(rate * 300)
    assert out.audit[CORRUPTIONS.get(name).element]["rate"] == mask.mean()
    if mask.any() and not mask.all():
        assert min(np.array(returns)[mask]) >= max(np.array(returns)[~mask])


def test_of_equal_rows_the_earlier_ones_are_targeted():
    masks = corrupt("rew-targeted", tied(), rate=0.5).masks["rewards"]
    assert np.flatnonzero(masks).tolist() == [*range(40, 120), *range(160, 190), *range(240, 280)]


@pytest.mark.parametrize("rows", [5, 7, 301])
def test_number_of_targeted_rows_is_rounded_and_not_drawn(rows):
    for seed in range(5):
        assert corrupt("rew-targeted", transitions(rows), seed, rate=0.3).masks["rewards"].sum() == round(0.3 * rows)


def test_return_of_an_episode_is_that_of_its_own_rows():
    dataset = dataset_of(np.zeros((6, 1)), np.zeros((6, 1)), [1, 1, 5, -9, 3, 0.5], np.zeros((6, 1)), np.zeros(6))
    dataset = dataset.replace(episodes=np.array([4, 4, 0, 0, 9, 9]))
    assert corrupt("rew-targeted", dataset, rate=0.5).masks["rewards"].tolist() == [1, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("element", ATTACKED)
def test_rows_of_the_highest_advantage_on_demand(element, rate):
    dataset, surrogate = transitions(), CriticsSurrogate()
    out = corrupt(f"{element}-targeted", dataset, 3, surrogate, rate=rate, by="advantage")
    mask = out.masks[FIELDS[element]]
    assert same_bytes(mask, slow_highest(advantages_of(dataset, surrogate), rate))
    if rate < 1:
        assert not same_bytes(mask, slow_highest(returns_of(transitions), rate))


def test_advantages_are_told_apart_in_every_piece_of_a_large_dataset():
    dataset, surrogate = transitions(9_000, do=2, da=1), LinearSurrogate(w=[1.0, -1.0], v=[2.0], p=[[0.5, -0.5]])
    s, a = dataset.observations.astype(np.float64), dataset.actions.astype(np.float64)
    expected = 2 * (a[:, 0] - (s @ [0.5, -0.5]))
    mask = corrupt("obs-targeted", dataset, 3, surrogate, by="advantage").masks["observations"]
    assert mask.sum() == 2_700
    assert min(expected[mask]) >= max(expected[~mask]) - 1e-5


@pytest.mark.parametrize("by", ["return", "advantage"])
@pytest.mark.parametrize("element", ATTACKED)
def test_targeted_rows_are_attacked_as_the_slow_solver_does_it(element, by):
    dataset, field, surrogate = transitions(FEW), FIELDS[element], CriticsSurrogate()
    out = corrupt(f"{element}-targeted", dataset, 11, surrogate, scale=0.7, by=by)
    figures = slow_row_returns(dataset) if by == "return" else advantages_of(dataset, surrogate)
    touched = slow_highest(figures, 0.3)
    values, rows, _ = slow_attack(dataset, surrogate, 11, element, 0.3, 0.7, touched=touched)
    assert same_bytes(out.masks[field], rows)
    assert same_bytes(getattr(out.dataset, field)[~rows], getattr(dataset, field)[~rows])
    assert close(getattr(out.dataset, field), values, rows) >= 0.97


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {}) for name in TARGETED] + [(f"{element}-targeted", {"by": "advantage"}) for element in ATTACKED],
)
def test_targeted_rows_are_nested_over_rates_and_the_same_for_all_seeds(name, settings):
    masks = [
        next(iter(corrupt(name, transitions(), seed, rate=rate, **settings).masks.values()))
        for rate, seed in ((0.1, 0), (0.3, 0), (0.3, 1), (0.5, 0))
    ]
    for fewer, more in itertools.pairwise(masks):
        assert not (fewer & ~more).any()
    assert [mask.sum() for mask in masks] == [30, 90, 90, 150]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_targeted_rewards_are_minus_scale_times_the_reward_and_need_no_surrogate(scale):
    dataset = transitions()
    assert not CORRUPTIONS.get("rew-targeted").needs_surrogate
    out = CORRUPTIONS.get("rew-targeted")(scale=scale)(dataset, Streams(3))
    rows = slow_highest(returns_of(transitions), 0.3)
    expected = np.array(dataset.rewards)
    for i in np.flatnonzero(rows):
        expected[i] = np.float32(-scale * float(dataset.rewards[i]))
    assert same_bytes(out.dataset.rewards, expected)
    assert same_bytes(out.masks["rewards"], rows)


@pytest.mark.parametrize(
    ("by", "hint"),
    [("value", ""), ("", ""), ("Return", " (did you mean 'return'?)"), ("advantages", " (did you mean 'advantage'?)")],
)
@pytest.mark.parametrize("element", ATTACKED)
def test_unknown_order_of_rows_is_an_error(element, by, hint):
    name = f"{element}-targeted"
    assert error_of(name, by=by) == f"{name}: by is {by!r}, allowed are return and advantage{hint}"


@pytest.mark.parametrize("by", ["return", "advantage"])
@pytest.mark.parametrize("mode", ["inflate", "targeted"])
@pytest.mark.parametrize("element", ATTACKED)
def test_attack_without_a_surrogate_is_an_error_that_names_it(element, mode, by):
    name = f"{element}-{mode}"
    corruption = CORRUPTIONS.get(name)(**({"by": by} if mode == "targeted" else {}))
    assert corruption.needs_surrogate
    with pytest.raises(UsageError) as error:
        corruption(transitions(), Streams(0))
    assert str(error.value) == f"{name} needs a surrogate, and dataset 'test:corruptions' came with none"


# (g) Gaussian noise

QUANTILES = "dd1ec7f6d361db05deacd96077f456367c24c3383a6a850ae1fe3fc016cecd7b"
"""SHA-256 of the normal quantiles below. A new number means another protocol, and not a test to be made green."""


def corners():
    """The lowest and highest uniforms, those around 1/2 and where the formula changes, and all magnitudes between."""
    low = [k * LATTICE for k in (*range(40), *(2**n + d for n in range(5, 53) for d in (-1, 0, 1)))]
    joints = [round(p / LATTICE) * LATTICE + k * LATTICE for p in (0.075, math.exp(-25)) for k in range(-3, 4)]
    lower = {u for u in (*low, *joints) if u < 0.5}
    return sorted(lower | {1 - LATTICE - u for u in lower})


def test_normal_quantile_agrees_with_the_slow_one_everywhere():
    for uniforms in (corners(), slow_uniforms(0, "obs", "noise", 5_000)):
        found = normal_quantile(np.array(uniforms))
        np.testing.assert_allclose(found, [slow_quantile(u) for u in uniforms], rtol=1e-14, atol=1e-15)
        assert (np.diff(found[np.argsort(uniforms)]) >= 0).all()


def test_normal_quantile_is_the_inverse_of_the_distribution_function():
    """erfc knows nothing of the formula's coefficients; its own slope magnifies rounding by z^2."""
    lower = np.array([u for u in corners() if u < 0.5])
    back = [0.5 * math.erfc(-z / math.sqrt(2)) for z in normal_quantile(lower)]
    np.testing.assert_allclose(back, lower + LATTICE / 2, rtol=1e-13)


def test_normal_quantile_is_finite_and_exact_at_both_ends_and_symmetric_to_the_last_bit():
    low, high = normal_quantile(np.array([0.0, 1 - LATTICE]))
    assert low == -high == pytest.approx(statistics.NormalDist().inv_cdf(2.0**-54), rel=1e-14)
    uniforms = np.array(corners() + slow_uniforms(1, "obs", "noise", 5_000))
    assert uniforms.min() == 0
    assert uniforms.max() == 1 - LATTICE
    assert same_bytes(normal_quantile(1 - LATTICE - uniforms), -normal_quantile(uniforms))


def test_normal_quantile_has_the_same_bits_everywhere():
    found = normal_quantile(np.array(corners() + slow_uniforms(1, "obs", "noise", 5_000)))
    assert hashlib.sha256(found.astype("<f8").tobytes()).hexdigest() == QUANTILES


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.7])
@pytest.mark.parametrize("element", ATTACKED)
def test_gaussian_noise_agrees_with_the_slow_version_before_rounding(element, scale):
    uniforms = slow_uniforms(7, element, "noise", 2_000)
    found = CORRUPTIONS.get(f"{element}-gauss")(scale=scale).noise(np.array(uniforms))
    expected = [scale / math.sqrt(3) * slow_quantile(u) for u in uniforms]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rate", "scale", "seed"), [(0.3, 1.0, 0), (0.1, 0.5, 2**32 - 1), (1.0, 3.7, 77)])
@pytest.mark.parametrize("make", [transitions, awkward_transitions])
@pytest.mark.parametrize("element", ATTACKED)
def test_gaussian_corruption_agrees_with_the_slow_version_to_one_rounding(element, make, rate, scale, seed):
    dataset, field = make(), FIELDS[element]
    out = corrupt(f"{element}-gauss", dataset, seed, rate=rate, scale=scale)
    values, rows = slow_gauss(dataset, seed, element, rate, scale)
    assert same_bytes(out.masks[field], rows)
    found = getattr(out.dataset, field)
    assert (np.abs(found - values) <= np.spacing(np.abs(found)) / 2 + 1e-12 * np.abs(values)).all()
    assert (found == values.astype(np.float32)).mean() > 0.999


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("element", ATTACKED)
def test_gaussian_noise_has_the_spread_of_the_uniform_noise_and_no_bound(element, scale):
    dataset, field = transitions(20_000, do=1, da=1), FIELDS[element]
    out = corrupt(f"{element}-gauss", dataset, 4, rate=1.0, scale=scale)
    clean = getattr(dataset, field)
    z = (getattr(out.dataset, field).astype(np.float64) - clean)[:, 0] / slow_std(clean)[0]
    spread = scale / math.sqrt(3)
    assert abs(z.mean()) <= 4 * spread / math.sqrt(len(z))
    assert abs(z.std() / spread - 1) <= 4 / math.sqrt(2 * len(z))
    assert (np.abs(z) > scale).mean() == pytest.approx(math.erfc(math.sqrt(1.5)), abs=0.01)  # 8.3 %
    assert np.abs(z).max() > 3 * spread
    assert out.audit[element]["largest_z"] == pytest.approx(np.abs(z).max(), rel=1e-5)
    assert out.audit[element]["at_bound"] > 0.083


def test_gaussian_actions_are_clipped_only_on_demand():
    dataset, clipped = transitions(), corrupt("act-gauss", transitions(), 3, clip=True)
    free = corrupt("act-gauss", dataset, 3).dataset.actions
    assert np.abs(free).max() > 1
    assert same_bytes(clipped.dataset.actions, np.clip(free, -1, 1))
    expected, _ = slow_gauss(dataset, 3, "act", 0.3, 1.0, clip=True)
    np.testing.assert_allclose(clipped.dataset.actions, expected, rtol=1e-7, atol=0)


# (h) Lost and exchanged values

REPLACING = tuple(f"{element}-{mode}" for element in ELEMENTS for mode in ("zero", "swap"))


@pytest.mark.parametrize(("rate", "seed"), [(0.3, 0), (0.02, 1), (0.7, 2**32 - 1), (1.0, 77), (0.0, 5)])
@pytest.mark.parametrize("make", [transitions, awkward_transitions])
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize(("mode", "slow"), [("zero", slow_zero), ("swap", slow_swap)])
def test_replacement_has_the_bytes_of_the_slow_version(mode, slow, element, make, rate, seed):
    dataset = make()
    out = CORRUPTIONS.get(f"{element}-{mode}")(rate=rate)(dataset, Streams(seed))
    values, rows = slow(dataset, seed, element, rate)
    assert same_bytes(getattr(out.dataset, FIELDS[element]), values)
    assert same_bytes(out.masks[FIELDS[element]], rows)


@pytest.mark.parametrize("name", REPLACING)
def test_replacement_leaves_other_rows_and_fields_alone(name):
    dataset = transitions()
    out = corrupt(name, dataset, 3)
    touched = FIELDS[name.partition("-")[0]]
    assert set(out.masks) == {touched}
    for field in (*HASHED, "episodes"):
        untouched = ~out.masks[field] if field == touched else np.ones(len(dataset), bool)
        assert same_bytes(getattr(out.dataset, field)[untouched], getattr(dataset, field)[untouched])


@pytest.mark.parametrize("element", ELEMENTS)
def test_lost_values_are_positive_zeros(element):
    out = corrupt(f"{element}-zero", awkward_transitions(), 3)
    lost = getattr(out.dataset, FIELDS[element])[out.masks[FIELDS[element]]]
    assert len(lost) > 0
    assert not lost.any()
    assert not np.signbit(lost).any()


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("element", ELEMENTS)
def test_exchanged_values_are_whole_rows_and_none_is_lost(element, rate):
    dataset, field = transitions(), FIELDS[element]
    out = corrupt(f"{element}-swap", dataset, 3, rate=rate)
    rows = out.masks[field]
    old, new = (getattr(d, field)[rows].reshape(rows.sum(), -1) for d in (dataset, out.dataset))
    assert collections.Counter(map(tuple, new.tolist())) == collections.Counter(map(tuple, old.tolist()))
    assert rows.sum() > 3
    stayed = (new == old).all(axis=1).sum()
    assert stayed <= 6  # a random order leaves one row where it was, on average


@pytest.mark.parametrize("name", REPLACING)
def test_replacement_has_no_scale(name):
    assert CORRUPTIONS.get(name)(scale=1).scale == 1
    for scale in (0.5, 1.0001, 2.0):
        assert error_of(name, scale=scale) == f"{name} has no scale: scale is {scale}, allowed is 1"


@pytest.mark.parametrize("name", REPLACING)
def test_audit_of_a_replacement_measures_the_dataset_that_is_returned(name):
    dataset, element = transitions(), name.partition("-")[0]
    out = corrupt(name, dataset, 3)
    rows, figures = out.masks[FIELDS[element]], out.audit[element]
    old, new = (getattr(d, FIELDS[element])[rows].astype(np.float64) for d in (dataset, out.dataset))
    size = np.abs(new - old) / slow_std(getattr(dataset, FIELDS[element]))
    assert figures["rate"] == rows.mean()
    if element == "rew":
        assert figures["mean_change"] == pytest.approx(size.mean(), rel=1e-6)
    else:
        assert figures["largest_z"] == pytest.approx(size.max(), rel=1e-12)
        assert figures["unmoved"] == pytest.approx((size < 0.05).mean(), abs=1e-12)
        assert figures["at_bound"] == pytest.approx((size > 0.95).mean(), abs=1e-12)


# (i) The same bytes everywhere


@pytest.mark.parametrize("element", ATTACKED)
@pytest.mark.parametrize(
    ("mode", "slow"),
    [
        ("gauss", lambda *threat: slow_gauss(*threat, 1.0, quantile=lambda u: float(normal_quantile(np.array(u))))),
        ("zero", slow_zero),
        ("swap", slow_swap),
    ],
    ids=["gauss", "zero", "swap"],
)
def test_random_corruption_of_the_published_dataset_has_the_bytes_of_the_slow_version(mode, slow, element):
    dataset, seed = integer_transitions(), unit_seeds(0)[1]
    out = CORRUPTIONS.get(f"{element}-{mode}")()(dataset, Streams(seed))
    values, rows = slow(dataset, seed, element, 0.3)
    assert same_bytes(getattr(out.dataset, FIELDS[element]), values.astype(np.float32))
    assert same_bytes(out.masks[FIELDS[element]], rows)
