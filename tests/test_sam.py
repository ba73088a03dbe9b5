"""SAM: against another implementation, on the objectives it is asked for, and the errors of asking wrongly."""

from functools import partial

import numpy as np
import pytest
import pytorch_optimizer as others
import reference_learning as reference
import torch
from builders import random_dataset

from corruptbench.algos.adam import Adam, corrected
from corruptbench.algos.networks import unflatten
from corruptbench.errors import UsageError
from corruptbench.optimizers import optimizer_for
from corruptbench.optimizers.asam import ASAM
from corruptbench.optimizers.fsam import FriendlySAM
from corruptbench.optimizers.looksam import LookSAM
from corruptbench.optimizers.optimizer import Given, Optimizer
from corruptbench.optimizers.sam import SAM
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner

RHO = 0.05


def small(name):
    return ALGORITHMS.get(name)(hidden=(32, 32), batch_size=32)


def learner(name, optimizer, dtype=torch.float64):
    return Learner(small(name), optimizer, random_dataset(), seed=7, steps=100, engine="eager", dtype=dtype)


# Against pytorch_optimizer


def product_steps(run, objective, optimizer, batches, targets):
    """One objective's weights after a step on each batch."""
    weights, shapes = run.weights[objective.group].clone(), run.shapes[objective.group]
    moments = Adam(weights)
    memory = {name: torch.zeros_like(weights) for name in optimizer.remembers}
    for step, (batch, fixed) in enumerate(zip(batches, targets, strict=True), start=1):

        def loss(w, batch=batch, fixed=fixed):
            return objective.loss(unflatten(w, shapes), batch, fixed)

        numbers = [torch.tensor([x], dtype=torch.float64) for x in optimizer.numbers(step, len(batches), step)]
        found = optimizer.gradient(loss, weights, Given(moments.first, None, memory, numbers, optimizer.whole(step)))
        memory |= found.memory
        rate, root = (torch.tensor(x, dtype=torch.float64) for x in corrected(step, 3e-4))
        moments.update_(weights, found.gradient, rate, root)
    return unflatten(weights, shapes)


def other_steps(networks, loss, batches, targets, other=others.SAM, **settings):
    """The same with pytorch_optimizer's around torch.optim.Adam; every network's tensors are its own parameters."""
    networks = [[torch.nn.Parameter(p.clone()) for p in network] for network in networks]
    parameters = [p for network in networks for p in network]
    adam = {"lr": 3e-4, "betas": (0.9, 0.999), "eps": 1e-8}
    optimizer = other(parameters, torch.optim.Adam, perturb_eps=1e-12, **settings, **adam)
    for batch, fixed in zip(batches, targets, strict=True):

        def closure(batch=batch, fixed=fixed):
            optimizer.zero_grad()
            value = loss(networks, batch, fixed)
            value.backward()
            return value

        closure()
        optimizer.step(closure)
    return [[p.detach() for p in network] for network in networks]


def v_loss(networks, batch, fixed):
    return reference.value_loss(fixed.q, reference.state_value(networks[0], batch.observations))


def q_loss(networks, batch, fixed):
    qs = [reference.action_value(critic, batch.observations, batch.actions) for critic in networks]
    return reference.critic_loss(fixed.y, qs, delta=1.0)


@pytest.mark.parametrize(
    ("kind", "settings"), [(SAM, {"rho": RHO}), (partial(ASAM, eta=0.0), {"rho": 0.5, "adaptive": True})]
)
@pytest.mark.parametrize("name", ["V", "Q"])
def test_twenty_steps_agree_with_pytorch_optimizer(name, kind, settings):
    """The five critics are one objective: the other SAM's norm runs over all the parameters it is given."""
    run = learner("riql", Optimizer())
    batches = [run.batch(step) for step in range(1, 21)]
    targets = [run.agent.targets(run.state, batch) for batch in batches]
    objective = next(o for o in run.agent.objectives if o.name == name)
    if name == "Q":
        networks, loss = reference.split(run.state["critic"]), q_loss
    else:
        networks, loss = [run.state["value"]], v_loss

    expected = other_steps(networks, loss, batches, targets, **settings)
    expected = {"weights": reference.joined(expected) if name == "Q" else expected[0]}
    found = product_steps(run, objective, kind((name,), settings["rho"]), batches, targets)
    assert reference.relative_distance({"weights": found}, expected) <= 1e-6
    # the bound tells SAM from Adam, and this rho from its neighbours
    for wrong in (Optimizer(), kind((name,), 1.1 * settings["rho"])):
        other = product_steps(run, objective, wrong, batches, targets)
        assert reference.relative_distance({"weights": other}, expected) > 1e-5


@pytest.mark.parametrize(
    ("kind", "other", "settings", "wrong"),
    [
        (FriendlySAM, others.FriendlySAM, {"sigma": 0.8, "lmbda": 0.7}, {"sigma": 0.8, "lmbda": 0.6}),
        (LookSAM, others.LookSAM, {"k": 3, "alpha": 0.3}, {"k": 3, "alpha": 0.33}),
    ],
)
def test_its_relatives_agree_with_pytorch_optimizer(kind, other, settings, wrong):
    """On all weights as one parameter: the other LookSAM takes norms of each parameter, not of all of them."""
    run = learner("iql", Optimizer())
    batches = [run.batch(step) for step in range(1, 21)]
    targets = [run.agent.targets(run.state, batch) for batch in batches]
    objective, shapes = run.agent.objectives[1], run.shapes["critic"]

    def loss(networks, batch, fixed):
        return objective.loss(unflatten(networks[0][0], shapes), batch, fixed)[0]

    ((expected,),) = other_steps([[run.weights["critic"]]], loss, batches, targets, other, rho=RHO, **settings)
    expected = {"weights": unflatten(expected, shapes)}
    found = product_steps(run, objective, kind(("Q",), RHO, **settings), batches, targets)
    assert reference.relative_distance({"weights": found}, expected) <= 1e-6
    for near in (SAM(("Q",), RHO), kind(("Q",), RHO, **wrong)):
        another = product_steps(run, objective, near, batches, targets)
        assert reference.relative_distance({"weights": another}, expected) > 1e-5


def test_the_perturbation_has_length_rho_over_all_parameters_of_the_objective():
    evaluations = []
    slope = torch.tensor([1.0] * 24 + [2.0] * 8, dtype=torch.float64)  # of two tensors side by side

    def loss(w):
        evaluations.append(w.shape)
        return (slope * w.square()).sum(), {}

    # this loss has the gradient 2 slope w, which tells where it was taken
    weights = torch.ones(32, dtype=torch.float64)
    gradient, value, _ = SAM(("Q",), RHO).gradient(loss, weights, Given(weights, None, {}, [], True))
    assert evaluations == [(32,), (32,)]  # once at w and once at w + e
    moved = gradient / (2 * slope) - weights
    assert float(moved.norm()) == pytest.approx(RHO)
    assert float(moved[31] / moved[0]) == pytest.approx(2)  # along the gradient
    assert float(value) == 24 + 2 * 8  # at w
    assert bool((weights == 1).all())


def test_a_zero_gradient_leaves_the_weights_where_they_are():
    weights = torch.ones(3)
    given = Given(weights, None, {}, [], True)
    gradient = SAM(("V",), RHO).gradient(lambda w: (0 * w.sum(), {}), weights, given).gradient
    assert torch.equal(gradient, torch.zeros(3))


# The objectives it is asked for


@pytest.mark.parametrize(("name", "expected"), [("iql", ("V", "Q")), ("riql", ("V", "Q")), ("bc", ("actor",))])
def test_default_objectives_of_sam(name, expected):
    optimizer = optimizer_for(small(name), "sam")
    assert optimizer == SAM(expected, 0.05)


def test_adam_perturbs_nothing():
    assert optimizer_for(small("iql"), "adam") == Optimizer()


def test_objectives_are_kept_in_the_agents_order():
    optimizer = optimizer_for(small("iql"), "sam", on=("actor", "V"), rho=0.1)
    assert optimizer == SAM(("V", "actor"), 0.1)


CHANGED = {"V": ["value"], "Q": ["critic", "target_critic"], "actor": ["actor"]}
SUBSETS = [("V",), ("Q",), ("actor",), ("V", "Q"), ("V", "actor"), ("Q", "actor"), ("V", "Q", "actor"), None]


@pytest.mark.parametrize("name", ["iql", "riql"])
@pytest.mark.parametrize("on", SUBSETS, ids=lambda on: "default" if on is None else "+".join(on))
def test_one_step_of_sam_changes_the_named_networks_and_no_other(name, on):
    plain, sam = learner(name, Optimizer()), learner(name, optimizer_for(small(name), "sam", on=on))
    plain.advance(1)
    sam.advance(1)
    changed = [group for objective in on or ("V", "Q") for group in CHANGED[objective]]
    for group in plain.state:
        same = all(torch.equal(a, b) for a, b in zip(plain.state[group], sam.state[group], strict=True))
        assert same == (group not in changed), group


def test_one_step_of_sam_changes_the_actor_of_bc():
    plain, sam = learner("bc", Optimizer()), learner("bc", optimizer_for(small("bc"), "sam"))
    plain.advance(1)
    sam.advance(1)
    assert not torch.equal(plain.state["actor"][0], sam.state["actor"][0])


# The errors of asking wrongly


@pytest.mark.parametrize(
    ("wrong", "hint"), [("Sam", " (did you mean 'sam'?)"), ("adm", " (did you mean 'adam'?)"), ("rmsprop", "")]
)
def test_an_unknown_optimizer_is_named_with_the_known_ones(wrong, hint):
    with pytest.raises(UsageError) as error:
        optimizer_for(small("iql"), wrong)
    known = "adam, asam, double, esam, fsam, gsam, half, looksam, matched, msam, random, sam, swa, wd"
    assert str(error.value) == f"unknown optimizer {wrong!r}: known are {known}{hint}"
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("iql", "acto", "--sam-on 'acto': iql has the objectives V, Q, actor (did you mean 'actor'?)"),
        ("riql", "value", "--sam-on 'value': riql has the objectives V, Q, actor"),
        ("bc", "Q", "--sam-on 'Q': bc has the objectives actor"),
    ],
)
def test_an_unknown_objective_is_named_with_the_nearest_right_one(name, wrong, message):
    for on in [(wrong,), ("actor", wrong)]:
        with pytest.raises(UsageError) as error:
            optimizer_for(small(name), "sam", on=on)
        assert str(error.value) == message


@pytest.mark.parametrize(("rho", "shown"), [(0, "0"), (0.0, "0.0"), (-0.05, "-0.05"), (np.inf, "inf"), (np.nan, "nan")])
def test_rho_has_to_be_above_zero(rho, shown):
    with pytest.raises(UsageError) as error:
        optimizer_for(small("iql"), "sam", rho=rho)
    assert str(error.value) == f"--rho is {shown}, allowed is any number above 0"


def test_objectives_for_sam_without_sam_are_an_error():
    with pytest.raises(UsageError) as error:
        optimizer_for(small("iql"), "adam", on=("V",))
    assert str(error.value) == "--sam-on names objectives for SAM: add --sam"
