"""Surfaces around trained weights: their directions, cliffs and losses against slow versions, and the command."""

import dataclasses
import hashlib
import itertools
import json
import math
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from builders import random_dataset

from corruptbench import simulation
from corruptbench.algos import Agent, Objective, init_mlp
from corruptbench.batches import MEASURED_ROWS, measured_rows
from corruptbench.cli import main
from corruptbench.data import load
from corruptbench.environments import environment
from corruptbench.errors import Diverged, UsageError
from corruptbench.evaluate import evaluate, evaluate_all
from corruptbench.landscape import surface
from corruptbench.landscape.cliffs import Cliffs, cliffs
from corruptbench.landscape.comparable import common_environment
from corruptbench.landscape.directions import direction, gaussian, moved, widths
from corruptbench.landscape.figures import figures
from corruptbench.landscape.losses import fixed_batch, loss_of, objective_of
from corruptbench.landscape.measured import Measured, Settings, _surface
from corruptbench.landscape.report import interval, text
from corruptbench.landscape.surface import Grid, Lines, Surface, lines, mean_return, plane
from corruptbench.optimizers import optimizer_for
from corruptbench.population import Population
from corruptbench.registry import ALGORITHMS
from corruptbench.rng import stream
from corruptbench.tables.stats import t_interval
from corruptbench.train import Learner, Normalisation, Policy
from corruptbench.trained import environment_of_data, trained_run

HOPPER = environment("Hopper-v5")


@pytest.fixture(autouse=True)
def restored_threads(monkeypatch):
    """``main`` fixes the number of threads in the environment; other tests keep theirs."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="module")
def finished(small_file, tmp_path_factory):
    """Folders of short real runs, with all their 100 final episodes, by algorithm. Nothing may change them."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(name, "1")
        for name, algo, hidden in (("iql", "iql", "16,16"), ("riql", "riql", "16,16"), ("bc", "bc", "8")):
            out = tmp_path_factory.mktemp(name)
            usual = ["run", "--corrupt", "obs-random:rate=0.1", "--dataset", f"file:{small_file}", "--env", "Hopper-v5"]
            own = ["--algo", algo, f"--{algo}.hidden", hidden, f"--{algo}.batch-size", "32"]
            assert main([*usual, *own, "--engine", "eager", "--steps", "40", "--out", str(out)]) == 0
            (folders[name],) = out.iterdir()
    return folders


def small_iql(seed=0, algo="iql"):
    """An untrained agent on the data of :func:`random_dataset`."""
    agent = ALGORITHMS.get(algo)(hidden=(6, 4))
    data = random_dataset()
    state = agent.init(5, 2, lambda name: stream("test", seed, name))
    return Policy(agent, state, Normalisation.of(data)), data


# Directions


def test_each_units_part_of_a_direction_has_the_norm_of_its_weights_and_bias():
    """By a slow loop over critics, layers and units; and it points where the Gaussian does."""
    state = small_iql()[0].state
    drawn, found = gaussian(3, "critic", state["critic"]), direction(state, ["critic"], 3)["critic"]
    for layer in range(0, 6, 2):
        for critic, unit in itertools.product(range(2), range(state["critic"][layer].shape[-1])):
            own, raw, part = (
                [float(x) for x in w[critic, :, unit]] + [float(b[critic, 0, unit])]
                for w, b in (params[layer : layer + 2] for params in (state["critic"], drawn, found))
            )
            norm, length = (math.sqrt(sum(x * x for x in values)) for values in (own, raw))
            assert part == pytest.approx([x * norm / length for x in raw], rel=1e-5)


def test_a_direction_is_the_same_in_every_run():
    """Up to the norms of the run's own units; the first critics of five are those of two."""
    two, five = small_iql(0)[0].state, small_iql(1, "riql")[0].state
    for one, other in zip(gaussian(0, "critic", two["critic"]), gaussian(0, "critic", five["critic"]), strict=True):
        assert torch.equal(one, other[:2])
        assert len({tuple(network.flatten().tolist()) for network in other}) == 5
    units = [
        torch.cat(direction(state, ["actor"], 0)["actor"][:2]) for state in (two, five)
    ]  # of the first layer, (inputs + 1, outputs)
    cosines = torch.nn.functional.cosine_similarity(*units, dim=0)
    assert cosines.tolist() == pytest.approx([1.0] * 6)
    assert not torch.equal(*(gaussian(number, "actor", two["actor"])[0] for number in (0, 1)))
    assert not torch.equal(gaussian(0, "actor", two["actor"])[0], gaussian(0, "value", two["actor"])[0])


def test_a_direction_is_gaussian():
    drawn = gaussian(0, "actor", [torch.zeros(300, 300), torch.zeros(1, 300)])[0]
    shares = [float((drawn.abs() < bound).double().mean()) for bound in (1, 2)]
    assert shares == pytest.approx([0.6827, 0.9545], abs=0.005)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)


# Surfaces


def test_lines_and_planes_are_measured_where_they_say():
    state = small_iql()[0].state
    own, *steps = (found["actor"][0][0, 0] for found in (state, *(direction(state, ["actor"], k) for k in range(3))))
    grid, told = Grid(0.6, 2), []

    def measure(states):
        return [float(state["actor"][0][0, 0]) for state in states]

    line = lines(state, ["actor"], grid, 3, *measure([state]), measure, told.append)
    flat = plane(state, ["actor"], grid, measure, told.append)
    assert grid.offsets == [-0.6, -0.3, 0.0, 0.3, 0.6]
    assert line.values == pytest.approx(np.array([[own + a * d for a in grid.offsets] for d in steps]), rel=1e-5)
    assert flat == pytest.approx(
        np.array([[own + a * steps[0] + b * steps[1] for b in grid.offsets] for a in grid.offsets]), rel=1e-5
    )
    assert line.center == flat[2, 2] == float(own)
    assert 1 + sum(told) == Settings(directions=3, points=2, plane=True).count


def test_a_drop_is_the_mean_of_both_ways():
    found = Lines(np.array([[1.0, 6.0, 10.0, 8.0, 5.0], [10.0, 10.0, 10.0, 14.0, 0.0]]))
    assert found.drops.tolist() == [[3.0, 7.0], [-2.0, 5.0]]


def perturbed(model, count):
    state = model.state
    return [
        Policy(model.agent, moved(state, (0.3, direction(state, ["actor"], k))), model.normalisation)
        for k in range(count)
    ]


@pytest.mark.parametrize("way", ["batch", "loop"])
def test_policies_together_have_the_returns_that_each_has_alone(finished, way, monkeypatch):
    if way == "loop":
        monkeypatch.setattr(simulation, "Batch", None)
    policies = perturbed(trained_run(str(finished["iql"]), finished["iql"], "test").model, 3)
    alone = [evaluate(policy, HOPPER, 5) for policy in policies]
    assert evaluate_all(policies, HOPPER, 5) == alone
    assert len({tuple(found.lengths) for found in alone}) == 3


# Cliffs


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ([100, 40, 40, 40], (1, 1)),
        ([100, 51, 40, 30], (0, 1)),  # not by half in one step, but in two
        ([100, 90, 80, 30], (0, 1)),
        ([100, 80, 60, 45], (0, 0)),  # smooth
        ([20, 9, 8, 7], (0, 0)),  # by half, and little beside the surface's range
        ([100, 49, 100, 100], (1, 1)),
        ([40, 100, 100, 100], (0, 0)),  # a rise
    ],
)
def test_a_cliff_takes_half_the_return_and_a_quarter_of_the_range(way, expected):
    """One way out, the other one flat; a second direction only sets the range, 0 to 110 without a cliff."""
    flat, wide = [way[0]] * 3, [110.0, 110.0, 110.0, way[0], 110.0, 110.0, 110.0]
    low = [*flat, way[0], 0.75 * way[0], 0.55 * way[0], 0.4 * way[0]] if way[0] == 100 else wide
    found = cliffs(Lines(np.array([[*flat, *way], wide, low], float)))
    assert found == Cliffs(*expected, 6)


def test_the_range_of_a_surface_goes_from_its_lowest_return_to_its_highest():
    """A fall of 40 is over a quarter of a range of 150, and not of one of 170; from 0 on it would be 190 and 210."""
    for highest, expected in ((190.0, 1), (210.0, 0)):
        found = cliffs(Lines(np.array([[80.0, 80, 80, 80, 40, 80, 80], [80.0, 80, 80, 80, 80, 80, highest]])))
        assert found == Cliffs(expected, expected, 4)


def test_a_flat_surface_has_no_cliff():
    assert cliffs(Lines(np.zeros((2, 7)))) == Cliffs(0, 0, 4)


# Losses


def slow_mlp(params, x):
    *hidden, (w, b) = zip(params[::2], params[1::2], strict=True)
    for weights, bias in hidden:
        x = np.maximum(x @ weights + bias, 0)
    return x @ w + b


def test_the_loss_along_a_line_is_the_objective_computed_by_hand():
    model, data = small_iql()
    rows = measured_rows(len(data), MEASURED_ROWS)
    mean, scale = (x.double().numpy() for x in (model.normalisation.mean, model.normalisation.scale))
    s, following = ((x[rows] - mean) / scale for x in (data.observations, data.next_observations))
    value, critic = ([p.double().numpy() for p in model.state[group]] for group in ("value", "critic"))
    y = data.rewards[rows] + 0.99 * (1 - data.terminations[rows]) * slow_mlp(value, following)[:, 0]
    step = [d.double().numpy() for d in direction(model.state, ["critic"], 0)["critic"]]
    expected = []
    for a in (-0.5, 0.0, 0.5):
        q = [slow_mlp([p[k] + a * d[k] for p, d in zip(critic, step, strict=True)], np.hstack([s, data.actions[rows]]))
             for k in range(2)]  # fmt: skip
        expected.append(np.mean([(y - each[:, 0]) ** 2 for each in q]))
    objective, batch = objective_of(model.agent, None), fixed_batch(data, model.normalisation)
    measure = loss_of(model, objective, batch)
    found = lines(model.state, ["critic"], Grid(0.5, 1), 1, *measure([model.state]), measure, lambda count: None)
    assert objective.name == "Q"
    assert found.values[0] == pytest.approx(expected, rel=1e-4)


@dataclasses.dataclass(frozen=True)
class Lagging(Agent):
    """Its targets are its own prediction, so its loss is 0 wherever they are computed."""

    def init(self, observation_dim, action_dim, streams):
        return {"critic": init_mlp(streams("critic"), (observation_dim, 4, 1))}

    def targets(self, state, batch):
        return slow_mlp(state["critic"], batch.observations.numpy())

    @property
    def objectives(self):
        return (Objective("own", "critic", self.loss),)

    def loss(self, critic, batch, targets):
        return (torch.from_numpy(np.asarray(self.targets({"critic": critic}, batch) - targets)) ** 2).mean(), {}


def test_targets_stay_those_of_the_runs_own_weights():
    agent, data = Lagging(), random_dataset()
    model = Policy(agent, agent.init(5, 2, lambda name: stream("test", name)), Normalisation.of(data))
    model.state["critic"] = [p.numpy() for p in model.state["critic"]]
    measure = loss_of(model, objective_of(agent, None), fixed_batch(data, model.normalisation))
    far = {"critic": [p + 0.5 for p in model.state["critic"]]}
    at_home, away = measure([model.state, far])
    assert at_home == 0
    assert away > 0.01


# The command


def landscape(capsys, *arguments):
    """Exit code, standard output and standard error; few and short episodes."""
    code = main(["landscape", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


FEW = ("--directions", 3, "--episodes", 4, "--points", 2, "--radius", 0.5)


def test_at_radius_0_is_the_recorded_score(finished, capsys):
    folder = finished["riql"]
    arguments = ("--episodes", 100, "--directions", 1, "--points", 1, "--json")
    code, out, _ = landscape(capsys, folder.name, "--results", folder.parent, *arguments)
    (run,) = json.loads(out)["runs"]
    record = json.loads((folder / "record.json").read_text())
    assert code == 0
    assert len(record["evaluation"]["returns"]) == 100
    assert run["recorded"] == record["score"]
    assert run["score"] == record["score"]["normalized_mean"]
    assert run["returns"]["lines"][0][1] == record["score"]["return_mean"]
    assert run["returns"]["lines"][0][0] != record["score"]["return_mean"]


def test_the_numbers_of_two_runs(finished, small_file, capsys, caplog):
    folders = [finished["iql"], finished["riql"]]
    code, out, _ = landscape(capsys, *folders, *FEW, "--json", "--loss", "--dataset", f"file:{small_file}")
    found = json.loads(out)
    assert code == 0
    assert found["offsets"] == [-0.5, -0.25, 0.0, 0.25, 0.5]
    assert (found["unit"], found["environment"], found["directions"]) == ("normalized score", "Hopper-v5", 3)
    assert [run["name"] for run in found["runs"]] == [
        f"{algo} {algo}.batch_size=32;{algo}.hidden=16,16, obs-random:rate=0.1, unit 0" for algo in ("iql", "riql")
    ]
    unit = (3234.3 + 20.272305) / 100
    for run, folder in zip(found["runs"], folders, strict=True):
        record = json.loads((folder / "record.json").read_text())
        assert run["run_id"] == folder.name
        rows = run["returns"]["lines"]
        assert {row[2] for row in rows} == {float(np.mean(record["evaluation"]["returns"][:4]))}
        for i, drop in enumerate(run["drops"]):
            values = [(row[2] - (row[3 + i] + row[1 - i]) / 2) / unit for row in rows]
            assert drop["radius"] == (0.25, 0.5)[i]
            assert drop["mean"] == pytest.approx(sum(values) / 3)
            assert (drop["ci_low"], drop["ci_high"]) == pytest.approx(t_interval(values))
        assert run["losses"].keys() == {"corrupted", "clean"}
        for loss in run["losses"].values():
            values = [(row[4] + row[0]) / 2 - row[2] for row in loss["lines"]]
            rise = loss["rises"][1]
            assert rise["mean"] == pytest.approx(sum(values) / 3)
            assert (rise["ci_low"], rise["ci_high"]) == pytest.approx(t_interval(values))
        assert run["losses"]["corrupted"]["loss"] != run["losses"]["clean"]["loss"]
        model = trained_run(str(folder), folder, str(folder)).model
        batch = fixed_batch(load(f"file:{small_file}", HOPPER), model.normalisation)  # the run's own, of corrupted data
        (expected,) = loss_of(model, objective_of(model.agent, None), batch)([model.state])
        assert run["losses"]["clean"]["loss"] == pytest.approx(expected)
    assert "unit 0: 13 points, about " in caplog.text


def test_the_tables_show_them(finished, capsys):
    code, out, _ = landscape(capsys, finished["iql"], *FEW)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("Hopper-v5, normalized score: 3 directions and their opposites, 4 episodes a point")
    assert lines[2].endswith(f"({finished['iql'].name})")
    assert lines[3].startswith("score ")
    assert lines[3].endswith(" over 100 episodes")
    assert lines[4].startswith("cliffs on ")
    assert [line.split()[0] for line in lines[5:]] == ["radius", "0.25", "0.5"]


def made_up(name="iql+sam, none, unit 0", seed=0, losses=True):
    """A run's surfaces as they could be: 5 directions, 3 points each way."""
    rng = np.random.default_rng(seed)
    surface = Surface(Lines(100 + rng.normal(size=(5, 7))), 100 + rng.normal(size=(7, 7)))
    record = SimpleNamespace(run_id="0" * 16, score=None, evaluation=None)
    return Measured(SimpleNamespace(record=record), name, HOPPER, surface, "Q", {"clean": surface} if losses else {})


def test_figures_are_the_same_bytes_again_and_hold_text():
    settings = Settings(directions=5, points=3, plane=True)
    found = [made_up(), made_up("riql, none, unit 0", 1)]
    first, second = (figures(found, settings, three=True) for _ in range(2))
    kinds = ("lines", "plane", "plane3d")
    names = [f"{what}{kind}" for what in ("", "loss-clean-") for kind in kinds]
    assert [picture.name for picture in first] == names
    assert first == second
    for picture in first:
        shown = " ".join(ElementTree.fromstring(picture.svg).itertext())
        assert "riql, none, unit 0" in shown
        assert "$" not in shown
        assert "of Q" in shown if "loss" in picture.name else "normalized score" in shown


def test_planes_have_one_scale_of_colours():
    low, high = made_up(losses=False), made_up("riql", 1, losses=False)
    high = dataclasses.replace(high, returns=Surface(high.returns.lines, high.returns.plane + 3000))
    settings = Settings(directions=5, points=3, plane=True)
    alone, together = (figures(found, settings, three=False)[1] for found in ([low], [low, high]))
    assert b"#fde725" in alone.svg  # the brightest of the colours
    assert b"#fde725" in together.svg
    panel = together.svg.split(b'id="axes_2"')[0]
    assert b"#fde725" not in panel  # is that of the higher run


def test_plots_are_written(finished, tmp_path, capsys):
    code, out, _ = landscape(capsys, finished["iql"], *FEW, "--plane", "--plot", tmp_path / "plots")
    assert code == 0
    assert out.startswith("Hopper-v5")
    written = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert written.keys() == {"lines.png", "lines.svg", "plane.png", "plane.svg"}
    assert all(content.startswith((b"\x89PNG", b"<?xml")) for content in written.values())


def test_a_folder_for_plots_that_is_a_file_is_refused_before_anything_is_measured(finished, tmp_path, capsys):
    (tmp_path / "plots").write_text("")
    code, out, err = landscape(capsys, finished["iql"], *FEW, "--plot", tmp_path / "plots")
    assert (code, out) == (5, "")
    assert err == f"corruptbench landscape: --plot {tmp_path / 'plots'}: cannot be written to: File exists\n"


def test_the_loss_of_a_run_whose_data_had_episodes_dropped(small_file, tmp_path, capsys):
    path, out = tmp_path / "bad.hdf5", tmp_path / "out"
    path.write_bytes(small_file.read_bytes())
    with h5py.File(path, "a") as file:
        file["rewards"][5] = np.nan
    usual = ["--corrupt", "none", "--dataset", f"file:{path}", "--env", "Hopper-v5", "--on-nonfinite", "drop-episode"]
    own = ["--algo", "bc", "--bc.hidden", "8", "--engine", "eager", "--steps", "10", "--no-score", "--out", str(out)]
    assert main(["run", *usual, *own]) == 0
    asked = [
        *next(out.iterdir()).parent.glob("[!.]*"),
        *FEW,
        "--loss",
        "--objective",
        "actor",
        "--dataset",
        f"file:{path}",
    ]
    assert landscape(capsys, *asked)[0] == 3
    code, printed, _ = landscape(capsys, *asked, "--on-nonfinite", "drop-episode")
    assert code == 0
    assert "loss of actor on clean data" in printed


def test_episodes_are_the_same_however_many_are_stepped_together(finished, monkeypatch):
    model = trained_run(str(finished["iql"]), finished["iql"].parent, "RUN").model
    states = [moved(model.state, (a, direction(model.state, ["actor"], 0))) for a in (-0.3, 0.0, 0.3)]
    whole = mean_return(model, HOPPER, 3)(states)
    monkeypatch.setattr(surface, "AT_ONCE", 6)  # two states at once, then one
    assert mean_return(model, HOPPER, 3)(states) == whole
    monkeypatch.setattr(surface, "AT_ONCE", 1)  # fewer than a state has
    assert mean_return(model, HOPPER, 3)(states) == whole


@pytest.mark.parametrize("name", ["bc", "iql", "riql"])
def test_a_run_in_a_population_has_the_surfaces_that_it_has_alone(name):
    data, settings = random_dataset(do=11, da=3), Settings(directions=2, points=2, plane=True)

    def begun(seed):
        agent = ALGORITHMS.get(name)(hidden=(6, 5), batch_size=16)
        return Learner(
            agent, optimizer_for(agent, "sam"), data, seed=seed, steps=20, engine="eager", dtype=torch.float64
        )

    def surfaces(learner):
        state = {group: [p.float() for p in params] for group, params in learner.state.items()}
        model = Policy(learner.agent, state, learner.normalisation)
        objective = objective_of(model.agent, "actor")
        loss = loss_of(model, objective, fixed_batch(data, model.normalisation))
        measures = ((mean_return(model, HOPPER, 2), model.agent.acting), (loss, [objective.group]))
        return [_surface("", model.state, groups, settings, measure) for measure, groups in measures]

    members = [begun(3), begun(4)]
    Population(members, engine="eager").advance(20)
    alone = begun(4)
    alone.advance(20)
    for one, other in zip(surfaces(members[1]), surfaces(alone), strict=True):
        assert one.lines.values == pytest.approx(other.lines.values, rel=1e-4)
        assert one.plane == pytest.approx(other.plane, rel=1e-4)
    assert surfaces(members[0])[1].lines.values != pytest.approx(surfaces(alone)[1].lines.values, rel=1e-4)


def test_where_a_value_is_not_finite_is_said():
    """At the run's own weights, where a smaller radius would not help, or away from them."""
    state, settings = {"actor": [torch.ones(2, 2), torch.ones(1, 2)]}, Settings(directions=1, points=1)

    def measure(far, home):
        def values(states):
            if any(torch.equal(found["actor"][0], state["actor"][0]) == home for found in states) and far:
                raise Diverged("the loss of V is not finite")
            return [0.0 for _ in states]

        return values

    with pytest.raises(Diverged, match=r"^run a: V, at the run's own weights: the loss of V is not finite$"):
        _surface("run a: V", state, ["actor"], settings, measure(True, home=True))
    with pytest.raises(
        Diverged, match=r"^run a: V, within the radius 0.4: the loss of V is .*; a smaller one stays nearer$"
    ):
        _surface("run a: V", state, ["actor"], settings, measure(True, home=False))
    assert _surface("run a: V", state, ["actor"], settings, measure(False, home=True)).lines.center == 0


def test_a_loss_that_is_not_finite_is_no_value():
    agent, data = ALGORITHMS.known("iql")(hidden=(4,)), random_dataset()
    model = Policy(agent, agent.init(5, 2, lambda name: stream("test", name)), Normalisation.of(data))
    measure = loss_of(model, objective_of(agent, "V"), fixed_batch(data, model.normalisation))
    with pytest.raises(Diverged, match=r"^the loss of V is not finite$"):
        measure([{**model.state, "value": [p * math.inf for p in model.state["value"]]}])


def test_a_policy_of_other_groups_is_refused_in_a_sentence():
    with pytest.raises(UsageError, match=r"^run a: its networks are actor, critic, and there is no 'net' to move$"):
        widths({"critic": [], "actor": []}, ["net"], "run a")


def test_many_directions_have_the_bootstraps_interval():
    """Student's quantiles end at ten; from there on it surrounds the mean as the bootstrap does."""
    values = [float(n) for n in range(11)]
    low, high = interval(values, "test")
    assert low < 5 < high
    assert (5 - low, high - 5) == pytest.approx((1.96 * math.sqrt(10 / 11), 1.96 * math.sqrt(10 / 11)), rel=0.05)
    assert interval(values[:10], "test") == t_interval(values[:10])
    assert interval(values[:1], "test") is None


def test_one_direction_has_no_interval():
    settings = Settings(directions=1, points=3)
    one = dataclasses.replace(made_up(losses=False), returns=Surface(Lines(np.full((1, 7), 50.0)), None))
    assert figures([one], settings, three=False)
    assert "[" not in text([one], settings).partition("]")[2]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "RUN nowhere: no run lies in nowhere or in results/nowhere"),
        (["IQL", "--radius", "0"], "--radius is 0, allowed is 1e-06 to 10"),
        (["IQL", "--radius", "-0.5"], "--radius is -0.5, allowed is 1e-06 to 10"),
        (["IQL", "--radius", "nan"], "--radius is nan, allowed is 1e-06 to 10"),
        (["IQL", "--radius", "1e-323"], "--radius is 9.88131e-324, allowed is 1e-06 to 10"),
        (["IQL", "--points", "51"], "--points is 51, allowed is 1 to 50"),
        (["IQL", "--directions", "0"], "--directions is 0, allowed is 1 to 100"),
        (["IQL", "--episodes", "101"], "--episodes is 101, allowed is 1 to 100"),
        (["IQL", "--3d"], "--3d draws the plane: give --plane and --plot DIR as well"),
        (["IQL", "--objective", "V"], "--objective V does nothing without --loss: give that as well"),
        (["IQL", "--dataset", "x"], "--dataset x does nothing without --loss: give that as well"),
        (
            ["IQL", "--loss", "--on-nonfinite", "drop-episode"],
            "--on-nonfinite drop-episode does nothing without --dataset: give that as well",
        ),
        (["IQL", "--loss", "--download"], "--download does nothing without --dataset: give that as well"),
        (
            ["IQL", "--loss", "--objective", "q"],
            "unknown objective of iql 'q': known are Q, V, actor",
        ),
        (["BC", "--loss"], "bc has no critics whose loss could be shown: name one of actor"),
        (
            ["IQL", "--loss"],
            "run IQL was trained on file:small.hdf5, and its record does not know the folder: give --dataset file:PATH",
        ),
        (["IQL", "IQL"], "run IQL is named twice"),
        (
            ["IQL", "BC"],
            "run BC has actor 11-8-3 and run IQL actor 11-16-16-3, and the same directions need networks of the same "
            "shapes",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(finished, arguments, expected, capsys):
    places = {name.upper(): folder for name, folder in finished.items()}
    code, out, err = landscape(capsys, *(places.get(argument, argument) for argument in arguments))
    for name, folder in places.items():
        expected = expected.replace(f"run {name}", f"run {folder.name}")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"corruptbench landscape: {expected}")


def test_a_run_that_did_not_end_well_has_no_surface(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    record = json.loads((finished["iql"] / "record.json").read_text())
    record |= {"outcome": "diverged", "reason": "step 3: weights of value are not finite", "score": None}
    (folder / "record.json").write_text(json.dumps({**record, "evaluation": None}))
    files = {path.name: {"sha256": sha256_of(path), "size": path.stat().st_size} for path in folder.iterdir()}
    (folder / "manifest.json").write_text(json.dumps(files))
    code, _, err = landscape(capsys, folder)
    assert code == 2
    assert err.endswith("the run ended as 'diverged', and only one that is ok has networks\n")


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def with_environment(run, **changes):
    spec = dataclasses.replace(run.record.spec, environment=dataclasses.replace(HOPPER, **changes))
    return dataclasses.replace(run, record=dataclasses.replace(run.record, spec=spec))


def test_no_environment_is_made_from_what_a_record_says(finished, tmp_path, monkeypatch):
    """Gymnasium would import the module before the colon."""
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    run = trained_run(str(finished["iql"]), tmp_path, "test")
    for changes in ({"id": "trap:Hopper-v5"}, {"contact_margin": 0.7}, {"model": "other.xml"}):
        with pytest.raises(UsageError, match=r"and here is no environment like it$"):
            common_environment([with_environment(run, **changes)])


def test_data_are_read_whatever_the_references_and_scores_are_not(finished, tmp_path):
    run = trained_run(str(finished["iql"]), tmp_path, "test")
    odd = with_environment(run, reference_max=1.0)
    assert environment_of_data(odd.record.spec) == HOPPER
    with pytest.raises(UsageError, match=r"is scored in Hopper-v5, and here is no environment like it$"):
        common_environment([odd])
    for low, high in ((5.0, 1.0), (None, 1.0)):
        turned = with_environment(run, reference_min=low, reference_max=high, references_supplied=True)
        with pytest.raises(UsageError, match=r"is scored in Hopper-v5, and here is no environment like it$"):
            common_environment([turned])
    supplied = with_environment(run, reference_min=-1.0, reference_max=1.0, references_supplied=True)
    assert common_environment([supplied]) == supplied.record.spec.environment


def test_runs_of_different_environments_and_of_none_are_refused(finished, tmp_path):
    run = trained_run(str(finished["iql"]), tmp_path, "test")
    with pytest.raises(UsageError, match=r"is scored in Hopper-v4 and run [0-9a-f]{16} in Hopper-v5"):
        common_environment([run, with_environment(run, id="Hopper-v4")])
    kitchen = environment("D4RL/Kitchen")
    spec = dataclasses.replace(run.record.spec, environment=kitchen)
    other = dataclasses.replace(run, record=dataclasses.replace(run.record, spec=spec))
    with pytest.raises(ValueError, match=r"^run [0-9a-f]{16} has no reward surface: D4RL/Kitchen has no environment"):
        common_environment([other])
