"""Submissions: each broken one is refused for its own reason, the sound one is accepted, in whatever order."""

import dataclasses
import json
import math
import random
import re
import shutil
import statistics
from pathlib import Path

import pytest
from test_report import record as made_up

from corruptbench import settings
from corruptbench.attempt import Setup
from corruptbench.cli import main
from corruptbench.records import RunRecord, run_folders
from corruptbench.registry import ALGORITHMS, load_plugin
from corruptbench.request import RunRequest
from corruptbench.rng import episode_seeds
from corruptbench.run import execute, plan
from corruptbench.store import MANIFEST, pretty, sha256_file
from corruptbench.submission import data, reproduction
from corruptbench.submission.reading import Run, Submission, read_submission
from corruptbench.submission.report import Report
from corruptbench.submission.reproduction import reproduce, request_of
from corruptbench.submission.results import VARIED
from corruptbench.submission.rules import RULES, reasons
from corruptbench.suites import Suite, suite
from corruptbench.tables.reading import LEADERBOARD

SMALL = {"hidden": (8, 8), "batch_size": 32}
MINI = """
version: 1
datasets: [hopper-replay]
corruptions: [none, rew-random]
algorithms: [iql]
units: 3
steps: 40
"""
MICRO = MINI.replace("none, rew-random", "none").replace("units: 3", "units: 1")


@pytest.fixture(autouse=True)
def suites(tmp_path_factory, monkeypatch):
    """Two very small suites beside the benchmark's own, and the number of threads as it was."""
    folder = tmp_path_factory.mktemp("configs")
    shutil.copytree(settings.CONFIGS / "presets", folder / "presets")
    (folder / "suites").mkdir()
    for name, text in (("mini", MINI), ("micro", MICRO)):
        (folder / "suites" / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(settings, "CONFIGS", folder)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def trained(out, algo, corrupt="none", unit=0, **changes):
    """A run of the suite ``mini``, or one that differs from it; the name of its folder."""
    options = {**SMALL, **changes.pop("options", {})}
    request = RunRequest(algo, corrupt, **{"algo_options": options, "unit": unit, "steps": 40, **changes})
    return execute(plan(request, out), out, Setup(engine="eager")).run_id


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A whole submission: two algorithms in two cells, two units each. Nothing may change it."""
    out = tmp_path_factory.mktemp("sound")
    for algo in ("bc", "iql"):
        for corrupt in ("none", "rew-random"):
            for unit in (0, 1):
                trained(out, algo, corrupt, unit)
    return out


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Runs that somebody may hand in by mistake, in the place of iql's second unit on clean data."""
    out = tmp_path_factory.mktemp("others")
    place = {"algo": "iql", "unit": 1}
    return out, {
        "configuration": trained(out, **place, options={"expectile": 0.9}),
        "steps": trained(out, **place, steps=30),
        "environment": trained(out, **place, env="Hopper-v4"),
        "references": trained(out, **place, ref_min=0.0, ref_max=10.0),
        "threat": trained(out, **place, corrupt="act-random"),
        "own seeds": trained(out, "iql", unit=None, train_seed=1, corruption_seed=2),
        "longer": trained(out, **place, steps=80),
    }


@pytest.fixture
def copied(sound, tmp_path):
    """A copy of the sound submission, to be broken."""
    return Path(shutil.copytree(sound, tmp_path / "submission"))


def records(folder):
    """What lies in a submission: (algorithm, threat model, unit) -> folder and record."""
    found = [(run, RunRecord.read(run / "record.json")) for run in run_folders(folder)]
    specs = [(run, record, record.spec) for run, record in found]
    return {(s.algorithm.name, s.corruption.name, s.unit): (run, record) for run, record, s in specs}


def changed(folder, key, spec=(), *, curve=True, policy=False, **values):
    """Exchanges parts of a spec and of its record, as somebody would who knows the files; the new folder.

    What remains is record and curve, as in ``leaderboard/records``, or with ``policy`` a manifest that agrees.
    """
    run, record = records(folder)[key]
    made = dataclasses.replace(record, spec=dataclasses.replace(record.spec, **dict(spec)), **values)
    target = run.rename(folder / made.run_id)
    (target / "record.json").write_text(made.text())
    for path in target.iterdir():
        kept = path.name == "record.json" or (path.name == "curve.csv" and curve)
        if not kept and not (policy and path.suffix == ".safetensors"):
            path.unlink()
    if policy:
        signed(target)
    return target


def signed(folder):
    """Writes a manifest of what lies there."""
    (folder / MANIFEST).unlink(missing_ok=True)
    files = {p.name: {"sha256": sha256_file(p), "size": p.stat().st_size} for p in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(pretty(files))


def scored(record, returns):
    """The parts of a record that say how its episodes ended, all of one mind."""
    mean = sum(returns) / len(returns)
    score = {"return_mean": mean, "normalized_mean": record.spec.environment.normalized(mean)}
    return {"evaluation": {**record.evaluation, "returns": returns}, "score": score}


def validated(folder, capsys, *more, name="mini"):
    """Exit code and lines of standard output."""
    code = main(["leaderboard", "validate", str(folder), "--suite", name, *more])
    return code, capsys.readouterr().out.splitlines()


IQL = ("iql", "none", 1)
"""The run that is broken, where one is."""


def record_of(folder, key=IQL):
    return records(folder)[key][1]


# The sound one


def test_a_sound_submission_is_accepted(sound, capsys):
    """bc reads no rewards, so its runs on clean data and on corrupted rewards are the same, and no copies."""
    found = records(sound)
    assert found["bc", "none", 0][1].evaluation == found["bc", "rew-random", 0][1].evaluation
    code, lines = validated(sound, capsys)
    assert (code, lines) == (
        0,
        [
            "bc: 4 runs, units 0 to 1, 0 failed or diverged; incomplete: 5 units are needed for a rank",
            "iql: 4 runs, units 0 to 1, 0 failed or diverged; incomplete: 5 units are needed for a rank",
            f"{sound}: 8 runs for mini-1, accepted, tier: reported",
        ],
    )


def test_a_diverged_run_belongs_in_the_submission_and_counts(copied, capsys):
    run, _ = records(copied)[IQL]
    ended = {"outcome": "diverged", "reason": "step 7: the loss of V is nan", "step": 7}
    changed(copied, IQL, curve=False, evaluation=None, score=None, **ended)
    code, lines = validated(copied, capsys)
    assert code == 0
    assert lines[1].startswith("iql: 4 runs, units 0 to 1, 1 failed or diverged;")
    shutil.rmtree(run)
    code, lines = validated(copied, capsys)
    assert (code, lines[0]) == (3, "iql, hopper-replay, none: units 0 to 1 are needed, and missing is 1")


def test_records_and_curves_alone_are_accepted(copied, capsys):
    for key in records(copied):
        changed(copied, key)
    assert validated(copied, capsys)[0] == 0


# The broken ones: each edit returns where, rule and what of the one reason


def without_a_cell(folder, _):
    for unit in (0, 1):
        shutil.rmtree(records(folder)["iql", "rew-random", unit][0])
    return "iql, hopper-replay, rew-random", "cells", "no run of this cell of mini is there"


def with_a_gap(folder, _):
    shutil.rmtree(records(folder)["iql", "none", 0][0])
    return "iql, hopper-replay, none", "units", "units 0 to 1 are needed, and missing is 0"


def with_a_unit_left_out(folder, _):
    shutil.rmtree(records(folder)["bc", "rew-random", 1][0])
    return "bc, hopper-replay, rew-random", "units", "units 0 to 1 are needed, and missing is 1"


def exchanged(name, *, beside=False):
    """Another run in the place of iql's second unit on clean data, or beside it; the name of its folder."""

    def edit(folder, others):
        source, runs = others
        if not beside:
            shutil.rmtree(records(folder)[IQL][0])
        shutil.copytree(source / runs[name], folder / runs[name])
        return runs[name]

    return edit


def of_another_configuration(folder, others):
    run = exchanged("configuration")(folder, others)
    return run, "configuration", "its iql.expectile is 0.9, and 3 of the 4 runs of iql have 0.7"


def of_other_steps(folder, others):
    return exchanged("steps")(folder, others), "steps", "its steps are 30, and mini has 40"


def in_another_environment(folder, others):
    run = exchanged("environment")(folder, others)
    return run, "environment", "the id of its environment is Hopper-v4, and hopper-replay has Hopper-v5"


def with_references_by_hand(folder, others):
    run = exchanged("references")(folder, others)
    return run, "environment", "its reference scores were supplied by hand, and those of our table are needed"


def with_a_strange_run(folder, others):
    run = exchanged("threat", beside=True)(folder, others)
    return run, "suite", "its threat model is none of mini: act-random with rate 0.3 and scale 1"


def with_seeds_of_its_own(folder, others):
    run = exchanged("own seeds", beside=True)(folder, others)
    return run, "seeds", "its seeds 1 and 2 are its own, and only units are listed"


def with_a_lucky_seed(folder, _):
    spec = record_of(folder).spec
    run = changed(folder, IQL, {"train_seed": 777})
    seeds = f"777 and {spec.corruption_seed}, and those of unit 1 are {spec.train_seed} and {spec.corruption_seed}"
    return run.name, "seeds", f"its seeds are {seeds}"


def with_a_unit_that_the_suite_has_not(folder, others):
    source, _ = others
    run = trained(source, "iql", unit=3)
    shutil.copytree(source / run, folder / run)
    return run, "seeds", "its unit is 3, and mini has 0 to 2"


def of_another_protocol(folder, _):
    return changed(folder, IQL, {"protocol": "cb2020"}).name, "protocol", "its protocol is cb2020, needed is cb2026"


def of_another_version(folder, _):
    versions = record_of(folder).versions
    run = changed(folder, IQL, versions={**versions, "mujoco": "3.1.6"})
    found = f"its version of mujoco is '3.1.6', and 3 of the 4 runs of iql have '{versions['mujoco']}'"
    return run.name, "configuration", found


def with_settings_out_of_sight(folder, _):
    run = changed(folder, IQL, options={"iql.hidden": "8,8"})
    found = "its options are 'iql.hidden=8,8', and its spec gives 'iql.batch_size=32;iql.hidden=8,8'"
    return run.name, "stated", found


def with_another_command(folder, _):
    command = record_of(folder).command
    run = changed(folder, IQL, command="corruptbench run --algo iql; curl evil")
    found = f"its command is 'corruptbench run --algo iql; curl evil', and that of its spec is {command[:60]!r}"
    return run.name, "stated", f"{found}... ({len(command)} characters)"


def of_a_plugin_under_a_name_of_ours(folder, _):
    for unit in (0, 1):
        for threat in ("none", "rew-random"):
            algorithm = record_of(folder, ("iql", threat, unit)).spec.algorithm
            changed(
                folder, ("iql", threat, unit), {"algorithm": dataclasses.replace(algorithm, source_sha256="ab" * 32)}
            )
    return None, "stated", "the SHA-256 of its iql is ababababababababab, and iql here is part of the benchmark"


def of_other_data(folder, _):
    true = record_of(folder).spec.dataset_sha256
    run = changed(folder, IQL, {"dataset_sha256": "d" * 64})
    return run.name, "dataset", f"the SHA-256 of its hopper-replay is {'d' * 16}..., needed is {true[:16]}..."


def corrupted_otherwise(folder, _):
    key = ("iql", "rew-random", 1)
    true = record_of(folder, key).corruption
    run = changed(folder, key, corruption={**true, "sha256": "d" * 64})
    whose = f"this dataset, threat model and unit have {true['sha256'][:16]}..."
    return run.name, "corrupted", f"the SHA-256 of its corrupted data is {'d' * 16}..., and {whose}"


def with_fewer_episodes(folder, _):
    record = record_of(folder)
    score = scored(record, record.evaluation["returns"][:99])
    return changed(folder, IQL, **score).name, "episodes", "it has returns of 99 episodes, needed are 100"


def with_chosen_episodes(folder, _):
    evaluation = {**record_of(folder).evaluation, "seeds": [5, *episode_seeds(100)[1:]]}
    run = changed(folder, IQL, evaluation=evaluation)
    return run.name, "episodes", "the seeds of its episodes are not those of episodes 0 to 99"


def with_another_mean(folder, _):
    returns = record_of(folder).evaluation["returns"]
    run = changed(folder, IQL, score={"return_mean": 3000.0, "normalized_mean": 92.8})
    return run.name, "scores", f"its return_mean is 3000.0, and its returns give {sum(returns) / 100!r}"


def with_another_normalized_score(folder, _):
    record = record_of(folder)
    run = changed(folder, IQL, score={**record.score, "normalized_mean": 92.8})
    true = scored(record, record.evaluation["returns"])["score"]["normalized_mean"]
    return run.name, "scores", f"its normalized_mean is 92.8, and its returns give {true!r}"


def without_a_score(folder, _):
    run = changed(folder, IQL, evaluation=None, score=None)
    return run.name, "outcomes", "its outcome is ok, and it has no score"


def failed_with_a_score(folder, _):
    run = changed(folder, IQL, outcome="failed", reason="it was slow")
    return run.name, "outcomes", "its outcome is failed, and it has a score"


def of_the_best_checkpoint(folder, _):
    return changed(folder, IQL, step=30).name, "last-checkpoint", "its policy is that of step 30, and its steps are 40"


def with_a_curve_of_the_best_checkpoint(folder, _):
    run = changed(folder, IQL)
    curve = run / "curve.csv"
    curve.write_text(curve.read_text().replace("\n40,", "\n30,"))
    return f"{run.name}/curve.csv", "last-checkpoint", "it ends at step 30, and its steps are 40"


def with_better_returns_than_its_curve(folder, _):
    record = record_of(folder)
    returns = [value + 100 for value in record.evaluation["returns"]]
    run = changed(folder, IQL, **scored(record, returns))
    mean = sum(returns[:10]) / 10
    found = f"a mean return of {mean - 100:.4f}, and the first 10 episodes of the record in {mean:.4f}"
    return f"{run.name}/curve.csv", "last-checkpoint", f"it ends in {found}"


def copied_from(folder, key, *, shuffled=False):
    """Another run's episodes in the place of iql's second unit; the names of both."""
    source, other = records(folder)[key]
    evaluation = {**other.evaluation}
    if shuffled:
        evaluation["returns"] = sorted(evaluation["returns"])
        evaluation["lengths"] = sorted(evaluation["lengths"])
    score = scored(other, evaluation["returns"])["score"]
    return changed(folder, IQL, curve=False, evaluation=evaluation, score=score), source


def pair(one, other):
    first, second = sorted((one.name, other.name))
    return first, second


def copied_from_another_unit(folder, _):
    first, second = pair(*copied_from(folder, ("iql", "none", 0)))
    return first, "copies", f"it has the same returns as {second}"


def copied_from_another_unit_in_another_order(folder, _):
    first, second = pair(*copied_from(folder, ("iql", "none", 0), shuffled=True))
    return first, "copies", f"it has the same returns as {second}"


def copied_from_clean_data(folder, _):
    """iql reads rewards, so corrupted ones give another policy."""
    key = ("iql", "rew-random", 1)
    source, clean = records(folder)[IQL]
    run = changed(folder, key, curve=False, evaluation=clean.evaluation, score=clean.score)
    first, second = pair(run, source)
    return first, "copies", f"it has the same returns as {second}"


def with_copied_lengths(folder, _):
    """The returns were touched up, and everything else forgotten."""
    evaluation, other = (record_of(folder, key).evaluation for key in (IQL, ("iql", "none", 0)))
    first, second = pair(
        changed(folder, IQL, evaluation={**evaluation, "lengths": list(range(10, 110))}),
        changed(folder, ("iql", "none", 0), evaluation={**other, "lengths": list(range(10, 110))}),
    )
    return first, "copies", f"it has the same lengths as {second}"


def with_a_copied_policy(folder, _):
    run, other = (records(folder)[key][0] for key in (IQL, ("iql", "none", 0)))
    shutil.copy(other / "policy.safetensors", run / "policy.safetensors")
    signed(run)
    first, second = pair(run, other)
    return first, "copies", f"it has the same policy as {second}"


def copied_from_the_benchmark(folder, _):
    """Of a shipped run whose episodes differ in length, so that both give it away."""
    records = (RunRecord.read(path) for path in sorted((LEADERBOARD / "records").glob("*/record.json")))
    other = next(r for r in records if r.evaluation and len(set(r.evaluation["lengths"])) >= VARIED)
    run = changed(folder, IQL, curve=False, evaluation=other.evaluation, score=other.score)
    return run.name, "copies", f"it has the same lengths and returns as {other.run_id}, which the benchmark ships"


BROKEN = [
    without_a_cell, with_a_gap, with_a_unit_left_out, of_another_configuration, of_other_steps, in_another_environment,
    with_references_by_hand, with_a_strange_run, with_seeds_of_its_own, with_a_lucky_seed,
    with_a_unit_that_the_suite_has_not, of_another_protocol, of_another_version, with_settings_out_of_sight,
    with_another_command, of_a_plugin_under_a_name_of_ours, of_other_data, corrupted_otherwise, with_fewer_episodes,
    with_chosen_episodes, with_another_mean, with_another_normalized_score, without_a_score, failed_with_a_score,
    of_the_best_checkpoint, with_a_curve_of_the_best_checkpoint, with_better_returns_than_its_curve,
    copied_from_another_unit, copied_from_another_unit_in_another_order, copied_from_clean_data, with_copied_lengths,
    with_a_copied_policy,
    copied_from_the_benchmark,
]  # fmt: skip


@pytest.mark.parametrize("edit", BROKEN)
def test_a_broken_submission_is_refused_for_its_own_reason(edit, copied, others, capsys):
    where, rule, what = edit(copied, others)
    code, lines = validated(copied, capsys, "--json")
    found = json.loads("\n".join(lines))
    assert {(reason["rule"], reason["what"]) for reason in found["reasons"]} == {(rule, what)}
    assert where is None or [reason["where"] for reason in found["reasons"]] == [where]
    assert (code, found["accepted"], found["tier"], found["damage"]) == (3, False, None, [])


def test_every_reason_is_told_at_once(copied, others, capsys):
    """One for each of four edits, in the order of the runs; the files stay as they are."""
    edits = [with_a_unit_left_out, with_a_strange_run, with_seeds_of_its_own, with_another_mean]
    edits = [edit(copied, others) for edit in edits]
    code, lines = validated(copied, capsys)
    assert lines[:-1] == sorted(f"{where}: {what}" for where, _, what in edits)
    assert (code, lines[-1]) == (3, f"{copied}: 9 runs for mini-1, refused for 4 reasons")


@pytest.mark.parametrize("damage", ["a changed record", "no record", "a link", "a pickle beside it", "no manifest"])
def test_a_damaged_file_ends_with_4_and_is_named_beside_the_reasons(damage, copied, sound, capsys):
    with_a_unit_left_out(copied, None)
    path = records(copied)[IQL][0]
    file = path / "record.json"
    if damage == "a changed record":
        file.write_text(file.read_text().replace('"step": 40', '"step": 41'))
        line = f"{path.name}/record.json: its content is not what {path.name}/manifest.json says was written"
    elif damage == "no record":
        file.unlink()
        line = f"{path.name}/record.json: the manifest names it and it is missing"
    elif damage == "a link":
        shutil.rmtree(path)
        path.symlink_to(sound / path.name)
        line = f"{path.name}: it is a link or lies behind one, and none is followed"
    elif damage == "a pickle beside it":
        (path / "policy.pkl").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
        line = f"{path.name}/policy.pkl: {path.name}/manifest.json does not name it"
    else:
        (path / MANIFEST).unlink()
        line = f"{path.name}/manifest.json: it is missing"
    code, lines = validated(copied, capsys)
    assert (code, lines[0]) == (4, line)
    assert "bc, hopper-replay, rew-random: units 0 to 1 are needed, and missing is 1" in lines
    assert lines[-1].endswith("1 damaged file")


def test_a_run_under_the_name_of_another_is_damage(copied, capsys):
    run = records(copied)[IQL][0]
    shutil.copytree(run, copied / ("0" * 16))
    code, lines = validated(copied, capsys)
    line = f"{'0' * 16}/record.json: it is the record of run {run.name}, and its folder is {'0' * 16}"
    assert (code, lines[0]) == (4, line)


def test_the_order_of_files_is_without_effect(copied, others, capsys, monkeypatch):
    with_a_strange_run(copied, others)
    of_another_version(copied, others)
    expected = validated(copied, capsys)
    listed = Path.iterdir
    for seed in range(3):

        def shuffled(path, seed=seed):
            names = list(listed(path))
            random.Random(seed).shuffle(names)
            return iter(names)

        monkeypatch.setattr(Path, "iterdir", shuffled)
        assert validated(copied, capsys) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--suite", "mini"], "nowhere: there is no such folder"),
        ([".", "--suite", "mini"], ".: no run lies in it, needed are folders with a record.json"),
        ([".", "--suite", "nimi"], "unknown suite 'nimi': known are micro, mini (did you mean 'mini'?)"),
        ([".", "--suite", "mini", "--reproduce", "0"], "--reproduce is 0, allowed is 1 and above"),
        ([".", "--suite", "mini", "--sample-seed", "3"], "--sample-seed belongs to --reproduce N: say how many runs"),
        (
            [".", "--suite", "mini", "--reproduce", "1", "--out", "."],
            "--out .: it is the submission, which would be overwritten",
        ),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard", "validate", *arguments]) == 2
    assert capsys.readouterr().err == f"corruptbench leaderboard: {message}\n"


# What the command line above does not reach: attacks and tracks


def unfinished(corrupt, algo="iql", unit=0, sha256=None, cpu="AVX2", **changes):
    """A run that failed, as a record without scores: its spec and the hash of its data are what is looked at."""
    planned = plan(RunRequest(algo, corrupt, unit=unit, steps=40, **changes))
    made_on = {"device": "cpu", "engine": "eager", "population": 1, "threads": 1, "cpu": cpu}
    parts = {"corruption": {"sha256": sha256, "audit": {}}, "evaluation": None, "score": None, "execution": made_on}
    versions = dict.fromkeys(("corruptbench", "torch", "numpy", "gymnasium", "mujoco"), "1")
    ended = {"outcome": "failed", "step": 0, "reason": "it was stopped", "versions": versions}
    return RunRecord(planned.spec, planned.command, planned.options, **ended, **parts)


def submission_of(selected, *made):
    return Submission(selected, tuple(Run(Path(r.run_id), r, r.spec.corruption.name) for r in made), ())


ATTACKS = Suite("attacks", 1, ("hopper-replay",), ("obs-adv", "act-adv"), ("bc", "iql"), units=1, steps=40)


def hashes(*made):
    return sorted(what for _, what in data.corrupted(submission_of(ATTACKS, *made)))


def test_attacked_data_agree_where_software_and_processor_do():
    one, other = "a" * 64, "b" * 64
    bc = unfinished("obs-adv", "bc", sha256=one)
    riql = unfinished("obs-adv", "riql", sha256=one)
    assert hashes(bc, riql, unfinished("obs-adv", sha256=one)) == []
    assert hashes(bc, riql, unfinished("obs-adv", sha256=other, cpu="AVX512")) == []
    newer = unfinished("obs-adv", sha256=other)
    assert hashes(bc, riql, dataclasses.replace(newer, versions={**newer.versions, "corruptbench": "9.0"})) == []
    assert hashes(bc, riql, unfinished("obs-adv", sha256=other)) == [
        f"the SHA-256 of its corrupted data is {'b' * 16}..., and 2 of the 3 runs of this cell and unit have "
        f"{'a' * 16}..."
    ]
    assert hashes(bc, unfinished("act-adv", sha256=one)) == [
        f"the SHA-256 of its corrupted data is {'a' * 16}..., which is that of hopper-replay, act-adv, unit 0"
    ]


def test_attacked_data_agree_with_the_shipped_records():
    folder = LEADERBOARD / "records"
    shipped = [RunRecord.read(path / "record.json") for path in run_folders(folder)]
    attacks = [r for r in shipped if r.spec.corruption.surrogate_sha256 and not r.spec.corruption.options]
    record = next(r for r in attacks if r.spec.unit == 0)  # the one unit of the suite
    spec = dataclasses.replace(record.spec, algorithm=dataclasses.replace(record.spec.algorithm, name="mine"))
    selected = dataclasses.replace(ATTACKS, corruptions=(spec.corruption.name,), datasets=(spec.dataset,))
    mine = dataclasses.replace(record, spec=spec)
    assert list(data.corrupted(submission_of(selected, mine))) == []
    edited = dataclasses.replace(mine, corruption={**mine.corruption, "sha256": "d" * 64})
    ((_, what),) = data.corrupted(submission_of(selected, edited))
    true = record.corruption["sha256"][:16]
    assert what == f"the SHA-256 of its corrupted data is {'d' * 16}..., and the shipped records have {true}..."


def test_an_attack_needs_the_shipped_surrogate():
    record = unfinished("obs-adv", sha256="a" * 64)
    assert list(data.surrogate(submission_of(ATTACKS, record))) == []
    corruption = dataclasses.replace(record.spec.corruption, surrogate_sha256="e" * 64)
    edited = dataclasses.replace(record, spec=dataclasses.replace(record.spec, corruption=corruption))
    ((_, what),) = data.surrogate(submission_of(ATTACKS, edited))
    needed = record.spec.corruption.surrogate_sha256[:16]
    assert what == f"the SHA-256 of the surrogate that it was attacked with is {'e' * 16}, needed is {needed}"


def test_of_a_dataset_from_elsewhere_all_runs_saw_the_same():
    """The same content, and for attacks the same surrogate, as most runs have."""
    there = {"dataset": "d4rl:hopper-medium-v2", "dataset_sha256": "a" * 64}
    made = [unfinished("obs-adv", algo, sha256="a" * 64) for algo in ("bc", "iql", "riql")]
    made = [dataclasses.replace(record, spec=dataclasses.replace(record.spec, **there)) for record in made]
    corruption = dataclasses.replace(made[0].spec.corruption, surrogate_sha256="e" * 64)
    usual = made[0].spec.corruption.surrogate_sha256
    for rule, odd, what in (
        (data.dataset, {"dataset_sha256": "d" * 64}, f"{there['dataset']} is {'d' * 16}..., needed is {'a' * 16}..."),
        (data.surrogate, {"corruption": corruption}, f"attacked with is {'e' * 16}, needed is {usual[:16]}"),
    ):
        assert list(rule(submission_of(ATTACKS, *made))) == []
        edited = dataclasses.replace(made[0], spec=dataclasses.replace(made[0].spec, **odd))
        ((where, found),) = rule(submission_of(ATTACKS, edited, *made[1:]))
        assert (where, found.endswith(what)) == (edited.run_id, True)


def test_a_track_takes_the_universal_runs_of_cells_that_its_preset_leaves_alone():
    """riql-oracle has rows for corrupted cells; on clean data it is the universal run."""
    selected = Suite("tracks", 1, ("hopper-replay",), ("none", "obs-random", "act-random"), ("riql",), 1, 40)
    clean = unfinished("none", "riql", preset="riql-oracle")
    oracle = [unfinished(threat, "riql", preset="riql-oracle") for threat in ("obs-random", "act-random")]
    usual = [unfinished(threat, "riql") for threat in ("obs-random", "act-random")]

    def rows(*made):
        submission = submission_of(selected, *made)
        return {entry.name: len(entry.runs) for entry in submission.entries}, reasons(submission)

    assert rows(clean, *oracle) == ({"riql (oracle)": 3}, [])
    assert rows(clean, *usual) == ({"riql": 3}, [])
    assert rows(clean, *oracle, *usual) == ({"riql": 3, "riql (oracle)": 3}, [])
    ((where, rule, _),) = rows(*oracle)[1]
    assert (where, rule) == ("riql (oracle), hopper-replay, none", "cells")
    settings_of_its_own = {"algo_options": {"expectile": "0.9"}, "preset": "riql-oracle"}
    odd = unfinished("act-random", "riql", **settings_of_its_own)
    ((where, rule, _),) = rows(clean, oracle[0], odd)[1]
    assert rule == "configuration"


def test_a_track_takes_the_clean_runs_of_its_own_settings():
    """Two learners of a suite are riql; the guest's clean runs are those of the one that it is like."""
    learners = ("riql", "riql:reset_every=20")
    selected = Suite("tracks", 1, ("hopper-replay",), ("none", "obs-random"), learners, 1, 40)
    own = {"riql": {}, "riql riql.reset_every=20": {"algo_options": {"reset_every": 20}}}
    made = [unfinished(threat, "riql", **options) for options in own.values() for threat in selected.threats]
    for name, options in own.items():
        guest = unfinished("obs-random", "riql", preset="riql-oracle", **options)
        submission = submission_of(selected, guest, *made)
        assert {entry.name: len(entry.runs) for entry in submission.entries} == {
            **dict.fromkeys(own, 2),
            "riql (oracle)": 2,
        }
        assert reasons(submission) == []
        (oracle,) = (entry for entry in submission.entries if entry.track == "oracle")
        assert {run.label for run in oracle.runs} == {name}


def test_a_track_is_that_of_a_preset():
    record = unfinished("none", "iql")
    claimed = dataclasses.replace(record, spec=dataclasses.replace(record.spec, track="oracle"))
    selected = Suite("tracks", 1, ("hopper-replay",), ("none",), ("iql",), 1, 40)
    (reason,) = reasons(submission_of(selected, claimed))
    assert reason[1:] == ("stated", "its track is oracle, and iql has no such settings for this cell")


def test_an_optimizer_is_what_its_row_will_be_called():
    """SAM that calls itself adam would stand in the row of the plain algorithm."""
    record = unfinished("none", optimizer="sam")
    hidden = dataclasses.replace(record.spec.optimizer, name="adam")
    claimed = dataclasses.replace(record, spec=dataclasses.replace(record.spec, optimizer=hidden))
    selected = Suite("tracks", 1, ("hopper-replay",), ("none",), ("iql",), 1, 40)
    (reason,) = reasons(submission_of(selected, claimed))
    assert reason.rule == "stated"
    assert reason.what.startswith("its optimizer cannot be: ")


def test_an_optimizer_with_settings_of_its_own_is_stated_and_can_be_trained_again():
    selected = Suite("tracks", 1, ("hopper-replay",), ("none",), ("iql",), 1, 40)
    record = unfinished("none", optimizer="gsam", optimizer_options={"alpha": 0.2}, rho=0.1)
    assert record.options["gsam.alpha"] == "0.2"
    submission = submission_of(selected, record)
    assert reasons(submission) == []
    assert plan(request_of(submission.runs[0])).spec == record.spec
    other = dataclasses.replace(record.spec.optimizer, options={"alpha": 0.2, "beta": 1})
    claimed = dataclasses.replace(record, spec=dataclasses.replace(record.spec, optimizer=other))
    (reason,) = reasons(submission_of(selected, claimed))
    assert reason.what.startswith("its optimizer cannot be: --optimizer gsam: unknown option 'beta'")


# Suites that name several settings of one algorithm

LEARNERS = {
    "iql": "iql",
    "iql+sam": "iql+sam",
    "iql+sam:rho=0.1": "iql+sam rho=0.1",
    "iql+sam:on=V": "iql+sam on V",
    "iql+gsam:alpha=0.2": "iql+gsam gsam.alpha=0.2",
    "iql:layer_norm=true": "iql iql.layer_norm=true",
    "iql:layer_norm=true+sam": "iql+sam iql.layer_norm=true",
}
"""As the suite spells them, and as tables label them."""
VARIANTS = Suite("variants", 1, ("hopper-replay",), ("none", "rew-random"), tuple(LEARNERS), units=2, steps=40)


def asked(selected, **changes):
    """What a sweep asks for, as records: (label, threat model, unit) -> record."""
    found = {}
    for request in selected.requests():
        record = unfinished(**{name: value for name, value in vars(request).items() if name != "steps"} | changes)
        (run,) = submission_of(selected, record).runs
        found[run.label, run.threat, run.spec.unit] = record
    return found


@pytest.fixture(scope="module")
def variants():
    return asked(VARIANTS)


@pytest.fixture(scope="module")
def strangers():
    """SAM with a radius that no row of the suite has."""
    return asked(dataclasses.replace(VARIANTS, algorithms=("iql+sam",)), rho=0.2)


def told(*made):
    return [str(reason) for reason in reasons(submission_of(VARIANTS, *made))]


def test_every_setting_that_a_suite_names_is_a_row(variants):
    report = Report.of(submission_of(VARIANTS, *variants.values()))
    assert (report.accepted, report.reasons) == (True, [])
    assert list(report.rows) == sorted(LEARNERS.values())
    assert {(row["runs"], row["units"]) for row in report.rows.values()} == {(4, 2)}


def test_a_setting_that_lacks_a_cell_is_named(variants):
    rest = dict(variants)
    del rest["iql+sam rho=0.1", "none", 1]
    assert told(*rest.values()) == ["iql+sam rho=0.1, hopper-replay, none: units 0 to 1 are needed, and missing is 1"]
    del rest["iql+sam rho=0.1", "none", 0]
    assert told(*rest.values()) == ["iql+sam rho=0.1, hopper-replay, none: no run of this cell of variants is there"]


@pytest.mark.parametrize("name", ["iql+sam", "iql+sam rho=0.1"])
def test_a_run_of_other_settings_does_not_fill_the_place_of_one_of_the_suites(name, variants, strangers):
    mixed = {**variants, (name, "none", 1): strangers["iql+sam rho=0.2", "none", 1]}
    other = "iql+sam with other settings, hopper-replay"
    assert set(told(*mixed.values())) == {
        f"{name}, hopper-replay, none: units 0 to 1 are needed, and missing is 1",
        f"{other}, none: units 0 to 1 are needed, and missing is 0",
        f"{other}, rew-random: no run of this cell of variants is there",
    }


def test_settings_of_no_row_of_the_suite_are_one_row_beside_it(variants, strangers):
    report = Report.of(submission_of(VARIANTS, *variants.values(), *strangers.values()))
    assert report.accepted
    assert list(report.rows) == sorted([*LEARNERS.values(), "iql+sam with other settings"])
    alone = Report.of(submission_of(VARIANTS, *strangers.values()))
    assert (alone.accepted, list(alone.rows)) == (True, ["iql+sam"])
    third = unfinished("none", "iql", 1, optimizer="sam", rho=0.3)
    both = {**strangers, ("iql+sam rho=0.2", "none", 1): third}
    found = f"{third.run_id}: its rho is 0.3, and 3 of the 4 runs of iql+sam have 0.2"
    assert told(*both.values()) == [found]


def test_a_suite_may_name_a_plugin_that_is_not_at_hand(sound):
    selected = dataclasses.replace(suite("mini"), algorithms=("iql", "mine", "no.module:Class"))
    assert reasons(read_submission(sound, selected)) == []


# Tiers


def test_policies_that_are_run_again_give_the_same_returns(sound, capsys):
    code, lines = validated(sound, capsys, "--reevaluate")
    assert (code, lines[0]) == (0, "re-evaluated: 8 of 8 runs agreed, to the last bit")
    assert lines[-1].endswith("8 runs for mini-1, accepted, tier: re-evaluated")


def better(folder, *, policy=True, **values):
    """Later episodes a little better than they were, mean and score to match; the curve ends as it did."""
    record = record_of(folder)
    returns = [value + 5 * (e >= 10) for e, value in enumerate(record.evaluation["returns"])]
    return changed(folder, IQL, policy=policy, **scored(record, returns), **values)


def test_returns_that_were_edited_consistently_are_found_by_running_the_policy(copied, capsys):
    run = better(copied)
    assert validated(copied, capsys)[0] == 0
    code, lines = validated(copied, capsys, "--reevaluate")
    before = record_of(copied).score["return_mean"]
    found = (
        f"has another return in 90 of 100 episodes on the same stack, mean {before - 4.5:.4f} instead of {before:.4f}"
    )
    assert (code, lines[0]) == (3, f"{run.name}: its policy {found}")


def test_lengths_that_were_edited_are_found_by_running_the_policy(copied, capsys):
    evaluation = record_of(copied).evaluation
    longer = {**evaluation, "lengths": [length + 1 for length in evaluation["lengths"]]}
    run = changed(copied, IQL, policy=True, evaluation=longer)
    assert validated(copied, capsys)[0] == 0
    code, lines = validated(copied, capsys, "--reevaluate")
    assert (code, lines[0]) == (3, f"{run.name}: its policy has episodes of other lengths on the same stack")


def test_of_another_stack_the_mean_lies_within_the_interval(copied, capsys):
    """The same edit of a run from elsewhere: 4.5 of 7 is too much, and the last bits are not."""
    elsewhere = {"execution": {**record_of(copied).execution, "cpu": "NEON"}}
    record = record_of(copied)
    close = [value * (1 + 1e-9) for value in record.evaluation["returns"]]
    changed(copied, IQL, policy=True, **scored(record, close), **elsewhere)
    code, lines = validated(copied, capsys, "--reevaluate")
    assert code == 0
    assert lines[0].startswith("re-evaluated: 8 of 8 runs agreed: 7 to the last bit, 1 within ")
    run = better(copied, **elsewhere)
    code, lines = validated(copied, capsys, "--reevaluate")
    assert (code, lines[0].startswith(f"{run.name}: its policy has a mean return of ")) == (3, True)


def test_what_has_no_weights_is_not_reevaluated_and_that_is_said(copied, capsys):
    changed(copied, IQL)
    code, lines = validated(copied, capsys, "--reevaluate")
    assert code == 0
    assert lines[0] == "re-evaluated: 7 of 8 runs agreed, to the last bit"
    assert lines[1] == "not checked: 1 run was not re-evaluated: no policy.safetensors is there"
    assert lines[-1].endswith("accepted, tier: reported")


def test_a_policy_belongs_to_the_settings_of_its_record(copied, others, capsys):
    source, runs = others
    run = records(copied)[IQL][0]
    shutil.copy(source / runs["configuration"] / "policy.safetensors", run)
    signed(run)
    code, lines = validated(copied, capsys, "--reevaluate")
    assert (code, lines[0]) == (3, f"{run.name}: its policy is that of another algorithm, or of other settings")


def test_runs_that_are_trained_again_are_the_same_to_the_byte(sound, capsys, tmp_path):
    code, lines = validated(sound, capsys, "--reproduce", "2", "--sample-seed", "5", "--out", str(tmp_path / "out"))
    assert (code, lines[0]) == (0, "reproduced: 2 of 2 runs agreed, to the last bit; --sample-seed 5")
    assert lines[-1].endswith("accepted, tier: reproduced")
    found = json.loads("\n".join(validated(sound, capsys, "--reproduce", "2", "--sample-seed", "5", "--json")[1]))
    assert found["sample"] == sorted(found["sample"], key=found["sample"].index)
    assert set(found["sample"]) == {run.name for run in run_folders(tmp_path / "out")}


def test_the_sample_is_a_function_of_its_seed_and_of_the_runs():
    from corruptbench.submission.reproduction import sample

    made = [unfinished("obs-adv", algo) for algo in ("bc", "iql", "riql")]
    chosen = {seed: [run.name for run in sample(submission_of(ATTACKS, *made), 2, seed)] for seed in range(20)}
    again = {seed: [run.name for run in sample(submission_of(ATTACKS, *made[::-1]), 2, seed)] for seed in range(20)}
    assert chosen == again
    assert len({name for names in chosen.values() for name in names}) == 3
    assert all(len(set(names)) == 2 for names in chosen.values())


def test_a_policy_that_was_trained_for_longer_is_found_by_training_it_again(copied, others, capsys):
    """The record of 40 steps around what 80 gave: nothing contradicts itself, and the policy gives the returns."""
    source, runs = others
    longer = RunRecord.read(source / runs["longer"] / "record.json")
    run = records(copied)[IQL][0]
    shutil.copy(source / runs["longer"] / "policy.safetensors", run)
    (run / "curve.csv").unlink()
    run = changed(copied, IQL, policy=True, evaluation=longer.evaluation, score=longer.score)
    assert validated(copied, capsys, "--reevaluate")[0] == 0
    seed = next(s for s in range(100) if run.name in drawn(copied, s))
    code, lines = validated(copied, capsys, "--reproduce", "2", "--sample-seed", str(seed))
    assert code == 3
    assert lines[0].startswith(f"{run.name}: trained again on the same stack its record has another evaluation, score:")


def elsewhere(folder, points):
    """iql's units on clean data as of another stack, with ``points`` more, unit 1 with 100 on top; unit 0's folder."""
    execution = {**record_of(folder).execution, "cpu": "NEON"}
    for key, more in ((IQL, points + 100), (("iql", "none", 0), points)):
        record = record_of(folder, key)
        returns = [value + more for value in record.evaluation["returns"]]
        run = changed(folder, key, curve=False, execution=execution, **scored(record, returns))
    return run


def reproduced(folder, run, out):
    """What comes of training one run again."""
    submission = read_submission(folder, suite("mini"))
    assert reasons(submission) == []
    return reproduce(submission, [found for found in submission.runs if found.folder == run], out)


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_of_another_stack_the_mean_of_a_run_trained_again_lies_within_what_units_spread(
    share, copied, tmp_path, monkeypatch
):
    before = record_of(copied, ("iql", "none", 0)).score["return_mean"]
    allowed = 50.0
    monkeypatch.setattr(reproduction, "_spread", lambda *_: allowed)
    run = elsewhere(copied, share * allowed)
    checked = reproduced(copied, run, tmp_path / "out")
    apart = f"{allowed:.4f} is allowed: mean return {before:.4f} instead of {before + share * allowed:.4f}"
    too_far = f"{run.name}: trained again its mean return is too far away, {apart}"
    assert (checked.near, list(map(str, checked.reasons))) == ((1, []) if share < 1 else (0, [too_far]))


@pytest.mark.parametrize("own", [10.0, 1000.0])
def test_what_units_spread_is_that_of_the_others(own):
    """A score far off does not widen what it is allowed; one other unit has no spread."""
    scores = [own, 20.0, 24.0, 28.0]
    runs = [Run(Path(str(unit)), made_up("iql", unit, score, "none"), "none") for unit, score in enumerate(scores)]
    means = [run.record.score["return_mean"] for run in runs[1:]]
    selected = Suite("own", 1, ("hopper-replay",), ("none",), ("iql",), units=4)
    expected = 3 * math.sqrt(2) * statistics.stdev(means)
    assert reproduction._spread(runs[0], Submission(selected, tuple(runs), ())) == pytest.approx(expected)
    assert reproduction._spread(runs[0], Submission(selected, tuple(runs[:2]), ())) == 0.0


def test_of_another_stack_the_outcome_of_a_run_trained_again_is_the_same(copied, tmp_path):
    """Also where it failed before there was a hash of its data."""
    key, execution = ("iql", "rew-random", 1), {**record_of(copied).execution, "cpu": "NEON"}
    ended = {"outcome": "failed", "reason": "it was stopped", "step": 0, "corruption": {"sha256": None, "audit": {}}}
    run = changed(copied, key, curve=False, evaluation=None, score=None, execution=execution, **ended)
    (reason,) = reproduced(copied, run, tmp_path / "out").reasons
    assert reason.what == "trained again it is ok, and its record failed"


def drawn(folder, seed):
    from corruptbench.submission.reproduction import sample

    return [run.name for run in sample(read_submission(folder, suite("mini")), 2, seed)]


# Plug-ins

PLUGIN = """
from dataclasses import dataclass
from pathlib import Path
from corruptbench.algos.iql import IQL
from corruptbench.registry import ALGORITHMS

@ALGORITHMS.register("mine")
@dataclass(frozen=True)
class Mine(IQL):
    expectile: float = 0.6

Path(__file__).with_name("canary").touch()
"""


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """A plug-in's file and a submission of it, made before it is forgotten again."""
    path, out = tmp_path / "mine.py", tmp_path / "submission"
    path.write_text(PLUGIN)
    before = dict(ALGORITHMS._classes)
    load_plugin(path)
    trained(out, "mine")
    (tmp_path / "canary").unlink()
    monkeypatch.setattr(ALGORITHMS, "_classes", before)
    return path, out


def test_a_plugin_is_loaded_where_the_command_line_names_it_and_nowhere_else(plugged, capsys):
    path, out = plugged
    code, lines = validated(out, capsys, "--reevaluate", "--reproduce", "1", name="micro")
    assert code == 0
    assert not path.with_name("canary").exists()
    assert "not checked: whether settings and commands of mine are as its records say: --plugin names its file" in lines
    assert lines[-1].endswith("tier: reported")
    code, lines = validated(out, capsys, "--reevaluate", "--reproduce", "1", "--plugin", str(path), name="micro")
    assert path.with_name("canary").exists()
    assert (code, lines[-1].endswith("tier: reproduced")) == (0, True)


def test_settings_of_a_plugin_are_rows_of_a_suite_too(plugged):
    path, _ = plugged
    load_plugin(path)
    selected = Suite("own", 1, ("hopper-replay",), ("none",), ("mine", "mine:expectile=0.9"), 1, 40)
    report = Report.of(submission_of(selected, *asked(selected).values()))
    assert (report.accepted, list(report.rows)) == (True, ["mine", "mine mine.expectile=0.9"])


def test_another_file_than_the_one_that_was_trained_is_noticed(plugged, capsys):
    path, out = plugged
    path.write_text(PLUGIN.replace("0.6", "0.7"))
    code, lines = validated(out, capsys, "--plugin", str(path), name="micro")
    (run,) = run_folders(out)
    assert (code, lines[0].startswith(f"{run.name}: the SHA-256 of its mine is ")) == (3, True)


def test_every_rule_is_broken_by_a_test_and_stands_in_the_docs(copied, others):
    """A rule that nothing is known to break may be broken itself. Attacks take too long for the list above."""
    broken = {edit(Path(shutil.copytree(copied, copied.parent / str(i))), others)[1] for i, edit in enumerate(BROKEN)}
    assert broken | {"surrogate"} == set(RULES)
    docs = (Path(__file__).parent.parent / "docs" / "submitting.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", docs, re.MULTILINE) == list(RULES)
