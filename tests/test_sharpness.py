"""Sharpness: against exact Hessians, known spectra, gradients row by row; and a run's report from train to table."""

import dataclasses
import io
import json
import math
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from builders import random_dataset
from builders_runs import rewrite
from torch.func import grad
from torch.func import hessian as exact_hessian

from corruptbench import attempt, training
from corruptbench.attempt import Setup
from corruptbench.batches import measured_rows
from corruptbench.cli import main
from corruptbench.cli.sharpness import _bound
from corruptbench.errors import DataError, IntegrityError, UsageError
from corruptbench.numerics import normal_quantile
from corruptbench.optimizers import optimizer_for
from corruptbench.population import Population
from corruptbench.records import RunRecord
from corruptbench.registry import ALGORITHMS
from corruptbench.request import RunRequest
from corruptbench.rng import stream, uniforms
from corruptbench.sharpness import Effort, check_every, keep, report, reports_in, text_of
from corruptbench.sharpness.activity import activity
from corruptbench.sharpness.curvature import (
    CHECKED_ROWS,
    extremes,
    fisher_trace,
    hessian,
    signs,
    squared_lengths,
    trace,
)
from corruptbench.sharpness.problem import COMMON, has_critics, problems
from corruptbench.sharpness.rise import ADAPTIVE_RADII, ETA, RADII, Rise
from corruptbench.surrogates import TrainedCritics
from corruptbench.sweep.jobs import jobs
from corruptbench.tables.labels import run_names
from corruptbench.train import Learner

NAMES = ("bc", "iql", "riql")


def learner(name, *, steps=30, dtype=torch.float64, seed=3, optimizer="adam", **numbers):
    agent = ALGORITHMS.get(name)(hidden=(6, 5), batch_size=16, **numbers)
    trained = Learner(
        agent, optimizer_for(agent, optimizer), random_dataset(), seed=seed, steps=steps, engine="eager", dtype=dtype
    )
    trained.advance(steps)
    return trained


def problems_of(trained, rows=24, common=True):
    batch = trained.normalisation.batch(random_dataset(), slice(0, rows), torch.float64)
    y = torch.linspace(-3, 9, rows, dtype=torch.float64) if common and "critic" in trained.state else None
    state = {group: [p.double() for p in params] for group, params in trained.state.items()}
    return {problem.name: problem for problem in problems(trained.agent, state, batch, y)}


@pytest.fixture(scope="module")
def measured():
    return {name: problems_of(learner(name)) for name in NAMES}


CASES = [("bc", "actor"), *((name, loss) for name in ("iql", "riql") for loss in ("V", "Q", "actor", COMMON))]


# Curvature


FORWARD = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
"""Of torch's own forward mode."""


@FORWARD
@pytest.mark.parametrize(("name", "loss"), CASES)
def test_products_with_the_hessian_are_those_of_the_exact_one(measured, name, loss):
    problem = measured[name][loss]
    exact = exact_hessian(problem.loss)(problem.weights)
    product = hessian(problem.loss, problem.weights)
    for number in range(3):
        v = signs(number, problem.weights)
        assert torch.allclose(product(v), exact @ v, rtol=1e-9, atol=1e-9 * float(exact.abs().max()))


@FORWARD
@pytest.mark.parametrize(("name", "loss"), [("bc", "actor"), ("iql", "V"), ("riql", "Q"), ("riql", COMMON)])
def test_extreme_eigenvalues_and_trace_are_those_of_the_exact_hessian(measured, name, loss):
    problem = measured[name][loss]
    exact = exact_hessian(problem.loss)(problem.weights)
    values = torch.linalg.eigvalsh(exact)
    product = hessian(problem.loss, problem.weights)
    lowest, highest = extremes(product, signs(0, problem.weights), 60)
    scale = float(values.abs().max())
    assert highest.value == pytest.approx(float(values[-1]), abs=1e-6 * scale)
    assert lowest.value == pytest.approx(float(values[0]), abs=1e-6 * scale)
    assert max(highest.residual, lowest.residual) < 1e-3 * scale
    found = trace(product, problem.weights, 400)
    assert abs(found.value - float(exact.trace())) < 4 * found.error
    assert found.error < 0.2 * scale * math.sqrt(len(values))


def test_a_quadratic_with_a_known_spectrum():
    """The residual bounds the distance to an eigenvalue at every number of iterations."""
    spectrum = torch.cat([torch.tensor([-7.0, 50.0]), torch.linspace(0, 10, 60)]).double()
    turn, _ = torch.linalg.qr(torch.from_numpy(normal_quantile(uniforms(stream("turn"), 62, 62))))
    matrix = turn @ torch.diag(spectrum) @ turn.T
    product = hessian(lambda w: w @ matrix @ w / 2, torch.ones(62, dtype=torch.float64))
    start = signs(0, spectrum)
    for iterations in (1, 3, 6, 12, 61):
        for found in extremes(product, start, iterations):
            assert float((spectrum - found.value).abs().min()) <= found.residual + 1e-9
    lowest, highest = extremes(product, start, 200)  # stops where the space is used up
    assert (lowest.value, highest.value) == pytest.approx((-7, 50))
    exact = trace(lambda v: 3 * v, start, 5)  # of a multiple of the identity every probe finds the trace
    assert (exact.value, exact.error) == pytest.approx((3 * 62, 0))
    several = [float(v @ matrix @ v) for v in (signs(number, start) for number in range(9))]
    assert trace(product, start, 9) == pytest.approx((np.mean(several), np.std(several, ddof=1) / 3))


def test_the_residual_bounds_the_error_in_float32_of_many_weights():
    """As many as critics have: sums of so many terms in float32 would be off by far more than the residual says."""
    spectrum = 10 * torch.from_numpy(uniforms(stream("spectrum"), 200_000)).float()
    spectrum[7], spectrum[8] = 18_000.0, -50.0
    lowest, highest = extremes(lambda v: spectrum * v, signs(0, spectrum), 12)
    assert abs(highest.value - 18_000) <= highest.residual < 0.1
    assert abs(lowest.value + 50) <= lowest.residual


def test_lanczos_stops_where_the_space_is_used_up_in_float32():
    """Products of -1 and 1 alone: two iterations know both, and what is left is rounding."""
    spectrum = torch.where(torch.arange(100) < 50, -1.0, 1.0)
    lowest, highest = extremes(lambda v: spectrum * v, signs(0, spectrum), 12)
    assert (lowest.value, highest.value) == pytest.approx((-1, 1), abs=1e-5)


def test_a_report_is_of_4096_rows_and_of_two_vectors_at_least():
    assert Effort().rows == 4096
    for name, least in (("rows", 1), ("iterations", 1), ("probes", 2), ("directions", 2)):
        assert vars(Effort(**{name: least}))[name] == least
        with pytest.raises(UsageError, match=rf"^--{name} is {least - 1}, allowed is {least} and above$"):
            Effort(**{name: least - 1})


def test_critics_are_networks_of_observation_and_action():
    data = random_dataset()  # 5 and 2 numbers wide
    assert has_critics({"critic": [torch.zeros(2, 7, 1), torch.zeros(2, 1, 1)]}, data)
    for other in ((2, 5, 1), (2, 7, 3)):
        assert not has_critics({"critic": [torch.zeros(other), torch.zeros(2, 1, other[-1])]}, data)
    assert not has_critics({"critic": [torch.zeros(7, 1), torch.zeros(1, 1)]}, data)
    assert not has_critics({"actor": [torch.zeros(2, 7, 1), torch.zeros(2, 1, 1)]}, data)


def test_probe_vectors_are_signs_that_differ_by_number():
    first, second = signs(0, torch.zeros(500)), signs(1, torch.zeros(500))
    assert set(first.tolist()) == {-1.0, 1.0}
    assert abs(float(first @ second)) < 100
    assert torch.equal(first, signs(0, torch.zeros(500)))


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_fisher_is_the_mean_over_rows_of_squared_gradients(measured, name, loss):
    problem = measured[name][loss]
    slow = []
    for number in range(problem.rows):
        alone = problem.row(number)
        slow.append(float(grad(alone.loss)(alone.weights).square().sum()))
    assert fisher_trace(problem) == pytest.approx(np.mean(slow), rel=1e-9)
    assert squared_lengths(problem, problem.inputs).tolist() == pytest.approx(slow, rel=1e-9)


def test_rows_make_up_the_batch(measured):
    for name, loss in CASES:
        problem = measured[name][loss]
        rows = [float(problem.row(number).loss(problem.weights)) for number in range(problem.rows)]
        assert float(problem.loss(problem.weights)) == pytest.approx(np.mean(rows), rel=1e-12)


def test_fisher_goes_row_by_row_where_the_quick_way_does_not_hold(measured):
    """A loss that uses its network twice has other gradients than one backward pass per layer tells."""
    problem = measured["bc"]["actor"]

    def twice(one):
        changed = lambda params: one.loss_of(params) + sum(p.square().sum() for p in params)  # noqa: E731
        return type(one)(one.name, one.group, one.params, changed, lambda n: twice(one.row(n)), one.rows, one.inputs)

    slow = [float(grad(r.loss)(r.weights).square().sum()) for r in map(twice(problem).row, range(problem.rows))]
    assert fisher_trace(twice(problem)) == pytest.approx(np.mean(slow))
    assert squared_lengths(twice(problem), problem.inputs)[:CHECKED_ROWS].tolist() != pytest.approx(slow[:CHECKED_ROWS])


# The rise of the loss


def test_rises_on_a_quadratic_by_hand():
    """L = w1^2 + 3 w2^2 at (2, -1): gradient (4, -6), and every rise has a closed form."""
    curve = torch.tensor([1.0, 3.0], dtype=torch.float64)
    weights = torch.tensor([2.0, -1.0], dtype=torch.float64)
    gradient = 2 * curve * weights
    rise = Rise(lambda w: (curve * w.square()).sum(), weights, gradient, 7.0)
    length = math.sqrt(52)
    # g.e + e'He/2 with e = rho g/|g|
    assert rise.sam(0.1) == pytest.approx(0.1 * length + 0.01 * (16 + 3 * 36) / 52)
    scale = weights.abs() + ETA
    e = 0.5 * scale**2 * gradient / (scale * gradient).norm()
    assert rise.asam(0.5) == pytest.approx(float((curve * (weights + e).square()).sum()) - 7)
    drawn = [np.random.Generator(stream("sharpness", "direction", n)).standard_normal(2) for n in range(3)]
    units = [d / np.linalg.norm(d) for d in drawn]
    expected = [0.04 * (u[0] ** 2 + 3 * u[1] ** 2) for u in units]  # no slope is left of both ways together
    found = rise.average(0.2, 3)
    assert found == pytest.approx((np.mean(expected), np.std(expected, ddof=1) / math.sqrt(3)))
    flat = Rise(lambda w: 0 * w.sum(), weights, torch.zeros(2, dtype=torch.float64), 0.0)
    assert (flat.sam(0.1), flat.asam(0.1)) == (0, 0)


def test_adaptive_sharpness_does_not_see_a_scale_that_leaves_the_function_alone():
    """f(w) = w1 w2 is the same at (a w1, w2 / a): ASAM's rise stays, SAM's does not."""

    def loss(w):
        return (w[0] * w[1] - 1).square()

    found = []
    for a in (1.0, 8.0):
        weights = torch.tensor([2.0 * a, 3.0 / a], dtype=torch.float64)
        rise = Rise(loss, weights, grad(loss)(weights), float(loss(weights)))
        found.append((rise.sam(0.05), rise.asam(0.05)))
    assert found[0][1] == pytest.approx(found[1][1], rel=0.03)  # eta is what is left
    assert found[1][0] > 2 * found[0][0]


# Activity


def test_active_units_by_hand():
    trained = learner("riql")
    batch = trained.normalisation.batch(random_dataset(), slice(0, 40), torch.float64)
    critic = trained.state["critic"]
    critic[1][:, :, 0] = -1e6  # the first unit of the first layer is off everywhere
    found = activity(critic, batch)
    x = torch.cat([batch.observations, batch.actions], -1)
    on, dead = [], []
    for k in range(5):
        h = torch.relu(x @ critic[0][k] + critic[1][k])
        on.append(float((h > 0).double().mean()))
        dead.append(float((h <= 0).all(0).double().mean()))
    assert found[0] == pytest.approx({"active": np.mean(on), "dead": np.mean(dead)})
    assert found[0]["dead"] >= 1 / 6
    assert len(found) == 2
    assert activity([torch.zeros(3, 2), torch.zeros(1, 2)], batch) == []  # neither s nor [s, a]


# Reports


@pytest.fixture
def surrogate(monkeypatch):
    """Of the made-up data: a small IQL."""
    found = TrainedCritics(learner("iql", dtype=torch.float32, seed=5).policy(), "0" * 64)
    monkeypatch.setattr(report, "surrogate_for", lambda dataset: found)
    return found


EFFORT = Effort(rows=64, iterations=4, probes=3, directions=2)


def test_the_common_loss_is_measured_against_the_surrogates_value(surrogate):
    trained, data = learner("riql", dtype=torch.float32), random_dataset()
    found = report.report_of(trained.policy(), 30, {"corrupted": data, "clean": data}, EFFORT)
    rows = measured_rows(len(data), 64)
    s = torch.from_numpy(data.next_observations[rows])
    v = surrogate.critics(s, surrogate.policy(s)).amin(-1).detach().double().numpy()
    y = data.rewards[rows] + 0.99 * (1 - data.terminations[rows]) * v
    x = torch.cat(
        [trained.normalisation(torch.from_numpy(data.observations[rows])), torch.from_numpy(data.actions[rows])], -1
    )
    losses = []
    for k in range(5):
        w0, b0, w1, b1, w2, b2 = [p[k] for p in trained.state["critic"]]
        q = (torch.relu(torch.relu(x @ w0 + b0) @ w1 + b1) @ w2 + b2).squeeze(-1).numpy()
        losses.append(((y - q) ** 2).mean())
    measured = found["data"]["corrupted"]["objectives"]
    assert measured[COMMON]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert list(measured) == ["V", "Q", "actor", COMMON]
    assert found["data"]["clean"] == found["data"]["corrupted"]
    json.dumps(found, allow_nan=False)


def test_a_report_is_the_same_again_and_its_rows_are_those_of_any_run(surrogate):
    trained, data = learner("iql", dtype=torch.float32), random_dataset()
    one, other = (report.report_of(trained.policy(), 30, {"clean": data}, EFFORT) for _ in range(2))
    assert one == other
    assert len(np.unique(measured_rows(100_000, 4096))) > 4000


def test_every_later_report_measures_on_the_rows_of_the_first():
    """Reports of other rows could not be compared: these were printed by the version of the first ones."""
    assert measured_rows(10_000, 4096)[:6].tolist() == [9502, 3965, 2808, 1092, 2081, 5985]
    assert measured_rows(200_000, 4096)[:6].tolist() == [190053, 79319, 56172, 21840, 41624, 119700]


def test_corrupted_data_are_measured_apart_from_clean_ones(surrogate):
    trained, data = learner("iql", dtype=torch.float32), random_dataset()
    corrupted = data.replace(rewards=data.rewards + np.float32(3))
    found = report.report_of(trained.policy(), 30, {"corrupted": corrupted, "clean": data}, EFFORT)["data"]
    assert found["corrupted"]["sha256"] != found["clean"]["sha256"]
    assert found["corrupted"]["objectives"]["Q"]["loss"] != found["clean"]["objectives"]["Q"]["loss"]
    assert found["corrupted"]["objectives"]["actor"] == found["clean"]["objectives"]["actor"]  # it reads no reward


def test_a_report_holds_each_measure_under_its_name(surrogate):
    """All rows, the iterations asked for, each radius: computed again by the functions that the tests above hold."""
    trained, data = learner("riql", dtype=torch.float32), random_dataset()
    effort = Effort(rows=2048, iterations=9, probes=3, directions=2)
    found = report.report_of(trained.policy(), 30, {"clean": data}, effort)["data"]["clean"]["objectives"]["Q"]
    batch = trained.normalisation.batch(data, measured_rows(len(data), 2048))
    problem = next(each for each in problems(trained.agent, trained.policy().state, batch, None) if each.name == "Q")
    product = hessian(problem.loss, problem.weights)
    lowest, highest = extremes(product, signs(0, problem.weights), 9)
    assert found["eigenvalue_min"] == pytest.approx(lowest._asdict())
    assert found["eigenvalue_max"] == pytest.approx(highest._asdict())
    assert lowest.value < highest.value
    assert found["trace"] == pytest.approx(trace(product, problem.weights, 3)._asdict())
    assert found["fisher_trace"] == pytest.approx(float(squared_lengths(problem, problem.inputs).mean()), rel=1e-4)
    exact = problems_of_state(trained, measured_rows(len(data), 2048))["Q"]
    rise = Rise(exact.loss, exact.weights, grad(exact.loss)(exact.weights), float(exact.loss(exact.weights)))
    assert found["sam"] == pytest.approx({str(radius): rise.sam(radius) for radius in RADII})
    assert found["asam"] == pytest.approx({str(radius): rise.asam(radius) for radius in ADAPTIVE_RADII})
    assert found["average"]["0.2"] == pytest.approx(rise.average(0.2, 2)._asdict())


def problems_of_state(trained, rows, data=None):
    batch = trained.normalisation.batch(data or random_dataset(), rows, torch.float64)
    state = {group: [p.double() for p in params] for group, params in trained.policy().state.items()}
    return {problem.name: problem for problem in problems(trained.agent, state, batch, None)}


def test_the_surrogate_is_that_of_the_clean_data_and_has_its_own_discount(monkeypatch):
    asked, own = [], TrainedCritics(learner("iql", dtype=torch.float32, discount=0.5).policy(), "0" * 64)
    monkeypatch.setattr(report, "surrogate_for", lambda dataset: asked.append(dataset.sha256) or own)
    trained, data = learner("riql", dtype=torch.float32), random_dataset()
    corrupted = data.replace(rewards=data.rewards + np.float32(3))
    report.report_of(trained.policy(), 30, {"corrupted": corrupted, "clean": data}, EFFORT)
    assert asked == [data.sha256]
    rows = slice(0, 8)
    s = torch.from_numpy(data.next_observations[rows].copy())
    v = own.critics(s, own.policy(s)).amin(-1).detach().double().numpy()
    expected = data.rewards[rows] + 0.5 * (1 - data.terminations[rows]) * v
    assert report.common_targets(data, own, np.arange(8)).tolist() == pytest.approx(expected.tolist())


def test_data_are_normalised_as_the_runs_networks_have_them(surrogate):
    """Not by their own mean and width, whichever data it is."""
    trained, data = learner("iql", dtype=torch.float32), random_dataset()
    shifted = data.replace(observations=3 * data.observations + np.float32(5))
    found = report.report_of(trained.policy(), 30, {"corrupted": data, "clean": shifted}, EFFORT)["data"]
    for name, each in (("corrupted", data), ("clean", shifted)):
        problem = problems_of_state(trained, measured_rows(len(each), 64), each)["actor"]
        assert found[name]["objectives"]["actor"]["loss"] == pytest.approx(float(problem.loss(problem.weights)))


def test_a_residual_is_the_length_that_it_says():
    """|H q - value q| of the Ritz vector, whose coordinates are those of the tridiagonal matrix."""
    matrix = torch.diag(torch.linspace(-4, 9, 40).double()) + 0.1
    product, start = (lambda v: matrix @ v), signs(0, torch.zeros(40, dtype=torch.float64))
    columns = [start]
    for _ in range(5):
        columns.append(matrix @ columns[-1])
    basis, _ = torch.linalg.qr(torch.stack(columns, 1))
    values, vectors = torch.linalg.eigh(basis.T @ matrix @ basis)
    for found, i in zip(extremes(product, start, 6), (0, -1), strict=True):
        ritz = basis @ vectors[:, i]
        assert found.value == pytest.approx(float(values[i]))
        assert found.residual == pytest.approx(float((matrix @ ritz - values[i] * ritz).norm()))
        assert found.residual > 1e-3
    whole = extremes(lambda v: (matrix @ v.double()).float(), start.float(), 40)
    assert whole[1].residual >= 1e-7 * whole[1].value  # no better than float32 is


def test_a_hessian_that_is_not_finite_has_no_eigenvalues():
    with pytest.raises(DataError, match="a product with the Hessian is nan"):
        extremes(lambda v: v * math.nan, torch.ones(5), 3)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_in_a_population_has_the_sharpness_that_it_has_alone(name, surrogate):
    data = random_dataset()

    def begun(seed, rho):
        agent = ALGORITHMS.get(name)(hidden=(6, 5), batch_size=16)
        optimizer = optimizer_for(agent, "sam", rho=rho)
        return Learner(agent, optimizer, data, seed=seed, steps=20, engine="eager", dtype=torch.float64)

    members = [begun(3, 0.05), begun(4, 0.2)]
    Population(members, engine="eager").advance(20)
    for member, (seed, rho) in zip(members, ((3, 0.05), (4, 0.2)), strict=True):
        alone = begun(seed, rho)
        alone.advance(20)
        one, other = (report.report_of(each.policy(), 20, {"clean": data}, EFFORT) for each in (member, alone))
        assert flat(one) == pytest.approx(flat(other), rel=1e-4, abs=1e-7)


def flat(value, prefix=""):
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in flat(inner, f"{prefix}/{name}").items()}
    if isinstance(value, list):
        return {k: v for i, inner in enumerate(value) for k, v in flat(inner, f"{prefix}/{i}").items()}
    return {prefix: value} if isinstance(value, float) else {}


def test_how_often_it_may_be_tracked():
    check_every(500, 25_000)
    check_every(30_000, 25_000)
    with pytest.raises(UsageError, match=r"^--track-sharpness is 499: of 25,000 steps, allowed is 500 and above$"):
        check_every(499, 25_000)
    with pytest.raises(UsageError, match=r"is 0: of 10 steps, allowed is 1 and above"):
        check_every(0, 10)


# Runs


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(training, "FINAL_EPISODES", 2)
    monkeypatch.setattr(training, "CURVE_EPISODES", 1)
    monkeypatch.setattr(attempt, "Effort", lambda: EFFORT)


def run(file, out, *more, steps=40, code=0):
    base = ["run", "--algo", "bc", "--bc.hidden", "16,16", "--bc.batch-size", "32", "--corrupt", "obs-random:rate=0.5"]
    where = ["--dataset", f"file:{file}", "--env", "Hopper-v5", "--engine", "eager", "--out", str(out)]
    assert main([*base, *where, "--steps", str(steps), *more]) == code
    return next((path for path in out.iterdir() if not path.name.startswith(".")), None)


def test_a_tracked_run_trains_as_one_that_is_not(small_file, tmp_path):
    tracked = run(small_file, tmp_path / "a", "--track-sharpness", "15")
    plain = run(small_file, tmp_path / "b")
    for name in ("record.json", "curve.csv", "agent.safetensors"):
        assert (tracked / name).read_bytes() == (plain / name).read_bytes()
    assert [found["step"] for found in reports_in(tracked)] == [15, 30, 40]
    assert reports_in(plain) == []
    assert main(["verify", str(tmp_path / "a")]) == 0


def test_a_finished_run_is_measured_when_that_is_asked_for(small_file, tmp_path, capsys):
    """By run, and by the verb: what it finds is what tracking found at the end."""
    folder = run(small_file, tmp_path / "a")
    record = (folder / "record.json").read_bytes()
    run(small_file, tmp_path / "a", "--track-sharpness", "40")
    assert (folder / "record.json").read_bytes() == record
    tracked = reports_in(run(small_file, tmp_path / "b", "--track-sharpness", "15"))
    assert reports_in(folder) == [tracked[-1]]
    named = ["--dataset", f"file:{small_file}"]
    other = run(small_file, tmp_path / "c")
    capsys.readouterr()
    assert main(["sharpness", str(other), *LITTLE, *named, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["reports"] == [tracked[-1]]
    assert reports_in(other) == []  # it was not asked to keep it
    assert main(["sharpness", str(other), *LITTLE, *named, "--save"]) == 0
    assert reports_in(other) == [tracked[-1]]
    assert main(["verify", str(tmp_path / "c")]) == 0


def test_reports_as_csv(small_file, tmp_path, capsys):
    """A row for each run, step, data and loss, with every number of the report in a column of its own."""
    folder = run(small_file, tmp_path / "a", "--track-sharpness", "20")
    run(small_file, tmp_path / "a", "--track-sharpness", "40", "--unit", "1", "--sam")
    runs = sorted(path for path in (tmp_path / "a").iterdir() if not path.name.startswith("."))
    assert len(runs) == 2
    capsys.readouterr()
    assert main(["sharpness", *map(str, runs), *LITTLE, "--csv"]) == 0
    frame = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert len(frame) == 6  # two steps of one run and one of the other, of the actor, on two kinds of data
    record = RunRecord.read(folder / "record.json")
    own = frame[(frame.run_id == record.run_id) & (frame.step == 40)].set_index("data")
    assert list(own.index) == ["corrupted", "clean"]
    assert set(own.learner) == {"bc bc.batch_size=32;bc.hidden=16,16"}
    assert set(own.corruption) == {"obs-random:rate=0.5"}
    assert set(own.normalized) == {round(record.score["normalized_mean"], 4)}
    for data, row in own.iterrows():
        found = reports_in(folder)[-1]["data"][data]["objectives"]["actor"]
        assert row["sam_0.05"] == found["sam"]["0.05"]
        assert row["average_relative_0.1_error"] == found["average_relative"]["0.1"]["error"]
        assert sorted(row[row.index.get_loc("objective") + 1 :]) == sorted(numbers_in(found))


def numbers_in(found):
    return [n for value in found.values() for n in (numbers_in(value) if isinstance(value, dict) else [value])]


@pytest.mark.parametrize("broken", ["raises", "exits", "nan"])
def test_weights_without_sharpness_leave_the_run_as_it_is(broken, small_file, tmp_path, monkeypatch, caplog):
    plain = run(small_file, tmp_path / "a")

    def broken_report(model, step, data, effort):
        if broken == "raises":
            raise RuntimeError("broken on purpose")
        if broken == "exits":
            raise SystemExit(3)
        model.state["actor"][0][0, 0] = math.nan
        return report.report_of(model, step, data, effort)

    monkeypatch.setattr(attempt, "report_of", broken_report)
    monkeypatch.setattr(Learner, "policy", cloned(Learner.policy))
    tracked = run(small_file, tmp_path / "b", "--track-sharpness", "15")
    assert (tracked / "record.json").read_bytes() == (plain / "record.json").read_bytes()
    assert reports_in(tracked) == []
    said = [record.message for record in caplog.records if "has no sharpness after" in record.message]
    assert len(said) == 3
    words = {
        "raises": "RuntimeError: broken on purpose",
        "exits": "SystemExit: 3",
        "nan": "is nan: only what is finite has a sharpness",
    }
    assert said[0].startswith(f"run {tracked.name} has no sharpness after 15 steps: ")
    assert words[broken] in said[0]
    if broken != "nan":
        return
    run(small_file, tmp_path / "b", "--track-sharpness", "15")  # asked for again: told again, and nothing else
    assert reports_in(tracked) == []
    assert len([record for record in caplog.records if "has no sharpness after" in record.message]) == 4


def cloned(policy):
    def copy(self):
        found = policy(self)
        return type(found)(
            found.agent, {g: [p.clone() for p in params] for g, params in found.state.items()}, found.normalisation
        )

    return copy


def test_the_table_of_a_kept_report_is_that_of_a_fresh_one(small_file, tmp_path, capsys):
    folder = run(small_file, tmp_path)
    named = ["--dataset", f"file:{small_file}"]
    capsys.readouterr()
    assert main(["sharpness", str(folder), *LITTLE, *named, "--save"]) == 0
    fresh = capsys.readouterr().out
    assert main(["sharpness", str(folder), *LITTLE]) == 0
    assert capsys.readouterr().out == fresh
    found = reports_in(folder)[0]["data"]["corrupted"]["objectives"]["actor"]
    cells = next(line for line in fresh.splitlines() if line.startswith("corrupted  actor")).split()
    assert cells[2] == f"{found['loss']:.3g}"
    assert cells[5] == f"{found['eigenvalue_max']['value']:.3g}+-{found['eigenvalue_max']['residual']:.1g}"
    assert cells[7] == f"{found['trace']['value']:.3g}+-{found['trace']['error']:.1g}"
    assert f"{folder.name}: bc bc.batch_size=32;bc.hidden=16,16, obs-random:rate=0.5, unit 0, file:" in fresh


def test_a_smallest_eigenvalue_that_was_not_reached_is_a_bound():
    assert _bound({"value": -8.4, "residual": 0.3}) == "-8.4+-0.3"
    assert _bound({"value": 0.0089, "residual": 3.0}) == "<=0.0089"


def test_a_kept_report_is_not_that_of_other_data(small_file, tmp_path, capsys):
    folder = run(small_file, tmp_path, "--track-sharpness", "40")
    assert main(["sharpness", str(folder), *LITTLE, "--dataset", "hopper-replay"]) == 4
    assert "the SHA-256 of hopper-replay is" in capsys.readouterr().err


def test_a_file_that_a_run_names_without_its_folder_is_asked_for(small_file, tmp_path, capsys):
    folder = run(small_file, tmp_path)
    assert main(["sharpness", str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"run {folder.name} was trained on file:{small_file.name}, and its record does not know the folder" in said
    assert said.endswith("give --dataset file:PATH\n")


def breaking_at(step):
    """``report_of`` that runs out of memory once the training has come so far, which stops the run."""

    def broken(model, at, data, effort):
        if at >= step:
            raise MemoryError("broken on purpose")
        return report.report_of(model, at, data, effort)

    return broken


def test_a_run_that_broke_goes_on_with_the_reports_that_it_has(small_file, tmp_path, monkeypatch):
    often = ["--checkpoint-every", "10", "--track-sharpness", "10"]
    whole = reports_in(run(small_file, tmp_path / "a", *often))
    with monkeypatch.context() as patch:
        patch.setattr(attempt, "report_of", breaking_at(30))
        run(small_file, tmp_path / "b", *often, code=5)
    asked = []

    def counted(model, step, data, effort):
        asked.append(step)
        return report.report_of(model, step, data, effort)

    monkeypatch.setattr(attempt, "report_of", counted)
    assert reports_in(run(small_file, tmp_path / "b", *often)) == whole
    assert asked == [30, 40]


def test_what_was_passed_without_a_report_has_none(small_file, tmp_path, monkeypatch):
    """A run that is tracked from its middle on: no weights of a later step pass for those of an earlier one."""
    with monkeypatch.context() as patch:
        patch.setattr(attempt, "report_of", breaking_at(30))
        run(small_file, tmp_path, "--checkpoint-every", "10", "--track-sharpness", "30", code=5)
    found = reports_in(run(small_file, tmp_path, "--checkpoint-every", "10", "--track-sharpness", "10"))
    assert [each["step"] for each in found] == [30, 40]


def test_a_report_takes_the_place_of_one_of_the_same_step(small_file, tmp_path):
    folder = run(small_file, tmp_path, "--track-sharpness", "15")
    changed = {**reports_in(folder)[1], "rows": 7}
    keep(changed, folder)
    assert [(each["step"], each["rows"]) for each in reports_in(folder)] == [(15, 64), (30, 7), (40, 64)]


def test_a_sweep_does_what_lacks_a_report(small_file, tmp_path):
    request = RunRequest(
        "bc",
        "obs-random:rate=0.5",
        dataset=f"file:{small_file}",
        env="Hopper-v5",
        steps=40,
        algo_options={"hidden": "16,16", "batch_size": "32"},
    )
    folder = run(small_file, tmp_path)
    (found,) = jobs([request], tmp_path, Setup(engine="eager"))
    assert found.record is not None
    assert found.run_id == folder.name
    (asked,) = jobs([request], tmp_path, Setup(engine="eager", track_sharpness=40))
    assert asked.record is None
    assert "--track-sharpness=40" in asked.arguments
    run(small_file, tmp_path, "--track-sharpness", "40")
    (done,) = jobs([request], tmp_path, Setup(engine="eager", track_sharpness=40))
    assert done.record is not None


def test_relative_radii_are_shares_of_the_weights_length(measured):
    problem = measured["iql"]["Q"]
    found, length = report.slopes(problem, EFFORT), float(problem.weights.norm())
    rise = Rise(
        problem.loss, problem.weights, grad(problem.loss)(problem.weights), float(problem.loss(problem.weights))
    )
    assert found["weight_norm"] == pytest.approx(length)
    assert found["sam_relative"]["0.01"] == pytest.approx(rise.sam(0.01 * length))
    assert found["average_relative"]["0.1"]["value"] == pytest.approx(rise.average(0.1 * length, 2).value)


def without(found, *path):
    """A copy that lacks one entry."""
    name, *rest = path
    kept = {key: value for key, value in found.items() if key != name}
    return kept | {name: without(found[name], *rest)} if rest else kept


def test_reports_that_are_none(measured, tmp_path):
    (tmp_path / "sharpness.json").write_text("[]")
    with pytest.raises(IntegrityError, match="no sharpness reports"):
        reports_in(tmp_path)
    (tmp_path / "sharpness.json").write_text('{"schema": 9, "reports": []}')
    with pytest.raises(IntegrityError, match="its schema is 9, and this version reads 1"):
        reports_in(tmp_path)
    loss = {**report.slopes(measured["iql"]["V"], EFFORT), **report.curvature(measured["iql"]["V"], EFFORT)}
    own = {"sha256": "0", "activity": {"value": [{"active": 0.5, "dead": 0.0}]}, "objectives": {"V": loss}}
    whole = {"step": 1, **vars(EFFORT), "data": {"corrupted": own, "clean": own}}
    (tmp_path / "sharpness.json").write_text(json.dumps({"schema": 1, "reports": [whole]}))
    assert reports_in(tmp_path) == [whole]
    broken = [
        without(whole, "rows"),
        {**whole, "probes": "8"},
        {**whole, "data": []},
        without(whole, "data", "clean"),
        {**whole, "data": {"corrupted": own, "clean": {**own, "objectives": []}}},
        {**whole, "data": {"corrupted": {**own, "activity": None}, "clean": own}},
        {**whole, "data": {"corrupted": {**own, "activity": {"value": [{"dead": 0.0}]}}, "clean": own}},
        {**whole, "data": {"corrupted": own, "clean": {**own, "objectives": {"V": {**loss, "sam": [1, 2]}}}}},
        {**whole, "data": {"corrupted": own, "clean": {**own, "objectives": {"V": {**loss, "trace": "x"}}}}},
    ]
    inner = [(name, key) for name, value in loss.items() if isinstance(value, dict) for key in value]
    for path in (*((name,) for name in loss), *inner, ("average", "0.2", "error")):
        broken.append(without(whole, "data", "corrupted", "objectives", "V", *path))
    for found in broken:
        (tmp_path / "sharpness.json").write_text(json.dumps({"schema": 1, "reports": [found]}))
        with pytest.raises(IntegrityError, match=r"sharpness\.json: no sharpness reports: "):
            reports_in(tmp_path)


LITTLE = ["--rows", "64", "--iterations", "4", "--probes", "3", "--directions", "2"]
"""EFFORT, as options."""


def test_a_kept_report_counts_that_is_of_the_end_of_a_sound_run(small_file, tmp_path, capsys):
    folder = run(small_file, tmp_path / "a", "--track-sharpness", "20")
    early, last = reports_in(folder)
    named = ["--dataset", f"file:{small_file}"]
    rewrite(folder, sharpness=text_of([early, {**last, "rows": 7}]))  # one of other rows is none of these
    capsys.readouterr()
    assert main(["sharpness", str(folder), *LITTLE, *named, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["reports"] == [early, last]
    record = json.loads((folder / "record.json").read_text())
    record |= {"outcome": "diverged", "reason": "step 3: weights of actor are not finite", "score": None}
    rewrite(folder, sharpness=text_of([last]), record=json.dumps({**record, "evaluation": None}))
    assert main(["sharpness", str(folder), *LITTLE, "--csv"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("the run ended as 'diverged', and only one that is ok has networks\n")


def test_a_kept_report_of_other_data_than_the_record_is_refused(small_file, tmp_path, capsys):
    folder = run(small_file, tmp_path / "a", "--track-sharpness", "40")
    (last,) = reports_in(folder)
    for data in ("corrupted", "clean"):
        other = {**last, "data": {**last["data"], data: {**last["data"][data], "sha256": "f" * 64}}}
        rewrite(folder, sharpness=text_of([other]))
        capsys.readouterr()
        assert main(["sharpness", str(folder), *LITTLE, "--csv"]) == 4
        out, err = capsys.readouterr()
        assert out == ""
        path = folder / "sharpness.json"
        assert err.endswith(f"{path}: the report of step 40 is of other {data} data than the record\n")


def test_every_run_is_looked_at_before_one_is_measured(small_file, tmp_path, capsys, monkeypatch):
    folder = run(small_file, tmp_path / "a")
    monkeypatch.setattr("corruptbench.sharpness.report_of_run", lambda *arguments, **more: pytest.fail("it measures"))
    named = ["--dataset", f"file:{small_file}"]
    for arguments, expected in (
        ([folder, "missing", *named], "RUN missing: no run lies in missing or in results/missing"),
        ([folder, folder, *named], f"run {folder.name} is named twice"),
        (
            [folder],
            f"run {folder.name} was trained on file:small.hdf5, and its record does not know the folder: give "
            "--dataset file:PATH",
        ),
        (
            [folder, "--on-nonfinite", "drop-episode"],
            "--on-nonfinite drop-episode does nothing without --dataset: give that as well",
        ),
        ([folder, "--download"], "--download does nothing without --dataset: give that as well"),
        ([folder, "--probes", "1"], "--probes is 1, allowed is 2 and above"),
        (["missing", "--plot", tmp_path / "p"], "RUN missing: no run lies in missing or in results/missing"),
        (
            [folder, "missing", "--dataset", f"file:{tmp_path / 'nowhere.hdf5'}"],
            "RUN missing: no run lies in missing or in results/missing",
        ),
    ):
        capsys.readouterr()
        assert main(["sharpness", *map(str, arguments)]) == 2
        assert capsys.readouterr() == ("", f"corruptbench sharpness: {expected}\n")
    assert not (tmp_path / "p").exists()


def test_clean_data_are_compared_with_those_of_every_run_before_one_is_measured(
    small_file, tmp_path, capsys, monkeypatch
):
    first = run(small_file, tmp_path / "a")
    other = tmp_path / "other.hdf5"
    shutil.copyfile(small_file, other)
    with h5py.File(other, "r+") as file:
        file["rewards"][0] += 1
    second = run(other, tmp_path / "b")
    monkeypatch.setattr("corruptbench.sharpness.report_of_run", lambda *arguments, **more: pytest.fail("it measures"))
    capsys.readouterr()
    assert main(["sharpness", str(first), str(second), *LITTLE, "--dataset", f"file:{small_file}"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert f"and run {second.name} was trained on" in err


def test_what_is_wrong_with_a_run_is_said_of_that_run(small_file, tmp_path, capsys, monkeypatch):
    folder = run(small_file, tmp_path / "a")

    def breaks(*arguments, **more):
        raise DataError("on clean data, V: a product with the Hessian is nan")

    monkeypatch.setattr("corruptbench.sharpness.report_of_run", breaks)
    capsys.readouterr()
    assert main(["sharpness", str(folder), "--dataset", f"file:{small_file}"]) == 3
    expected = f"RUN {folder}: on clean data, V: a product with the Hessian is nan"
    assert capsys.readouterr() == ("", f"corruptbench sharpness: {expected}\n")


def test_a_product_that_is_not_finite_is_told_with_its_loss_and_data(measured, monkeypatch):
    monkeypatch.setattr(report, "hessian", lambda loss, weights: lambda v: math.nan * v)
    with pytest.raises(DataError, match=r"^Q: a product with the Hessian is nan: only what is finite has a sharpness$"):
        report.curvature(measured["iql"]["Q"], EFFORT)


def test_a_report_is_kept_where_a_run_is_named_by_a_link_or_a_point(small_file, tmp_path, monkeypatch):
    folder = run(small_file, tmp_path / "a")
    named = ["--dataset", f"file:{small_file}", "--save"]
    (tmp_path / "link").symlink_to(folder)
    assert main(["sharpness", str(tmp_path / "link"), *LITTLE, *named]) == 0
    assert (tmp_path / "link").is_symlink()
    assert len(reports_in(folder)) == 1
    monkeypatch.chdir(folder)
    assert main(["sharpness", ".", *LITTLE, "--probes", "4", *named]) == 0
    assert [found["probes"] for found in reports_in(folder)] == [4]
    (folder / "curve.csv").write_text("changed\n")
    with pytest.raises(IntegrityError):
        keep(reports_in(folder)[0], folder)


def test_the_figures_of_runs(small_file, tmp_path, capsys):
    """The data that they saw have one of their own where they are others than the clean ones."""
    folder = run(small_file, tmp_path / "a", "--track-sharpness", "40")
    assert main(["sharpness", str(folder), *LITTLE, "--plot", str(tmp_path / "plots")]) == 0
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == [f"sharpness-{data}.{ending}" for data in ("clean", "corrupted") for ending in ("png", "svg")]
    assert b"bc bc.batch_size" in (tmp_path / "plots" / "sharpness-clean.svg").read_bytes()
    capsys.readouterr()
    (tmp_path / "file").write_text("")
    assert main(["sharpness", str(folder), *LITTLE, "--plot", str(tmp_path / "file")]) == 5
    assert "--plot" in capsys.readouterr().err
    (found,) = reports_in(folder)
    same = {**found, "data": dict.fromkeys(("corrupted", "clean"), found["data"]["clean"])}
    record = json.loads((folder / "record.json").read_text())
    record["corruption"]["sha256"] = record["spec"]["dataset_sha256"]
    rewrite(folder, sharpness=text_of([same]), record=json.dumps(record))
    assert main(["sharpness", str(folder), *LITTLE, "--plot", str(tmp_path / "one")]) == 0
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["sharpness-clean.png", "sharpness-clean.svg"]


def test_runs_of_several_datasets_are_named_with_them(small_file, tmp_path):
    record = RunRecord.read(run(small_file, tmp_path / "a") / "record.json")
    other = dataclasses.replace(record, spec=dataclasses.replace(record.spec, dataset="file:other.hdf5"))
    assert all(name.endswith("unit 0, file:small.hdf5") for name in run_names([record, other])[:1])
    assert run_names([record, other])[1].endswith("unit 0, file:other.hdf5")
    assert run_names([record])[0].endswith("unit 0")
