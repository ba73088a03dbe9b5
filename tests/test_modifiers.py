"""Modifiers of any algorithm: networks against torch.nn, resets and shrinking by hand, from the command line on."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import random_dataset
from torch import nn
from torch.func import grad
from torch.func import hessian as exact_hessian

from corruptbench import attempt, training
from corruptbench.algos.adam import corrected
from corruptbench.algos.agent import MODIFIERS, options_of
from corruptbench.algos.networks import Kind, init_mlp, mlp
from corruptbench.checkpoints import Checkpoints
from corruptbench.cli import main
from corruptbench.data import ASSETS
from corruptbench.errors import IntegrityError, UsageError
from corruptbench.optimizers import optimizer_for
from corruptbench.population import Population
from corruptbench.records import read_records
from corruptbench.registry import ALGORITHMS
from corruptbench.request import RunRequest
from corruptbench.resume import Resumable
from corruptbench.rng import stream
from corruptbench.run import plan
from corruptbench.sharpness import Effort, report_of
from corruptbench.sharpness.activity import activity
from corruptbench.sharpness.curvature import fisher_trace, hessian, signs, squared_lengths
from corruptbench.sharpness.problem import COMMON, problems
from corruptbench.spec import AlgorithmSpec
from corruptbench.submission.reading import Run, Submission
from corruptbench.submission.settings import stated
from corruptbench.suites import suite
from corruptbench.surrogates import WEIGHTS, TrainedCritics
from corruptbench.tables.listing import run_row
from corruptbench.train import Learner
from corruptbench.weights import load_weights, save_weights

NAMES = ("bc", "iql", "riql")
KINDS = [Kind(True, "relu"), Kind(False, "crelu"), Kind(True, "crelu")]
every_algorithm = pytest.mark.parametrize("name", NAMES)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.layer_norm}-{kind.activation}")
compiled_too = pytest.mark.skipif(
    not any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++")),
    reason="engine 'compiled' needs a C++ compiler (g++, clang++ or c++) on the path",
)


def learner(name, *, steps=40, seed=3, dtype=torch.float64, engine="eager", optimizer="adam", data=0, **settings):
    agent = ALGORITHMS.get(name)(**({"hidden": (6, 5), "batch_size": 16} | settings))
    dataset = random_dataset(seed=data)
    chosen = optimizer_for(agent, optimizer)
    return Learner(agent, chosen, dataset, seed=seed, steps=steps, engine=engine, dtype=dtype)


def modified(kind, **settings):
    return {"layer_norm": kind.layer_norm, "activation": kind.activation, **settings}


def copied(trained):
    return {group: [p.clone() for p in params] for group, params in trained.state.items()}


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(a, b) for group in one for a, b in zip(one[group], other[group], strict=True)
    )


def close(one, other, tolerance):
    return all(
        torch.allclose(a, b, rtol=tolerance, atol=tolerance)
        for group in one
        for a, b in zip(one[group], other[group], strict=True)
    )


# Networks


class CReLU(nn.Module):
    def forward(self, z):
        return torch.cat([nn.functional.relu(z), nn.functional.relu(-z)], dim=1)


def module(params, kind):
    """The same network out of torch's own layers."""
    layers = []
    for number in range(0, len(params), 2):
        w, b = params[number], params[number + 1]
        linear = nn.Linear(*w.shape, dtype=w.dtype)
        linear.weight.data, linear.bias.data = w.T.clone(), b[0].clone()
        layers.append(linear)
        if number < len(params) - 2:
            layers += [nn.LayerNorm(w.shape[1], elementwise_affine=False, dtype=w.dtype)] * kind.layer_norm
            layers.append(CReLU() if kind.activation == "crelu" else nn.ReLU())
    return nn.Sequential(*layers)


@every_kind
def test_a_network_is_that_of_torchs_own_layers(kind):
    """Values and gradients, of every network of an ensemble."""
    params = [p.double() for p in init_mlp(stream("n"), (4, 7, 6, 3), ensemble=(2,), kind=kind)]
    x = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = mlp(params, x, kind)
    slopes = grad(lambda ps: mlp(ps, x, kind).square().sum())(params)
    for k in range(2):
        slow = module([p[k] for p in params], kind)
        assert torch.allclose(found[k], slow(x), rtol=1e-10, atol=1e-12)
        slow(x).square().sum().backward()
        expected = [p.grad for p in slow.parameters()]
        assert torch.allclose(slopes[2][k], expected[2].T, rtol=1e-9, atol=1e-12)
        assert torch.allclose(slopes[1][k][0], expected[1], rtol=1e-9, atol=1e-12)


@every_kind
def test_weights_begin_within_the_bound_of_their_inputs(kind):
    params = init_mlp(stream("n"), (4, 50, 60, 3), kind=kind)
    twice = 2 if kind.activation == "crelu" else 1
    assert [p.shape[0] for p in params[::2]] == [4, 50 * twice, 60 * twice]
    for w, b in zip(params[::2], params[1::2], strict=True):
        bound = 1 / np.sqrt(w.shape[0])
        assert 0.95 * bound < float(w.abs().max()) <= bound
        assert float(b.abs().max()) <= bound


@every_algorithm
@every_kind
def test_every_objective_and_the_actor_are_computed_with_these_networks(name, kind):
    """Against torch's layers for V, every Q_k and pi; a loss that left the modifiers out would be another one."""
    trained = learner(name, **modified(kind))
    trained.advance(5)
    agent, state, batch = trained.agent, trained.state, trained.batch(6)
    policy = torch.tanh(module(state["actor"], kind)(batch.observations)).detach()
    assert torch.allclose(agent.act(state, batch.observations), policy, rtol=1e-10)
    losses = {o.name: o.loss(state[o.group], batch, agent.targets(state, batch))[0] for o in agent.objectives}
    error = (policy - batch.actions).square().sum(1)
    if name == "bc":
        assert torch.allclose(losses["actor"], error.mean())
        return
    x = torch.cat([batch.observations, batch.actions], 1)
    q, lagging = (
        torch.stack([module([p[k] for p in state[g]], kind)(x)[:, 0] for k in range(len(state[g][0]))]).detach()
        for g in ("critic", "target_critic")
    )
    v, following = (
        module(state["value"], kind)(s)[:, 0].detach() for s in (batch.observations, batch.next_observations)
    )
    y = batch.rewards + 0.99 * (1 - batch.terminations) * following
    advantage = agent.statistic(lagging) - v
    assert torch.allclose(losses["V"], (torch.where(advantage < 0, 0.3, 0.7) * advantage.square()).mean())
    assert torch.allclose(losses["actor"], (torch.exp(3 * advantage).clamp(max=100) * error).mean())
    u = (y - q).abs()
    expected = u.square() if name == "iql" else torch.where(u < 1, u.square() / 2, u - 0.5)
    assert torch.allclose(losses["Q"], expected.mean())


@every_kind
@pytest.mark.parametrize("name", ["iql", "riql"])
def test_an_attack_sees_the_agents_own_values(name, kind, tmp_path):
    """In place and out of a file, on raw observations."""
    trained = learner(name, dtype=torch.float32, **modified(kind))
    trained.advance(20)
    path = tmp_path / "agent.safetensors"
    save_weights(path, trained.policy(), AlgorithmSpec(name, options_of(trained.agent)))
    critics, data = TrainedCritics(load_weights(path), "0" * 64), random_dataset()
    s, a = torch.tensor(data.observations[:50]), torch.tensor(data.actions[:50])

    def own(observations):
        return trained.agent.q_values(trained.state["critic"], trained.normalisation(observations), a)

    def value(observations):
        return trained.agent.statistic(own(observations))

    assert torch.allclose(critics.critics(s, a).T, own(s), rtol=1e-5, atol=1e-6)
    assert torch.allclose(critics.value(s, a), value(s), rtol=1e-5, atol=1e-6)
    slope = grad(lambda z: critics.value(z, a).sum())(s)
    assert torch.allclose(slope, grad(lambda z: value(z).sum())(s), rtol=1e-4, atol=1e-6)
    other = "crelu" if kind.activation == "relu" else "relu"
    save_weights(path, trained.policy(), AlgorithmSpec(name, options_of(trained.agent) | {"activation": other}))
    with pytest.raises(IntegrityError, match=r"the shapes of .* are not those of a network on 5 observed values$"):
        load_weights(path)


# Sharpness


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's forward mode
@pytest.mark.parametrize(("name", "loss"), [("bc", "actor"), ("iql", "V"), ("riql", "Q"), ("riql", COMMON)])
def test_sharpness_is_measured_on_these_networks(name, loss):
    trained = learner(name, **modified(Kind(True, "crelu")))
    trained.advance(20)
    batch = trained.normalisation.batch(random_dataset(), slice(0, 12), torch.float64)
    y = torch.linspace(-3, 9, 12, dtype=torch.float64) if loss == COMMON else None
    (problem,) = (p for p in problems(trained.agent, trained.state, batch, y) if p.name == loss)
    slow = [float(grad(r.loss)(r.weights).square().sum()) for r in map(problem.row, range(problem.rows))]
    assert squared_lengths(problem, problem.inputs).tolist() == pytest.approx(slow, rel=1e-9)
    assert fisher_trace(problem) == pytest.approx(np.mean(slow), rel=1e-9)
    exact = exact_hessian(problem.loss)(problem.weights)
    v = signs(0, problem.weights)
    product = hessian(problem.loss, problem.weights)(v)
    assert torch.allclose(product, exact @ v, rtol=1e-8, atol=1e-9 * float(exact.abs().max()))
    if loss == COMMON:
        q = trained.agent.q_values(trained.state["critic"], batch.observations, batch.actions)
        assert float(problem.loss(problem.weights)) == pytest.approx(float((y - q).square().mean()))


def test_of_the_two_outputs_of_a_unit_one_is_active():
    trained = learner("bc", **modified(Kind(False, "crelu")))
    batch = trained.normalisation.batch(random_dataset(), slice(0, 12), torch.float64)
    first, second = activity(trained.state["actor"], batch, trained.agent.network_kind)
    assert (first["active"], second["active"]) == (0.5, 0.5)


# Reset, shrink and perturb


RENEWED = {
    "reset": {"reset_every": 7},
    "more layers": {"reset_every": 7, "reset_layers": 2},
    "shrink": {"shrink_every": 7, "shrink": 0.6},
    "both": {"reset_every": 14, "shrink_every": 7},
}
every_renewal = pytest.mark.parametrize("settings", RENEWED.values(), ids=RENEWED)


def renewed_by_hand(trained, taken):
    """What the next step should find: ``w``, and Adam's ``m`` and ``v``, all by group and layer."""
    agent, seed = trained.agent, trained.seed
    state = copied(trained)

    def fresh(purpose):
        start = agent.init(5, 2, lambda network: stream(seed, purpose, taken, network))
        return {group: [p.double() for p in params] for group, params in start.items()}

    groups = [objective.group for objective in agent.objectives]
    zeroed = dict.fromkeys(groups, 0)
    if agent.shrink_every and taken % agent.shrink_every == 0:
        start = fresh("shrink")
        for group in groups:
            for i in range(len(state[group])):
                state[group][i] = agent.shrink * state[group][i] + (1 - agent.shrink) * start[group][i]
        if "critic" in state:
            state["target_critic"] = [p.clone() for p in state["critic"]]
    if agent.reset_every and taken % agent.reset_every == 0:
        start, count = fresh("reset"), 2 * agent.reset_layers
        for group in groups:
            state[group] = state[group][:-count] + start[group][-count:]
            zeroed[group] = sum(p.numel() for p in start[group][-count:])
        if "critic" in state:
            state["target_critic"] = state["target_critic"][:-count] + [p.clone() for p in state["critic"][-count:]]
    return state, zeroed


@every_algorithm
@every_renewal
def test_what_begins_anew_is_what_does_by_hand(name, settings):
    """At every step: what is due comes before the next one, and nothing does where nothing is due."""
    trained = learner(name, **settings)
    for taken in range(30):
        state, zeroed = renewed_by_hand(trained, taken) if taken else (copied(trained), {})
        before = {group: [m.first.clone(), m.second.clone()] for group, m in trained.moments.items()}
        trained.renew()
        assert close(trained.state, state, 1e-15), taken
        for group, moments in trained.moments.items():
            count = zeroed.get(group, 0)
            kept = len(moments.first) - count
            for now, was in zip((moments.first, moments.second), before[group], strict=True):
                assert torch.equal(now[:kept], was[:kept])
                assert not now[kept:].any()
                assert taken == 0 or bool(was[kept:].any()) == bool(count)
        # by hand: the step itself, without what is due before it
        trained.step += 1
        trained.update(trained.indices(trained.step), trained.rates(trained.step), {})


@every_algorithm
@every_renewal
def test_it_happens_before_the_step_after_a_multiple_and_never_at_the_end(name, settings):
    one, other, plain = (learner(name, steps=28, **s) for s in (settings, settings, {}))
    one.advance(7)
    plain.advance(7)
    assert equal(one.state, plain.state)  # what is measured after step 7 is what 7 steps have trained
    one.advance(21)
    for step in range(1, 29):
        other.renew()
        other.step = step
        other.update(other.indices(step), other.rates(step), {})
    assert equal(one.state, other.state)
    plain.advance(21)
    assert not close(one.state, plain.state, 1e-3)


def test_shrinking_leaves_adams_count():
    run = learner("iql", shrink_every=10)
    rate, root = corrected(25, run.agent.learning_rate)
    assert run.rates(25)[[0, 2], 0].tolist() == [rate, root]


def test_adam_counts_updates_from_a_reset_where_a_step_takes_several():
    trained = learner("iql", reset_every=10, optimizer="double")
    for update, count in ((1, 1), (20, 20), (21, 1), (22, 2), (40, 20), (41, 1)):
        rate, root = corrected(count, trained.agent.learning_rate)
        assert trained.rates(update)[[0, 2], 0].tolist() == [rate, root]


@every_algorithm
def test_a_reset_of_all_layers_is_a_new_training(name):
    """With weights, moments and Adam's count of their own; batches and the actor's cosine go on."""
    trained = learner(name, reset_every=10, reset_layers=3)
    trained.advance(10)
    anew = learner(name)
    for group, params in trained.fresh("reset", 10).items():
        for w, new in zip(anew.state[group], params, strict=True):
            w.copy_(new)
    for step in range(11, 19):
        rates = anew.rates(step - 10)
        rates[1] = rates[0] * (1 + np.cos(np.pi * (step - 1) / 40)) / 2
        anew.update(anew.indices(step), rates, {})
    trained.advance(8)
    assert close(trained.state, anew.state, 1e-12)


@every_algorithm
def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(name, tmp_path):
    """Stopped where something is due next, just after it, and anywhere."""

    def begun(folder, anew):
        settings = {"reset_every": 14, "shrink_every": 7, "dtype": torch.float32}
        return Resumable(learner(name, **settings), Checkpoints(folder, 100, anew=anew), {})

    straight = begun(tmp_path / "straight", True).learner
    straight.advance(40)
    for stop in (7, 14, 15, 25):
        first = begun(tmp_path / str(stop), True)
        first.learner.advance(stop)
        first.save()
        second = begun(tmp_path / str(stop), False).learner
        assert second.step == stop
        second.advance(40 - stop)
        assert equal(second.state, straight.state)


EVERYTHING = {"layer_norm": True, "activation": "crelu", "reset_every": 7, "shrink_every": 5, "reset_layers": 2}


@every_algorithm
@pytest.mark.parametrize("optimizer", ["adam", "sam"])
def test_a_member_of_a_population_is_the_run_alone(name, optimizer):
    """Members differ in data, seed, learning rate and how much they keep."""
    own = [{"seed": 3, "shrink": 0.9}, {"seed": 4, "data": 1, "learning_rate": 1e-3, "shrink": 0.5}]
    alone, together = ([learner(name, optimizer=optimizer, **EVERYTHING, **o) for o in own] for _ in range(2))
    population = Population(together, engine="eager")
    population.advance(12)
    population.advance(24)
    for single, inside in zip(alone, together, strict=True):
        single.advance(36)
        assert close(inside.state, single.state, 1e-8)


def test_what_is_measured_of_a_member_is_what_is_measured_of_the_run_alone():
    alone, inside = learner("bc", **EVERYTHING), learner("bc", **EVERYTHING)
    Population([inside, learner("bc", seed=4, **EVERYTHING)], engine="eager").advance(20)
    alone.advance(20)
    effort = Effort(rows=64, iterations=4, probes=3, directions=2)
    one, other = (report_of(each.policy(), 20, {"clean": random_dataset()}, effort) for each in (inside, alone))
    measured, expected = (found["data"]["clean"]["objectives"]["actor"] for found in (one, other))
    for name in ("loss", "gradient_norm", "fisher_trace", "eigenvalue_max", "sam", "asam", "average"):
        assert flat(measured[name]) == pytest.approx(flat(expected[name]), rel=1e-5), name
    assert one["data"]["clean"]["activity"] == other["data"]["clean"]["activity"]


def flat(measure):
    """The numbers of a measure."""
    inner = measure.values() if isinstance(measure, dict) else ()
    return [number for value in inner for number in flat(value)] or [measure]


def test_members_share_what_shapes_a_step():
    for changed in ({"layer_norm": True}, {"reset_every": 5}):
        with pytest.raises(UsageError, match=f"have {next(iter(changed))} in common"):
            Population([learner("iql"), learner("iql", **changed)])


@compiled_too
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own import
def test_both_engines_agree():
    """The reset happens in place between two compiled steps."""
    settings = {**EVERYTHING, "dtype": torch.float32}
    fast, slow = learner("bc", engine="compiled", **settings), learner("bc", **settings)
    fast.advance(20)
    slow.advance(20)
    assert fast.engine == "compiled"
    assert close(fast.state, slow.state, 1e-4)


# Ids and files


@every_algorithm
def test_settings_as_specs_hold_them_leave_out_what_is_not_set(name):
    cls = ALGORITHMS.get(name)
    usual = options_of(cls())
    assert usual == {f.name: f.default for f in dataclasses.fields(cls) if f.name not in MODIFIERS}
    assert options_of(cls(layer_norm=True, shrink_every=9)) == usual | {"layer_norm": True, "shrink_every": 9}


@pytest.mark.parametrize("dataset", ["hopper-replay", "halfcheetah-replay", "walker2d-replay"])
def test_the_shipped_surrogates_would_be_written_as_they_are(dataset, tmp_path):
    """Their SHA-256 are part of run ids."""
    shipped = ASSETS / dataset / WEIGHTS
    model = load_weights(shipped)
    save_weights(tmp_path / WEIGHTS, model, AlgorithmSpec("iql", options_of(model.agent)), ("critic", "actor"))
    assert (tmp_path / WEIGHTS).read_bytes() == shipped.read_bytes()


def test_shipped_runs_keep_their_ids():
    records = read_records(Path(attempt.__file__).parent / "leaderboard" / "records")
    assert records
    for record in records:
        spec = record.spec.algorithm
        agent = ALGORITHMS.get(spec.name)(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in spec.options.items()}
        )
        assert json.loads(json.dumps(options_of(agent))) == spec.options


# Wrong input


WRONG = {
    "activation": (
        {"activation": "crleu"},
        "activation is 'crleu', allowed are relu, crelu (did you mean 'crelu'?)",
    ),
    "reset_every": ({"reset_every": -1}, "reset_every is -1, allowed is 0 and above"),
    "shrink_every": ({"shrink_every": -5}, "shrink_every is -5, allowed is 0 and above"),
    "too many": (
        {"hidden": (8, 8), "reset_every": 5, "reset_layers": 4},
        "reset_layers is 4, allowed is 1 to 3, the layers of a network",
    ),
    "none": (
        {"reset_every": 5, "reset_layers": 0},
        "reset_layers is 0, allowed is 1 to 3, the layers of a network",
    ),
    "above": ({"shrink_every": 5, "shrink": 1.5}, "shrink is 1.5, allowed is 0 to 1"),
    "below": ({"shrink_every": 5, "shrink": -0.5}, "shrink is -0.5, allowed is 0 to 1"),
    "idle reset": ({"reset_layers": 2}, "reset_layers is 2, allowed is 1 where reset_every is 0"),
    "idle shrink": ({"shrink": 0.5}, "shrink is 0.5, allowed is 0.8 where shrink_every is 0"),
}


@pytest.mark.parametrize(("settings", "message"), WRONG.values(), ids=WRONG)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(UsageError) as error:
        ALGORITHMS.get("riql")(**settings)
    assert str(error.value) == f"riql: {message}"


# Runs


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(training, "FINAL_EPISODES", 2)
    monkeypatch.setattr(training, "CURVE_EPISODES", 1)


def run(file, out, algo, *more, steps=30, code=0):
    sizes = [f"--{algo}.hidden", "8,8", f"--{algo}.batch-size", "16"]
    where = ["--dataset", f"file:{file}", "--env", "Hopper-v5", "--engine", "eager", "--out", str(out)]
    assert main(["run", "--algo", algo, "--corrupt", "none", *sizes, *where, "--steps", str(steps), *more]) == code


@pytest.mark.parametrize("name", ["reset_every", "shrink_every"])
def test_what_no_step_follows_is_refused(name, small_file, tmp_path):
    data = {"dataset": f"file:{small_file}", "env": "Hopper-v5", "score": False}
    request = RunRequest("bc", "none", algo_options={name: "20"}, steps=21, **data)
    assert getattr(plan(request, tmp_path).agent, name) == 20
    with pytest.raises(UsageError) as error:
        plan(dataclasses.replace(request, steps=20), tmp_path)
    assert str(error.value) == f"bc: {name} is 20 in a run of 20 steps, allowed is less than those, or 0 for none"


def what_is_wrong_with(record, out):
    """By the rule of a submission on what a record states of itself."""
    one = Run(out / record.run_id, record, None)
    return [what for _, what in stated(Submission(suite("tiny"), (one,), ()))]


def test_a_run_from_the_command_line_to_its_row(small, small_file, tmp_path):
    """Its options and its command name what was set, and its networks can be attacked and measured."""
    more = ["layer-norm true", "activation crelu", "reset-every 10", "reset-layers 2", "shrink-every 15", "shrink 0.5"]
    run(small_file, tmp_path, "riql", *(word for text in more for word in f"--riql.{text}".split()))
    (record,) = read_records(tmp_path)
    assert record.outcome == "ok"
    set_options = {
        "layer_norm": True,
        "activation": "crelu",
        "reset_every": 10,
        "reset_layers": 2,
        "shrink_every": 15,
        "shrink": 0.5,
    }
    assert {k: v for k, v in record.spec.algorithm.options.items() if k in MODIFIERS} == set_options
    shown = run_row(record)["options"]
    assert "riql.activation=crelu;" in shown
    assert "riql.layer_norm=true;" in shown
    for text in more:
        assert f"--riql.{text}" in record.command
    assert what_is_wrong_with(record, tmp_path) == []
    agent = load_weights(tmp_path / record.run_id / "agent.safetensors").agent
    assert (agent.network_kind, agent.reset_every) == (Kind(True, "crelu"), 10)
    run(small_file, tmp_path, "bc", "--corrupt", f"act-adv:rate=0.05,surrogate={record.run_id}")
    assert main(["verify", str(tmp_path)]) == 0


def test_usual_runs_name_no_modifier(small, small_file, tmp_path):
    run(small_file, tmp_path, "bc")
    (record,) = read_records(tmp_path)
    assert not set(MODIFIERS) & record.spec.algorithm.options.keys()
    assert not any(name in record.command for name in ("layer-norm", "activation", "reset", "shrink"))
    assert what_is_wrong_with(record, tmp_path) == []
    algorithm = dataclasses.replace(
        record.spec.algorithm, options={**record.spec.algorithm.options, "layer_norm": False}
    )
    spelled_out = dataclasses.replace(record, spec=dataclasses.replace(record.spec, algorithm=algorithm))
    assert what_is_wrong_with(spelled_out, tmp_path) == ["its settings are not those that bc has"]  # it has another id


PLUGIN = """
from dataclasses import dataclass
import torch
from corruptbench.algos import Agent, Objective, init_mlp, mlp, register

@register("mine")
@dataclass(frozen=True)
class Mine(Agent):
    '''Behaviour cloning again.'''

    def init(self, observation_dim, action_dim, streams):
        return {"actor": self.init_mlp(streams("actor"), (observation_dim, *self.hidden, action_dim))}

    @property
    def objectives(self):
        return (Objective("actor", "actor", self.actor_loss, cosine=True),)

    def actor_loss(self, actor, batch, targets):
        return (torch.tanh(self.mlp(actor, batch.observations)) - batch.actions).square().sum(-1).mean(-1), {}
"""


def test_a_plugin_has_them(small, small_file, tmp_path):
    """It is BC under another name, and trains to the same weights with any modifier."""
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    for algo, more in (("bc", []), ("mine", ["--plugin", str(path)])):
        given = ("layer-norm=true", "activation=crelu", "reset-every=7", "shrink-every=5")
        run(small_file, tmp_path / algo, algo, *more, *(f"--{algo}.{text}" for text in given))
    policies = [load_weights(next((tmp_path / a).glob("*/agent.safetensors"))).state for a in ("bc", "mine")]
    assert equal(*policies)


@pytest.mark.parametrize(
    ("computed", "given", "code", "message"),
    [
        ("mlp", "layer-norm=true", 2, "mine: its loss 'actor' has no use for layer_norm and activation, allowed are"),
        ("mlp", "activation=crelu", 1, "with layer_norm=False and activation=crelu raised RuntimeError: "),
        ("init_mlp", "activation=crelu", 1, "with layer_norm=False and activation=crelu raised RuntimeError: "),
    ],
)
def test_a_plugin_that_would_train_plain_networks_is_told(
    small, small_file, tmp_path, capsys, computed, given, code, message
):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.replace(f"self.{computed}(", f"{computed}("))
    run(small_file, tmp_path, "mine", "--plugin", str(path))
    run(small_file, tmp_path, "mine", "--plugin", str(path), f"--mine.{given}", code=code)
    assert message in capsys.readouterr().err
    assert len(read_records(tmp_path)) == 1


def test_a_white_box_attack_trains_its_victim_with_them(small, small_file, tmp_path):
    request = RunRequest(
        "iql",
        "obs-adv:rate=0.05,surrogate=white-box",
        dataset=f"file:{small_file}",
        env="Hopper-v5",
        steps=20,
        algo_options={"hidden": "8,8", "batch_size": "16", "layer_norm": "true", "reset_every": "9"},
    )
    planned = plan(request, tmp_path, attempt.Setup(engine="eager"))
    (clean,) = read_records(tmp_path)
    assert planned.surrogate.model.agent == planned.agent
    assert clean.spec.algorithm.options == json.loads(json.dumps(planned.spec.algorithm.options))
    assert clean.spec.algorithm.options["reset_every"] == 9
