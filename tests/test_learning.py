"""Training is section 3 of the protocol: the equations, the steps against a slow reference, and what a seed decides."""

import itertools
import logging
import math
import shutil

import numpy as np
import pytest
import reference_learning as reference
import torch
from builders import random_dataset
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from corruptbench import engine, train
from corruptbench.algos import losses
from corruptbench.errors import Diverged, UsageError
from corruptbench.once import Once
from corruptbench.optimizers import optimizer_for
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner
from corruptbench.types import Batch

NAMES = ("iql", "riql", "bc")
RUNS = [(name, optimizer) for name in NAMES for optimizer in ("adam", "sam")]
SAM_ON = {"iql": ("V", "Q"), "riql": ("V", "Q"), "bc": ("actor",)}


def small(name, **settings):
    """An agent with networks 2x32 and batches of 32."""
    return ALGORITHMS.get(name)(hidden=(32, 32), batch_size=32, **settings)


def learner(name, optimizer="adam", *, on=None, seed=7, steps=1_000, engine="eager", dtype=torch.float32, **settings):
    agent = small(name, **settings)
    chosen = optimizer_for(agent, optimizer, on=on)
    return Learner(agent, chosen, random_dataset(), seed=seed, steps=steps, engine=engine, dtype=dtype)


def reference_of(run, optimizer="adam", on=None):
    """The reference at the learner's weights; it shares batches and initial weights with the learner, nothing else."""
    sam_on = (on or SAM_ON[run.agent.name]) if optimizer == "sam" else ()
    return reference.ReferenceRun(run.agent.name, run.state, run.steps, sam_on=sam_on)


def bytes_of(run):
    return {group: [p.numpy().tobytes() for p in params] for group, params in run.state.items()}


# The equations


def random_network(rng, sizes, last=1.0, ensemble=()):
    """A float64 network whose outputs are spread by about ``last``."""
    params = []
    for inputs, outputs in itertools.pairwise(sizes):
        scale = 1.5 / math.sqrt(inputs)
        params.append(torch.from_numpy(rng.normal(scale=scale, size=(*ensemble, inputs, outputs))))
        params.append(torch.from_numpy(rng.normal(scale=scale, size=(*ensemble, 1, outputs))))
    params[-2:] = [last * p for p in params[-2:]]
    return params


def random_state(rng, agent, critics, do=5, da=2):
    state = {"actor": random_network(rng, (do, 16, da))}
    if agent.name != "bc":
        state["value"] = random_network(rng, (do, 16, 1))
        state["critic"] = random_network(rng, (do + da, 16, 1), ensemble=(critics,))
        state["target_critic"] = random_network(rng, (do + da, 16, 1), last=1.5, ensemble=(critics,))
    return state


def random_batch(rng, do=5, da=2, size=512):
    """Some rewards reach far beyond RIQL's bounds of [-100, 1000], most do not; some rows are terminal."""
    rewards = rng.normal(size=size)
    rewards[:100] *= 2_000
    fields = (
        rng.normal(size=(size, do)),
        rng.uniform(-1, 1, size=(size, da)),
        rewards,
        rng.normal(size=(size, do)),
        (rng.uniform(size=size) < 0.3).astype(np.float64),
    )
    return Batch(*map(torch.from_numpy, fields))


def reference_targets(agent, state, batch):
    """q, y and A of section 3, with the settings of ``agent`` in the place of the protocol's."""
    s, a, r, s_next, d = batch
    qs = [reference.action_value(critic, s, a) for critic in reference.split(state["target_critic"])]
    y = r + 0.99 * (1 - d) * reference.state_value(state["value"], s_next)
    if agent.name == "riql":
        q, y = reference.quantile(qs, agent.alpha), y.clamp(-100, 1000)
    else:
        q = torch.minimum(*qs)
    return q, y, q - reference.state_value(state["value"], s)


AGENTS = {
    "iql": ({}, 2),
    "riql": ({}, 5),  # position 0.25 * 4 = 1, an order statistic
    "riql-3-critics": ({"critics": 3}, 3),  # position 0.5, half way between two
    "riql-4-critics-0.9": ({"critics": 4, "alpha": 0.9}, 4),  # position 2.7
    "riql-delta-0.1": ({"delta": 0.1}, 5),
    "riql-delta-3": ({"delta": 3.0}, 5),
}


@pytest.fixture(params=AGENTS)
def scene(request):
    """An agent, weights and a batch that reach every branch of the equations."""
    settings, critics = AGENTS[request.param]
    rng = np.random.default_rng(3)
    agent = small(request.param.split("-")[0], **settings)
    return agent, random_state(rng, agent, critics), random_batch(rng)


def test_targets_are_those_of_the_equations(scene):
    agent, state, batch = scene
    q, y, advantage = reference_targets(agent, state, batch)
    found = agent.targets(state, batch)
    torch.testing.assert_close(found.q, q, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.y, y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.advantage, advantage, rtol=1e-12, atol=1e-12)


def test_riql_clips_the_regression_target_and_iql_does_not():
    rng = np.random.default_rng(3)
    for name, critics, bounds in (("riql", 5, (-100.0, 1000.0)), ("iql", 2, None)):
        agent, batch = small(name), random_batch(rng)
        y = agent.targets(random_state(rng, agent, critics), batch).y
        if bounds:
            assert (float(y.min()), float(y.max())) == bounds
            assert 5 < int((y == -100).sum()) < 100
            assert 5 < int((y == 1000).sum()) < 100
        else:
            assert float(y.min()) < -1000
            assert float(y.max()) > 2000


def loss_and_gradient(loss, weights):
    weights = [w.clone().requires_grad_() for w in weights]
    value = loss(weights)
    return value.detach(), torch.autograd.grad(value, weights)


def assert_same_objective(objective, expected, weights, batch, targets):
    """The loss and its gradient at ``weights``."""
    value, gradient = loss_and_gradient(lambda w: objective.loss(w, batch, targets)[0], weights)
    expected_value, expected_gradient = loss_and_gradient(expected, weights)
    torch.testing.assert_close(value, expected_value, rtol=1e-12, atol=0)
    for ours, theirs in zip(gradient, expected_gradient, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12 * float(value))


def test_losses_and_their_gradients_are_those_of_the_equations(scene):
    agent, state, batch = scene
    q, y, advantage = reference_targets(agent, state, batch)
    s, a, *_ = batch
    qs = torch.stack([reference.action_value(critic, s, a) for critic in reference.split(state["critic"])])
    delta = agent.delta if agent.name == "riql" else None
    # the rows of this batch lie on both sides of every kink
    assert 0.05 < float((advantage < 0).double().mean()) < 0.95
    assert 0.01 < float((3 * advantage > math.log(100)).double().mean()) < 0.9
    assert 0.01 < float(((y - qs).abs() < (delta or 1)).double().mean()) < 0.95

    def expected_critic_loss(weights):
        return reference.critic_loss(y, [reference.action_value(c, s, a) for c in reference.split(weights)], delta)

    expected = {
        "V": lambda weights: reference.value_loss(q, reference.state_value(weights, s)),
        "Q": expected_critic_loss,
        "actor": lambda weights: reference.actor_loss(advantage, reference.policy(weights, s), a),
    }
    targets = agent.targets(state, batch)
    assert [objective.name for objective in agent.objectives] == ["V", "Q", "actor"]
    for objective in agent.objectives:
        assert_same_objective(objective, expected[objective.name], state[objective.group], batch, targets)


def test_bc_is_the_actor_loss_with_every_weight_one():
    rng = np.random.default_rng(3)
    agent, batch = small("bc"), random_batch(rng)
    state = random_state(rng, agent, 0)
    (objective,) = agent.objectives
    assert objective.name == "actor"

    def expected(weights):
        return reference.cloning_loss(reference.policy(weights, batch.observations), batch.actions)

    assert_same_objective(objective, expected, state["actor"], batch, agent.targets(state, batch))


@pytest.mark.parametrize("delta", [0.1, 0.5, 1.0, 3.0])
def test_huber_loss_is_smooth_l1_up_to_at_and_beyond_its_threshold(delta):
    near = [0, 1e-3 * delta, delta * (1 - 1e-9), delta, delta * (1 + 1e-9), 10 * delta, 1e6]
    u = torch.tensor([-x for x in near] + near, dtype=torch.float64, requires_grad=True)
    found = losses.huber_loss(u, delta)
    expected = torch.nn.functional.smooth_l1_loss(u, torch.zeros_like(u), reduction="none", beta=delta)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
    # by hand: delta / 2 at the threshold, and a slope of u / delta within it
    assert float(found[3].detach()) == pytest.approx(delta / 2)
    slope = torch.autograd.grad(found.sum(), u)[0]
    torch.testing.assert_close(slope, (u.detach() / delta).clamp(-1, 1), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("critics", "alpha"), [(5, 0.25), (3, 0.25), (2, 0.25), (10, 0.1), (4, 0.9), (1, 0.25), (5, 0.0), (5, 1.0)]
)
def test_quantile_over_the_critics_is_linear_as_torch_quantile(critics, alpha):
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(critics, 64)))
    values[:, 0] = 1.0  # ties
    expected = torch.quantile(values, alpha, dim=0, interpolation="linear")
    torch.testing.assert_close(losses.quantile(values, alpha), expected, rtol=1e-13, atol=1e-14)
    # the reference has to be right on its own account
    torch.testing.assert_close(reference.quantile(list(values), alpha), expected, rtol=1e-13, atol=1e-14)


def test_expectile_loss_by_hand():
    u = torch.tensor([2.0, -2.0, 0.0, 1.0], dtype=torch.float64)
    assert float(losses.expectile_loss(u, 0.7).mean()) == pytest.approx((0.7 * 4 + 0.3 * 4 + 0 + 0.7) / 4)


@pytest.mark.parametrize("tau", [0.7, 0.9, 0.1])
def test_expectile_loss_has_the_precision_of_its_input(tau):
    u = torch.tensor([3.0, -3.0, 0.0, 0.1], dtype=torch.float64, requires_grad=True)
    found = losses.expectile_loss(u, tau)
    assert found.tolist() == pytest.approx([tau * 9, (1 - tau) * 9, 0, tau * 0.1**2], rel=1e-15)
    slope = torch.autograd.grad(found.sum(), u)[0]
    assert slope.tolist() == pytest.approx([2 * tau * 3, -2 * (1 - tau) * 3, 0, 2 * tau * 0.1], rel=1e-15)


@pytest.mark.parametrize("tau", [0.7, 0.9, 0.1])
def test_expectile_loss_in_float32_rounds_each_weight_once(tau):
    u = np.random.default_rng(0).normal(size=64).astype(np.float32)
    found = losses.expectile_loss(torch.from_numpy(u), tau)
    assert found.dtype == torch.float32
    expected = np.where(u < 0, np.float32(1 - tau), np.float32(tau)) * (u * u)
    assert found.numpy().tobytes() == expected.tobytes()


def test_weight_of_the_actor_loss_is_cut_at_100():
    policy, actions = torch.zeros(3, 2).double(), torch.ones(3, 2).double()  # squared distance 2 in each row
    advantage = torch.tensor([0.0, 1.0, 50.0], dtype=torch.float64)
    found = losses.weighted_regression_loss(policy, actions, advantage, 3.0)
    assert found.tolist() == pytest.approx([2, 2 * math.exp(3), 2 * 100])


# Whole steps


THOUSAND = {("iql", "adam"), ("riql", "sam"), ("bc", "sam")}
"""Every algorithm and both optimizers; the others take a hundred steps, which is a quarter of a minute less each."""


@pytest.mark.parametrize(("name", "optimizer"), RUNS)
def test_one_step_and_many_agree_with_the_reference(name, optimizer):
    steps = 1_000 if (name, optimizer) in THOUSAND else 100
    run = learner(name, optimizer, dtype=torch.float64)
    expected = reference_of(run, optimizer)
    start = {group: [p.clone() for p in params] for group, params in run.state.items()}

    run.advance(1)
    expected.step(run.batch(1))
    assert reference.relative_distance(expected.state(), start) > 1e-4  # the step is visible at the bound below
    assert reference.relative_distance(run.state, expected.state()) <= 1e-6

    run.advance(steps - 1)
    for step in range(2, steps + 1):
        expected.step(run.batch(step))
    assert reference.relative_distance(run.state, expected.state()) <= 1e-6
    for group in run.state:  # nor does a small network hide behind the large ones
        assert reference.relative_distance({group: run.state[group]}, {group: expected.state()[group]}) <= 1e-6


@pytest.mark.parametrize("on", [("V",), ("Q",), ("actor",), ("V", "Q", "actor")])
def test_sam_on_any_objectives_agrees_with_the_reference(on):
    run = learner("iql", "sam", on=on, steps=40, dtype=torch.float64)
    expected = reference_of(run, "sam", on=on)
    run.advance(40)
    for step in range(1, 41):
        expected.step(run.batch(step))
    assert reference.relative_distance(run.state, expected.state()) <= 1e-6


@pytest.mark.parametrize(("name", "optimizer"), RUNS)
def test_float32_stays_near_the_reference_for_50_steps(name, optimizer):
    run = learner(name, optimizer, steps=50)
    assert all(p.dtype == torch.float32 for params in run.state.values() for p in params)
    assert_near_after_50_steps(run, optimizer)


needs_a_compiler = pytest.mark.skipif(
    not any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++")),
    reason="engine 'compiled' needs a C++ compiler (g++, clang++ or c++) on the path",
)
its_own_import = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


@needs_a_compiler
@its_own_import
def test_the_compiled_step_stays_near_the_reference_for_50_steps():
    run = learner("riql", "sam", steps=50, engine="compiled")
    assert run.engine == "compiled"
    assert_near_after_50_steps(run, "sam")


@needs_a_compiler
@its_own_import
@pytest.mark.parametrize("name", ["iql", "riql"])
def test_the_compiled_step_in_float64_agrees_with_the_reference(name):
    """To more digits than float32 has, in which a compiled step might leave something out unseen."""
    run = learner(name, steps=20, engine="compiled", dtype=torch.float64)
    expected = reference_of(run)
    run.advance(10)
    for step in range(1, 11):
        expected.step(run.batch(step))
    assert run.engine == "compiled"
    for group in run.state:
        assert reference.relative_distance({group: run.state[group]}, {group: expected.state()[group]}) <= 1e-10


def assert_near_after_50_steps(run, optimizer):
    expected = reference_of(run, optimizer)
    run.advance(50)
    for step in range(1, 51):
        expected.step(run.batch(step))
    assert reference.relative_distance(run.state, expected.state()) <= 1e-4


def test_only_the_actor_follows_the_cosine_and_it_ends_near_zero():
    run = learner("iql", steps=4)
    rates = [[float(x) for x in run.rates(step)] for step in range(1, 5)]
    biases = [1 - 0.9**step for step in range(1, 5)]  # Adam's correction of the first moment
    assert [rate * bias for (rate, _, _), bias in zip(rates, biases, strict=True)] == pytest.approx([3e-4] * 4)
    by_hand = [3e-4, 3e-4 * (1 + math.sqrt(0.5)) / 2, 1.5e-4, 3e-4 * (1 - math.sqrt(0.5)) / 2]
    assert [cosine * bias for (_, cosine, _), bias in zip(rates, biases, strict=True)] == pytest.approx(by_hand)
    assert [root for _, _, root in rates] == pytest.approx([math.sqrt(1 - 0.999**step) for step in range(1, 5)])
    assert {o.name: o.cosine for o in run.agent.objectives} == {"V": False, "Q": False, "actor": True}


def test_advance_returns_the_losses_of_its_last_step():
    run, again = learner("iql", "sam"), learner("iql", "sam")
    returned = run.advance(3)
    again.advance(2)
    batch = again.batch(3)
    targets = again.agent.targets(again.state, batch)
    expected = {o.name: float(o.loss(again.state[o.group], batch, targets)[0]) for o in again.agent.objectives}
    assert list(returned) == ["V", "Q", "actor"]
    assert returned == pytest.approx(expected, rel=1e-6)  # under SAM too, the loss is the one at w


# What a seed decides


@pytest.mark.parametrize(("name", "optimizer"), RUNS)
def test_a_run_is_a_function_of_its_seed(name, optimizer):
    runs = [learner(name, optimizer, seed=seed) for seed in (7, 7, 8)]
    for run in runs:
        run.advance(10)
    first, same, other = map(bytes_of, runs)
    assert first == same
    for group in first:
        assert first[group] != other[group]


def test_the_batches_depend_on_the_seed_and_not_only_the_initial_weights():
    run, same, other = learner("bc"), learner("bc"), learner("bc", seed=8)
    assert torch.equal(run.batch(1).observations, same.batch(1).observations)
    assert not torch.equal(run.batch(1).observations, run.batch(2).observations)
    assert not torch.equal(run.batch(1).observations, other.batch(1).observations)


@pytest.mark.parametrize("name", NAMES)
def test_ten_steps_at_once_or_in_two_calls_give_the_same_bytes(name):
    once, twice = learner(name, "sam"), learner(name, "sam")
    once.advance(10)
    twice.advance(3)
    twice.advance(7)
    assert once.step == twice.step == 10
    assert bytes_of(once) == bytes_of(twice)


def test_training_neither_reads_nor_writes_global_random_state():
    results = []
    with torch.random.fork_rng(devices=[]):
        for disturbance in (1, 2):
            torch.manual_seed(disturbance)
            before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
            run = learner("riql", "sam")
            run.advance(3)
            assert torch.equal(torch.get_rng_state(), before)
            assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002
            results.append(bytes_of(run))
    assert results[0] == results[1]


# How a run starts


def initial(name, do=11, da=3, seed=0):
    """The initial weights at the protocol's size, where the extremes of a uniform are close to its bounds."""
    agent = ALGORITHMS.get(name)()
    run = Learner(agent, optimizer_for(agent, "adam"), random_dataset(do=do, da=da), seed=seed, steps=1, engine="eager")
    return run.state


def assert_uniform(values: Tensor, bound: float) -> None:
    """Within the bounds and, where there are enough values to tell, filling them evenly."""
    assert float(values.abs().max()) <= bound * (1 + 1e-6)
    if values.numel() >= 200:
        assert float(values.max()) > 0.95 * bound
        assert float(values.min()) < -0.95 * bound
        assert abs(float(values.mean())) < 5 * bound / math.sqrt(3 * values.numel())
        assert float(values.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)


@pytest.mark.parametrize(
    ("name", "group"),
    [("iql", "value"), ("iql", "actor"), ("iql", "critic"), ("riql", "value"), ("riql", "actor"), ("bc", "actor")],
)
def test_networks_start_from_the_default_of_a_torch_linear_layer(name, group):
    params = initial(name)[group]
    inputs = 14 if group == "critic" else 11
    outputs = 3 if group == "actor" else 1
    assert [tuple(p.shape[-2:]) for p in params] == [
        (inputs, 256),
        (1, 256),
        (256, 256),
        (1, 256),
        (256, outputs),
        (1, outputs),
    ]
    for w, b in zip(params[::2], params[1::2], strict=True):
        bound = 1 / math.sqrt(w.shape[-2])
        assert_uniform(w, bound)
        assert_uniform(b, bound)
        assert float(b.abs().max()) > 0  # drawn, not zero


def test_riql_critics_start_with_hidden_biases_of_a_tenth_and_a_small_last_layer():
    w0, b0, w1, b1, w2, b2 = initial("riql")["critic"]
    assert_uniform(w0, 1 / math.sqrt(14))
    assert_uniform(w1, 1 / 16)
    assert torch.equal(b0, torch.full((5, 1, 256), 0.1))
    assert torch.equal(b1, torch.full((5, 1, 256), 0.1))
    assert_uniform(w2, 0.003)
    assert_uniform(b2, 0.003)
    assert float(b2.abs().min()) > 0


@pytest.mark.parametrize(("name", "count"), [("iql", 2), ("riql", 5)])
def test_each_critic_has_weights_of_its_own(name, count):
    critics = reference.split(initial(name)["critic"])
    assert len(critics) == count
    for i, critic in enumerate(critics):
        for other in critics[:i]:
            assert not torch.equal(critic[0], other[0])
            assert not torch.equal(critic[-1], other[-1])


@pytest.mark.parametrize("name", ["iql", "riql"])
def test_target_critics_start_as_copies_that_share_no_storage(name):
    state = initial(name)
    for target, critic in zip(state["target_critic"], state["critic"], strict=True):
        assert torch.equal(target, critic)
        assert target.untyped_storage().data_ptr() != critic.untyped_storage().data_ptr()


# What a learner sees


def test_normalisation_uses_observations_and_next_observations_together():
    dataset = random_dataset()
    run = learner("iql", dtype=torch.float64)
    both = np.concatenate([dataset.observations, dataset.next_observations]).astype(np.float64)
    mean, scale = both.mean(0), both.std(0) + 1e-3
    np.testing.assert_allclose(run.normalisation.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(run.normalisation.scale, scale, rtol=1e-6)
    np.testing.assert_allclose(run.table.rows.observations, (dataset.observations - mean) / scale, atol=1e-5)
    np.testing.assert_allclose(run.table.rows.next_observations, (dataset.next_observations - mean) / scale, atol=1e-5)


def test_a_constant_dimension_is_divided_by_a_thousandth():
    dataset = random_dataset()
    observations, next_observations = dataset.observations.copy(), dataset.next_observations.copy()
    observations[:, 1] = next_observations[:, 1] = 2.0
    normalisation = train.Normalisation.of(
        dataset.replace(observations=observations, next_observations=next_observations)
    )
    assert float(normalisation.scale[1]) == pytest.approx(1e-3)
    assert float(normalisation(torch.full((1, 5), 3.0))[0, 1]) == pytest.approx(1000)


def test_actions_rewards_and_terminations_reach_the_learner_as_they_are():
    dataset, run = random_dataset(), learner("iql")
    assert dataset.terminations.any()
    np.testing.assert_array_equal(run.table.rows.actions, dataset.actions)
    np.testing.assert_array_equal(run.table.rows.rewards, dataset.rewards)
    np.testing.assert_array_equal(run.table.rows.terminations, dataset.terminations.astype(np.float32))


def test_the_policy_takes_raw_observations():
    dataset, run = random_dataset(), learner("iql")
    run.advance(2)
    actions = run.policy()(dataset.observations)
    expected = reference.policy(run.state["actor"], run.table.rows.observations)
    assert actions.shape == (400, 2)
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-6)


# What stops a run


@pytest.mark.parametrize("name", ["iql", "riql"])
def test_an_enormous_learning_rate_diverges_and_names_the_step(name):
    run = learner(name, learning_rate=1e30, steps=20)
    run.advance(13)  # where it is found does not depend on where somebody stopped
    with pytest.raises(Diverged, match=r"^step 20: .* (is (nan|inf)|are not finite)$"):
        run.advance(7)


def test_huge_rewards_diverge_in_the_first_step():
    dataset = random_dataset()
    dataset = dataset.replace(rewards=dataset.rewards * np.float32(1e30))
    agent = small("iql")
    run = Learner(agent, optimizer_for(agent, "adam"), dataset, seed=7, steps=1, engine="eager")
    with pytest.raises(Diverged, match=r"^step 1: the loss of Q is inf$"):
        run.advance(1)


def test_weights_that_are_not_finite_are_a_divergence_though_the_losses_are():
    run = learner("iql")
    run.advance(1)
    run.state["target_critic"][0][0, 0, 0] = math.inf
    with pytest.raises(Diverged, match=r"^step 1: weights of target_critic are not finite$"):
        run.check({"V": torch.tensor(1.0)})


def test_divergence_is_looked_for_between_and_not_only_at_the_end(monkeypatch):
    monkeypatch.setattr(train, "CHECK_EVERY", 4)
    run = learner("iql", learning_rate=1e30)
    with pytest.raises(Diverged, match=r"^step 4: "):
        run.advance(20)
    assert run.step == 4


@pytest.mark.parametrize("steps", [0, -1])
def test_a_run_has_at_least_one_step(steps):
    with pytest.raises(UsageError, match=rf"^steps is {steps}, allowed is 1 and above$"):
        learner("bc", steps=steps)


def test_an_unknown_engine_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match=r"^engine is 'jit', allowed are auto, compiled, eager$"):
        learner("bc", engine="jit")


@pytest.mark.parametrize(("compilers", "expected"), [((), "eager"), (("g++",), "compiled"), (("clang++",), "compiled")])
def test_auto_compiles_where_a_compiler_is_found(monkeypatch, compilers, expected):
    monkeypatch.setattr(shutil, "which", lambda name: name if name in compilers else None)
    assert engine.resolve_engine("auto") == expected
    assert engine.resolve_engine("eager") == "eager"


def test_a_step_that_cannot_be_compiled_is_trained_eagerly_unless_compiling_was_asked_for(monkeypatch, caplog):
    def refusing(update, **options):
        def step(*inputs):
            raise TorchDynamoException("no graph\nand a long story")

        return step

    monkeypatch.setattr(torch, "compile", refusing)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    run, eager = learner("bc", engine="auto"), learner("bc", engine="eager")
    with caplog.at_level(logging.WARNING):
        run.advance(3)
    eager.advance(3)
    assert caplog.messages == ["bc cannot be compiled and is trained eagerly: no graph"]
    assert run.engine == "eager"
    assert bytes_of(run) == bytes_of(eager)
    with pytest.raises(TorchDynamoException, match="no graph"):
        learner("bc", engine="compiled").advance(1)


@pytest.mark.parametrize("asked", ["auto", "compiled"])
def test_an_error_that_is_not_about_compiling_is_raised(monkeypatch, asked):
    """Training on with another engine would hide it, or meet it again."""

    def breaking(update, **options):
        def step(*inputs):
            raise RuntimeError("not enough memory")

        return step

    monkeypatch.setattr(torch, "compile", breaking)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    run = learner("bc", engine=asked)
    with pytest.raises(RuntimeError, match=r"^not enough memory$"):
        run.advance(1)
    assert run.engine == "compiled"


@pytest.mark.parametrize(("device", "is_one_program"), [("cpu", True), ("cuda", False)])
def test_what_the_compiler_is_told(monkeypatch, device, is_one_program):
    """On a GPU a step goes through Python; everywhere what it computes twice is computed once."""
    told = []
    monkeypatch.setattr(torch, "compile", lambda step, **settings: told.append(settings))
    engine.compiled(lambda: None, device)
    options = told[0].pop("options")
    assert told == [{"fullgraph": True, "dynamic": False}]
    assert options.pop("cpp_wrapper") == is_one_program
    assert [type(passed) for passed in options.values()] == [Once]
    assert list(options) == ["post_grad_custom_pre_pass"]
