"""A member of a population is the same run alone: data, corruption, seed and numbers of its own."""

import dataclasses
import shutil

import numpy as np
import pytest
import reference_learning as reference
import torch
from builders import random_dataset

from corruptbench import population, train
from corruptbench.algos.losses import quantile
from corruptbench.errors import Diverged, UsageError
from corruptbench.optimizers import OPTIMIZERS, optimizer_for
from corruptbench.optimizers.perturbed import Perturbed
from corruptbench.population import Population, differing
from corruptbench.registry import ALGORITHMS
from corruptbench.train import AHEAD, Learner

F64 = torch.float64
MEMBERS = 3
NUMBERS = {
    "iql": {"beta": (3.0, 1.5, 0.5), "expectile": (0.7, 0.8, 0.9), "discount": (0.99, 0.95, 0.9)},
    "riql": {"alpha": (0.25, 0.1, 0.6), "delta": (1.0, 0.5, 2.0), "target_rate": (0.005, 0.01, 0.1)},
    "bc": {"learning_rate": (3e-4, 1e-3, 1e-4)},
}
CASES = [(name, optimizer) for name in NUMBERS for optimizer in ("adam", "sam")]


def member(name, i, optimizer="adam", *, dtype=torch.float64, **settings):
    """Members have datasets of different lengths, and with SAM radii of their own."""
    own = {key: values[i] for key, values in NUMBERS.get(name, {}).items()} | settings
    agent = ALGORITHMS.get(name)(**({"hidden": (16, 16), "batch_size": 16} | own))
    radial = issubclass(OPTIMIZERS[optimizer], Perturbed)
    chosen = optimizer_for(agent, optimizer, rho=0.05 * (i + 1) if radial else None)
    dataset = random_dataset(rows=300 + 40 * i, seed=i)
    return Learner(agent, chosen, dataset, seed=10 + i, steps=1_000, engine="eager", dtype=dtype)


def members(*arguments, **settings):
    return [member(arguments[0], i, *arguments[1:], **settings) for i in range(MEMBERS)]


@pytest.mark.parametrize(("name", "optimizer"), CASES)
def test_a_member_is_the_run_alone(name, optimizer):
    alone, together = members(name, optimizer), members(name, optimizer)
    starts = [{g: [p.clone() for p in params] for g, params in m.state.items()} for m in alone]
    losses = Population(together, engine="eager").advance(100)
    for single, inside, start, loss in zip(alone, together, starts, losses, strict=True):
        assert loss == pytest.approx(single.advance(100), rel=1e-6)
        assert inside.step == 100
        assert reference.relative_distance(single.state, start) > 1e-3
        for group in single.state:
            assert reference.relative_distance({group: inside.state[group]}, {group: single.state[group]}) <= 1e-6


VALUES = {
    "learning_rate": (3e-4, 1e-2),
    "shrink": (0.8, 0.2),
    "expectile": (0.7, 0.95),
    "beta": (3.0, 0.0),
    "discount": (0.99, 0.0),
    "target_rate": (0.005, 1.0),
    "alpha": (0.25, 1.0),
    "delta": (1.0, 0.1),
    "target_min": (-100.0, 0.5),  # the rewards of the random dataset are about 1
    "target_max": (1000.0, 0.6),
}
FIELDS = [
    (name, field.name)
    for name in ALGORITHMS.names()
    for field in dataclasses.fields(ALGORITHMS.get(name))
    if isinstance(field.default, float)
]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_members_may_differ_in_any_number_of_an_algorithm(name, field):
    """A number that a new algorithm brings is asked for in the table above."""
    shrinking = {"shrink_every": 5} if field == "shrink" else {}

    def made():
        settings = [{"hidden": (8, 8), "batch_size": 16, field: value, **shrinking} for value in VALUES[field]]
        agents = [ALGORITHMS.get(name)(**own) for own in settings]
        return [
            Learner(agent, optimizer_for(agent, "adam"), random_dataset(), seed=3, steps=200, engine="eager", dtype=F64)
            for agent in agents
        ]

    alone, together = made(), made()
    losses = Population(together, engine="eager").advance(15)
    for single, inside, loss in zip(alone, together, losses, strict=True):
        assert loss == pytest.approx(single.advance(15), rel=1e-9)
        assert reference.relative_distance(inside.state, single.state) <= 1e-9
    assert reference.relative_distance(alone[0].state, alone[1].state) > 1e-5  # the number is at work


def test_a_thousand_steps_in_float64():
    alone, together = members("iql")[:2], members("iql")[:2]
    Population(together, engine="eager").advance(1_000)
    for single, inside in zip(alone, together, strict=True):
        single.advance(1_000)
        assert reference.relative_distance(inside.state, single.state) <= 1e-6


@pytest.mark.parametrize(("name", "optimizer"), CASES)
def test_float32_stays_near_for_50_steps(name, optimizer):
    alone, together = members(name, optimizer, dtype=torch.float32), members(name, optimizer, dtype=torch.float32)
    Population(together, engine="eager").advance(50)
    for single, inside in zip(alone, together, strict=True):
        single.advance(50)
        assert reference.relative_distance(inside.state, single.state) <= 1e-4


@pytest.mark.skipif(
    not any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++")),
    reason="engine 'compiled' needs a C++ compiler (g++, clang++ or c++) on the path",
)
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own import
def test_the_compiled_population_stays_near_for_50_steps():
    alone, together = members("riql", "sam", dtype=torch.float32), members("riql", "sam", dtype=torch.float32)
    population = Population(together, engine="compiled")
    population.advance(50)
    assert population.engine == "compiled"
    for single, inside in zip(alone, together, strict=True):
        single.advance(50)
        assert reference.relative_distance(inside.state, single.state) <= 1e-4


def test_batches_of_several_updates_come_to_the_device_together():
    """The host waits for each move; what an update gets is what its members would draw."""
    together = members("iql")
    population = Population(together, engine="eager")
    drawn = {update: population.drawn(update) for update in (7, 8, AHEAD + 6, AHEAD + 7)}
    for update, (rows, rates) in drawn.items():
        assert torch.equal(rows, torch.stack([one.indices(update) for one in together]))
        assert torch.equal(rates, torch.stack([one.rates(update) for one in together], 1))
    blocks = [found[0].untyped_storage().data_ptr() for found in drawn.values()]
    assert blocks[0] == blocks[1] == blocks[2] != blocks[3]


@pytest.mark.parametrize(("name", "optimizer"), [("bc", "adam"), ("riql", "sam"), *(("iql", o) for o in OPTIMIZERS)])
def test_all_of_a_step_lies_on_the_device(name, optimizer):
    """PyTorch's device without memory refuses what lies elsewhere, as a GPU would, and needs none."""
    together = members(name, optimizer, dtype=torch.float32)
    population = Population(together, engine="eager", device="meta")
    inputs = population.inputs(1)
    given = [*inputs[:2], *inputs[2].values(), population.offsets, population.values]
    losses = population.update(*inputs)
    left = [tensor for m in together for group in (m.weights, *m.memory.values()) for tensor in group.values()]
    moments = [tensor for m in together for adam in m.moments.values() for tensor in (adam.first, adam.second)]
    assert {tensor.device.type for tensor in (*given, *losses.values(), *left, *moments)} == {"meta"}
    anew = [p for params in together[0].fresh_here("reset").values() for p in params]
    assert {p.device.type for p in anew} == {"meta"}
    with pytest.raises(RuntimeError, match="device"):
        population.update(inputs[0], torch.ones(inputs[1].shape), inputs[2])


@pytest.fixture
def tf32():
    """TF32 turned on, by its two switches: as TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 has it, and cuDNN by itself."""
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = True
    yield switches
    for switch, on in zip(switches, before, strict=True):
        switch.allow_tf32 = on


def test_products_of_float32_are_no_tf32_on_a_gpu(tf32):
    Population(members("bc", dtype=torch.float32), engine="eager", device="meta")
    assert [switch.allow_tf32 for switch in tf32] == [False, False]


def test_members_of_equal_numbers_differ_in_seed_and_data_alone():
    """No number differs, so nothing but weights and batches is stacked."""
    own = {"beta": 3.0, "expectile": 0.7, "discount": 0.99}
    together = members("iql", **own)
    assert differing(together) == {"agent": {}, "optimizer": {}}
    Population(together, engine="eager").advance(20)
    single = member("iql", 1, **own)
    single.advance(20)
    assert reference.relative_distance(together[1].state, single.state) <= 1e-10


def test_what_a_member_shows_is_what_was_trained():
    """State, policy and batches of a member are its rows of the population's tensors."""
    together = members("iql", dtype=torch.float32)
    policies = [m.policy() for m in together]
    seen = np.random.default_rng(0).normal(size=(4, 5))
    batches = [m.batch(3) for m in members("iql", dtype=torch.float32)]
    population = Population(together, engine="eager")
    population.advance(5)
    for i, inside in enumerate(together):
        for group, weights in inside.weights.items():
            assert torch.equal(weights, population.weights[group][i])
        assert all(torch.equal(a, b) for a, b in zip(inside.batch(3), batches[i], strict=True))
        assert bool((inside.moments["actor"].first != 0).any())
    before = np.stack([p(seen) for p in policies])
    after = np.stack([m.policy()(seen) for m in together])
    assert (np.abs(before - after).max((1, 2)) > 0).all()


def test_a_population_goes_on_where_its_members_were():
    """Moments and numbers of steps come along."""
    straight, in_two = members("iql", "sam"), members("iql", "sam")
    for single in straight:
        single.advance(40)
    for single in in_two:
        single.advance(20)
    Population(in_two, engine="eager").advance(20)
    for single, inside in zip(straight, in_two, strict=True):
        assert reference.relative_distance(inside.state, single.state) <= 1e-8


def test_one_member_that_diverges_leaves_the_others_alone():
    together, alone = members("iql", "sam"), members("iql", "sam")
    together[1].state["critic"][0][0, 0, 0] = torch.inf
    losses = Population(together, engine="eager").advance(20)
    with pytest.raises(Diverged, match=r"^step 20: "):
        together[1].check({name: torch.tensor(loss) for name, loss in losses[1].items()})
    for i in (0, 2):
        alone[i].advance(20)
        assert reference.relative_distance(together[i].state, alone[i].state) <= 1e-8


def test_a_member_that_diverges_leaves_at_the_step_where_that_is_seen(monkeypatch):
    """As alone: at the next look, before the last step, and with the same words."""
    for module in (population, train):
        monkeypatch.setattr(module, "CHECK_EVERY", 4)

    def made():
        return [member("iql", i, learning_rate=rate) for i, rate in enumerate([3e-4, 1e200, 3e-4])]

    alone, together = made(), made()
    all_of_them = Population(together, engine="eager")
    all_of_them.advance(10)
    with pytest.raises(Diverged, match=r"^step 4: ") as error:
        alone[1].advance(10)
    assert {number: str(found) for number, found in all_of_them.diverged.items()} == {1: str(error.value)}
    assert all_of_them.left == {1}
    assert [m.step for m in together] == [10, 4, 10]
    for i in (0, 2):
        alone[i].advance(10)
        assert reference.relative_distance(together[i].state, alone[i].state) <= 1e-8


def with_updates(learner, count):
    """As of an algorithm whose cost of SAM, and so whose updates with ``matched``, depends on a number."""
    learner.updates_a_step = count
    return learner


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (lambda: member("bc", 1), "algorithm in common: found iql and bc"),
        (lambda: member("iql", 1, "sam"), "optimizer in common: found ('adam',) and ('sam', 'V', 'Q')"),
        (lambda: member("iql", 1, hidden=(8, 16)), "shapes of the networks in common: found "),
        (lambda: member("iql", 1, batch_size=8), "batch size in common: found 16 and 8"),
        (lambda: with_updates(member("iql", 1), 2), "updates a step in common: found 1 and 2"),
        (lambda: member("iql", 1, dtype=torch.float32), "dtype in common: found torch.float64 and torch.float32"),
    ],
)
def test_what_members_must_share(other, text):
    with pytest.raises(UsageError) as error:
        Population([member("iql", 0), other()])
    assert str(error.value).startswith(f"the members of a population have {text}")


def test_members_that_are_not_at_the_same_step():
    ahead = member("iql", 1)
    ahead.advance(1)
    with pytest.raises(UsageError, match=r"have numbers of steps in common: found \(0, 1000\) and \(1, 1000\)$"):
        Population([member("iql", 0), ahead])


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("critics", [1, 2, 5])
def test_the_quantile_of_a_tensor_is_that_of_a_number(alpha, critics):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(critics, 32)))
    found = quantile(values, torch.tensor(alpha, dtype=torch.float64))
    torch.testing.assert_close(found, quantile(values, alpha), rtol=1e-13, atol=1e-14)
