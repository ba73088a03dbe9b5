"""Optimizers: each against its equations on quadratics, its numbers, its memory, and what asks for it."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import ClassVar

import numpy as np
import pytest
import reference_learning as reference
import torch
from builders import random_dataset
from torch._dynamo.exc import TorchDynamoException

from corruptbench.algos.agent import Agent, Objective
from corruptbench.errors import PluginError, UsageError
from corruptbench.optimizers import OPTIMIZERS, optimizer_for, optimizer_of, spec_of
from corruptbench.optimizers.optimizer import Given, Optimizer
from corruptbench.population import Population
from corruptbench.registry import ALGORITHMS
from corruptbench.spec import OptimizerSpec
from corruptbench.train import Learner

OWN = {
    "asam": ({"eta": 0.01}, {"eta": 0.5}),
    "gsam": ({"alpha": 0.4}, {"alpha": 0.9}),
    "fsam": ({"sigma": 1.0, "lmbda": 0.9}, {"sigma": 0.5, "lmbda": 0.6}),
    "looksam": ({"k": 5, "alpha": 0.7}, {"k": 5, "alpha": 0.3}),
    "esam": ({"beta": 0.6, "gamma": 0.5}, {"beta": 0.9, "gamma": 0.7}),
    "wd": ({"decay": 0.01}, {"decay": 5.0}),
    "swa": ({"start": 0.75}, {"start": 0.3}),
}
"""Settings of their own: two of each, which differ."""
OTHERS = [name for name in OPTIMIZERS if name != "adam"]


def small(name, **settings):
    return ALGORITHMS.get(name)(**{"hidden": (16, 16), "batch_size": 16, **settings})


def learner(agent, name, *, steps=20, seed=7, engine="eager", dtype=torch.float64, **asked):
    optimizer = optimizer_for(agent, name, **asked)
    return Learner(agent, optimizer, random_dataset(seed=seed), seed=seed, steps=steps, engine=engine, dtype=dtype)


def content(run):
    """All that a learner and its policy are, as bytes."""
    policy = {f"policy.{group}": [p.numpy() for p in params] for group, params in run.policy().state.items()}
    return {name: np.concatenate([np.ravel(p) for p in arrays]).tobytes() for name, arrays in policy.items()} | {
        name: array.tobytes() for name, array in run.arrays().items()
    }


# The equations, worked by hand: half of 2 x^2 + 8 y^2 at (1.5, 0.5), where its gradient is (3, 4)


CURVATURE = torch.tensor([2.0, 8.0], dtype=torch.float64)


def found_by_hand(optimizer, momentum=(0.0, 0.0), noise=None, memory=(0.0, 0.0), update=1):
    """What it finds, and the weights left where they are; it remembers one thing at most."""
    weights, momentum, memory = (torch.tensor(x, dtype=torch.float64) for x in ([1.5, 0.5], momentum, memory))
    noise = None if noise is None else torch.tensor(noise, dtype=torch.float64)
    numbers = [torch.tensor([x], dtype=torch.float64) for x in optimizer.numbers(update, 10, update)]
    given = Given(momentum, noise, dict.fromkeys(optimizer.remembers, memory), numbers, optimizer.whole(update))
    found = optimizer.gradient(lambda w: ((CURVATURE * w.square()).sum() / 2, {}), weights, given)
    assert weights.tolist() == [1.5, 0.5]
    return found


def by_hand(optimizer, *arguments, **settings):
    """Gradient and loss as floats."""
    found = found_by_hand(optimizer, *arguments, **settings)
    return found.gradient.tolist(), float(found.loss)


def made(name, **numbers):
    return OPTIMIZERS[name](on=("V",), **numbers)


def test_adam_takes_the_gradient():
    assert by_hand(Optimizer()) == ([3.0, 4.0], 3.25)


def test_sam_takes_the_gradient_up_the_loss():
    """e = 0.5 (3, 4) / 5."""
    assert by_hand(made("sam", rho=0.5)) == (pytest.approx([2 * 1.8, 8 * 0.9]), 3.25)


def test_asam_moves_a_weight_in_proportion_to_its_size():
    """T = (2, 1), T g = (6, 4): e = 0.5 (12, 4) / |(6, 4)|."""
    size = math.hypot(6, 4)
    expected = [2 * (1.5 + 6 / size), 8 * (0.5 + 2 / size)]
    assert by_hand(made("asam", rho=0.5, eta=0.5)) == (pytest.approx(expected), 3.25)


def test_asam_does_not_see_how_scale_is_shared_between_layers():
    """The product u v stays the same where u is c times as large and v 1 / c; SAM's step does not."""

    def directions(optimizer, c):
        weights = torch.tensor([0.7 * c, -1.2 / c], dtype=torch.float64)
        given = Given(weights, None, {}, [], True)
        gradient = optimizer.gradient(lambda w: ((w[0] * w[1] - 1).square(), {}), weights, given).gradient
        return [float(gradient[0]) * c, float(gradient[1]) / c]

    invariant, other = made("asam", eta=0.0), made("sam", rho=0.5)
    assert directions(invariant, 10.0) == pytest.approx(directions(invariant, 1.0), rel=1e-9)
    assert directions(other, 10.0) != pytest.approx(directions(other, 1.0), rel=1e-2)


def test_gsam_takes_away_what_lies_across_the_perturbed_gradient():
    """g_p = (3.6, 7.2), u = (1, 2) / sqrt 5, g - (g . u) u = (3, 4) - 2.2 (1, 2) = (0.8, -0.4)."""
    assert by_hand(made("gsam", rho=0.5, alpha=0.5)) == (pytest.approx([3.6 - 0.4, 7.2 + 0.2]), 3.25)
    assert by_hand(made("gsam", rho=0.5, alpha=0.0)) == by_hand(made("sam", rho=0.5))


def test_fsam_goes_along_what_the_mean_does_not_hold():
    """m = (1, 6): d = (3, 4) - 0.5 (1, 6) = (2.5, 1), and a tenth of g goes into the mean."""
    size, mean = math.hypot(2.5, 1), (1.0, 6.0)
    found = found_by_hand(made("fsam", rho=0.5, sigma=0.5), memory=mean, update=2)
    assert found.gradient.tolist() == pytest.approx([2 * (1.5 + 1.25 / size), 8 * (0.5 + 0.5 / size)])
    assert float(found.loss) == 3.25
    assert found.memory["mean"].tolist() == pytest.approx([0.9 + 0.3, 5.4 + 0.4])
    assert found_by_hand(made("fsam")).memory["mean"].tolist() == [3.0, 4.0]  # the first gradient is the first mean
    assert by_hand(made("fsam", rho=0.5, sigma=0.0), memory=mean) == by_hand(made("sam", rho=0.5))


def test_looksam_remembers_what_lies_across_the_gradient_and_adds_it_later():
    """g_s = (3.6, 7.2), u = (0.6, 0.8), g_s - 7.92 u = (-1.152, 0.864) = 1.44 (-0.8, 0.6)."""
    optimizer = made("looksam", rho=0.5, k=3, alpha=0.2)
    for update in (1, 4, 7):
        found = found_by_hand(optimizer, memory=(7.0, 7.0), update=update)
        assert found.gradient.tolist() == by_hand(made("sam", rho=0.5))[0]
        assert found.memory["across"].tolist() == pytest.approx([-0.8, 0.6])
    for update in (2, 3, 5):
        found = found_by_hand(optimizer, memory=(-0.8, 0.6), update=update)
        assert found.gradient.tolist() == pytest.approx([3 + 0.2 * 5 * -0.8, 4 + 0.2 * 5 * 0.6])
        assert found.memory == {}
        assert float(found.loss) == 3.25


def test_esam_perturbs_the_weights_that_were_drawn():
    """A standard normal lies below 0 half the time: e = (0, 0.5 * 0.8) / 0.5."""
    found = by_hand(made("esam", rho=0.5, beta=0.5, gamma=1.0), noise=(0.1, -0.1))
    assert found == (pytest.approx([3.0, 8 * (0.5 + 0.8)]), 3.25)
    everything = by_hand(made("esam", rho=0.5, beta=1.0, gamma=1.0), noise=(9.0, -9.0))
    assert everything == by_hand(made("sam", rho=0.5))


ROWS = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 1.0], [0.5, 0.5], [0.0, 1.0]], dtype=torch.float64)
OFFSETS = torch.tensor([90.0, 0.0, 0.0, 50.0, 0.0], dtype=torch.float64)


def row_losses(w):
    """Half of c_1 x^2 + c_2 y^2 for each row c and an offset, so that the highest losses are not those that rise."""
    rows = (ROWS * w.square()).sum(-1) / 2 + OFFSETS
    return rows.mean(), {"rows": rows}


@pytest.mark.parametrize(("gamma", "count"), [(0.5, 2), (0.6, 3), (0.01, 1), (0.9, 4), (1.0, 5)])
def test_esam_looks_at_the_rows_whose_loss_rose_most(gamma, count):
    weights = torch.tensor([1.0, -2.0], dtype=torch.float64)
    optimizer = made("esam", rho=0.5, beta=1.0, gamma=gamma)
    numbers = [torch.tensor([x], dtype=torch.float64) for x in optimizer.numbers(1, 10, 1)]
    found = optimizer.gradient(row_losses, weights, Given(weights, weights, {}, numbers, True))
    rows, w = ROWS.numpy(), weights.numpy()
    there = w + 0.5 * unit(rows.mean(0) * w)
    rise = [float(c @ (there**2 - w**2)) for c in rows]
    chosen = sorted(range(5), key=lambda i: -rise[i])[:count]
    np.testing.assert_allclose(found.gradient, np.mean([rows[i] * there for i in chosen], 0), rtol=1e-12)
    assert float(found.loss) == pytest.approx(np.mean(rows @ w**2) / 2 + 28)


def test_msam_goes_against_the_momentum():
    """e = -0.5 (3, -4) / 5, and the loss is the one there."""
    loss = (2 * 1.2**2 + 8 * 0.9**2) / 2
    assert by_hand(made("msam", rho=0.5), (3.0, -4.0)) == (pytest.approx([2 * 1.2, 8 * 0.9]), pytest.approx(loss))
    assert by_hand(made("msam", rho=0.5)) == ([3.0, 4.0], 3.25)  # before the first update there is no momentum


def test_a_random_direction_has_the_length_of_the_radius():
    """e = 0.5 (4, 3) / 5."""
    loss = (2 * 1.9**2 + 8 * 0.8**2) / 2
    found = by_hand(made("random", rho=0.5), noise=(4.0, 3.0))
    assert found == (pytest.approx([2 * 1.9, 8 * 0.8]), pytest.approx(loss))


def test_two_passes_or_one():
    passes = {}
    for name, cls in OPTIMIZERS.items():
        for update in (1, 2):
            evaluations = []

            def loss(w, evaluations=evaluations):
                evaluations.append(w)
                return w.square().sum(), {"rows": w.square()}

            one, optimizer = torch.ones(3), cls()
            memory, numbers = (
                dict.fromkeys(cls.remembers, one),
                [torch.ones(1)] * len(optimizer.numbers(update, 10, update)),
            )
            optimizer.gradient(loss, one, Given(one, one, memory, numbers, optimizer.whole(update)))
            passes[name] = (*passes.get(name, ()), len(evaluations))
    twice = dict.fromkeys(("sam", "asam", "gsam", "fsam", "esam"), (2, 2))
    assert passes == {**dict.fromkeys(OPTIMIZERS, (1, 1)), **twice, "looksam": (2, 1)}


# The whole step: two quadratics with known solutions, trained by the product and by a slow loop


SOLUTIONS = {"V": np.array([0.5, -1.0, 0.25]), "actor": np.array([-0.5, 0.75])}
SLOPES = {"V": np.array([1.0, 3.0, 9.0]), "actor": np.array([2.0, 5.0])}


@dataclass(frozen=True)
class Quadratic(Agent):
    """Two objectives, one under the cosine, half of a (w - s)^2 each, and a slope that depends on the batch."""

    learning_rate: float = 0.03
    batch_size: int = 8

    name: ClassVar[str] = "quadratic"
    sam_cost: ClassVar[Fraction] = Fraction(8, 5)

    def init(self, observation_dim: int, action_dim: int, streams: Callable) -> dict:
        return {name: [torch.full((len(s),), 0.1)] for name, s in SOLUTIONS.items()}

    @property
    def objectives(self) -> tuple[Objective, ...]:
        def loss_of(name):
            a, s = torch.tensor(SLOPES[name]), torch.tensor(SOLUTIONS[name])

            def loss(params, batch, _):
                rows = (a * (params[0] - s).square()).sum() / 2 + 0.01 * batch.rewards * params[0].sum()
                return rows.mean(), {"rows": rows}

            return loss

        return (
            Objective("V", "V", loss_of("V"), rows=True),
            Objective("actor", "actor", loss_of("actor"), cosine=True, rows=True),
        )


def unit(x):
    return x / (np.linalg.norm(x) + 1e-12)


def slow(run, name, on, numbers):
    """Adam and one optimizer, one update at a time in numpy: the weights after each step."""
    factor = {"matched": 1.6, "double": 2.0, "half": 0.5}.get(name, 1.0)
    total, taken, steps = round(run.steps * factor), 0, []
    w = {group: np.full(len(s), float(np.float32(0.1))) for group, s in SOLUTIONS.items()}
    kept = {group: np.zeros(len(s)) for group, s in SOLUTIONS.items()}
    first, second = ({group: np.zeros(len(s)) for group, s in SOLUTIONS.items()} for _ in range(2))
    for step in range(1, run.steps + 1):
        while taken < int(step * factor + 1e-9):
            taken += 1
            rewards = run.batch(taken).rewards.numpy()
            for group in ("V", "actor"):

                def slope(at, group=group, rewards=rewards):
                    return SLOPES[group] * (at - SOLUTIONS[group]) + 0.01 * rewards.mean()

                here, m, g = w[group], first[group], slope(w[group])
                rho = numbers.get("rho")
                if group in on and name in ("sam", "gsam"):
                    there = slope(here + rho * unit(g))
                    across = g - g @ unit(there) * unit(there)
                    g = there - numbers.get("alpha", 0.0) * across
                elif group in on and name == "asam":
                    t = np.abs(here) + numbers["eta"]
                    g = slope(here + rho * t * unit(t * g))
                elif group in on and name == "fsam":
                    plain, share = g, numbers["lmbda"] if taken > 1 else 0
                    g = slope(here + rho * unit(g - numbers["sigma"] * kept[group]))
                    kept[group] = share * kept[group] + (1 - share) * plain
                elif group in on and name == "looksam":
                    if taken % numbers["k"] == 1:
                        there = slope(here + rho * unit(g))
                        kept[group], g = there - there @ unit(g) * unit(g), there
                    else:
                        g = g + numbers["alpha"] * np.linalg.norm(g) * unit(kept[group])
                elif group in on and name == "esam":
                    below = run.noise(taken)[group].numpy() < NormalDist().inv_cdf(numbers["beta"])
                    there = here + below * rho * unit(g) / numbers["beta"]
                    count = round(numbers["gamma"] * len(rewards))
                    rise = (there.sum() - here.sum()) * rewards  # but for what is the same for all rows
                    g = slope(there, rewards=rewards[np.argsort(-rise)[:count]])
                elif group in on and name == "msam":
                    g = slope(here - rho * unit(m))
                elif group in on and name == "random":
                    g = slope(here + rho * unit(run.noise(taken)[group].numpy()))
                rate = 0.03 * ((1 + math.cos(math.pi * (taken - 1) / total)) / 2 if group == "actor" else 1)
                if group in on and name == "wd":
                    here = here - rate * numbers["decay"] * here
                first[group] = 0.9 * m + 0.1 * g
                second[group] = 0.999 * second[group] + 0.001 * g**2
                unbiased = first[group] / (1 - 0.9**taken), second[group] / (1 - 0.999**taken)
                w[group] = here - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        steps.append(dict(w))
    return steps


CASES = [(name, own) for name in OPTIMIZERS for own in OWN.get(name, ({},))]


@pytest.mark.parametrize(("name", "own"), CASES)
def test_every_step_is_that_of_the_slow_loop_and_ends_at_the_solution(name, own):
    agent = Quadratic()
    where = ("V", "actor") if OPTIMIZERS[name].usual(agent) else None
    run = learner(agent, name, steps=100, on=where, options=own)
    numbers = dict(own, rho=0.1) if "rho" in vars(run.optimizer) else own
    if "rho" in numbers:
        run = learner(agent, name, steps=100, on=where, options=own, rho=0.1)
    expected = slow(run, name, run.optimizer.on, numbers)
    for after in expected:
        run.advance(1)
        for group in SOLUTIONS:
            np.testing.assert_allclose(run.weights[group].numpy(), after[group], rtol=0, atol=1e-7)
    if name != "wd":  # which is drawn to zero
        for group, solution in SOLUTIONS.items():
            np.testing.assert_allclose(run.weights[group].numpy(), solution, atol=0.1)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if OPTIMIZERS[name].usual(Quadratic())])
def test_an_objective_that_it_is_not_on_takes_adams_step(name):
    agent = Quadratic()
    plain, run = learner(agent, "adam"), learner(agent, name, on=("V",))
    assert run.optimizer.on == ("V",)
    plain.advance(20)
    run.advance(20)
    assert torch.equal(plain.weights["actor"], run.weights["actor"])
    shown, usual = run.policy().state["V"][0], plain.policy().state["V"][0]
    assert not torch.equal(shown, usual)
    assert torch.equal(run.policy().state["actor"][0], plain.policy().state["actor"][0])


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if OPTIMIZERS[name].remembers])
def test_a_population_goes_on_with_what_its_members_remember(name):
    straight, first, second = ([learner(small("iql"), name, seed=i) for i in (0, 1)] for _ in range(3))
    Population(straight, engine="eager").advance(20)
    Population(first, engine="eager").advance(17)
    for before, after in zip(first, second, strict=True):
        after.restore(17, {key: array.copy() for key, array in before.arrays().items()})
    Population(second, engine="eager").advance(3)
    assert [content(run) for run in second] == [content(run) for run in straight]


@pytest.mark.parametrize("name", ["bc", "iql", "riql"])
def test_rows_are_what_the_loss_is_the_mean_of(name):
    """ESAM selects by them."""
    run = learner(small(name), "adam")
    run.advance(3)
    batch = run.batch(9)
    fixed = run.agent.targets(run.state, batch)
    for objective in run.agent.objectives:
        loss, info = objective.loss(run.state[objective.group], batch, fixed)
        assert info["rows"].shape == (16,)
        torch.testing.assert_close(info["rows"].mean(), loss)


def test_weight_decay_after_a_reset_is_by_the_learning_rate():
    """Adam counts anew, so that its rate with the correction of that count is the learning rate again."""
    agent = small("iql", reset_every=8)
    run = learner(agent, "wd")
    for update in (1, 8, 9, 10, 17):
        rate, _, _, correction = run.rates(update)[:, 0].tolist()
        assert rate * correction == pytest.approx(agent.learning_rate)


def test_weight_decay_is_torchs_adamw():
    agent = Quadratic()
    run = learner(agent, "wd", on=("V",), options={"decay": 2.0})
    weights = torch.nn.Parameter(run.weights["V"].clone())
    other = torch.optim.AdamW([weights], lr=0.03, weight_decay=2.0)
    for update in range(1, 21):
        other.zero_grad()
        agent.objectives[0].loss([weights], run.batch(update), None)[0].backward()
        other.step()
    run.advance(20)
    torch.testing.assert_close(run.weights["V"], weights.data, rtol=1e-10, atol=1e-12)


# More updates


def test_what_sam_costs_is_counted_in_passes():
    """Published as 1.6 and 1.67 of an update; BC has nothing but its two passes."""
    assert {name: small(name).sam_cost for name in ("iql", "riql", "bc")} == {
        "iql": Fraction(24, 15),
        "riql": Fraction(45, 27),
        "bc": Fraction(2),
    }
    assert small("riql", critics=2).sam_cost == small("iql").sam_cost


@pytest.mark.parametrize(
    ("algo", "name", "counts"),
    [
        ("iql", "adam", [1, 1, 1, 1, 1, 1]),
        ("iql", "matched", [1, 2, 1, 2, 2, 1]),  # floor of 1.6, 3.2, 4.8, 6.4, 8, 9.6
        ("riql", "matched", [1, 2, 2, 1, 2, 2]),  # floor of 1.67, 3.33, 5, 6.67, 8.33, 10
        ("iql", "double", [2, 2, 2, 2, 2, 2]),
        ("iql", "half", [0, 1, 0, 1, 0, 1]),
    ],
)
def test_updates_of_each_step(algo, name, counts):
    run = learner(small(algo), name, steps=6)
    updates = [list(run.updates(step)) for step in range(1, 7)]
    assert [len(of_step) for of_step in updates] == counts
    assert [update for of_step in updates for update in of_step] == list(range(1, sum(counts) + 1))


@pytest.mark.parametrize(("name", "steps"), [("matched", 10), ("double", 8), ("half", 33)])
def test_more_or_fewer_updates_are_those_of_another_run_with_its_cosine(name, steps):
    run, other = learner(small("iql"), name, steps=steps), learner(small("iql"), "adam", steps=16)
    run.advance(steps)
    other.advance(16)
    assert run.step == steps
    assert content(run) == content(other)


def test_a_run_of_no_update_is_refused():
    message = "--steps is 1, and with --optimizer half allowed is 2 and above"
    with pytest.raises(UsageError, match=f"^{message}$"):
        learner(small("iql"), "half", steps=1)
    learner(small("iql"), "half", steps=2)


def test_an_algorithm_cannot_have_sam_for_nothing():
    @dataclass(frozen=True)
    class Free(Quadratic):
        sam_cost: ClassVar[Fraction] = Fraction(1, 2)

    with pytest.raises(PluginError, match=r"^algorithm 'quadratic': its sam_cost is 0\.5, allowed is 1 and above$"):
        learner(Free(), "matched")


def test_two_objectives_cannot_move_the_same_group():
    class Twice(Quadratic):
        @property
        def objectives(self):
            value, actor = super().objectives
            return value, actor._replace(group="V")

    with pytest.raises(
        PluginError, match=r"its objectives 'V' and 'actor' both move the group 'V', whose moments Adam"
    ):
        learner(Twice(), "adam")


# The average


def test_the_policy_is_the_average_of_the_weights_after_each_of_the_last_steps():
    run, plain = learner(small("iql"), "swa", steps=12), learner(small("iql"), "adam", steps=12)
    after = []
    for step in range(1, 13):
        run.advance(1)
        plain.advance(1)
        after.append({group: weights.clone() for group, weights in run.weights.items()})
        for group, weights in plain.weights.items():
            assert torch.equal(run.weights[group], weights)  # training goes on with the raw weights
            shown = torch.cat([p.reshape(-1) for p in run.policy().state[group]])
            last = [w["critic" if group == "target_critic" else group] for w in after[9:]]
            expected = torch.stack(last).mean(0) if last else weights
            torch.testing.assert_close(shown, expected, rtol=1e-12, atol=0, msg=f"{group} after step {step}")


def test_the_average_begins_where_it_is_told_to():
    run = learner(small("bc"), "swa", steps=10, options={"start": "0"})
    run.advance(1)
    assert run.policy().state["actor"][0].equal(run.state["actor"][0])
    run.advance(1)
    assert not run.policy().state["actor"][0].equal(run.state["actor"][0])


# Noise


def test_directions_are_a_function_of_seed_objective_and_update():
    agent = small("iql")
    run, again, other = (learner(agent, "random", seed=seed) for seed in (7, 7, 8))
    drawn = run.noise(3)
    assert {name: z.shape for name, z in drawn.items()} == {n: run.weights[g].shape for n, g in _GROUPS.items()}
    assert all(torch.equal(z, again.noise(3)[name]) for name, z in drawn.items())
    for found in (run.noise(4)["V"], other.noise(3)["V"], drawn["Q"][: len(drawn["V"])]):
        assert abs(float(torch.corrcoef(torch.stack([drawn["V"], found]))[0, 1])) < 0.2
    assert float(drawn["Q"].mean()) == pytest.approx(0, abs=0.1)
    assert float(drawn["Q"].std()) == pytest.approx(1, abs=0.1)
    assert learner(agent, "sam").noise(3) == {}


_GROUPS = {"V": "value", "Q": "critic"}


# Resuming, populations, engines


@pytest.mark.parametrize(("name", "at"), [*((name, 16) for name in OTHERS), ("swa", 7), ("half", 1), ("half", 7)])
def test_resumed_in_the_middle_it_ends_in_the_same_bytes(name, at):
    """The average has begun after 16 steps, and not after 7; half has no update after one."""
    straight, first, second = (learner(small("iql"), name, dtype=torch.float32) for _ in range(3))
    straight.advance(20)
    first.advance(at)
    second.restore(at, {key: array.copy() for key, array in first.arrays().items()})
    second.advance(20 - at)
    assert content(second) == content(straight)


@pytest.mark.parametrize("name", OTHERS)
def test_a_member_of_a_population_is_the_run_alone(name):
    """With numbers of its own; RIQL and GSAM both call one of theirs alpha."""

    def members():
        for i in range(2):
            agent = small("riql", alpha=(0.25, 0.6)[i])
            rho = 0.1 * (i + 1) if hasattr(OPTIMIZERS[name], "rho") else None
            yield learner(agent, name, seed=i, rho=rho, options=OWN.get(name, ({}, {}))[i])

    alone, together = list(members()), list(members())
    population = Population(together, engine="eager")
    for count in (12, 8):
        population.advance(count)
        for single, inside in zip(alone, together, strict=True):
            single.advance(count)
            assert inside.step == single.step
            assert reference.relative_distance(inside.state, single.state) <= 1e-6
            assert reference.relative_distance(inside.policy().state, single.policy().state) <= 1e-6


def test_a_step_without_an_update_leaves_the_losses():
    trained = learner(small("iql"), "half")
    assert trained.advance(1) == {"V": 0.0, "Q": 0.0, "actor": 0.0}
    after = trained.advance(1)
    assert 0.0 not in after.values()
    together = Population([trained], engine="eager")
    assert together.advance(1) == [after]
    assert together.advance(1) != [after]


@pytest.mark.parametrize("name", ["asam", "gsam", "fsam", "looksam", "esam", "wd"])
def test_the_numbers_of_a_member_are_its_own(name):
    """The bound above tells them from its neighbour's."""
    one, other = (learner(small("iql"), name, options=own) for own in OWN[name])
    one.advance(20)
    other.advance(20)
    assert reference.relative_distance(one.state, other.state) > 1e-4


@pytest.mark.skipif(
    not any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++")),
    reason="engine 'compiled' needs a C++ compiler (g++, clang++ or c++) on the path",
)
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own import
@pytest.mark.parametrize("name", ["random", "swa", "looksam", "esam"])
def test_compiled_and_eager_stay_near_each_other(name):
    """With noise, with memory and numbers of its own, with two kinds of step, with selected rows; resumed after two."""
    fast, eager = (learner(small("bc"), name, dtype=torch.float32, engine=engine) for engine in ("compiled", "eager"))
    eager.advance(2)
    fast.restore(2, {key: array.copy() for key, array in eager.arrays().items()})
    fast.advance(18)
    eager.advance(18)
    assert fast.engine == "compiled"
    assert reference.relative_distance(fast.policy().state, eager.policy().state) <= 1e-5


def test_a_shorter_step_that_cannot_be_compiled_is_taken_eagerly(monkeypatch, caplog):
    def refusing(update, **options):
        def step(indices, rates, noise, whole):
            if not whole:
                raise TorchDynamoException("no graph")
            return update(indices, rates, noise, whole)

        return step

    monkeypatch.setattr(torch, "compile", refusing)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    run, eager = (learner(small("bc"), "looksam", engine=engine) for engine in ("auto", "eager"))
    run.advance(1)
    assert run.engine == "compiled"
    run.advance(6)
    eager.advance(7)
    assert run.engine == "eager"
    assert caplog.messages == ["bc cannot be compiled and is trained eagerly: no graph"]
    assert content(run) == content(eager)


# Special cases


@pytest.mark.parametrize(
    ("name", "options"), [("looksam", {"k": 1}), ("fsam", {"sigma": 0}), ("esam", {"beta": 1, "gamma": 1})]
)
def test_at_the_end_of_its_settings_it_is_sam(name, options):
    sam, run = learner(small("riql"), "sam"), learner(small("riql"), name, options=options)
    sam.advance(20)
    run.advance(20)
    assert all(torch.equal(run.weights[group], weights) for group, weights in sam.weights.items())


def test_esam_that_selects_all_rows_but_one_is_near_sam_and_with_one_row_far():
    runs = {share: learner(small("iql"), "esam", options={"beta": 1, "gamma": share}) for share in (1, 15 / 16, 1 / 16)}
    for run in runs.values():
        run.advance(5)
    near, far = (reference.relative_distance(runs[x].state, runs[1].state) for x in (15 / 16, 1 / 16))
    assert 1e-6 < near < far / 2


def test_esam_needs_the_loss_of_each_row_or_selects_all():
    @dataclass(frozen=True)
    class Mean(Quadratic):
        @property
        def objectives(self):
            return tuple(objective._replace(rows=False) for objective in super().objectives)

    with pytest.raises(UsageError) as error:
        optimizer_for(Mean(), "esam", on=("actor",))
    assert str(error.value) == (
        "--optimizer esam selects rows by their loss, and actor of quadratic gives none by row: "
        "--esam.gamma 1 selects all"
    )
    optimizer_for(Mean(), "esam", options={"gamma": 1})


def test_members_of_a_population_have_looksams_k_in_common():
    members = [learner(small("bc"), "looksam", options={"k": k}) for k in (2, 3)]
    with pytest.raises(UsageError, match=r"^the members of a population have k in common: found \[2, 3\]$"):
        Population(members, engine="eager")


# What asks for one


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_survives_its_spec(name):
    agent = small("iql")
    for own in OWN.get(name, ({},)):
        optimizer = optimizer_for(agent, name, options=own)
        spec = spec_of(optimizer)
        assert spec.options == own
        assert optimizer_of(agent, spec) == optimizer


RADIAL = "sam, asam, gsam, fsam, msam, looksam, esam, random"


def test_usual_objectives_and_radii():
    """SWA is on the actor too, for without it no policy would change."""
    specs = {name: spec_of(optimizer_for(small("iql"), name)) for name in OPTIMIZERS}
    sharp, radius = ("V", "Q"), {**dict.fromkeys(RADIAL.split(", "), 0.05), "asam": 0.5}
    assert {name: spec.on for name, spec in specs.items()} == {
        **dict.fromkeys(OPTIMIZERS, sharp),
        **dict.fromkeys(("adam", "matched", "double", "half"), ()),
        "swa": ("V", "Q", "actor"),
    }
    assert {name: spec.rho for name, spec in specs.items()} == {**dict.fromkeys(OPTIMIZERS, 0.0), **radius}


SENSELESS = {
    "matched on one": (
        ("matched", {"on": ("V",)}),
        "--sam-on makes no sense with --optimizer matched, which is on all objectives alike",
    ),
    "wd, rho": (("wd", {"rho": 0.1}), f"--rho is a radius, and --optimizer wd has none: those that do are {RADIAL}"),
    "double, rho": (
        ("double", {"rho": 0.1}),
        f"--rho is a radius, and --optimizer double has none: those that do are {RADIAL}",
    ),
    "gsam, misspelled": (
        ("gsam", {"options": {"alpah": 1}}),
        "--optimizer gsam: unknown option 'alpah': known are alpha (did you mean 'alpha'?)",
    ),
    "gsam, text": (
        ("gsam", {"options": {"alpha": "much"}}),
        "--optimizer gsam: alpha is 'much', needed is a value of type float",
    ),
    "gsam, alpha": (("gsam", {"options": {"alpha": -0.5}}), "--gsam.alpha is -0.5, allowed is 0 and above"),
    "gsam, rho": (("gsam", {"options": {"rho": 0.5}}), "--optimizer gsam: unknown option 'rho': known are alpha"),
    "asam, eta": (("asam", {"options": {"eta": -1}}), "--asam.eta is -1.0, allowed is 0 and above"),
    "fsam, sigma": (("fsam", {"options": {"sigma": -1}}), "--fsam.sigma is -1.0, allowed is 0 and above"),
    "fsam, lmbda": (("fsam", {"options": {"lmbda": 1}}), "--fsam.lmbda is 1.0, allowed is 0 and above, and under 1"),
    "looksam, k": (("looksam", {"options": {"k": 0}}), "--looksam.k is 0, allowed is 1 and above"),
    "looksam, part of k": (
        ("looksam", {"options": {"k": "2.5"}}),
        "--optimizer looksam: k is '2.5', needed is a value of type int",
    ),
    "looksam, alpha": (("looksam", {"options": {"alpha": -1}}), "--looksam.alpha is -1.0, allowed is 0 and above"),
    "esam, beta": (("esam", {"options": {"beta": 0}}), "--esam.beta is 0.0, allowed is above 0, up to 1"),
    "esam, gamma": (("esam", {"options": {"gamma": 1.5}}), "--esam.gamma is 1.5, allowed is above 0, up to 1"),
    "wd, decay": (("wd", {"options": {"decay": 0}}), "--wd.decay is 0.0, allowed is any number above 0"),
    "swa, start": (("swa", {"options": {"start": 1}}), "--swa.start is 1.0, allowed is 0 and above, and under 1"),
}


@pytest.mark.parametrize(("asked", "message"), SENSELESS.values(), ids=SENSELESS)
def test_what_makes_no_sense_is_a_usage_error(asked, message):
    name, settings = asked
    with pytest.raises(UsageError) as error:
        optimizer_for(small("iql"), name, **settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "spec",
    [
        OptimizerSpec("gsam", ("V",), 0.05, {"alpha": "x"}),
        OptimizerSpec("gsam", ("V",), 0.05, {"on": ("Q",)}),
        OptimizerSpec("adam", (), 0.05),
        OptimizerSpec("adam", ("V",), 0.0),
    ],
)
def test_a_spec_that_cannot_be_is_refused(spec):
    with pytest.raises(UsageError):
        optimizer_of(small("iql"), spec)
