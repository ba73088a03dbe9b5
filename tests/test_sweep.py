"""Sweeps: which runs they are made of, the same bytes however they are done, and what becomes of those that fail."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from corruptbench import training
from corruptbench.attempt import Setup
from corruptbench.cli import main
from corruptbench.cli import run as run_verb
from corruptbench.cli.sweep import launcher
from corruptbench.errors import IntegrityError, ResourceError, UsageError
from corruptbench.learners import learner_text
from corruptbench.records import RECORD, RunRecord, read_records
from corruptbench.registry import CORRUPTIONS
from corruptbench.request import RunRequest
from corruptbench.run import execute, plan, under_way
from corruptbench.store import key_of, publish
from corruptbench.suites import suite, suite_names
from corruptbench.sweep import sweep as sweeping
from corruptbench.sweep.cluster import _receive, _task, connect
from corruptbench.sweep.jobs import Job, chosen, jobs
from corruptbench.sweep.pace import Pace, disk, hours, in_words, measured
from corruptbench.sweep.sweep import RETRIES, sweep
from corruptbench.tables.listing import SUMMARY, read_csv

FOUR = """\
version: 1
datasets: [hopper-replay]
corruptions: [none, rew-random]
algorithms: [bc, bc+sam]
units: 1
steps: 40
"""


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch):
    """``main`` fixes the number of threads in the environment; other tests keep theirs."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(training, "FINAL_EPISODES", 2)
    monkeypatch.setattr(training, "CURVE_EPISODES", 1)


@pytest.fixture
def in_turn(monkeypatch):
    """Commands are done in this process; what was done stands in the list."""
    done = []

    def launch(jobs, *, out, workers):
        for number, job in enumerate(jobs):
            done.append(job.command)
            yield number, main([*job.command, "--out", str(out)])

    monkeypatch.setattr(sweeping, "here", launch)
    return done


@pytest.fixture
def four(tmp_path):
    path = tmp_path / "four.yaml"
    path.write_text(FOUR)
    return path


def arguments(four, small_file, out, *more):
    data = ["--dataset", f"file:{small_file}", "--env", "Hopper-v5", "--engine", "eager"]
    return ["sweep", str(four), *data, "--out", str(out), *more]


def hashes(out):
    """SHA-256 of all that is the same whenever the same is run."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("timing.json", "manifest.json")
    }


# What is run


def test_a_request_in_another_process_is_the_same(monkeypatch):
    own = RunRequest(
        "riql",
        "obs-adv:rate=0.1,scale=2",
        dataset="file:x.hdf5",
        algo_options={"alpha": "0.1", "hidden": (16, 8)},
        optimizer="gsam",
        sam_on=("V", "actor"),
        rho=0.1,
        optimizer_options={"alpha": "0.2"},
        preset="riql-oracle",
        unit=None,
        train_seed=5,
        corruption_seed=0,
        steps=70,
        env="Hopper-v5",
        ref_min=-20.5,
        ref_max=3000.0,
        on_nonfinite="drop-episode",
        download=True,
        score=False,
    )
    for request in (*suite("tiny").requests(), *suite("severity").requests(), own, RunRequest("bc")):
        found = []
        monkeypatch.setattr(run_verb, "run", lambda options, _, found=found: found.append(options) or 0)
        assert main(["run", *request.arguments()]) == 0
        as_text = {name: "16,8" if name == "hidden" else value for name, value in request.algo_options.items()}
        assert run_verb.request_of(found[0]) == replace(request, algo_options=as_text)


LEARNERS = {
    "bc": {},
    "bc+sam": {"optimizer": "sam"},
    "iql+sam:on=V+Q,rho=0.1": {"optimizer": "sam", "sam_on": ("V", "Q"), "rho": 0.1},
    "iql+gsam:alpha=0.2": {"optimizer": "gsam", "optimizer_options": {"alpha": "0.2"}},
    "iql:layer_norm=true,reset_every=5000": {"algo_options": {"layer_norm": "true", "reset_every": "5000"}},
    "riql:activation=crelu+sam:rho=0.1": {"algo_options": {"activation": "crelu"}, "optimizer": "sam", "rho": 0.1},
    "riql:activation=crelu,hidden=128,128,layer_norm=true": {
        "algo_options": {"activation": "crelu", "hidden": "128,128", "layer_norm": "true"}
    },
    "my.module:Mine+wd:decay=1e-3,on=actor": {
        "optimizer": "wd",
        "sam_on": ("actor",),
        "optimizer_options": {"decay": "1e-3"},
    },
}


def test_a_learner_is_spelled_with_the_settings_of_its_optimizer(tmp_path):
    path = tmp_path / "own.yaml"
    names = ", ".join(f'"{name}"' for name in LEARNERS)
    path.write_text(FOUR.replace("bc, bc+sam", names).replace("[none, rew-random]", "[none]"))
    requests = list(suite(str(path)).requests())
    algos = ("bc", "bc", "iql", "iql", "iql", "riql", "riql", "my.module:Mine")
    wanted = zip(algos, LEARNERS.values(), strict=True)
    assert requests == [RunRequest(algo, steps=40, **own) for algo, own in wanted]
    assert [learner_text(request) for request in requests] == list(LEARNERS)
    for name, request in zip(LEARNERS, requests, strict=True):
        assert chosen(requests, [f"algo={name}"], None) == [request]


def test_shards_divide_a_suite_and_every_suite_has_its_runs():
    sizes = {name: len(list(suite(name).requests())) for name in suite_names()}
    assert {name: size for name, size in sizes.items() if not name.startswith("flatness-")} == {
        "core": 250, "d4rl": 825, "flatness": 90, "full": 1650, "severity": 275, "smoke": 12, "tiny": 75
    }  # fmt: skip
    stages = {"radius": 84, "where": 72, "controls": 120, "variants": 192}
    assert {name: sizes[f"flatness-{name}"] for name in stages} == stages
    tiny, shared = (
        {(r.algo, r.optimizer, r.corrupt, r.unit, r.steps) for r in suite(name).requests()}
        for name in ("tiny", "flatness")
    )
    assert tiny < shared
    assert {key[:2] for key in shared - tiny} == {("bc", "sam")}
    for name in stages:  # Adam's and SAM's runs are those of the first stage
        for r in suite(f"flatness-{name}").requests():
            if learner_text(r) in ("iql", "iql+sam", "riql", "riql+sam"):
                assert (r.algo, r.optimizer, r.corrupt, r.unit, r.steps) in shared
    requests = list(suite("tiny").requests())
    parts = [chosen(requests, [], f"{i}/4") for i in range(1, 5)]
    assert Counter(str(request) for part in parts for request in part) == Counter(map(str, requests))
    assert {len(part) for part in parts} == {18, 19}
    assert [request.unit for request in requests] == sorted(request.unit for request in requests)  # whole units first


def test_only_takes_alternatives_of_one_key_and_the_meeting_of_two():
    found = chosen(suite("tiny").requests(), ["algo=riql+sam", "algo=bc", "corrupt=obs-adv", "unit=3"], None)
    assert [(r.algo, r.optimizer, r.corrupt, r.unit) for r in found] == [
        ("bc", "adam", "obs-adv", 3),
        ("riql", "sam", "obs-adv", 3),
    ]


def test_only_takes_what_a_suite_takes(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "version: 1\ndatasets: [hopper-replay]\ncorruptions: [none, rew-auto]\n"
        'algorithms: [iql, "iql:hidden=8+sam:rho=0.10,on=V+Q"]\nunits: 1\n'
    )
    requests = list(suite(str(path)).requests())
    ours = [request for request in requests if request.optimizer == "sam"]
    for text in ("iql:hidden=8+sam:rho=0.10,on=V+Q", "iql:hidden=8+sam:on=V+Q,rho=0.1"):
        assert chosen(requests, [f"algo={text}"], None) == ours
    assert chosen(requests, ["corrupt=rew-auto"], None) == [one for one in requests if one.corrupt != "none"]
    with pytest.raises(UsageError, match="--only corrupt=obs-auto: the suite has none, "):
        chosen(requests, ["corrupt=obs-auto"], None)


@pytest.mark.parametrize(
    ("more", "words"),
    {
        "unknown key": (["--only", "alog=bc"], "--only alog=bc: needed is KEY=VALUE with a key of algo, corrupt"),
        "no value": (["--only", "algo"], "(did you mean 'algo'?)"),
        "unknown value": (["--only", "algo=bv"], "--only algo=bv: the suite has bc, bc+sam (did you mean 'bc'?)"),
        "no such unit": (["--only", "unit=1"], "--only unit=1: the suite has 0"),
        "shard beyond": (["--shard", "3/2"], "--shard is 3/2, allowed is 1/2 to 2/2"),
        "shard zero": (["--shard", "0/2"], "allowed is 1/2 to 2/2"),
        "no shard": (["--shard", "half"], "--shard is 'half', needed is i/n"),
        "workers": (["--workers", "0"], "--workers is 0, allowed is 1 and above"),
        "units": (["--units", "0"], "--units is 0, allowed is 1 and above"),
        "algorithm": (["--algo", "bcc"], "unknown algorithm 'bcc'"),
        "dataset": (["--dataset", "hoper-replay"], "did you mean 'hopper-replay'?"),
        "recorded": (["--recorded", "nowhere"], "--recorded nowhere: no folder of finished runs is there"),
        "address": (["--address", "auto"], "--address is of a Ray cluster: add --launcher ray"),
        "population": (["--population", "0"], "--population is 0, allowed is 1 and above"),
        "two ways": (["--population", "2", "--workers", "2"], "neither --workers nor --launcher goes with it"),
        "device": (["--device", "cuda:77"], "--device is 'cuda:77', and PyTorch 2.13.0"),
        "device on Ray": (["--launcher", "ray", "--device", "cuda:1"], "with --launcher ray allowed are cpu and cuda"),
        "optimizer": (["--algo", "bc+adma"], "did you mean 'adam'?"),
        "its setting": (
            ["--algo", "bc+gsam:alpah=1"],
            "--optimizer gsam: unknown option 'alpah': known are alpha",
        ),
        "its objective": (["--algo", "bc+sam:on=Q"], "--sam-on 'Q': bc has the objectives actor"),
    }.values(),
    ids=str,
)
def test_a_wrong_request_is_one_line(four, tmp_path, capsys, more, words):
    assert main(["sweep", str(four), "--out", str(tmp_path / "out"), *more]) == 2
    said = capsys.readouterr().err.splitlines()
    assert words in said[-1]
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "unknown key": ("unit: 3\n", "unknown option 'unit'"),
        "no runs": ("algorithms: []\n", "algorithms are none, needed is one and more"),
        "no units": ("units: 0\n", "units are 0 and steps 40"),
        "threat": ("corruptions: [obs-avd]\n", "did you mean 'obs-adv'?"),
        "optimizer": ("algorithms: [bc+smam]\n", "unknown optimizer 'smam'"),
        "no number": ("algorithms: ['bc+sam:rho=wide']\n", "algorithm 'bc+sam:rho=wide': rho is 'wide', needed is a"),
        "no value": ("algorithms: ['bc+sam:rho=0.1,on']\n", "algorithm 'bc+sam:rho=0.1,on': 'on' is not name=value"),
        "only a number": ("algorithms: ['riql:128,hidden=128']\n", "'128' is not name=value"),
        "list": ("- 1\n", "it holds a list, and names with values are needed"),
    }.values(),
    ids=str,
)
def test_a_suite_of_ones_own_that_is_none(tmp_path, capsys, text, words):
    lines = {line.partition(":")[0]: line for line in FOUR.splitlines()}
    lines.update({line.partition(":")[0]: line for line in text.splitlines()})
    path = tmp_path / "own.yaml"
    path.write_text(text if text.startswith("-") else "\n".join(lines.values()) + "\n")
    assert main(["sweep", str(path), "--dry-run"]) == 2
    assert words in capsys.readouterr().err


# The same bytes, however it is done


@pytest.fixture(scope="module")
def reference(small_file, tmp_path_factory):
    """The four runs one by one, in this process, and in the opposite order."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "four.yaml").write_text(FOUR)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        for order in (1, -1):
            out = folder / f"order{order}"
            requests = [
                replace(request, dataset=f"file:{small_file}", env="Hopper-v5")
                for request in suite(str(folder / "four.yaml")).requests()
            ]
            todo = jobs(requests[::order], out, Setup(engine="eager"))

            def launch(jobs, out=out):
                for number, job in enumerate(jobs):
                    yield number, main([*job.command, "--out", str(out)])

            assert all(swept.ok for swept in sweep(todo, launch, out, 1))
            found[order] = hashes(out)
    assert found[1] == found[-1]
    assert len(found[1]) == 16
    return found[1]


def test_two_workers(four, small_file, tmp_path, reference, capsys, monkeypatch):
    out = tmp_path / "out"
    assert main(arguments(four, small_file, out, "--workers", "2")) == 0
    assert hashes(out) == reference
    printed = capsys.readouterr()
    assert "4 runs: 4 ok" in printed.out
    assert "[4/4] " in printed.err
    begin = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr("corruptbench.versions.version", lambda name: "99.0")
        assert main(arguments(four, small_file, out, "--workers", "2")) == 0
    assert time.monotonic() - begin < 10
    said = capsys.readouterr().err
    assert "4 runs, 4 of them finished" in said
    assert f"4 of them by version {version('corruptbench')}: a submission is of one version" in said
    assert hashes(out) == reference


def test_how_many_runs_a_cluster_has_room_for(monkeypatch):
    """Ray's own count of a cluster with GPUs, which is not at hand here, given by hand."""
    resources = {"CPU": 8.0, "GPU": 2.0}
    cluster = SimpleNamespace(init=lambda *_, **__: None, cluster_resources=lambda: resources)
    monkeypatch.setitem(sys.modules, "ray", cluster)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # as it leaves it
    assert [connect("auto", None, threads) for threads in (1, 3)] == [8, 2]
    assert [connect("auto", None, threads, gpus=1) for threads in (1, 3, 8)] == [2, 2, 1]
    assert [connect("auto", workers, 1, gpus=1) for workers in (1, 5)] == [1, 2]
    with pytest.raises(UsageError, match="--threads is 9, and the Ray cluster has fewer processors"):
        connect("auto", None, 9)
    resources.pop("GPU")
    with pytest.raises(UsageError, match="--device is 'cuda', and the Ray cluster has no GPU"):
        connect("auto", None, 1, gpus=1)


def test_a_run_asks_ray_for_its_threads_and_with_cuda_for_a_gpu(tmp_path, monkeypatch):
    """Of a Ray by hand, whose tasks leave nothing."""
    asked = []

    def remote(**options):
        asked.append(options)
        return lambda _: SimpleNamespace(remote=" ".join)

    ray = SimpleNamespace(
        init=lambda *_, **__: None,
        cluster_resources=lambda: {"CPU": 8.0, "GPU": 2.0},
        remote=remote,
        wait=lambda running, num_returns: (running[:1], running[1:]),
        get=lambda _: (0, {}),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # as connecting leaves it
    options = SimpleNamespace(launcher="ray", address="auto", workers=None, out=tmp_path)
    for setup in (Setup(), Setup(threads=3, device="cuda")):
        launch, _ = launcher(options, setup)
        assert list(launch([job("a" * 16)])) == [(0, 0)]
    assert [(task["num_cpus"], task["num_gpus"]) for task in asked] == [(1, 0), (3, 1)]


def test_what_a_ray_worker_sends_is_published_only_if_it_is_what_its_manifest_says(tmp_path):
    sent, out, run_id = tmp_path / "sent", tmp_path / "out", "a" * 16
    publish(sent, lambda folder: (folder / "record.json").write_text("{}"))
    whole = {path.name: path.read_bytes() for path in sent.iterdir()}
    damaged = {
        "record.json": ({**whole, "record.json": b"[]"}, {"manifest.json": whole["manifest.json"]}),
        "curve.csv": ({**whole, "curve.csv": b""},),
        "manifest.json": ({**whole, "manifest.json": b"{}"}, {"record.json": b"{}"}),
    }
    for name, each in damaged.items():
        for files in each:
            with pytest.raises(IntegrityError, match=f"{run_id}: {name} is not what the manifest of its worker says"):
                _receive(out, run_id, files)
            assert not list(out.iterdir())
    _receive(out, run_id, whole)
    assert {path.name: path.read_bytes() for path in (out / run_id).iterdir()} == whole


def test_a_run_that_lies_damaged_in_a_ray_workers_cache_is_done_again(four, small_file, tmp_path):
    """The disk of a worker that was lost kept half of it; what it sends then is whole."""
    job = jobs_of(four, small_file, tmp_path)[0]
    words = [*job.command, "--no-score", "--engine", "eager"]
    left = Path(os.environ["CORRUPTBENCH_CACHE"]) / "ray" / key_of(words) / job.run_id
    publish(left, lambda folder: (folder / "record.json").write_text("{}"))
    (left / "record.json").write_text("[]")
    code, runs = _task(words)
    assert (code, list(runs)) == (0, [job.run_id])
    _receive(tmp_path, job.run_id, runs[job.run_id])
    assert RunRecord.read(tmp_path / job.run_id / RECORD).step == 40
    assert not left.exists()


def test_a_ray_cluster_whose_worker_is_killed(four, small_file, tmp_path, reference):
    """A real one, started here, with two workers; one is killed while a run of it is under way."""
    pytest.importorskip("ray")
    out = tmp_path / "out"
    own = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "HOME": str(tmp_path)}
    words = arguments(four, small_file, out, "--launcher", "ray", "--workers", "2")
    with subprocess.Popen(
        [sys.executable, "-m", "corruptbench", *words],
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            deadline, victim = time.monotonic() + 120, None
            while victim is None and time.monotonic() < deadline and process.poll() is None:
                victim = next((pid for pid in below(process.pid) if b"ray::_task" in command_of(pid)), None)
                time.sleep(0.1)
            if victim is not None:
                time.sleep(1)  # its run is under way
                os.kill(victim, signal.SIGKILL)
            said = process.communicate(timeout=240)[0]
        finally:
            process.kill()  # and with it all that Ray started
    assert victim is not None, said
    assert process.returncode == 0, said
    assert hashes(out) == reference
    assert not list((Path(os.environ["CORRUPTBENCH_CACHE"]) / "ray").glob("*"))


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def below(pid):
    """The ids of a process's children, and of theirs."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from below(child)


# What fails


BROKEN = textwrap.dedent(
    '''
    """Rewards that are lost, of one unit."""

    from dataclasses import dataclass

    import numpy as np

    from corruptbench.corruptions import Corruption, register


    @register("broken")
    @dataclass(frozen=True)
    class Broken(Corruption):
        element = "rew"
        mode = "random"

        def __call__(self, dataset, streams, surrogate=None):
            rows = self.rows(dataset, streams)
            if streams.seed == {seed}:
                raise ValueError("the sensor is gone")
            return self.corrupted(dataset, "rewards", np.zeros_like(dataset.rewards), rows, audit={{}})
    '''
)


def test_a_plugin_that_fails_one_run_costs_that_run(small_file, tmp_path, in_turn, capsys):
    from corruptbench.rng import unit_seeds

    plugin = tmp_path / "broken.py"
    plugin.write_text(BROKEN.format(seed=unit_seeds(1)[1]))
    own = tmp_path / "own.yaml"
    own.write_text(
        FOUR.replace("[none, rew-random]", "[broken]").replace("bc, bc+sam", "bc").replace("units: 1", "units: 3")
    )
    out = tmp_path / "out"
    words = arguments(own, small_file, out, "--plugin", str(plugin))
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert "3 runs: 2 ok, 1 failed" in printed
    assert "bc broken" in printed
    assert "the sensor is gone" in printed
    assert len(in_turn) == 3
    records = read_records(out)
    assert Counter(record.outcome for record in records) == {"ok": 2, "failed": 1}
    selected = suite(str(own))
    (row,) = read_csv(build_summary(records, selected), "summary", SUMMARY)
    assert (row["n"], row["failed"]) == ("3", "1")

    assert main(words) == 1  # what failed is tried again, and nothing else
    assert len(in_turn) == 4

    del CORRUPTIONS._classes["broken"]  # as in a new process
    for verb, made in (("build", "own-summary.csv"), ("report", "index.html")):
        words = ["leaderboard", verb, "--records", str(out), "--suite", str(own), "--out", str(tmp_path / verb)]
        assert main(words) == 2
        assert "unknown corruption 'broken'" in capsys.readouterr().err
        assert main([*words, "--plugin", str(plugin)]) == 0
        assert (tmp_path / verb / made).is_file()
        del CORRUPTIONS._classes["broken"]


def build_summary(records, selected):
    from corruptbench.tables.listing import run_rows
    from corruptbench.tables.summary import summary_csv

    return summary_csv(run_rows(records), selected)


def job(name, algo="bc"):
    return Job(RunRequest(algo, "none", steps=100), name, ("--algo", algo), None, 1000)


def test_what_is_killed_is_begun_again_and_what_is_lost_is_named(tmp_path):
    """The first run is killed once, the second as often as it is begun, the third leaves nothing."""
    begun, codes = [], {"a": [-9], "b": [-9] * 9, "c": [3]}

    def launch(jobs):
        for number, job in enumerate(jobs):
            name = job.arguments[-1]
            begun.append(name)
            yield number, codes[name].pop(0) if codes[name] else 0

    todo = [replace(job(name * 16), arguments=("--algo", name)) for name in "abc"]
    swept = sweep(todo, launch, tmp_path, 1)
    assert Counter(begun) == {"a": 2, "b": 1 + RETRIES, "c": 1}
    assert [each.words for each in swept] == ["lost, exit code 0", "lost, signal 9", "lost, exit code 3"]
    assert not any(each.ok for each in swept)


def test_a_run_without_room_stops_the_sweep_and_ends_the_others(tmp_path):
    closed = []

    def launch(jobs):
        try:
            yield 0, 5
            pytest.fail("it went on")
        finally:
            closed.append(True)

    with pytest.raises(ResourceError, match="bc none hopper-replay unit 0 lacks disk or memory"):
        sweep([job("a" * 16), job("b" * 16)], launch, tmp_path, 1)
    assert closed


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_what_runs_what_failed_and_the_time_left(tmp_path, monkeypatch):
    """Four runs on two workers; one fails, one is lost, the others take an hour each, and one is killed once."""
    todo = [job(name * 16) for name in "abcd"]
    ok = {"outcome": "ok", "score": {"normalized_mean": 41.2, "return_mean": 1.0}}
    records = {each.run_id: SimpleNamespace(run_id=each.run_id, **ok) for each in todo[1:3]}
    records[todo[0].run_id] = SimpleNamespace(run_id=todo[0].run_id, outcome="failed", reason="it broke")
    for each in todo[1:]:
        (tmp_path / each.run_id).mkdir()
        timing = {"steps_per_second": {"train": 0.05}, "seconds": {"train": 2000, "corrupt": 600, "evaluate": 1000}}
        (tmp_path / each.run_id / "timing.json").write_text(json.dumps(timing))
    codes = {"a": [1], "b": [-9, 0], "c": [0], "d": [3]}
    monkeypatch.setattr(sweeping, "_record", lambda job, _: None if codes[job.run_id[0]] else records.get(job.run_id))
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.delenv("TQDM_DISABLE", raising=False)

    def launch(jobs):
        for number, each in enumerate(jobs):
            yield number, codes[each.run_id[0]].pop(0)

    sweep(todo, launch, tmp_path, 2)
    label = "bc none hopper-replay unit 0"
    assert re.findall(r"\[\d/\d.*", sys.stderr.getvalue()) == [
        f"[1/4] {label}: failed: it broke",
        f"[1/4] {label}: lost, signal 9, to be begun again",
        f"[2/4, about 1.0 h left] {label}: 41.2",
        f"[3/4, about 30 min left] {label}: lost, exit code 3",
        f"[4/4] {label}: 41.2",
    ]
    shown = dict.fromkeys(re.findall(r"\d running, \d failed", sys.stderr.getvalue()))
    assert list(shown) == [
        f"{each} failed" for each in ("2 running, 0", "2 running, 1", "1 running, 2", "0 running, 2")
    ]


# How long it takes


def test_hours_and_disk_by_hand():
    todo = [job("a" * 16), job("b" * 16, "iql"), job("c" * 16, "riql")]
    paces = {"bc": Pace(0.01, beside=9.0), "iql": Pace(0.03, beside=17.0)}
    usual = 100 * 0.02 + 13
    assert hours(todo, paces, 1) == pytest.approx((10 + 20 + usual) / 3600)
    assert hours(todo, paces, 2) == pytest.approx((10 + 20 + usual) / 7200)
    assert hours(todo, {}, 1) is None
    assert [in_words(value) for value in (0.0, 0.5, 0.999, 1.0, 26.04)] == [
        "0 min",
        "30 min",
        "60 min",
        "1.0 h",
        "26.0 h",
    ]
    states = {"bc": 10, "iql": 20, "riql": 30}
    assert disk(todo, states, 2) == 60 + 2 * 4 * 30
    attacked = [replace(one, request=replace(one.request, corrupt="obs-adv")) for one in todo]
    assert disk(attacked, states, 2) == 60 + 2 * 4 * 30 + 1000  # one attack, for the three share it


def test_a_dry_run_trains_nothing_and_says_what_there_is_to_do(four, small_file, tmp_path, in_turn, capsys):
    out = tmp_path / "out"
    assert main(arguments(four, small_file, out, "--dry-run", "--workers", "2")) == 0
    said = capsys.readouterr().out
    assert not out.exists()
    assert "to do: 4 of 4 runs, 160 steps" in said
    assert "with 2 workers" in said
    assert not in_turn
    assert main(arguments(four, small_file, out, "--only", "algo=bc")) == 0
    (pace,) = measured(jobs_of(four, small_file, out), out).values()
    assert 0 < pace.step < 1
    assert pace.beside > 0
    capsys.readouterr()
    assert main(arguments(four, small_file, out, "--dry-run")) == 0
    assert "to do: 2 of 4 runs, 80 steps" in capsys.readouterr().out


def test_a_dry_runs_columns_stand_below_each_other_however_long_a_name_is(four, small_file, tmp_path, capsys):
    named = ["--algo", "bc", "--algo", "bc:layer_norm=true,activation=crelu+sam"]
    assert main(arguments(four, small_file, tmp_path / "out", *named, "--dry-run")) == 0
    table = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert len(table) == 3
    assert len(set(map(len, table))) == 1


def test_what_another_folder_holds_is_not_trained_again(four, small_file, tmp_path, in_turn, capsys):
    out, shared = tmp_path / "out", tmp_path / "shared"
    more = ["--recorded", str(shared), "--engine", "eager"]
    assert main(arguments(four, small_file, shared, "--only", "algo=bc", "--engine", "eager")) == 0
    del in_turn[:]
    assert main(arguments(four, small_file, out, *more)) == 0
    assert len(in_turn) == 2
    assert sorted(record.spec.optimizer.name for record in read_records(out)) == ["sam", "sam"]
    said = capsys.readouterr()
    assert "4 runs: 4 ok" in said.out
    assert "4 runs, 2 of them finished" in said.err
    assert main(arguments(four, small_file, tmp_path / "third", *more, "--dry-run", "--track-sharpness", "40")) == 0
    assert "to do: 4 of 4 runs" in capsys.readouterr().out  # those runs have no report
    damaged = next(shared.glob("*/record.json"))
    damaged.write_text(damaged.read_text() + " ")
    assert main(arguments(four, small_file, tmp_path / "third", *more, "--dry-run")) == 0
    assert "to do: 3 of 4 runs" in capsys.readouterr().out


def test_a_suite_of_ones_own_on_data_of_ones_own_has_a_table_and_a_page(small_file, tmp_path, in_turn, capsys):
    own, out, tables = tmp_path / "own.yaml", tmp_path / "out", tmp_path / "tables"
    own.write_text(FOUR.replace("hopper-replay", f"'file:{small_file}'").replace("bc, bc+sam", "bc"))
    assert main(["sweep", str(own), "--env", "Hopper-v5", "--engine", "eager", "--out", str(out)]) == 0
    source = ["--records", str(out), "--suite", str(own), "--out", str(tables)]
    assert main(["leaderboard", "build", *source]) == 0
    rows = read_csv((tables / "own-summary.csv").read_text(), columns=SUMMARY)
    assert [(row["dataset"], row["corruption"], row["n"]) for row in rows] == [
        (f"file:{small_file.name}", "none", "1"),
        (f"file:{small_file.name}", "rew-random", "1"),
    ]
    assert main(["leaderboard", "report", *source]) == 0
    assert f"file:{small_file.name}" in (tables / "index.html").read_text()
    assert main(["leaderboard", "validate", str(out), "--suite", str(own)]) == 3
    assert f"its dataset file:{small_file.name} has no environment in our table" in capsys.readouterr().out


def test_two_files_of_one_name_are_no_suite(four, tmp_path, capsys):
    named = "suite {}: file:a/logs.hdf5 and file:b/logs.hdf5 would both be file:logs.hdf5 in tables: rename one"
    files = ["--dataset", "file:a/logs.hdf5", "--dataset", "file:b/logs.hdf5"]
    assert main(["sweep", str(four), *files, "--out", str(tmp_path / "out")]) == 2
    assert named.format("four") in capsys.readouterr().err
    own = tmp_path / "own.yaml"
    own.write_text(FOUR.replace("hopper-replay", "'file:a/logs.hdf5', 'file:b/logs.hdf5'"))
    with pytest.raises(UsageError) as error:
        suite(str(own))
    assert str(error.value) == named.format("own")


def test_a_finished_run_with_work_under_way_is_still_to_do(small_file, tmp_path):
    """Another process does it again by --force, or one was killed before it cleared its checkpoints away."""
    data = {"dataset": f"file:{small_file}", "env": "Hopper-v5"}
    request = RunRequest("bc", "none", algo_options={"hidden": (8,)}, steps=2, score=False, **data)
    planned = plan(request, tmp_path)
    execute(planned, tmp_path, Setup(engine="eager"))
    assert [job.record is None for job in jobs([request], tmp_path, Setup())] == [False]
    under_way(planned, tmp_path).mkdir()
    assert [job.record is None for job in jobs([request], tmp_path, Setup())] == [True]


def jobs_of(four, small_file, out):
    requests = [replace(r, dataset=f"file:{small_file}", env="Hopper-v5") for r in suite(str(four)).requests()]
    return jobs(requests, out, Setup(engine="eager"))
