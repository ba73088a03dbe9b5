"""What every corruption and every algorithm owes, asked of each name in the registries: a new one is tested unasked."""

import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from builders_corruptions import NetworkSurrogate, transitions
from reference_corruptions import FIELDS, HASHED, slow_sha256

from corruptbench.contract import check
from corruptbench.registry import ALGORITHMS, CORRUPTIONS, source_sha256
from corruptbench.rng import stream
from corruptbench.types import Batch, Corrupted, Streams

DO, DA, POPULATION, ROWS = 4, 3, 3, 32
DECLARED = {"none": set(), "mix": set(FIELDS.values()), **{element: {field} for element, field in FIELDS.items()}}

every_corruption = pytest.mark.parametrize("name", CORRUPTIONS.names())
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS.names())


CLASSES = [registry.get(name) for registry in (CORRUPTIONS, ALGORITHMS) for name in registry.names()]


def variants(name):
    """Every way in which a corruption does something else: presets, clipping, whose rows are the best ones."""
    cls = CORRUPTIONS.get(name)
    values = {"preset": ("", *cls.presets), "clip": (False, True), "by": ("return", "advantage")}
    known = {field.name for field in dataclasses.fields(cls)} & values.keys()
    choices = [[(key, value) for value in values[key]] for key in sorted(known)]
    return [dict(chosen) for chosen in itertools.product(*choices)]


def digests():
    """What each built-in corruption makes of the data, as JSON: one text for the same bytes and figures."""
    found = {}
    for name in CORRUPTIONS.names():
        for settings in variants(name) if source_sha256(CORRUPTIONS.get(name)) is None else ():
            out = corrupt(name, seed=5, **settings)
            masks = {field: hashlib.sha256(mask.tobytes()).hexdigest() for field, mask in out.masks.items()}
            found[f"{name} {settings}"] = [out.dataset.sha256, masks, out.audit]
    return json.dumps(found, sort_keys=True)


def clean_data():
    return transitions(200, DO, DA)


def corrupt(name, dataset=None, seed=0, **settings):
    return CORRUPTIONS.get(name)(**settings)(dataset or clean_data(), Streams(seed), NetworkSurrogate(DO, DA))


# Both kinds


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.name)
def test_class_is_a_frozen_dataclass_with_plain_defaults_and_a_docstring_of_its_own(cls):
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert (cls.__doc__ or "").strip()
    assert not cls.__doc__.startswith(f"{cls.__name__}("), "the signature, which dataclasses put where none is written"
    made = cls()
    for field in dataclasses.fields(cls):
        assert type(getattr(made, field.name)) in (int, float, bool, str, tuple), field.name
        assert field.default is not dataclasses.MISSING, field.name
        assert getattr(made, field.name) == field.default, f"{field.name} is changed after it was given"
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, field.default)
    assert cls() == made


# Corruptions


@every_corruption
def test_corruption_says_what_it_is(name):
    cls = CORRUPTIONS.get(name)
    assert cls.name == name == {"none": "none"}.get(cls.element, f"{cls.element}-{cls.mode}")
    assert isinstance(cls.needs_surrogate, bool)


@every_corruption
def test_corruption_returns_sound_data(name):
    clean = clean_data()
    out = corrupt(name, clean)
    assert type(out) is Corrupted
    for field in (*HASHED, "episodes"):
        old, new = getattr(clean, field), getattr(out.dataset, field)
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
        assert np.isfinite(new).all()
        assert not new.flags.writeable
    assert out.dataset.environment == clean.environment
    check(CORRUPTIONS.get(name)(), clean, out, name)


@every_corruption
def test_corruption_leaves_its_input_as_it_was(name):
    clean = clean_data()
    before = slow_sha256(clean)
    corrupt(name, clean)
    assert slow_sha256(clean) == before


@every_corruption
def test_corruption_is_deterministic(name):
    first, again = corrupt(name, seed=5), corrupt(name, seed=5)
    assert first.dataset.sha256 == again.dataset.sha256
    assert first.masks.keys() == again.masks.keys()
    assert first.audit == again.audit
    assert all(np.array_equal(first.masks[field], again.masks[field]) for field in first.masks)


def test_a_second_process_computes_the_same():
    """With another order of hashes, and with nothing left of what these tests did before."""
    script = "import test_contracts; print(test_contracts.digests())"
    folders = [os.path.dirname(__file__), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == digests(), done.stderr


@every_corruption
def test_a_corruption_keeps_to_what_its_class_declares(name):
    """With every preset, and with actions that lie outside their box before they are clipped to it."""
    data = transitions(400, DO, DA)
    data = data.replace(actions=2 * data.actions)
    for settings in variants(name):
        corruption = CORRUPTIONS.get(name)(**settings, **({"scale": 0.1} if CORRUPTIONS.get(name).scaled else {}))
        out = corruption(data, Streams(1), NetworkSurrogate(DO, DA))
        check(corruption, data, out, f"{name} {settings}")
        assert set(out.masks) == set(corruption.fields)
        assert set(corruption.radii) <= set(corruption.fields)


BOXES = ("random", "adv", "inflate", "targeted")
BOUNDED = {f"{element}-{mode}" for element in ("obs", "act", "dyn") for mode in BOXES}


@every_corruption
def test_noise_and_attacks_inside_a_box_declare_its_radius(name):
    corruption = CORRUPTIONS.get(name)
    scale = 0.5 if corruption.scaled else 1
    if corruption.element == "mix":
        expected = dict.fromkeys(("observations", "actions", "next_observations"), scale)
    else:
        expected = {FIELDS[corruption.element]: scale} if name in BOUNDED else {}
    assert corruption(scale=scale).radii == expected


@every_corruption
def test_masks_cover_the_declared_fields_and_every_changed_row(name):
    clean = clean_data()
    out = corrupt(name, clean)
    assert set(out.masks) == DECLARED[CORRUPTIONS.get(name).element]
    for field in (*HASHED, "episodes"):
        changed = (getattr(out.dataset, field) != getattr(clean, field)).reshape(len(clean), -1).any(axis=1)
        mask = out.masks.get(field, np.zeros(len(clean), bool))
        assert (mask.shape, mask.dtype) == ((len(clean),), np.dtype(bool))
        assert not (changed & ~mask).any()


@every_corruption
def test_rate_zero_is_the_identity(name):
    clean = clean_data()
    assert slow_sha256(corrupt(name, clean, rate=0.0).dataset) == slow_sha256(clean)


@pytest.mark.parametrize("name", [n for n in CORRUPTIONS.names() if CORRUPTIONS.get(n).element != "none"])
def test_corruption_touches_something_at_its_defaults(name):
    out = corrupt(name)
    assert all(mask.any() for mask in out.masks.values())
    assert out.dataset.sha256 != clean_data().sha256


# Algorithms


def agent_of(name):
    return ALGORITHMS.get(name)(hidden=(16, 8))


def state_of(agent, seed=0):
    """A fresh state in float64, where 1e-10 is far above rounding and far below any mix-up of members."""
    state = agent.init(DO, DA, lambda network: stream(seed, network))
    return {group: [p.double() for p in params] for group, params in state.items()}


def batch_of(seed=0):
    rng = np.random.default_rng(seed)
    return Batch(
        observations=torch.from_numpy(rng.normal(size=(ROWS, DO))),
        actions=torch.from_numpy(rng.uniform(-1, 1, size=(ROWS, DA))),
        rewards=torch.from_numpy(rng.normal(size=ROWS)),
        next_observations=torch.from_numpy(rng.normal(size=(ROWS, DO))),
        terminations=torch.from_numpy((rng.uniform(size=ROWS) < 0.2).astype(np.float64)),
    )


def population(agent):
    """Three states and batches of their own, and the same with a leading axis."""
    states = [state_of(agent, seed) for seed in range(POPULATION)]
    batches = [batch_of(seed) for seed in range(POPULATION)]
    together = {g: [torch.stack(ps) for ps in zip(*(s[g] for s in states), strict=True)] for g in states[0]}
    return states, batches, together, Batch(*(torch.stack(field) for field in zip(*batches, strict=True)))


def copied(state):
    return {group: [p.clone() for p in params] for group, params in state.items()}


def equal_states(a, b):
    return a.keys() == b.keys() and all(torch.equal(x, y) for g in a for x, y in zip(a[g], b[g], strict=True))


@every_algorithm
def test_initial_state_is_finite_float32_and_a_function_of_its_streams(name):
    agent = agent_of(name)
    asked = []

    def streams(network):
        asked.append(network)
        return stream(0, network)

    state = agent.init(DO, DA, streams)
    assert len(asked) == len(set(asked))  # two networks of one stream would start alike
    assert all(p.dtype == torch.float32 and p.isfinite().all() for params in state.values() for p in params)
    assert equal_states(state, agent.init(DO, DA, lambda network: stream(0, network)))
    assert not equal_states(state, agent.init(DO, DA, lambda network: stream(1, network)))
    storages = [p.data_ptr() for params in state.values() for p in params]
    assert len(storages) == len(set(storages))  # a target that shares memory with its network would follow it at once


@every_algorithm
def test_objectives_have_names_of_their_own_and_groups_that_exist(name):
    agent = agent_of(name)
    state, objectives = state_of(agent), agent.objectives
    names = [objective.name for objective in objectives]
    assert names
    assert len(names) == len(set(names))
    assert {objective.group for objective in objectives} <= state.keys()
    assert set(agent.acting) <= state.keys()
    assert set(agent.sam_on) <= set(names)
    assert len(agent.sam_on) == len(set(agent.sam_on))
    assert agent.sam_cost >= 1


@every_algorithm
def test_losses_reduce_the_batch_axis_and_no_other(name):
    agent = agent_of(name)
    states, batches, together, batch = population(agent)
    targets = agent.targets(together, batch)
    alone = [agent.targets(state, single) for state, single in zip(states, batches, strict=True)]
    for objective in agent.objectives:
        loss, info = objective.loss(together[objective.group], batch, targets)
        singles = [objective.loss(s[objective.group], b, t) for s, b, t in zip(states, batches, alone, strict=True)]
        assert loss.shape == (POPULATION,), objective.name
        assert all(single.shape == () for single, _ in singles), objective.name
        torch.testing.assert_close(loss, torch.stack([single for single, _ in singles]), rtol=1e-10, atol=1e-10)
        assert len(set(loss.tolist())) == POPULATION
        for key, figure in info.items():
            torch.testing.assert_close(figure, torch.stack([i[key] for _, i in singles]), rtol=1e-10, atol=1e-10)


@every_algorithm
def test_gradient_of_a_member_is_its_own(name):
    agent = agent_of(name)
    states, batches, together, batch = population(agent)
    with torch.no_grad():
        targets = agent.targets(together, batch)
        alone = [agent.targets(state, single) for state, single in zip(states, batches, strict=True)]
    for objective in agent.objectives:

        def gradient(params, batch, targets, loss=objective.loss):
            params = [p.clone().requires_grad_() for p in params]
            return torch.autograd.grad(loss(params, batch, targets)[0].sum(), params)

        stacked = gradient(together[objective.group], batch, targets)
        assert any(g.abs().max() > 0 for g in stacked)
        for member in range(POPULATION):
            single = gradient(states[member][objective.group], batches[member], alone[member])
            for of_all, own in zip(stacked, single, strict=True):
                torch.testing.assert_close(of_all[member], own, rtol=1e-9, atol=1e-10)


@every_algorithm
def test_a_loss_is_a_mean_over_the_batch(name):
    agent, batch = agent_of(name), batch_of()
    state, twice = state_of(agent), Batch(*(torch.cat([field, field]) for field in batch))
    for objective in agent.objectives:
        once = objective.loss(state[objective.group], batch, agent.targets(state, batch))[0]
        torch.testing.assert_close(objective.loss(state[objective.group], twice, agent.targets(state, twice))[0], once)


@every_algorithm
def test_the_losses_of_the_rows_are_those_of_the_rows_alone(name):
    agent, batch = agent_of(name), batch_of()
    state = state_of(agent)
    singles = [Batch(*(field[row : row + 1] for field in batch)) for row in range(len(batch.rewards))]
    for objective in agent.objectives:
        loss, info = objective.loss(state[objective.group], batch, agent.targets(state, batch))
        assert ("rows" in info) == objective.rows
        if objective.rows:
            alone = [objective.loss(state[objective.group], one, agent.targets(state, one))[0] for one in singles]
            torch.testing.assert_close(info["rows"], torch.stack(alone))
            torch.testing.assert_close(info["rows"].mean(), loss)


@every_algorithm
def test_targets_and_losses_change_nothing(name):
    agent, batch = agent_of(name), batch_of()
    state = state_of(agent)
    before, given = copied(state), Batch(*(field.clone() for field in batch))
    targets = agent.targets(state, batch)
    for objective in agent.objectives:
        objective.loss(state[objective.group], batch, targets)
    assert equal_states(state, before)
    assert all(torch.equal(a, b) for a, b in zip(batch, given, strict=True))


@every_algorithm
def test_target_networks_follow_trained_groups_of_their_shape(name):
    agent = agent_of(name)
    state, trained = state_of(agent), {objective.group for objective in agent.objectives}
    for target, (source, rate) in agent.target_networks.items():
        assert target not in trained
        assert source in trained
        assert [p.shape for p in state[target]] == [p.shape for p in state[source]]
        assert 0 <= rate <= 1
    assert state.keys() == trained | agent.target_networks.keys()  # nothing is kept that never moves


@every_algorithm
def test_actions_are_deterministic_and_inside_the_box(name):
    agent = agent_of(name)
    state = agent.init(DO, DA, lambda network: stream(0, network))
    observations = torch.from_numpy(np.random.default_rng(0).normal(size=(ROWS, DO))).float()
    for factor in (1, 1e6):
        actions = agent.act(state, factor * observations)
        assert actions.shape == (ROWS, DA)
        assert actions.dtype == torch.float32
        assert (actions.abs() <= 1).all()
        assert torch.equal(actions, agent.act(state, factor * observations))
    only = {group: state[group] for group in agent.acting}
    assert torch.equal(agent.act(only, observations), agent.act(state, observations))
