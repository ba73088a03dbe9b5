"""The yardsticks of ``bench`` compute what the product computes, and the command says what it measured."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import reference_learning as reference
import torch
from builders import random_dataset
from torch.fx.experimental.proxy_tensor import make_fx

from corruptbench import bench
from corruptbench.bench import PARTS, earlier, optimizing, parts, processes, start, training, workers
from corruptbench.bench.__main__ import main as process_main
from corruptbench.bench.plain import PlainLearner
from corruptbench.bench.timing import matrix_rate, median_ratio, rate
from corruptbench.cli import main
from corruptbench.cli.bench import line
from corruptbench.errors import CorruptBenchError, DataError
from corruptbench.once import Once
from corruptbench.optimizers import OPTIMIZERS, optimizer_for
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner

CASES = ("iql", "iql+sam", "riql", "riql+sam")
LENGTHS = ("0", "-1", "nan", "inf", "1e-09")


def linear_layers(network):
    return [layer for layer in network if isinstance(layer, torch.nn.Linear)]


def networks_of(plain):
    """The plain version's networks, critics one by one, in the order of the learner's groups."""
    return {
        "value": [plain.value],
        "critic": list(plain.critics.members),
        "target_critic": list(plain.targets.members),
        "actor": [plain.actor],
    }


def take_weights(plain, state):
    """Puts a learner's weights into the plain version; a layer of PyTorch's holds its transpose."""
    for group, networks in networks_of(plain).items():
        lead = state[group][0].dim() == 3
        for k, network in enumerate(networks):
            params = [p[k] if lead else p for p in state[group]]
            for layer, w, b in zip(linear_layers(network), params[::2], params[1::2], strict=True):
                layer.weight.data.copy_(w.T)
                layer.bias.data.copy_(b[0])


def weights_of(plain):
    return {
        group: [
            torch.stack(tensors)
            for tensors in zip(
                *([t for layer in linear_layers(n) for t in (layer.weight.T, layer.bias[None])] for n in networks),
                strict=True,
            )
        ]
        for group, networks in networks_of(plain).items()
    }


@pytest.mark.parametrize("case", CASES)
def test_the_plain_version_takes_the_same_steps(case):
    """Otherwise the ratio would compare two different computations."""
    name, _, sam = case.partition("+")
    agent, dataset = ALGORITHMS.get(name)(), random_dataset()
    learner = Learner(agent, optimizer_for(agent, "sam" if sam else "adam"), dataset, seed=1, steps=50, engine="eager")
    plain = PlainLearner(name, dataset, sam=bool(sam), steps=50)
    take_weights(plain, learner.state)
    for step in range(1, 6):
        plain.step(*learner.batch(step))
    learner.advance(5)
    found = {
        g: [p.detach().reshape(q.shape) for p, q in zip(weights_of(plain)[g], learner.state[g], strict=True)]
        for g in learner.state
    }
    assert reference.relative_distance(found, learner.state) <= 1e-5


@pytest.mark.parametrize("case", ["riql", "riql+sam"])
def test_the_plain_version_bounds_its_targets(case):
    """Targets far beyond -100 and 1000, and critics whose values are near the bounds: elsewhere only signs count."""
    agent, dataset = ALGORITHMS.get("riql")(), random_dataset()
    dataset = replace(dataset, rewards=3_000 * dataset.rewards)
    optimizer = optimizer_for(agent, "sam" if case.endswith("sam") else "adam")
    learner = Learner(agent, optimizer, dataset, seed=1, steps=50, engine="eager")
    for group in ("critic", "target_critic"):
        learner.state[group][-1][:2] += 1000
        learner.state[group][-1][2:] -= 100
    plain = PlainLearner("riql", dataset, sam=case.endswith("sam"), steps=50)
    take_weights(plain, learner.state)
    before = [p.clone() for p in learner.state["critic"]]
    for step in (1, 2, 3):
        batch = learner.batch(step)
        assert batch.rewards.min() < -1000
        assert batch.rewards.max() > 5000
        plain.step(*batch)
    learner.advance(3)
    theirs = [p.detach().reshape(q.shape) for p, q in zip(weights_of(plain)["critic"], before, strict=True)]
    moved, expected = (
        {"critic": [p - q for p, q in zip(after, before, strict=True)]} for after in (theirs, learner.state["critic"])
    )
    assert reference.relative_distance(moved, expected) <= 1e-3


def test_the_plain_version_moves_at_all():
    """The bound above is not met by standing still."""
    plain = PlainLearner("iql", random_dataset(), sam=False, steps=50)
    before = {group: [p.detach().clone() for p in params] for group, params in weights_of(plain).items()}
    plain.update(5)
    after = {group: [p.detach() for p in params] for group, params in weights_of(plain).items()}
    assert reference.relative_distance(after, before) > 1e-3


# Once


def operations(graph):
    return [node.target for node in graph.nodes if node.op == "call_function"]


def test_what_is_computed_twice_is_computed_once():
    def twice(x, w):
        return torch.relu(x @ w).sum() + torch.relu(x @ w).mean() + (x @ w.T).sum()

    x, w = torch.rand(3, 3), torch.rand(3, 3)
    module = make_fx(twice)(x, w)
    products = operations(module.graph).count(torch.ops.aten.mm.default)
    assert products == 3
    Once()(module.graph)
    module.recompile()
    assert operations(module.graph).count(torch.ops.aten.mm.default) == 2
    assert operations(module.graph).count(torch.ops.aten.relu.default) == 1
    torch.testing.assert_close(module(x, w), twice(x, w))


def test_other_numbers_random_numbers_and_changes_in_place_are_not_the_same():
    def step(x):
        noise = torch.rand_like(x) - torch.rand_like(x)
        x.add_(1)
        x.add_(1)
        return noise + x.sum(0) + x.sum(1) + (x * 2.0) + (x * 3.0)

    graph = make_fx(step)(torch.zeros(3, 3)).graph
    before = operations(graph)
    Once()(graph)
    assert operations(graph) == before


def test_the_same_operation_with_other_keywords_is_another():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    sums = [graph.call_function(torch.ops.aten.add.Tensor, (x, x), {"alpha": alpha}) for alpha in (2, 3, 2)]
    graph.output(tuple(sums))
    Once()(graph)
    assert [node.kwargs["alpha"] for node in graph.nodes if node.op == "call_function"] == [2, 3]


def test_the_same_change_made_twice_is_made_twice():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    twice = [graph.call_function(torch.ops.aten.add_.Tensor, (x, 1)) for _ in range(2)]
    graph.output(tuple(twice))
    Once()(graph)
    assert len(operations(graph)) == 2


# The measurements


def test_rate_counts_steps_per_second():
    taken = []
    found = rate(taken.append, 0.05, count=4)
    assert set(taken) == {4}
    assert 0 < found < 4 * len(taken) / 0.05 * 1.01


def test_ratio_is_the_median_of_the_turns():
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]) == 2.0


def test_matrix_rate_is_that_of_a_core():
    assert 1e8 < matrix_rate(products=3) < 1e12


def test_a_row_of_training(capsys):
    (row,) = training.training("iql", dataset="hopper-replay", engine="eager", seconds=0.05, rounds=1)
    assert row["what"] == "train iql"
    assert row["engine"] == "eager"
    assert row["ratio"] > 0
    assert 0 < row["share_of_matrix_rate"] < 1.5


def test_each_optimizers_step_stands_beside_adams():
    rows = optimizing.optimizers("bc", dataset="hopper-replay", engine="eager", seconds=0.05, rounds=1)
    assert [row["what"] for row in rows] == [f"step of bc+{name}" for name in OPTIMIZERS]
    assert rows[0]["ratio"] == 1.0
    for row in rows:
        assert row["value"] == pytest.approx(row["ratio"] * rows[0]["value"])


# Measurements that fail


def child_that(code, monkeypatch):
    """Every process that would measure runs ``code`` instead."""

    def child(wanted):
        command = [sys.executable, "-c", f"import json, os, sys\n{code}"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    for module in (processes, workers):
        monkeypatch.setattr(module, "child", child)


FAILURE = "print(json.dumps({'error': '%s', 'message': 'no compiler', 'traceback': ''})); sys.exit(1)"


@pytest.mark.parametrize(
    ("code", "exit_code", "text"),
    [
        (FAILURE % "CorruptBenchError", 1, "failed: no compiler"),
        (FAILURE % "DataError", 3, "failed: no compiler"),
        (FAILURE % "ResourceError", 5, "failed: no compiler"),
        ("sys.exit(7)", 1, "ended with exit code 7"),
        ("print('[]', flush=True); sys.exit(7)", 1, "ended with exit code 7"),
        ("print('Loading', flush=True); os.kill(os.getpid(), 9)", 1, "ended with SIGKILL"),
    ],
)
def test_a_measurement_that_fails_is_one_sentence(code, exit_code, text, monkeypatch, capsys):
    child_that(code, monkeypatch)
    assert main(["bench", "loading", "--json"]) == exit_code
    printed = capsys.readouterr()
    assert printed.err == f"corruptbench bench: measuring 'load' {text}\n"
    assert printed.out == ""


def test_what_a_library_prints_is_no_answer(monkeypatch):
    child_that("print('Loading'); print('[{}]')", monkeypatch)
    assert processes.rows_of({"name": "load"}) == [{}]


def test_a_worker_that_fails_is_one_sentence(monkeypatch):
    child_that(FAILURE % "CorruptBenchError", monkeypatch)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(CorruptBenchError, match="measuring 'rate iql' failed: no compiler"):
        workers.workers(dataset="hopper-replay", engine="eager", seconds=0.1, rounds=1)


def test_a_run_that_fails_is_one_sentence(monkeypatch):
    done = subprocess.CompletedProcess([], 1, "2 steps\nfailed: algorithm 'iql' raised it\n\nfolder", "hopper-replay")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(CorruptBenchError, match="a run ended with exit code 1: failed: algorithm 'iql' raised it"):
        start.start_up(dataset="hopper-replay", engine="eager", seconds=0.1, rounds=1)


@pytest.mark.parametrize(
    ("error", "exit_code", "text"),
    [
        (DataError("rows are missing"), 3, "rows are missing"),
        (MemoryError(), 5, "not enough memory: MemoryError: "),
        (ValueError("no\ncompiler"), 1, "ValueError: no compiler"),
    ],
)
def test_a_process_that_measures_says_what_failed(error, exit_code, text, monkeypatch, capsys):
    def loading(**settings):
        raise error

    monkeypatch.setattr(start, "loading", loading)
    monkeypatch.setattr(sys, "argv", ["bench", json.dumps({"name": "load"})])
    assert process_main() == 1
    said = capsys.readouterr().out
    child_that(f"print({said!r})", monkeypatch)
    assert main(["bench", "loading", "--json"]) == exit_code
    assert capsys.readouterr().err == f"corruptbench bench: measuring 'load' failed: {text}\n"


# The command


def test_bench_prints_a_table_and_json_that_it_can_compare_with(tmp_path, capsys):
    assert main(["bench", "loading", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert (row["what"], row["unit"]) == ("load hopper-replay", "s")
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["versions"]["torch"]

    assert found["settings"].keys() == {"dataset", "engine", "seconds", "rounds", "threads"}

    row["value"] = 1e6
    (tmp_path / "earlier.json").write_text(json.dumps(found))
    assert main(["bench", "loading", "--rounds", "1", "--against", str(tmp_path / "earlier.json")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "earlier result: same machine, versions and settings"
    assert printed[-1].startswith("load hopper-replay")
    assert printed[-1].endswith("0.00 x, better")


def result_of(*rows):
    """What ``bench --json`` writes, on a machine of 1998."""
    versions = {"corruptbench": "0.2.0", "torch": "2.10.0"}
    machine = {"processor": "Pentium", "cores": 1, "capability": "MMX", "gpu": None, "versions": versions}
    settings = {"dataset": "hopper-replay", "engine": "eager", "seconds": 3.0, "rounds": 5, "threads": 1}
    return {"machine": machine, "settings": settings, "rows": [dict(row) for row in rows]}


ROW = {"what": "load hopper-replay", "value": 2.0, "unit": "s"}


def test_what_differs_between_two_results_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(parts, "rows_of", lambda wanted: [ROW])
    here = {**result_of()["machine"], "processor": "Athlon", "versions": {"corruptbench": "0.2.0", "torch": "2.11.0"}}
    monkeypatch.setattr(bench, "machine", lambda: here)
    path = tmp_path / "earlier.json"
    path.write_text(json.dumps(result_of({**ROW, "value": 1.0})))
    command = ["bench", "loading", "--engine", "eager", "--seconds", "0.5", "--against", str(path)]
    assert main(command) == 0
    differs = [
        "processor was 'Pentium' and is 'Athlon'",
        "torch was '2.10.0' and is '2.11.0'",
        "seconds was 3.0 and is 0.5",
    ]
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == f"earlier result: {', '.join(differs)}"
    assert printed[-1].endswith("2.00 x, worse")
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differs_from_earlier"] == differs


@pytest.mark.parametrize("name", ["dataset", "engine", "seconds", "rounds", "threads", "gpu", "cores", "capability"])
def test_each_setting_counts_in_a_comparison(name):
    then, now = (earlier.conditions(result_of()["machine"], result_of()["settings"]) for _ in range(2))
    now[name] = "another"
    (differs,) = earlier.Earlier(then, {}).differences(now)
    assert differs.startswith(f"{name} was ")


@pytest.mark.parametrize(
    ("unit", "times", "judged"),
    [
        ("steps/s", 1.2, "better"),
        ("rows/s", 0.8, "worse"),
        ("s", 1.2, "worse"),
        ("ms", 0.8, "better"),
        ("MB at its peak", 1.2, "worse"),
        ("MB at its peak", 0.8, "better"),
        ("s", 1.004, "same"),
    ],
)
def test_better_is_more_a_second_and_fewer_seconds_or_bytes(unit, times, judged):
    row = {"what": "it", "value": 10 * times, "unit": unit}
    found = earlier.Earlier({}, {("it", unit): 10.0}).beside(row)
    assert found == {"times_earlier": pytest.approx(times), "than_earlier": judged}
    assert line({**row, **found}).endswith(f"{times:.2f} x" + (f", {judged}" if judged != "same" else ""))


def test_only_what_has_two_values_of_a_unit_is_compared():
    found = earlier.Earlier({}, {("it", "s"): 10.0})
    for row in ({"value": None, "unit": "s"}, {"value": 1.0, "unit": "ms"}):
        assert found.beside({"what": "it", **row}) == {}
    assert found.beside({"what": "another", "value": 1.0, "unit": "s"}) == {}


def test_of_every_unit_it_is_known_what_is_better():
    """Also of a measurement that somebody adds."""
    text = "".join(path.read_text("utf-8") for path in Path(parts.__file__).parent.glob("*.py"))
    assert set(re.findall(r'"unit": "([^"]+)"', text)) == set(earlier.MORE_IS_BETTER)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (
            ["trainin"],
            2,
            "unknown part 'trainin': known are attack, evaluation, gpu, loading, optimizers, population, sharpness, "
            "start, training, workers",
        ),
        *((["loading", "--seconds", text], 2, f"--seconds is {text}, allowed is 0.01 to 3600") for text in LENGTHS),
        (["--rounds", "0"], 2, "--rounds is 0, allowed is 1 and above"),
        (["--dataset", "hoper-replay", "loading"], 2, "unknown dataset 'hoper-replay'"),
        (["--against", "/nowhere.json", "loading"], 2, "--against /nowhere.json: No such file or directory"),
    ],
)
def test_wrong_input(arguments, code, text, capsys):
    assert main(["bench", *arguments]) == code
    printed = capsys.readouterr()
    assert text in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"rows": [{"what": "x"}]}', '{"rows": [1]}'),
        json.dumps({"rows": [ROW]}),
        json.dumps({**result_of(), "rows": {}}),
        json.dumps(result_of({**ROW, "unit": "furlongs"})),
        json.dumps(result_of({**ROW, "what": []})),
        json.dumps({**result_of(ROW), "settings": {"seconds": [1]}}),
        json.dumps({**result_of(ROW), "machine": {"versions": 3}}),
        json.dumps({**result_of(ROW), "machine": []}),
    ],
)
def test_against_something_else(content, tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text(content)
    assert main(["bench", "loading", "--against", str(path)]) == 3
    assert f"--against {path}: not what bench --json writes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "no row with a value is in it"),
        ([{**ROW, "value": None}], "no row with a value is in it"),
        *(
            ([{**ROW, "value": value}], f"'load hopper-replay' is {told}, allowed is any number above 0")
            for value, told in ((-2.0, "-2.0"), (0, "0"), (True, "true"), ("2.0", "'2.0'"), ([2], "[2]"))
        ),
    ],
)
def test_against_values_that_nobody_measures(rows, text, tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(result_of(*rows)))
    assert main(["bench", "loading", "--against", str(path)]) == 3
    assert capsys.readouterr().err == f"corruptbench bench: --against {path}: {text}\n"


@pytest.mark.parametrize("asked", [["gpu", "loading"], []])
def test_a_gpu_that_is_not_there_is_not_measured(asked, monkeypatch, capsys):
    wanted = []
    monkeypatch.setattr(parts, "rows_of", lambda settings: wanted.append(settings["name"]) or [])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", *asked]) == 0
    assert [text for text in capsys.readouterr().out.splitlines() if "GPU" in text] == [
        "train on a GPU                  not measured: no GPU"
    ]
    assert "load" in wanted
    assert not [name for name in wanted if name.startswith("gpu")]
    assert main(["bench", *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [
        {"what": "train on a GPU", "value": None, "unit": "steps/s", "not_measured": "no GPU"}
    ]


def test_the_page_says_of_a_gpu_what_bench_says():
    text = (Path(__file__).parent.parent / "docs" / "performance.md").read_text("utf-8")
    assert "not measured: no GPU" in text


def test_every_measurement_has_a_name():
    names = [name for names in PARTS.values() for name in names]
    assert len(set(names)) == len(names)
    assert {f"train {case}" for case in CASES} <= set(names)
