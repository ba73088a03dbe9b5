"""Runs that are done as members of a population: records of their own, near those of the runs alone."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from builders_device import device_of_its_own
from safetensors.numpy import load_file

from corruptbench import training
from corruptbench.attempt import Setup, corrupted_for
from corruptbench.cli import main
from corruptbench.records import RECORD, read_records
from corruptbench.request import RunRequest
from corruptbench.run import execute, execute_all, plan, under_way
from corruptbench.sweep.jobs import Job
from corruptbench.sweep.together import populations
from corruptbench.train import Normalisation

STEPS = 40
EAGER = Setup(engine="eager", checkpoint_every=20)


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch):
    """``main`` fixes the number of threads in the environment; other tests keep theirs."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    for name, value in (("FINAL_EPISODES", 3), ("CURVE_EPISODES", 2), ("CURVE_EVERY", 10)):
        monkeypatch.setattr(training, name, value)


@pytest.fixture
def requests(small_file):
    """Three runs that differ in threat model, unit and radius."""
    one = RunRequest(
        "iql",
        algo_options={"hidden": (16, 16), "batch_size": 32},
        optimizer="sam",
        dataset=f"file:{small_file}",
        env="Hopper-v5",
        steps=STEPS,
    )
    return [replace(one, rho=0.01), replace(one, unit=1), replace(one, corrupt="obs-random", rho=0.1)]


def planned(requests, out):
    return [plan(request, out, EAGER) for request in requests]


def weights(out, record):
    return load_file(out / record.run_id / "agent.safetensors")


def distance(found, expected):
    """||a - b|| / ||b|| over all weights."""
    a, b = (np.concatenate([values[name].ravel() for name in sorted(values)]) for values in (found, expected))
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def content(out, records):
    """All bytes of runs but those that tell the time."""
    paths = [path for record in records for path in (out / record.run_id).iterdir()]
    return {str(p.relative_to(out)): p.read_bytes() for p in paths if p.name not in ("timing.json", "manifest.json")}


def test_members_are_the_runs_alone_with_records_of_their_own(requests, tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    inside = execute_all(planned(requests, together), together, EAGER)
    for found, one in zip(inside, planned(requests, alone), strict=True):
        expected = execute(one, alone, EAGER)
        assert (found.run_id, found.outcome, found.step) == (expected.run_id, "ok", STEPS)
        assert (found.command, found.corruption) == (expected.command, expected.corruption)
        assert found.execution == {**expected.execution, "population": 3}
        assert expected.execution["population"] == 1
        assert distance(weights(together, found), weights(alone, expected)) <= 1e-4
        assert found.evaluation["seeds"] == expected.evaluation["seeds"]
        curves = [(out / found.run_id / "curve.csv").read_text().splitlines() for out in (together, alone)]
        assert len(curves[0]) == len(curves[1]) == 1 + STEPS // 10
        assert curves[0][0] == curves[1][0]
        assert not list(together.glob(".*"))
    start = [distance(weights(together, a), weights(together, b)) for a, b in pairwise(inside)]
    assert min(start) > 1e-2
    again = execute_all(planned(requests, together), together, EAGER)
    assert [record.text() for record in again] == [record.text() for record in inside]


def test_a_population_that_is_stopped_goes_on_to_the_same_bytes(requests, tmp_path, monkeypatch):
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    expected = execute_all(planned(requests, straight), straight, EAGER)
    reach = training._Group.reach

    def stopped(self, step, on_step):
        reach(self, step, on_step)
        if step == 20:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training._Group, "reach", stopped)
        with pytest.raises(KeyboardInterrupt):
            execute_all(planned(requests, cut), cut, EAGER)
    assert not read_records(cut)
    assert all(list(under_way(one, cut).glob("step-20")) for one in planned(requests, cut))
    steps = []

    def seen(self, step, on_step):
        steps.append(step)
        reach(self, step, on_step)

    monkeypatch.setattr(training._Group, "reach", seen)
    found = execute_all(planned(requests, cut), cut, EAGER)
    assert steps == [20, 30, 40]
    assert content(cut, found) == content(straight, expected)


@pytest.mark.parametrize(
    ("algo", "optimizer", "options"),
    [
        ("bc", "adam", {}),
        ("iql", "swa", {"activation": "crelu", "shrink_every": 15}),
        ("iql", "esam", {"layer_norm": True}),
        ("riql", "sam", {"reset_every": 15}),
    ],
)
def test_a_device_with_memory_of_its_own_gives_the_same_bytes(
    algo, optimizer, options, requests, tmp_path, monkeypatch
):
    """Training, renewals, checkpoints, scores. It stands in for a GPU, but for the order in which that one adds up."""
    chosen = [replace(one, algo=algo, optimizer=optimizer) for one in requests]
    chosen = [replace(one, algo_options={**one.algo_options, **options}, rho=None) for one in chosen]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"{device}, of its own")
    here, apart = tmp_path / "here", tmp_path / "apart"
    expected = execute_all(planned(chosen, here), here, EAGER)
    own = replace(EAGER, device="cuda")
    with device_of_its_own():
        found = execute_all([plan(request, apart, own) for request in chosen], apart, own)
    for record, other in zip(found, expected, strict=True):
        assert record.execution == {**other.execution, "device": "cuda", "gpu": "cuda, of its own"}
        assert (record.outcome, record.score) == ("ok", other.score)
    assert {n: b for n, b in content(apart, found).items() if not n.endswith(RECORD)} == {
        n: b for n, b in content(here, expected).items() if not n.endswith(RECORD)
    }


def test_the_device_of_its_own_is_reached_by_moves_alone():
    with device_of_its_own():
        there, here = torch.ones(2, device="cuda"), torch.ones(2)
        assert (there + here.to("cuda")).cpu().tolist() == [2.0, 2.0]
        assert (there.sum() + 1).item() == 3.0
        with pytest.raises(RuntimeError, match="takes tensors of two devices"):
            there + here
        with pytest.raises((TypeError, RuntimeError)):
            there.numpy()


@pytest.mark.parametrize(
    ("curve", "step", "reason"), [(10, 10, "the policy returned an action that is not finite"), (40, 40, "step 40: ")]
)
def test_one_that_diverges_costs_no_other(requests, tmp_path, monkeypatch, curve, step, reason):
    """A radius beyond what float32 can square: its policy shows it at the curve's first point, its loss at the end."""
    monkeypatch.setattr(training, "CURVE_EVERY", curve)
    wild = [requests[0], replace(requests[1], rho=1e30), requests[2]]
    found = execute_all(planned(wild, tmp_path), tmp_path, EAGER)
    assert [record.outcome for record in found] == ["ok", "diverged", "ok"]
    alone = execute(planned(wild, tmp_path / "alone")[1], tmp_path / "alone", EAGER)
    assert found[1].reason == alone.reason
    assert found[1].reason.startswith(reason)
    assert found[1].step == alone.step == step
    assert found[1].score is None
    assert not (tmp_path / found[1].run_id / "agent.safetensors").exists()
    assert all(record.score for record in found if record.outcome == "ok")


def test_one_whose_evaluation_fails_costs_no_other(requests, tmp_path, monkeypatch):
    """All are evaluated at once; where that fails, one by one, to see whose fault it is."""
    evaluate_all, seen = training.evaluate_all, []
    plans = planned(requests, tmp_path)
    mean = Normalisation.of(training_data(plans[2])).mean

    def broken(policies, environment, episodes):
        seen.append(len(policies))
        if any(torch.equal(policy.normalisation.mean, mean) for policy in policies):
            raise RuntimeError("no such policy")
        return evaluate_all(policies, environment, episodes)

    monkeypatch.setattr(training, "evaluate_all", broken)
    found = execute_all(plans, tmp_path, EAGER)
    assert [record.outcome for record in found] == ["ok", "ok", "failed"]
    assert found[2].reason == "algorithm 'iql' raised RuntimeError: no such policy"
    assert (found[2].step, seen) == (10, [3, 1, 1, 1, 2, 2, 2, 2])


def training_data(planned):
    """Of no other member: this one's observations are corrupted."""
    return corrupted_for(planned, EAGER).dataset


def test_a_sweep_of_populations(small_file, tmp_path, capsys):
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "version: 1\ndatasets: [hopper-replay]\ncorruptions: [none, rew-random]\n"
        "algorithms: [bc, 'bc+sam:rho=0.01', 'bc+sam:rho=0.1']\nunits: 2\nsteps: 40\n"
    )
    out = tmp_path / "out"
    words = ["sweep", str(suite), "--dataset", f"file:{small_file}", "--env", "Hopper-v5", "--engine", "eager"]
    assert main([*words, "--population", "6", "--out", str(out)]) == 0
    assert "12 runs: 12 ok" in capsys.readouterr().out
    sizes = [(r.spec.optimizer.name, r.execution["population"]) for r in read_records(out)]
    assert sorted(sizes) == [("adam", 4)] * 4 + [("sam", 2)] * 2 + [("sam", 6)] * 6
    assert main([*words, "--workers", "2", "--out", str(out)]) == 0
    assert "12 runs, 12 of them finished" in capsys.readouterr().err


def test_what_trains_together():
    """What members may differ in, and what they must share."""
    one = RunRequest("iql", "none", optimizer="sam")
    alike = [one, replace(one, corrupt="obs-adv"), replace(one, unit=3), replace(one, rho=0.2)]
    others = [
        replace(one, algo="riql"),
        replace(one, optimizer="adam"),
        replace(one, sam_on=("V",)),
        replace(one, algo_options={"beta": "1"}),
        replace(one, steps=7),
        replace(one, dataset="walker2d-replay"),
    ]
    jobs = [Job(request, None, (), None, 0) for request in [*alike, *others, one]]
    assert populations(jobs, 8) == [[0, 1, 2, 3, 10], [4], [5], [6], [7], [8], [9]]
    assert populations(jobs, 2)[:3] == [[0, 1], [2, 3], [10]]
    preset = [replace(job, request=replace(job.request, algo="riql", preset="riql-oracle")) for job in jobs[:3]]
    assert populations(preset, 8) == [[0, 2], [1]]
