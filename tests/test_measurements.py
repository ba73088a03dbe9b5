"""What ``bench`` measures, with clocks and rates that the test sets, so that each figure can be worked out by hand."""

import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from corruptbench.bench import PARTS, attack, evaluation, processes, start, timing, training, workers
from corruptbench.bench.__main__ import main as process_main
from corruptbench.bench.plain import PlainLearner
from corruptbench.population import Population
from corruptbench.train import Learner

SETTINGS = {"dataset": "hopper-replay", "engine": "eager", "seconds": 0.1, "rounds": 3}

VALUE, CRITIC, ACTOR = ([d, 256, 256, k] for d, k in ((11, 1), (14, 1), (11, 3)))
"""Sizes of the networks for Hopper: 11 observations, 3 actions."""


def weights(sizes):
    return sum(a * b for a, b in itertools.pairwise(sizes))


class Clock:
    """A clock that stands still until ``passes``."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def passes(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock of every measurement."""
    found = Clock()
    for module in (attack, evaluation, start, timing, training):
        monkeypatch.setattr(module, "time", found)
    return found


# The yardsticks


@pytest.mark.parametrize(("seconds", "calls"), [(1.0, 3), (0.01, 1)])
def test_rate_is_steps_over_the_time_they_took(seconds, calls, clock):
    """Of calls that take 0.4 s: until the time is over, and one at least."""
    assert timing.rate(lambda count: clock.passes(0.4), seconds, count=8) == pytest.approx(20)
    assert clock.now == pytest.approx(0.4 * calls)


def test_matrix_rate_is_the_median_of_five_after_a_first(clock, monkeypatch):
    taken = iter([90, 1, 2, 3, 7, 8])
    monkeypatch.setattr(torch, "mm", lambda left, right, out: clock.passes(next(taken)))
    assert timing.matrix_rate(products=1) == pytest.approx(2 * 256**3 / 3)


@pytest.mark.parametrize(("system", "peak"), [("linux", 300 * 1024), ("darwin", 300 * 1024**2)])
def test_memory_is_in_units_of_2_to_the_20_bytes(system, peak, monkeypatch):
    """Linux tells kilobytes, macOS bytes."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=peak))
    monkeypatch.setattr(sys, "platform", system)
    assert timing.peak_memory_mb() == 300


# Training


def flop_of_a_step(critics, sam):
    """Of IQL's products, batch 256: a pass forward is one of all weights, a pass back two but for the first layer's."""
    forth_and_back = {
        name: 3 * weights(sizes) - sizes[0] * 256 for name, sizes in (("v", VALUE), ("q", CRITIC), ("actor", ACTOR))
    }
    targets = critics * weights(CRITIC) + weights(VALUE)
    perturbed = forth_and_back["v"] + critics * forth_and_back["q"]
    return 2 * 256 * (targets + (1 + sam) * perturbed + forth_and_back["actor"])


def test_a_step_of_iql_has_half_a_gigaflop():
    assert flop_of_a_step(2, sam=False) == pytest.approx(0.52e9, rel=0.01)


@pytest.mark.parametrize("case", ["iql", "iql+sam", "riql", "riql+sam"])
def test_training_stands_beside_the_same_case_and_its_products(case, monkeypatch):
    name, _, sam = case.partition("+")
    measured = {}

    def rate(steps, seconds):
        measured[type(steps.__self__)] = steps.__self__
        return {Learner: 90.0, PlainLearner: 60.0}[type(steps.__self__)]

    monkeypatch.setattr(training, "rate", rate)
    monkeypatch.setattr(training, "matrix_rate", lambda: 1e12)
    monkeypatch.setattr(Learner, "advance", lambda self, count: None)
    (row,) = training.training(case, **SETTINGS)
    assert measured[Learner].agent.name == name
    assert measured[Learner].optimizer.name == (sam or "adam")
    assert (measured[PlainLearner].robust, measured[PlainLearner].sam) == (name == "riql", bool(sam))
    assert (row["value"], row["unit"], row["ratio"]) == (90.0, "steps/s", 1.5)
    flop = flop_of_a_step(5 if name == "riql" else 2, bool(sam))
    assert row["share_of_matrix_rate"] == pytest.approx(90 * flop / 1e12)
    assert row["plain_share_of_matrix_rate"] == pytest.approx(60 * flop / 1e12)


def test_a_populations_rate_is_that_of_all_its_members(monkeypatch):
    populations = []

    def rate(steps, seconds):
        if isinstance(steps.__self__, Learner):
            return 10.0
        populations.append(steps.__self__)
        return 6.0

    monkeypatch.setattr(training, "rate", rate)
    (row,) = training.population("bc", **SETTINGS)
    assert isinstance(populations[0], Population)
    assert len(populations[0].members) == 4
    assert (row["what"], row["value"], row["ratio"]) == ("train 4 bc as a population", 24.0, 2.4)


def test_populations_of_every_case_are_measured_with_what_it_names():
    assert {name.partition(" ")[2] for name in PARTS["population"]} == {"iql", "iql+sam", "riql", "riql+sam"}
    optimizers = [training._member(case, "hopper-replay", 0, "eager").optimizer.name for case in ("iql", "iql+sam")]
    assert optimizers == ["adam", "sam"]


def test_on_a_gpu_too_and_memory_is_the_gpus(monkeypatch):
    asked = []

    def together(case, dataset, members, engine, device):
        asked.append((members, device))
        return SimpleNamespace(advance=None, engine=engine), 1.0

    monkeypatch.setattr(training, "_together", together)
    monkeypatch.setattr(training, "rate", lambda steps, seconds: 6.0)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 300 * 1024**2)
    rows = training.gpu("iql", **SETTINGS)
    assert asked == [(1, "cuda"), (64, "cuda")]
    assert [row["what"] for row in rows] == ["train 1 iql on a GPU", "train 64 iql on a GPU"]
    assert [row["value"] for row in rows] == [6.0, 64 * 6.0]
    assert {row["memory_mb"] for row in rows} == {300}


# Processes


def test_two_workers_count_as_two(monkeypatch):
    """The first one alone and beside the second, three times."""

    class Worker:
        def __init__(self, *rates):
            self.stdin, self.stdout = io.StringIO(), io.StringIO("\n".join(map(json.dumps, ["ready", *rates])))

        def kill(self):
            pass

        def communicate(self):
            pass

    children = iter([Worker(100, 90, 100, 80, 100, 70), Worker(90, 80, 70)])
    monkeypatch.setattr(workers, "child", lambda wanted: next(children))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (row,) = workers.workers(**SETTINGS)
    assert (row["value"], row["ratio"]) == (160.0, 1.6)


def test_a_process_that_measures_has_one_thread(monkeypatch, capsys):
    threads = []
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setattr(subprocess, "Popen", lambda command, env, **settings: env)
    environment = processes.child({"name": "load"})
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("1", "1")

    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(start, "loading", list)
    monkeypatch.setattr(sys, "argv", ["bench", json.dumps({"name": "load"})])
    assert process_main() == 0
    assert threads == [1]
    assert capsys.readouterr().out == "[]\n"


# Evaluation and attack


def test_evaluation_stands_beside_gymnasiums_loop(clock, monkeypatch):
    """The loop takes 12 s, one thread 4 s and two 3 s for 50 steps."""
    threads = []

    def evaluate(policy, environment, episodes, world):
        clock.passes(12 if world else {1: 4, 2: 3}[threads[-1]])
        return SimpleNamespace(lengths=[30, 20])

    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(evaluation, "GymnasiumLoop", lambda environment, episodes: "the loop")
    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    one, two = evaluation.evaluation(**SETTINGS)
    assert threads[:3] == [1, 1, 2]
    assert (one["what"], two["what"]) == ("evaluate 100 episodes, 1 thread", "evaluate 100 episodes, 2 threads")
    assert (one["value"], one["ratio"]) == (50 / 4, 3.0)
    assert (two["value"], two["ratio"]) == (50 / 3, 4.0)


def test_an_attack_goes_forty_times_forth_and_back_and_once_forth(clock, monkeypatch):
    """Through both critics of Hopper's surrogate: 1,000 rows in 2 s."""

    def apply(corruption, name, *_):
        assert name == "obs-adv"
        clock.passes(2)
        return SimpleNamespace(masks={"observations": np.arange(1500) < 1000})

    monkeypatch.setattr(attack, "apply", apply)
    monkeypatch.setattr(attack, "matrix_rate", lambda: 1e12)
    (row,) = attack.attack(**SETTINGS)
    assert (row["value"], row["unit"]) == (500.0, "rows/s")
    assert row["share_of_matrix_rate"] == pytest.approx(500 * 2 * 2 * weights(CRITIC) * (2 * 40 + 1) / 1e12)


# What a run costs beside its steps


def test_loading_is_the_median_of_the_rounds(clock, monkeypatch):
    taken = iter([1, 9, 2])
    monkeypatch.setattr(start, "load", lambda dataset: clock.passes(next(taken)))
    (row,) = start.loading(**SETTINGS)
    assert (row["value"], row["unit"]) == (2, "s")


@pytest.fixture
def a_run(clock, monkeypatch):
    """A run that takes 5 s, 2 of them in training, with a peak of 300 MB; the words of its command."""
    commands = []

    def run(command, **settings):
        commands.append(command)
        clock.passes(5)
        folder = Path(command[command.index("--out") + 1]) / "0123"
        folder.mkdir()
        (folder / "timing.json").write_text('{"seconds": {"train": 2.0, "evaluate": 1.0}}')
        return subprocess.CompletedProcess(command, 0, "what it says\n300.0\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_start_up_is_what_training_did_not_take(a_run):
    (row,) = start.start_up(**SETTINGS)
    assert (row["value"], row["unit"]) == (3.0, "s")


def test_memory_is_the_peak_of_a_run(a_run, monkeypatch):
    monkeypatch.setattr(start, "ROWS", 1_000)
    (row,) = start.memory(**SETTINGS)
    assert (row["what"], row["value"], row["unit"]) == ("run on 1,000 transitions", 300.0, "MB at its peak")
    assert a_run[0][-2:] == ["--engine", "eager"]
