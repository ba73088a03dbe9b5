"""One run from its command to its folder: the record, its id, finding it again, repeating it to the byte."""

import csv
import hashlib
import json
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from builders_steps import steps_of, write

from corruptbench import attempt, training
from corruptbench import run as running
from corruptbench.attempt import Setup
from corruptbench.cli import main
from corruptbench.cli import run as verb
from corruptbench.errors import IntegrityError
from corruptbench.evaluate import evaluate
from corruptbench.records import RunRecord, read_records
from corruptbench.request import RunRequest
from corruptbench.rng import episode_seeds, unit_seeds
from corruptbench.run import execute, plan
from corruptbench.spec import RunSpec
from corruptbench.types import Streams
from corruptbench.weights import load_weights

TINY = {"hidden": (16, 16), "batch_size": 32}
FILES = {"record.json", "timing.json", "curve.csv", "policy.safetensors", "agent.safetensors", "manifest.json"}


@pytest.fixture(autouse=True)
def restored_threads(monkeypatch):
    """``main`` fixes the number of threads in the environment; other tests keep theirs."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


EPISODES = 4


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch):
    """A hundred episodes are run in processes of their own, once; here they would only take time."""
    monkeypatch.setattr(training, "FINAL_EPISODES", EPISODES)
    monkeypatch.setattr(training, "CURVE_EPISODES", 2)


def tiny(algo="iql"):
    return [f"--{algo}.hidden", "16,16", f"--{algo}.batch-size", "32"]


def arguments_for(file, out, *more, corrupt="obs-random:rate=0.1", steps=40):
    """``run`` with tiny networks on a file."""
    usual = ["run", "--algo", "iql", "--corrupt", corrupt, "--dataset", f"file:{file}", "--env", "Hopper-v5"]
    return [*usual, "--engine", "eager", "--steps", str(steps), *tiny(), "--out", str(out), *more]


def request_for(file, **changes):
    """What :func:`arguments_for` asks for."""
    usual = {"dataset": f"file:{file}", "env": "Hopper-v5", "steps": 40, "algo_options": TINY}
    return RunRequest(**{"algo": "iql", "corrupt": "obs-random:rate=0.1", **usual, **changes})


def only_folder(out):
    (folder,) = out.iterdir()
    return folder


def content(folder):
    """Every file's bytes and time of change."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def finished(small_file, tmp_path_factory):
    """The folder of one finished run, made by the command line. Nothing may change it."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            patch.setenv(name, "1")
        patch.setattr(training, "FINAL_EPISODES", EPISODES)
        patch.setattr(training, "CURVE_EPISODES", 2)
        assert main(arguments_for(small_file, out)) == 0
    return only_folder(out)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run's folder, to be damaged."""
    folder = tmp_path / "out" / finished.name
    folder.mkdir(parents=True)
    for path in finished.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def record_of(folder):
    return json.loads((folder / "record.json").read_text("utf-8"))


# What a run leaves behind


def test_the_folder_holds_the_files_that_its_manifest_lists(finished):
    assert {path.name for path in finished.iterdir()} == FILES
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest.keys() == FILES - {"manifest.json"}
    for name, entry in manifest.items():
        data = (finished / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def test_nothing_else_is_left_in_the_folder_of_the_results(finished):
    assert list(finished.parent.iterdir()) == [finished]


def test_the_record_has_the_fields_of_the_design(finished, small_file):
    record = record_of(finished)
    train, corruption = unit_seeds(0)
    assert (record["schema"], record["protocol"], record["run_id"]) == (1, "cb2026", finished.name)
    assert (record["outcome"], record["step"], record["reason"]) == ("ok", 40, None)
    assert record["dataset"].keys() == {"id", "sha256", "env", "gate"}
    assert record["dataset"]["gate"] == {"warnings": {}, "repairs": {}}
    assert record["dataset"]["id"] == f"file:{small_file.name}"
    assert record["dataset"]["env"]["id"] == "Hopper-v5"
    assert record["corruption"].keys() == {"sha256", "audit"}
    assert set(map(len, record["evaluation"].values())) == {EPISODES}
    assert record["evaluation"].keys() == {"returns", "lengths", "seeds"}
    assert record["score"].keys() == {"return_mean", "normalized_mean"}
    assert record["versions"].keys() == {"corruptbench", "torch", "numpy", "gymnasium", "mujoco"}
    assert record["execution"].keys() == {"device", "engine", "population", "threads", "cpu"}
    assert record["options"] == {"iql.hidden": "16,16", "iql.batch_size": "32"}
    execution = record["execution"]
    assert [execution[name] for name in ("device", "engine", "population", "threads")] == ["cpu", "eager", 1, 1]
    spec = record["spec"]
    assert (spec["unit"], spec["train_seed"], spec["corruption_seed"]) == (0, train, corruption)
    assert (spec["track"], spec["steps"]) == ("universal", 40)
    assert spec["corruption"] == {
        "name": "obs-random",
        "rate": 0.1,
        "scale": 1.0,
        "options": {},
        "surrogate_sha256": None,
        "source_sha256": None,
    }
    assert spec["algorithm"]["options"]["hidden"] == [16, 16]
    assert spec["optimizer"] == {"name": "adam", "on": [], "rho": 0.0}


def test_the_hashes_in_the_record_are_those_of_the_data(finished, small_file):
    record = record_of(finished)
    planned = plan(request_for(small_file))
    streams = Streams(planned.spec.corruption_seed)
    assert record["dataset"]["sha256"] == record["spec"]["dataset_sha256"] == planned.dataset.sha256
    corrupted = planned.corruption(planned.dataset, streams)
    assert record["corruption"] == {"sha256": corrupted.dataset.sha256, "audit": corrupted.audit}
    assert corrupted.dataset.sha256 != planned.dataset.sha256


def test_the_score_follows_from_the_returns(finished):
    record = record_of(finished)
    mean = float(np.mean(record["evaluation"]["returns"]))
    assert record["score"]["return_mean"] == mean
    assert record["score"]["normalized_mean"] == 100 * (mean + 20.272305) / (3234.3 + 20.272305)
    assert record["evaluation"]["seeds"] == episode_seeds(EPISODES)
    assert all(isinstance(length, int) and 0 < length <= 1000 for length in record["evaluation"]["lengths"])


def test_the_record_holds_no_path_no_host_and_no_date(finished, small_file):
    texts = {name: (finished / name).read_text("latin-1") for name in FILES - {"timing.json"}}
    private = {str(small_file.parent), str(finished.parent), str(Path.home()), str(Path.cwd()), sys.prefix}
    for name, text in texts.items():
        assert not any(path in text for path in private if len(path) > 1), name
        assert not re.search(r"\b20\d\d-[01]\d-[0-3]\d\b", text), name
        assert not re.search(r"\b[0-2]\d:[0-5]\d:[0-5]\d\b", text), name
    record = texts["record.json"]
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", record)
    assert not re.search(r"(?<![\w.])/\w", record)  # an absolute path of whatever folder
    assert "timing" not in record
    assert "seconds" not in record


def test_the_timing_stands_in_a_file_of_its_own(finished):
    timing = json.loads((finished / "timing.json").read_text())
    assert timing["seconds"].keys() == {"corrupt", "train", "curve", "evaluate"}
    assert all(seconds >= 0 for seconds in timing["seconds"].values())
    assert timing["steps_per_second"]["train"] == pytest.approx(40 / timing["seconds"]["train"])


def test_the_curve_has_a_row_for_each_evaluation(finished):
    with (finished / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["40"]
    assert list(rows[0]) == ["step", "return_mean", "normalized_mean", "loss_V", "loss_Q", "loss_actor"]
    assert all(np.isfinite(float(value)) for value in rows[0].values())


def test_the_last_point_of_a_curve_is_the_policy_at_the_end(small_file, tmp_path, monkeypatch):
    """Evaluating on the way moves nothing: the weights are those of a run that is never looked at."""
    planned = plan(request_for(small_file))
    for every in (15, 40):
        monkeypatch.setattr(training, "CURVE_EVERY", every)
        execute(planned, tmp_path / str(every), Setup(engine="eager"))
    often, once = (tmp_path / every / planned.spec.run_id for every in ("15", "40"))
    assert [line.split(",")[0] for line in (often / "curve.csv").read_text().splitlines()] == ["step", "15", "30", "40"]
    assert (often / "curve.csv").read_text().splitlines()[-1] == (once / "curve.csv").read_text().splitlines()[-1]
    assert (often / "agent.safetensors").read_bytes() == (once / "agent.safetensors").read_bytes()
    assert (often / "record.json").read_bytes() == (once / "record.json").read_bytes()


def test_the_weights_load_back_and_act_as_the_trained_policy_did(finished):
    record = record_of(finished)
    policy, agent = (load_weights(finished / f"{name}.safetensors") for name in ("policy", "agent"))
    environment = RunSpec.from_json(record["spec"]).environment
    assert evaluate(policy, environment, EPISODES).returns == record["evaluation"]["returns"]
    observations = np.random.default_rng(0).normal(size=(64, 11))
    actions = policy(observations)
    assert (actions.shape, actions.dtype) == ((64, 3), np.float32)
    assert np.array_equal(actions, agent(observations))
    assert policy.state.keys() == {"actor"}
    assert agent.state.keys() == {"value", "critic", "target_critic", "actor"}
    assert (policy.agent.hidden, policy.agent.batch_size) == ((16, 16), 32)


def test_json_on_standard_output_is_the_record(finished, small_file, capsys):
    assert main(arguments_for(small_file, finished.parent, "--json")) == 0
    assert capsys.readouterr().out == (finished / "record.json").read_text()


def test_the_row_is_printed_with_the_folder_and_the_command(finished, small_file, capsys):
    assert main(arguments_for(small_file, finished.parent)) == 0
    record, out = record_of(finished), capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == f"file:{small_file.name}, obs-random (rate 0.1, scale 1), 40 steps, Hopper-v5"
    assert lines[-2:] == [str(finished), record["command"]]
    assert f"mean return {record['score']['return_mean']:.1f} over {EPISODES} episodes" in out
    assert "(no shipped run of this cell and number of steps)" in lines
    assert re.search(rf"this run: iql .* {record['score']['normalized_mean']:.1f} .*unit 0, ok", out)


# The run id


def test_the_run_id_is_a_function_of_the_spec(small_file):
    planned = plan(request_for(small_file))
    assert re.fullmatch("[0-9a-f]{16}", planned.spec.run_id)
    assert plan(request_for(small_file)).spec.run_id == planned.spec.run_id
    text = json.dumps(planned.spec.to_json(), sort_keys=True, separators=(",", ":"))
    assert planned.spec.run_id == hashlib.sha256(text.encode()).hexdigest()[:16]


CHANGES = {
    "unit": {"unit": 1},
    "training seed": {"unit": None, "train_seed": 1, "corruption_seed": unit_seeds(0)[1]},
    "corruption seed": {"unit": None, "train_seed": unit_seeds(0)[0], "corruption_seed": 1},
    "own seeds that are the unit's": {
        "unit": None,
        "train_seed": unit_seeds(0)[0],
        "corruption_seed": unit_seeds(0)[1],
    },
    "steps": {"steps": 41},
    "algorithm": {"algo": "riql"},
    "algorithm's option": {"algo_options": {**TINY, "expectile": 0.8}},
    "batch size": {"algo_options": {**TINY, "batch_size": 33}},
    "threat model": {"corrupt": "dyn-random:rate=0.1"},
    "clean": {"corrupt": "none"},
    "rate": {"corrupt": "obs-random:rate=0.11"},
    "scale": {"corrupt": "obs-random:rate=0.1,scale=0.5"},
    "optimizer": {"optimizer": "sam"},
    "objectives": {"optimizer": "sam", "sam_on": ("V",)},
    "rho": {"optimizer": "sam", "rho": 0.1},
    "another optimizer": {"optimizer": "gsam"},
    "optimizer's option": {"optimizer": "gsam", "optimizer_options": {"alpha": 0.2}},
    "more updates": {"optimizer": "double"},
    "references": {"ref_min": 0.0, "ref_max": 1000.0},
    "the references of the table, supplied": {"ref_min": -20.272305, "ref_max": 3234.3},
}


def test_every_part_of_the_spec_gives_another_run(small_file, tmp_path):
    ids = {name: plan(request_for(small_file, **changes)).spec.run_id for name, changes in CHANGES.items()}
    spec = plan(request_for(small_file)).spec
    ids["nothing"] = spec.run_id
    ids["environment"] = replace(spec, environment=replace(spec.environment, id="Hopper-v4")).run_id
    ids["model file"] = replace(spec, environment=replace(spec.environment, model="other.xml")).run_id
    ids["contact margin"] = replace(spec, environment=replace(spec.environment, contact_margin=0.5)).run_id
    ids["surrogate"] = replace(spec, corruption=replace(spec.corruption, surrogate_sha256="0" * 64)).run_id
    ids["track"] = replace(spec, track="oracle").run_id
    ids["protocol"] = replace(spec, protocol="cb2027").run_id
    renamed = tmp_path / "renamed.hdf5"
    renamed.symlink_to(small_file)
    ids["name of the file"] = plan(request_for(renamed)).spec.run_id
    twice = [name for name, run_id in ids.items() if list(ids.values()).count(run_id) > 1]
    assert not twice


def test_another_content_of_a_file_is_another_run(small_file, tmp_path):
    import h5py

    path = tmp_path / small_file.name
    path.write_bytes(small_file.read_bytes())
    before = plan(request_for(path)).spec
    with h5py.File(path, "r+") as file:
        file["rewards"][7] += 1
    after = plan(request_for(path)).spec
    assert before.run_id == plan(request_for(small_file)).spec.run_id  # the folder is not part of it
    assert after.run_id != before.run_id
    assert after == replace(before, dataset_sha256=after.dataset_sha256)


def test_other_threads_engine_and_folders_are_the_same_run(finished, small_file, caplog):
    before = content(finished)
    for more in (["--threads", "2"], ["--engine", "compiled"], ["--engine", "auto"], ["--json"], ["--debug"]):
        assert main([*arguments_for(small_file, finished.parent), *more]) == 0
    assert content(finished) == before
    assert list(finished.parent.iterdir()) == [finished]


@pytest.mark.parametrize("changes", [{}, *CHANGES.values()], ids=["nothing", *CHANGES])
def test_a_spec_survives_json(changes, small_file):
    spec = plan(request_for(small_file, **changes)).spec
    text = json.dumps(spec.to_json(), sort_keys=True)
    again = RunSpec.from_json(json.loads(text))
    assert again.run_id == spec.run_id
    assert json.dumps(again.to_json(), sort_keys=True) == text
    assert (again.optimizer, again.environment, again.corruption) == (spec.optimizer, spec.environment, spec.corruption)


def test_a_record_survives_its_file(finished):
    record = RunRecord.read(finished / "record.json")
    assert record.text() == (finished / "record.json").read_text()
    assert record.run_id == finished.name
    assert [found.run_id for found in read_records(finished.parent)] == [finished.name]


# Finding a run again


def test_what_the_gate_saw_stands_in_the_record(small_file, tmp_path):
    path = tmp_path / "bad.hdf5"
    path.write_bytes(small_file.read_bytes())
    with h5py.File(path, "a") as file:
        file["rewards"][5] = np.nan
        file["actions"][100, 0] = 2.0
    planned = plan(request_for(path, on_nonfinite="drop-episode"))
    record = execute(planned, tmp_path / "out", Setup(engine="eager"))
    gate = record_of(tmp_path / "out" / record.run_id)["dataset"]["gate"]
    assert gate["repairs"]["dropped_episodes"]["episodes"] == 1
    assert gate["warnings"]["actions_out_of_bounds"] == {"count": 1, "largest": 2.0}
    assert record.command.endswith(" --on-nonfinite drop-episode")
    assert RunRecord.read(tmp_path / "out" / record.run_id / "record.json").gate == record.gate == gate


def test_a_record_of_an_earlier_version_says_nothing_of_the_gate(finished, tmp_path):
    old = record_of(finished)
    del old["dataset"]["gate"]
    (tmp_path / "record.json").write_text(json.dumps(old))
    assert RunRecord.read(tmp_path / "record.json").gate == {}


def test_a_run_without_a_score_needs_no_environment(small_file, tmp_path, monkeypatch, capsys):
    """It trains the same weights, is no row of a suite, and is done again when a score is wanted."""

    def no_environment(*_):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(training, "evaluate_all", no_environment)
        patch.setattr(running, "make", no_environment)
        assert main(arguments_for(small_file, tmp_path / "a", "--no-score")) == 0
    folder = only_folder(tmp_path / "a")
    record = RunRecord.read(folder / "record.json")
    assert (record.outcome, record.score, record.evaluation, record.step) == ("ok", None, None, 40)
    assert record.command.endswith(" --no-score")  # where there is no environment the command works again
    assert "trained, and not scored (--no-score)" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == FILES - {"curve.csv"}
    weights = (folder / "policy.safetensors").read_bytes()
    assert main(arguments_for(small_file, tmp_path / "a")) == 0
    assert RunRecord.read(folder / "record.json").score is not None
    assert (folder / "policy.safetensors").read_bytes() == weights
    assert main(arguments_for(small_file, tmp_path / "a", "--no-score")) == 0  # found, and nothing is taken away
    assert RunRecord.read(folder / "record.json").score is not None


def test_a_dataset_without_references_gets_raw_returns_and_says_so(tmp_path, caplog, capsys):
    path = write(tmp_path / "x.hdf5", steps_of((200, "timeout"), widths=(3, 1)))
    caplog.set_level(logging.INFO)
    named = ["run", "--algo", "bc", "--corrupt", "none", "--dataset", f"file:{path}", "--env", "Pendulum-v1"]
    named += ["--engine", "eager", "--steps", "5", "--out", str(tmp_path / "out")]
    assert main(named) == 0
    said = "Pendulum-v1 has no reference scores: the score is the raw return; --ref-min and --ref-max supply them"
    assert said in caplog.messages
    assert "mean return -" in capsys.readouterr().out
    record = RunRecord.read(only_folder(tmp_path / "out") / "record.json")
    assert record.score["normalized_mean"] is None
    caplog.clear()
    assert main([*named, "--ref-min=-1600", "--ref-max=-150"]) == 0
    assert said not in caplog.messages
    (other,) = [p for p in (tmp_path / "out").iterdir() if p.name != record.run_id]
    supplied = RunRecord.read(other / "record.json")
    assert supplied.spec.environment.references_supplied
    mean = supplied.score["return_mean"]
    assert supplied.score["normalized_mean"] == pytest.approx(100 * (mean + 1600) / 1450)


def test_a_second_run_finds_the_record_says_so_and_changes_nothing(finished, small_file, caplog, monkeypatch):
    before = content(finished)
    monkeypatch.setattr(attempt, "Learner", lambda *_, **__: pytest.fail("it was trained again"))
    caplog.set_level(logging.INFO)
    assert main(arguments_for(small_file, finished.parent)) == 0
    assert f"{finished} holds this run already (ok); --force does it again" in caplog.messages
    assert content(finished) == before
    assert list(finished.parent.iterdir()) == [finished]


def test_force_does_it_again_with_the_same_bytes(finished, copied, small_file, caplog):
    caplog.set_level(logging.INFO)
    before = content(copied)
    assert main(arguments_for(small_file, copied.parent, "--force")) == 0
    assert not any("already" in message for message in caplog.messages)
    after = content(copied)
    assert after.keys() == FILES
    assert list(copied.parent.iterdir()) == [copied]
    assert all(after[name][1] != before[name][1] for name in FILES)
    for name in FILES - {"timing.json", "manifest.json"}:
        assert after[name][0] == (finished / name).read_bytes(), name


def test_force_replaces_a_damaged_run(copied, small_file):
    (copied / "record.json").write_text("{")
    (copied / "policy.safetensors").unlink()
    assert main(arguments_for(small_file, copied.parent, "--force")) == 0
    assert main(arguments_for(small_file, copied.parent)) == 0
    assert {path.name for path in copied.iterdir()} == FILES


# Byte for byte, and the command that repeats it


def in_a_process_of_its_own(arguments, cwd, **environment):
    cwd.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "corruptbench", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, cwd=cwd, env={**os.environ, **environment}, **pipes)


def test_fresh_processes_give_the_same_bytes_wherever_and_whenever_they_run(finished, small_file, tmp_path):
    settings = [
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "OMP_NUM_THREADS": "2"},
        {"PYTHONHASHSEED": "2", "TZ": "America/Los_Angeles", "LC_ALL": "C.UTF-8", "LANG": "de_DE.UTF-8"},
    ]
    outs = [tmp_path / f"out{number}" for number in range(2)]
    processes = [
        in_a_process_of_its_own(arguments_for(small_file, out), tmp_path / f"cwd {out.name}", **environment)
        for out, environment in zip(outs, settings, strict=True)
    ]
    outputs = [process.communicate() for process in processes]
    for process, out, (printed, said) in zip(processes, outs, outputs, strict=True):
        assert process.returncode == 0, said
        assert said == f"file:small.hdf5: 3,011 transitions of Hopper-v5, run {finished.name}\n"
        assert str(out / finished.name) in printed.splitlines()
        for name in ("record.json", "curve.csv"):
            assert (out / finished.name / name).read_bytes() == (outs[0] / finished.name / name).read_bytes(), name
        for name in ("policy.safetensors", "agent.safetensors"):
            assert (out / finished.name / name).read_bytes() == (finished / name).read_bytes(), name
        assert not list((tmp_path / f"cwd {out.name}").iterdir())  # nothing is written where the user stands

    whole, few = record_of(outs[0] / finished.name), record_of(finished)
    scored = ("evaluation", "score")
    assert {k: v for k, v in whole.items() if k not in scored} == {k: v for k, v in few.items() if k not in scored}
    assert whole["evaluation"]["seeds"] == episode_seeds(100)
    assert len(whole["evaluation"]["returns"]) == len(whole["evaluation"]["lengths"]) == 100
    assert whole["score"]["return_mean"] == float(np.mean(whole["evaluation"]["returns"]))

    again = in_a_process_of_its_own(arguments_for(small_file, outs[0]), tmp_path)
    printed, said = again.communicate()
    assert (again.returncode, printed) == (0, outputs[0][0])
    folder = outs[0] / finished.name
    assert said.splitlines()[1:] == [f"{folder} holds this run already (ok); --force does it again"]


def test_another_unit_gives_other_bytes(finished, small_file, tmp_path):
    assert main(arguments_for(small_file, tmp_path, "--unit", "1")) == 0
    folder = only_folder(tmp_path)
    mine, other = record_of(folder), record_of(finished)
    assert folder.name != finished.name
    assert mine["corruption"]["sha256"] != other["corruption"]["sha256"]
    assert mine["dataset"] == other["dataset"]
    for name in ("policy.safetensors", "agent.safetensors", "record.json"):
        assert (folder / name).read_bytes() != (finished / name).read_bytes(), name


def test_the_training_seed_moves_the_weights_and_the_corruption_seed_the_data(small_file, tmp_path):
    records = {}
    for seeds in ((0, 0), (1, 0), (0, 1)):
        planned = plan(request_for(small_file, unit=None, train_seed=seeds[0], corruption_seed=seeds[1]))
        execute(planned, tmp_path, Setup(engine="eager"))
        folder = tmp_path / planned.spec.run_id
        weights = (folder / "agent.safetensors").read_bytes()
        records[seeds] = (record_of(folder)["corruption"]["sha256"], weights)
    assert records[0, 0][0] == records[1, 0][0] != records[0, 1][0]
    assert len({weights for _, weights in records.values()}) == 3


def test_the_command_of_the_record_finds_the_run(finished, small_file, monkeypatch, caplog):
    monkeypatch.chdir(small_file.parent)  # the command names the file without its folder
    command = shlex.split(record_of(finished)["command"])
    assert command[0] == "corruptbench"
    caplog.set_level(logging.INFO)
    assert main([*command[1:], "--out", str(finished.parent)]) == 0
    assert f"{finished} holds this run already (ok); --force does it again" in caplog.messages


COMMANDS = {
    "plain": "--algo iql --corrupt none",
    "corrupted": "--algo bc --corrupt obs-random",
    "rate and scale": "--algo bc --corrupt rew-random:scale=0.7,rate=0.123456789012345",
    "small rate": "--algo bc --corrupt rew-random:rate=1e-07",
    "threat option": "--algo bc --corrupt act-random:clip=true,scale=2",
    "mixture": "--algo bc --corrupt mix-random:clip=true",
    "clean with a rate": "--algo bc --corrupt none:rate=0.5",
    "default rate said": "--algo bc --corrupt obs-random:rate=0.3,scale=1.0",
    "sam": "--algo iql --corrupt none --sam",
    "sam on one": "--algo iql --corrupt none --sam --sam-on V",
    "sam on all": "--algo riql --corrupt none --sam --sam-on actor,Q,V",
    "sam of bc": "--algo bc --corrupt none --optimizer sam",
    "rho": "--algo iql --corrupt none --sam --rho 0.1",
    "another's rho": "--algo iql --corrupt none --optimizer asam --rho 0.05",
    "its usual rho": "--algo iql --corrupt none --optimizer asam --rho 0.5 --asam.eta 0.01",
    "its option": "--algo iql --corrupt none --optimizer gsam --gsam.alpha 0.2 --sam-on actor",
    "every third": "--algo iql --corrupt none --optimizer looksam --looksam.k 3 --looksam.alpha 0.5",
    "averaged": "--algo iql --corrupt none --optimizer swa --swa.start 0 --sam-on actor,V,Q",
    "matched": "--algo riql --corrupt none --optimizer matched",
    "rho with many digits": "--algo iql --corrupt none --sam --rho 0.123456789",
    "small rho": "--algo iql --corrupt none --sam --rho 1e-7",
    "unit": "--algo iql --corrupt none --unit 7",
    "own seeds": "--algo iql --corrupt none --seed 0 --corruption-seed 4294967296",
    "steps": "--algo iql --corrupt none --steps 123",
    "quick": "--algo iql --corrupt none --quick",
    "references": "--algo iql --corrupt none --ref-min 0.1 --ref-max 1234.56789012",
    "reference below 0": "--algo iql --corrupt none --ref-min=-12.5 --ref-max 100",
    "reference close below 0": "--algo iql --corrupt none --ref-min=-1e-05 --ref-max 100",
    "the table's references": "--algo iql --corrupt none --ref-min=-20.272305 --ref-max 3234.3",
    "options": "--algo riql --corrupt none --riql.alpha 0.1 --riql.critics 3 --riql.delta 0.1111111111111111",
    "option below 0": "--algo riql --corrupt none --riql.target-min=-5",
    "option far below 0": "--algo riql --corrupt none --riql.target-min=-1e20",
    "hidden": "--algo iql --corrupt none --iql.hidden 8",
    "three layers": "--algo iql --corrupt none --iql.hidden 8,4,2 --iql.learning-rate 1e-3",
    "default option said": "--algo iql --corrupt none --iql.expectile 0.7 --rho 0.05 --sam",
    "preset": "--algo riql --corrupt obs-random --preset riql-oracle",
    "preset and options": "--algo riql --corrupt obs-random --preset riql-oracle --riql.alpha 0.11 --riql.beta 2",
    "preset overruled by a default": "--algo riql --corrupt obs-random --preset riql-oracle --riql.delta 1",
    "preset without a row": "--algo riql --corrupt none --preset riql-oracle --riql.alpha 0.3",
    "class": "--algo corruptbench.algos.bc:BC --corrupt corruptbench.corruptions.noise:ActionNoise:rate=0.2,clip=true",
    "class's option": "--algo corruptbench.algos.bc:BC --corrupt none --corruptbench.algos.bc:BC.batch-size 8",
    "all": "--algo riql --sam --sam-on V --rho 0.2 --corrupt act-random:rate=0.4,clip=true --seed 3 "
    "--corruption-seed 4 --steps 9 --ref-min 1 --ref-max 2 --riql.hidden 4,4",
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_the_command_repeats_the_run_whatever_it_was_asked_as(arguments, small_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("hopper small.hdf5").symlink_to(small_file)

    def planned(words):
        found = []
        with monkeypatch.context() as patch:
            patch.setattr(verb, "run", lambda options, arguments: found.append(plan(verb.request_of(options))) or 0)
            assert main(words) == 0
        return found[0]

    asked = planned(["run", *shlex.split(arguments), "--dataset", "file:hopper small.hdf5", "--env", "Hopper-v5"])
    command = shlex.split(asked.command)
    assert command[:2] == ["corruptbench", "run"]
    again = planned(command[1:])
    assert again.spec == asked.spec
    assert again.spec.run_id == asked.spec.run_id
    assert again.command == asked.command
    assert again.options == asked.options


# Damage


DAMAGES = [(f, d) for f in sorted(FILES - {"manifest.json"}) for d in ("flipped", "shortened", "longer", "removed")]


@pytest.mark.parametrize(("name", "damage"), [pair for pair in DAMAGES if pair != ("record.json", "removed")])
def test_a_second_run_names_the_damaged_file(name, damage, copied, small_file, capsys):
    path = copied / name
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    path.unlink()
    if damage != "removed":
        path.write_bytes({"flipped": flipped, "shortened": data[:-1], "longer": data + b"\n"}[damage])
    before = content(copied)
    assert main(arguments_for(small_file, copied.parent)) == 4
    line = capsys.readouterr().err.splitlines()[-1]
    if damage == "removed":
        assert line == f"corruptbench run: {path}: the manifest names it and it is missing"
    else:
        manifest = copied / "manifest.json"
        assert line == f"corruptbench run: {path}: its content is not what {manifest} says was written"
    assert content(copied) == before


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "null", "{}", '{"record.json": 3}', '{"record.json": {}}', '{"a": NaN}']
)
def test_a_second_run_names_a_damaged_manifest(text, copied, small_file, capsys):
    path = copied / "manifest.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert main(arguments_for(small_file, copied.parent)) == 4
    assert re.fullmatch(rf"corruptbench run: {re.escape(str(path))}: .+", capsys.readouterr().err.splitlines()[-1])


def edited(record, *keys, value):
    """A record with one value exchanged, as JSON."""
    record = json.loads(json.dumps(record))
    inner = record
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return json.dumps(record)


RECORD_DAMAGE = {
    "not JSON": lambda record: json.dumps(record)[:-9],
    "empty": lambda record: "",
    "list": lambda record: "[]",
    "number": lambda record: "3",
    "not a number": lambda record: json.dumps(record).replace('"step": 40', '"step": NaN'),
    "key twice": lambda record: json.dumps(record)[:-1] + ', "step": 40}',
    "other steps in the spec": lambda record: edited(record, "spec", "steps", value=41),
    "other rate in the spec": lambda record: edited(record, "spec", "corruption", "rate", value=0.2),
    "other environment in the spec": lambda record: edited(record, "spec", "environment", "id", value="Hopper-v4"),
    "other id": lambda record: edited(record, "run_id", value="0" * 16),
    "unknown outcome": lambda record: edited(record, "outcome", value="fine"),
    "unknown key in the spec": lambda record: edited(record, "spec", "luck", value=1),
    "spec of another kind": lambda record: edited(record, "spec", value=[]),
    "optimizer of another kind": lambda record: edited(record, "spec", "optimizer", value=None),
    "no spec": lambda record: json.dumps({k: v for k, v in record.items() if k != "spec"}),
    "no outcome": lambda record: json.dumps({k: v for k, v in record.items() if k != "outcome"}),
    "no evaluation": lambda record: json.dumps({k: v for k, v in record.items() if k != "evaluation"}),
}


@pytest.mark.parametrize("damage", RECORD_DAMAGE.values(), ids=RECORD_DAMAGE)
def test_a_damaged_record_is_named(damage, finished, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(damage(record_of(finished)))
    with pytest.raises(IntegrityError, match=rf"^{re.escape(str(path))}: "):
        RunRecord.read(path)


@pytest.mark.parametrize("name", ["policy", "agent"])
@pytest.mark.parametrize("damage", ["empty", "shortened", "header", "missing", "text"])
def test_damaged_weights_are_named(name, damage, copied):
    path = copied / f"{name}.safetensors"
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        header = data.replace(b'"corruptbench"', b'"corruptbemch"', 1)
        damaged = {"empty": b"", "shortened": data[:-4], "header": header, "text": b"{}"}[damage]
        assert damaged != data
        path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match=rf"^{re.escape(str(path))}: "):
        load_weights(path)


# Runs that diverge


def test_a_diverging_run_leaves_a_whole_record_and_is_found_again(small_file, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO)
    arguments = arguments_for(small_file, tmp_path, "--iql.learning-rate", "1e30")
    assert main(arguments) == 1
    folder, out = only_folder(tmp_path), capsys.readouterr().out
    record = record_of(folder)
    assert record["outcome"] == "diverged"
    assert re.fullmatch(r"step 40: the loss of \w+ is (nan|inf)", record["reason"])
    assert f"diverged: {record['reason']}" in out.splitlines()
    assert (record["evaluation"], record["score"]) == (None, None)
    assert record["step"] == 40
    assert record["corruption"]["sha256"]
    assert RunRecord.read(folder / "record.json").outcome == "diverged"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest.keys() == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert manifest.keys() == {"record.json", "timing.json"}

    before = content(folder)
    assert main(arguments) == 1
    assert f"{folder} holds this run already (diverged); --force does it again" in caplog.messages
    assert content(folder) == before
    assert capsys.readouterr().out == out
    assert main([*arguments, "--force"]) == 1
    assert (folder / "record.json").read_bytes() == before["record.json"][0]


def test_an_action_that_is_not_finite_is_a_divergence(small_file, tmp_path, monkeypatch):
    monkeypatch.setattr(attempt.Learner, "check", lambda *_: None)
    planned = plan(request_for(small_file, algo_options={**TINY, "learning_rate": 1e30}))
    record = execute(planned, tmp_path, Setup(engine="eager"))
    assert (record.outcome, record.score) == ("diverged", None)
    assert record.reason == "the policy returned an action that is not finite, after 0 steps of evaluation"
