"""Tables: their columns, what they count, and that the committed ones come from the committed records."""

import csv
import dataclasses
import hashlib
import io
import random
from pathlib import Path

import pytest

from corruptbench.cli import main
from corruptbench.cli.table import beside_the_table
from corruptbench.environments import environment
from corruptbench.errors import CorruptBenchError, DataError, IntegrityError, UsageError
from corruptbench.records import RunRecord, read_records
from corruptbench.rng import unit_seeds
from corruptbench.spec import DEFAULT_STEPS, AlgorithmSpec, CorruptionSpec, OptimizerSpec, RunSpec
from corruptbench.suites import Suite, suite, suite_names
from corruptbench.tables import reading
from corruptbench.tables.build import build, build_all, sums_of
from corruptbench.tables.labels import label
from corruptbench.tables.listing import read_csv, runs_csv, shown_name
from corruptbench.tables.reading import LEADERBOARD
from corruptbench.tables.stats import interval, mean, std, worst_quarter
from corruptbench.tables.summary import summary_csv
from corruptbench.types import Environment

RUNS = (
    "protocol,dataset,environment,algo,optimizer,sam_on,rho,track,corruption,rate,scale,preset,options,unit,train_seed,"
    "corruption_seed,steps,outcome,return_mean,normalized,corrupted_sha256,run_id,version,command"
)
SUMMARY = (
    "protocol,suite,dataset,environment,algo,optimizer,sam_on,rho,track,corruption,rate,scale,preset,options,steps,n,"
    "failed,mean,std,worst_quarter,ci_low,ci_high,flags"
)
OVERALL = (
    "suite,protocol,algo,optimizer,sam_on,rho,track,options,steps,cells,n,iqm,iqm_low,iqm_high,mean,mean_low,mean_high,"
    "median,median_low,median_high,optimality_gap,optimality_gap_low,optimality_gap_high,drop,rank,smallest_p,flags"
)
HOPPER = environment("Hopper-v5")
SAM = OptimizerSpec("sam", ("V", "Q"), 0.05)
TINY = Suite("tiny", 3, ("hopper-replay",), ("none", "obs-random"), ("iql", "riql+sam"), units=12)


def record(algo="iql", unit=0, score=50.0, threat="obs-random", *, outcome="ok", optimizer=None, options=None, **spec):
    """A record as ``run`` leaves it; ``score`` is the normalized one, None where there is none."""
    seeds = unit_seeds(unit) if unit is not None else (1, 2)
    rate = 0.0 if threat == "none" else 0.3
    ok = outcome == "ok"
    env = spec.get("environment", HOPPER)
    value = None if score is None else env.reference_min + score / 100 * (env.reference_max - env.reference_min)
    return RunRecord(
        spec=RunSpec(
            **{
                "dataset": "hopper-replay",
                "dataset_sha256": "d" * 64,
                "environment": HOPPER,
                "corruption": CorruptionSpec(threat, rate, 1.0),
                "algorithm": AlgorithmSpec(algo, {"hidden": (256, 256), "expectile": 0.7}),
                "optimizer": optimizer or OptimizerSpec("adam", (), 0.0),
                "track": "universal",
                "unit": unit,
                "train_seed": seeds[0],
                "corruption_seed": seeds[1],
                "steps": DEFAULT_STEPS,
                **spec,
            }
        ),
        command=f"corruptbench run --algo {algo} --corrupt {threat} --unit {unit}",
        options=options or {},
        outcome=outcome,
        step=DEFAULT_STEPS if ok else 1000,
        reason=None if ok else f"it {outcome}",
        corruption={"sha256": "c" * 64 if outcome != "failed" else None, "audit": {}},
        evaluation={"returns": [value or 0.0] * 100, "lengths": [10] * 100, "seeds": list(range(100))} if ok else None,
        score={"return_mean": value or 0.0, "normalized_mean": score} if ok else None,
        versions={"corruptbench": "0.1.0", "torch": "2.13.0"},
        execution={"device": "cpu", "engine": "eager", "population": 1, "threads": 1, "cpu": "AVX2"},
    )


def grid(units, algorithms=(("iql", None), ("riql", SAM)), threats=("none", "obs-random")):
    """Sound records of every cell; each score names what it belongs to."""
    return [
        record(algo, unit, 10.0 * (j + 1) + 40 * k + unit, threat, optimizer=optimizer)
        for k, (algo, optimizer) in enumerate(algorithms)
        for j, threat in enumerate(threats)
        for unit in range(units)
    ]


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def tables(records, selected=TINY):
    """Both tables as rows of text by column."""
    found = build(records, selected)
    return rows_of(found[f"{selected.name}.csv"]), rows_of(found[f"{selected.name}-summary.csv"])


def summary_of(records, selected=TINY, **wanted):
    """The one row of the summary that has these values."""
    found = [row for row in tables(records, selected)[1] if all(row[k] == v for k, v in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def number(value):
    return f"{value:.4f}"


# The runs


def test_columns_are_those_of_the_design():
    found = build(grid(2), TINY)
    assert sorted(found) == ["tiny-overall.csv", "tiny-summary.csv", "tiny.csv"]
    assert found["tiny.csv"].splitlines()[0] == RUNS
    assert found["tiny-summary.csv"].splitlines()[0] == SUMMARY
    nothing = build([], TINY)
    empty = {"tiny.csv": RUNS + "\n", "tiny-summary.csv": SUMMARY + "\n", "tiny-overall.csv": OVERALL + "\n"}
    assert nothing == empty


def test_a_run():
    made = record("riql", 3, 61.25, optimizer=SAM, track="oracle", options={"riql.delta": "4", "riql.alpha": "0.1"})
    (row,) = rows_of(runs_csv([made]))
    train_seed, corruption_seed = unit_seeds(3)
    assert row == {
        "protocol": "cb2026",
        "dataset": "hopper-replay",
        "environment": "Hopper-v5",
        "algo": "riql",
        "optimizer": "sam",
        "sam_on": "V+Q",
        "rho": "0.05",
        "track": "oracle",
        "corruption": "obs-random",
        "rate": "0.3",
        "scale": "1",
        "preset": "",
        "options": "riql.alpha=0.1;riql.delta=4",
        "unit": "3",
        "train_seed": str(train_seed),
        "corruption_seed": str(corruption_seed),
        "steps": "50000",
        "outcome": "ok",
        "return_mean": number(-20.272305 + 0.6125 * (3234.3 + 20.272305)),
        "normalized": "61.2500",
        "corrupted_sha256": "c" * 64,
        "run_id": made.run_id,
        "version": "0.1.0",
        "command": "corruptbench run --algo riql --corrupt obs-random --unit 3",
    }


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (OptimizerSpec("asam", ("V", "Q"), 0.5, {"eta": 0.01}), ["asam", "V+Q", "0.5", "iql+asam"]),
        (OptimizerSpec("asam", ("V", "Q"), 0.05, {"eta": 0.01}), ["asam", "V+Q", "0.05", "iql+asam rho=0.05"]),
        (OptimizerSpec("swa", ("V", "Q"), 0.0, {"start": 0.75}), ["swa", "V+Q", "", "iql+swa on V+Q"]),
        (OptimizerSpec("matched", (), 0.0), ["matched", "", "", "iql+matched"]),
        (OptimizerSpec("unheard-of", ("V",), 0.1, {}), ["unheard-of", "V", "0.1", "iql+unheard-of on V rho=0.1"]),
    ],
)
def test_the_columns_and_the_label_of_an_optimizer(optimizer, expected):
    (row,) = rows_of(runs_csv([record(optimizer=optimizer)]))
    assert [*(row[name] for name in ("optimizer", "sam_on", "rho")), label(row)] == expected


def test_a_suites_own_row_is_that_of_its_run_whatever_its_optimizer():
    selected = dataclasses.replace(TINY, algorithms=("iql+gsam:alpha=0.2,rho=0.1,on=Q", "riql+wd", "bc+swa:start=0.5"))
    wanted = {row["algo"]: row for row in selected.rows()}
    expected = {
        "iql": ("gsam", "Q", "0.1", "gsam.alpha=0.2"),
        "riql": ("wd", "V+Q", "", ""),
        "bc": ("swa", "actor", "", "swa.start=0.5"),
    }
    names = ("optimizer", "sam_on", "rho", "options")
    assert {algo: tuple(row[name] for name in names) for algo, row in wanted.items()} == expected


@pytest.mark.parametrize("outcome", ["diverged", "failed"])
def test_a_run_without_a_score(outcome):
    (row,) = rows_of(runs_csv([record(outcome=outcome)]))
    assert (row["outcome"], row["return_mean"], row["normalized"]) == (outcome, "", "")
    assert (row["sam_on"], row["rho"], row["optimizer"]) == ("", "", "adam")
    assert row["corrupted_sha256"] == ("" if outcome == "failed" else "c" * 64)


def test_runs_are_sorted_by_what_was_run():
    found = [(row["corruption"], row["algo"], int(row["unit"])) for row in rows_of(runs_csv(grid(12)))]
    assert found == sorted(found)  # unit 10 after unit 9
    assert len(found) == 48


def test_tables_do_not_depend_on_the_order_of_records():
    records = [*grid(6), record(unit=7, outcome="diverged"), record("mine", 0, None, outcome="failed")]
    records += [record(unit=8, options={"iql.beta": "1"}), record(unit=8, optimizer=SAM), record(unit=8)]
    expected = build(records, TINY)
    shuffled = random.Random(0)
    for _ in range(5):
        shuffled.shuffle(records)
        assert build(records, TINY) == expected
    assert build(reversed(records), TINY) == expected


def test_a_table_survives_commas_and_quotes():
    made = dataclasses.replace(record(), command='corruptbench run --corrupt "a:b=1,c=2" --x \'"\'')
    assert read_csv(runs_csv([made]))[0]["command"] == made.command


def test_records_come_back_from_disk(tmp_path):
    records = [record(unit=1), record(outcome="diverged"), record("mine", None), record("riql", optimizer=SAM)]
    for made in records:
        (tmp_path / made.run_id).mkdir()
        (tmp_path / made.run_id / "record.json").write_text(made.text())
    found = read_records(tmp_path)
    assert [made.run_id for made in found] == sorted(made.run_id for made in records)
    assert runs_csv(found) == runs_csv(records)
    path = tmp_path / records[0].run_id / "record.json"
    path.write_text(path.read_text().replace('"steps": 50000', '"steps": 50001'))
    with pytest.raises(IntegrityError) as error:
        read_records(tmp_path)
    assert str(error.value).startswith(f"{path}: its run id {records[0].run_id!r} is not that of its spec, ")


# What a suite selects


@pytest.mark.parametrize(
    ("made", "selected"),
    [
        (record(), True),
        (record(unit=11), True),
        (record(unit=12), False),  # there are 12
        (record(unit=None), False),  # seeds of one's own are never listed
        (record(train_seed=1), False),  # nor is a unit with seeds that are not its own
        (record(corruption_seed=1), False),
        (record(threat="none"), True),
        (record(threat="obs-adv"), False),
        (record(corruption=CorruptionSpec("obs-random", 0.1, 1.0)), False),
        (record(corruption=CorruptionSpec("obs-random", 0.3, 0.5)), False),
        (record(steps=DEFAULT_STEPS + 1), False),
        (record(steps=2000), False),  # --quick
        (record(dataset="file:hopper-replay"), False),
        (record(environment=environment("Hopper-v5", 0.0, 1000.0)), False),  # references of the user's
        (record("mine"), True),  # whatever algorithm
        (record("mine", algorithm=AlgorithmSpec("mine", {}, "a" * 64)), True),
        (record(optimizer=SAM), True),
        (record("riql", track="oracle"), True),
        (record(options={"iql.beta": "1"}), True),
        (record(outcome="failed"), True),
    ],
)
def test_selects(made, selected):
    assert TINY.selects(made) is selected
    rows, summary = tables([made])
    assert len(rows) == len(summary) == selected


def test_selects_threat_models_with_settings():
    milder = Suite("milder", 1, ("hopper-replay",), ("obs-random:rate=0.1,scale=0.5",), ("iql",), units=10)
    assert milder.selects(record(corruption=CorruptionSpec("obs-random", 0.1, 0.5)))
    assert not milder.selects(record())
    assert not milder.selects(record(corruption=CorruptionSpec("obs-random", 0.1, 1.0)))


def test_clipping_is_another_threat_model():
    """Section 2: ``clip=true`` is part of the threat model's name, so its runs lie in a cell of their own."""
    actions = Suite("actions", 1, ("hopper-replay",), ("act-random",), ("iql",), units=10)
    as_it_is = CorruptionSpec("act-random", 0.3, 1.0, {"clip": False})
    clipped = CorruptionSpec("act-random", 0.3, 1.0, {"clip": True})
    assert actions.selects(record(corruption=as_it_is))
    assert not actions.selects(record(corruption=clipped, options={"corruption.clip": "true"}))


def test_a_suite_lies_in_the_environment_of_its_dataset():
    """A run of the same data scored elsewhere, by --env Hopper-v4, has no place beside the others."""
    elsewhere = Environment("Hopper-v4", "")
    made = dataclasses.replace(record(), spec=dataclasses.replace(record().spec, environment=elsewhere))
    assert not TINY.selects(made)


def test_a_suite_of_ones_own_data_selects_them_by_their_name():
    """Wherever the file lies, and in the environment that was said: our table has none for it."""
    own = Suite("own", 1, ("file:data/logs.hdf5",), ("obs-random",), ("iql",), units=10)
    assert own.selects(record(dataset="file:logs.hdf5"))
    assert own.selects(record(dataset="file:logs.hdf5", environment=environment("Hopper-v5", 0.0, 1000.0)))
    assert not own.selects(record(dataset="file:other.hdf5"))
    assert own.dataset_ids == ("file:logs.hdf5",)
    files = Suite("own", 1, ("d4rl:data/hopper_medium_replay-v2.hdf5", "file:~/x.npz"), ("none",), ("iql",), units=1)
    assert files.dataset_ids == ("d4rl:hopper-medium-replay-v2", "file:x.npz")


def test_two_datasets_of_one_name_make_no_table():
    made = [record(unit=unit, dataset="file:logs.hdf5", dataset_sha256=digit * 64) for unit, digit in enumerate("aab")]
    own = Suite("own", 1, ("file:logs.hdf5",), ("obs-random",), ("iql",), units=10)
    assert list(build(made[:2], own))
    with pytest.raises(DataError) as error:
        build(made, own)
    assert str(error.value) == (
        "suite own: its runs are on 2 datasets called file:logs.hdf5, of SHA-256 aaaaaaaaaaaaaaaa and "
        "bbbbbbbbbbbbbbbb; files of different content need names of their own"
    )


def test_requests_are_the_whole_grid():
    found = [(r.unit, r.dataset, r.corrupt, r.algo, r.optimizer, r.steps) for r in TINY.requests()]
    assert len(found) == len(set(found)) == 12 * 2 * 2
    assert found[:4] == [
        (0, "hopper-replay", "none", "iql", "adam", DEFAULT_STEPS),
        (0, "hopper-replay", "obs-random", "iql", "adam", DEFAULT_STEPS),
        (0, "hopper-replay", "none", "riql", "sam", DEFAULT_STEPS),
        (0, "hopper-replay", "obs-random", "riql", "sam", DEFAULT_STEPS),
    ]
    assert [r[0] for r in found] == sorted(r[0] for r in found)  # unit by unit


def test_an_unknown_suite():
    known = ", ".join(suite_names())
    with pytest.raises(UsageError) as error:
        suite("cor")
    assert str(error.value) == f"unknown suite 'cor': known are {known} (did you mean 'core'?)"


def test_core():
    core = suite("core")
    assert core.name == "core"
    assert core.selects(record())
    assert {"none", "obs-random", "obs-adv"} <= set(core.corruptions)
    assert {"iql", "iql+sam", "riql", "riql+sam"} <= set(core.algorithms)


# The summary


def test_a_cell_and_algorithm_is_one_row():
    _, summary = tables(grid(6))
    assert [(row["corruption"], row["algo"], row["n"]) for row in summary] == [
        ("none", "iql", "6"),
        ("none", "riql", "6"),
        ("obs-random", "iql", "6"),
        ("obs-random", "riql", "6"),
    ]
    scores = [60.0 + unit for unit in range(6)]
    row = summary[3]
    low, high = interval(scores, "cb2026/hopper-replay/Hopper-v5/riql/sam/V+Q/0.05/universal/obs-random/0.3/1//")
    assert row == {
        "protocol": "cb2026",
        "suite": "tiny-3",
        "dataset": "hopper-replay",
        "environment": "Hopper-v5",
        "algo": "riql",
        "optimizer": "sam",
        "sam_on": "V+Q",
        "rho": "0.05",
        "track": "universal",
        "corruption": "obs-random",
        "rate": "0.3",
        "scale": "1",
        "preset": "",
        "options": "",
        "steps": "50000",
        "n": "6",
        "failed": "0",
        "mean": number(mean(scores)),
        "std": number(std(scores)),
        "worst_quarter": number(worst_quarter(scores)),
        "ci_low": number(low),
        "ci_high": number(high),
        "flags": "preliminary",
    }


def test_failures_count_with_the_floor_and_n_never_shrinks():
    records = [
        record("iql", 0, 40.0),
        record("iql", 1, outcome="diverged"),
        record("iql", 2, 50.0),
        record("iql", 3, outcome="failed"),
        record("riql", 0, -6.0, optimizer=SAM),  # the lowest sound run of the cell
        record("riql", 1, outcome="diverged", optimizer=SAM),
        record("iql", 0, -90.0, "none"),  # of another cell
        record("iql", 1, outcome="diverged", threat="none"),
    ]
    row = summary_of(records, algo="iql", corruption="obs-random")
    scores = [40.0, -6.0, 50.0, -6.0]
    found = [row[name] for name in ("n", "failed", "mean", "std", "worst_quarter", "ci_low", "ci_high")]
    assert found == ["4", "2", number(mean(scores)), number(std(scores)), "-6.0000", "", ""]
    row = summary_of(records, algo="riql")
    assert [row[name] for name in ("n", "failed", "mean", "std")] == ["2", "1", "-6.0000", "0.0000"]
    row = summary_of(records, corruption="none")
    assert [row[name] for name in ("n", "failed", "mean")] == ["2", "1", "-90.0000"]


def test_the_floor_is_zero_where_all_sound_runs_are_above():
    row = summary_of([record(unit=0, score=40.0), record(unit=1, outcome="failed")])
    assert [row[name] for name in ("n", "failed", "mean", "worst_quarter")] == ["2", "1", "20.0000", "0.0000"]


def test_a_single_unit_has_no_std():
    row = summary_of([record(score=40.0)])
    assert [row[name] for name in ("n", "mean", "std", "worst_quarter", "ci_low")] == [
        "1",
        "40.0000",
        "",
        "40.0000",
        "",
    ]


def test_where_nothing_is_sound_there_is_no_mean():
    row = summary_of([record(unit=unit, outcome="diverged") for unit in range(6)])
    assert [row[name] for name in ("n", "failed")] == ["6", "6"]
    assert {row[name] for name in ("mean", "std", "worst_quarter", "ci_low", "ci_high")} == {""}


def test_other_settings_are_rows_of_their_own():
    records = [
        record(score=10.0),
        record(score=20.0, options={"iql.beta": "1"}),
        record(score=30.0, optimizer=SAM),
        record(score=40.0, optimizer=OptimizerSpec("sam", ("V", "Q"), 0.1)),
        record(score=50.0, optimizer=OptimizerSpec("sam", ("Q",), 0.05)),
        record(score=60.0, track="oracle"),
    ]
    _, summary = tables(records)
    assert sorted(row["mean"] for row in summary) == [number(10.0 * k) for k in range(1, 7)]
    assert {row["n"] for row in summary} == {"1"}


@pytest.mark.parametrize(
    ("units", "flags"), [(1, "incomplete"), (4, "incomplete"), (5, "preliminary"), (9, "preliminary"), (10, "")]
)
def test_flags(units, flags):
    _, summary = tables(grid(units))
    assert {row["flags"] for row in summary} == {flags}
    assert {row["ci_low"] == "" for row in summary} == {units < 5}


def test_failed_runs_do_not_make_a_table_incomplete():
    records = grid(5)
    records[3] = record("iql", 3, outcome="diverged", threat="none")
    assert {row["flags"] for row in tables(records)[1]} == {"preliminary"}


def test_a_missing_cell_makes_a_table_incomplete():
    records = [r for r in grid(10) if (r.spec.algorithm.name, r.spec.corruption.name) != ("riql", "none")]
    assert {row["flags"] for row in tables(records)[1]} == {"incomplete"}
    one_is_short = [r for r in grid(10) if (r.spec.algorithm.name, r.spec.unit) != ("riql", 9)]
    _, summary = tables(one_is_short)
    assert {(row["algo"], row["flags"]) for row in summary} == {("iql", "preliminary"), ("riql", "preliminary")}


def test_a_plug_in_beside_a_complete_table():
    _, summary = tables([*grid(10), record("mine", 0), record("mine", 1)])
    assert {(row["algo"], row["n"], row["flags"]) for row in summary} == {
        ("iql", "10", ""),
        ("riql", "10", ""),
        ("mine", "2", "incomplete"),
    }


@pytest.mark.parametrize(
    "further",
    [
        record("riql", 0, optimizer=OptimizerSpec("sam", ("V", "Q"), 0.1)),
        record("riql", 0, optimizer=OptimizerSpec("sam", ("V",), 0.05)),
        record("riql", 0, optimizer=SAM, track="oracle"),
        record("riql", 0, optimizer=SAM, options={"riql.alpha": "0.1"}),
    ],
    ids=["rho", "sam-on", "oracle", "options"],
)
def test_one_further_run_does_not_make_a_complete_table_incomplete(further):
    """Someone tries another setting in one unit; the suite's own rows are as complete as before."""
    _, summary = tables([*grid(10), further])
    found = {(row["algo"], row["rho"], row["n"], row["flags"]) for row in summary if row["n"] == "10"}
    assert found == {("iql", "", "10", ""), ("riql", "0.05", "10", "")}


def test_other_settings_do_not_complete_a_table():
    """Nor do ten units of another rho stand for those of the suite."""
    other = OptimizerSpec("sam", ("V", "Q"), 0.1)
    records = [*grid(10, (("iql", None),)), *grid(10, (("riql", other),))]
    assert {row["flags"] for row in tables(records)[1]} == {"incomplete"}


def test_a_suite_of_threat_models_with_settings_can_be_complete():
    milder = Suite("milder", 1, ("hopper-replay",), ("obs-random:rate=0.1",), ("iql",), units=10)
    records = [record(unit=unit, corruption=CorruptionSpec("obs-random", 0.1, 1.0)) for unit in range(10)]
    assert {row["flags"] for row in tables(records, milder)[1]} == {""}


def test_n_counts_units():
    """An edited plug-in is another run of the same unit: two runs, and not two units."""
    versions = [record("mine", 0, algorithm=AlgorithmSpec("mine", {}, source * 64)) for source in "ab"]
    assert len({made.run_id for made in versions}) == 2
    try:
        _, summary = tables(versions)
    except CorruptBenchError:  # refusing them is as good as telling them apart
        return
    assert {row["n"] for row in summary} == {"1"}


def test_a_summary_is_made_of_the_runs_table():
    found = build(grid(5), TINY)
    assert summary_csv(read_csv(found["tiny.csv"]), TINY) == found["tiny-summary.csv"]


# Sums, and the committed tables


def test_sums():
    contents = {"b.csv": "x\n", "a.csv": "ü"}
    assert sums_of(contents) == (
        f"{hashlib.sha256('ü'.encode()).hexdigest()}  a.csv\n{hashlib.sha256(b'x' + bytes([10])).hexdigest()}  b.csv\n"
    )
    built = build_all(grid(2), ["core"])
    assert sorted(built) == ["SHA256SUMS", "core-overall.csv", "core-summary.csv", "core.csv"]
    assert built["SHA256SUMS"] == sums_of({name: built[name] for name in sorted(built.keys() - {"SHA256SUMS"})})


def listed():
    """File name -> SHA-256 of the committed ``SHA256SUMS``."""
    return {line[66:]: line[:64] for line in (LEADERBOARD / "SHA256SUMS").read_text().splitlines()}


def test_committed_files_are_what_sha256sums_says():
    for name, digest in listed().items():
        assert hashlib.sha256((LEADERBOARD / name).read_bytes()).hexdigest() == digest, name
    tables_here = {p.name for p in LEADERBOARD.glob("*.csv")} & {
        f"{name}{kind}.csv" for name in suite_names() for kind in ("", "-summary")
    }
    assert tables_here <= set(listed())


def test_committed_tables_are_built_from_the_committed_records():
    rebuilt = build_all(read_records(LEADERBOARD / "records"))
    for name in listed():
        if name in rebuilt:
            assert (LEADERBOARD / name).read_bytes() == rebuilt[name].encode(), name


def test_committed_records_are_whole_and_listed():
    folders = [path for path in (LEADERBOARD / "records").iterdir() if path.is_dir()]
    shipped = {row["run_id"] for row in reading.shipped_runs()}
    for folder in folders:
        made = RunRecord.read(folder / "record.json")
        assert made.run_id == folder.name
        of_another_horizon = made.spec.steps != DEFAULT_STEPS  # what docs/learning.md is made from
        of_a_card = made.spec.dataset != "hopper-replay" and made.spec.corruption.name == "none"
        assert made.run_id in shipped or of_another_horizon or of_a_card, f"{folder} is in no table"
        assert not list(folder.glob("*.safetensors"))  # records and curves, no weights
    assert len(folders) >= len(shipped)


# Shipped runs


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Ships the records that the test gives, as the tables of every suite."""
    monkeypatch.setattr(reading, "LEADERBOARD", tmp_path)
    (tmp_path / "SHA256SUMS").write_text("")

    def ship(records):
        for name, content in build_all(records).items():
            (tmp_path / name).write_text(content)
        return tmp_path

    ship([])
    return ship


def test_shipped_runs_are_those_of_the_tables(shipped):
    records = grid(3)
    shipped(records)
    assert sorted(row["run_id"] for row in reading.shipped_runs()) == sorted(made.run_id for made in records)
    assert reading.shipped_runs()[0] in rows_of(runs_csv(records))


def test_a_run_of_two_suites_is_shipped_once(tmp_path, monkeypatch):
    text = runs_csv(grid(2))
    contents = {"a.csv": text, "b.csv": text}
    for name, content in {**contents, "SHA256SUMS": sums_of(contents)}.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(reading, "LEADERBOARD", tmp_path)
    assert len(reading.shipped_runs()) == 8


@pytest.mark.parametrize("edit", ["a score", "a row less"])
def test_an_edited_table_is_noticed(shipped, edit):
    folder = shipped(grid(3))
    path = folder / "core.csv"
    lines = path.read_text().splitlines(keepends=True)
    if edit == "a score":
        path.write_text("".join(lines).replace("10.0000", "99.0000", 1))
    else:
        path.write_text("".join(lines[:-1]))
    with pytest.raises(IntegrityError) as error:
        reading.shipped_runs()
    assert str(error.value) == f"{path}: its content is not what {folder / 'SHA256SUMS'} says"


def test_a_table_that_is_not_listed_is_none_of_the_benchmarks(shipped, caplog):
    folder = shipped(grid(3))
    (folder / "SHA256SUMS").write_text("")
    assert reading.shipped_runs() == []
    path = folder / "core.csv"
    assert f"{path}: {folder / 'SHA256SUMS'} does not name it, so its runs are none of the benchmark's" in caplog.text
    table = reading.read_table(path)
    assert (table.own, len(table.rows)) == (True, 12)


def test_a_table_that_is_listed_and_gone_is_noticed(shipped):
    folder = shipped(grid(3))
    (folder / "core.csv").unlink()
    with pytest.raises(IntegrityError, match=r"core\.csv"):
        reading.shipped_runs()


# Beside the table


def shown(text, label):
    """The words of the line that begins with a label."""
    found = [line for line in text.splitlines() if line.startswith(f"{label:<24} ")]
    assert len(found) == 1, text
    return found[0].removeprefix(label).split()


def test_beside_the_table(shipped):
    records = [
        *grid(4),
        record("iql", 4, outcome="diverged"),
        record("riql", 0, -5.0),
        record("riql", 0, 77.0, track="oracle", options={"riql.alpha": "0.1"}),
        record("bc", 0, outcome="failed"),
    ]
    shipped(records)
    mine = record("mine", None, 33.3, options={"mine.width": "8"})
    text = beside_the_table(mine, Path("results"))
    lines = text.splitlines()
    assert lines[0] == "hopper-replay, obs-random (rate 0.3, scale 1), 50,000 steps, Hopper-v5"
    assert lines[2].split() == ["normalized", "score", "mean", "std", "n", "failed", "units"]
    scores = [20.0, 21.0, 22.0, 23.0, -5.0]  # the last one diverged: the lowest sound run of the cell
    assert shown(text, "iql") == [
        f"{mean(scores):.1f}", f"{std(scores):.1f}", "5", "1", "20.0", "21.0", "22.0", "23.0", "failed",
    ]  # fmt: skip
    assert shown(text, "riql+sam") == ["61.5", "1.3", "4", "0", "60.0", "61.0", "62.0", "63.0"]
    assert shown(text, "riql (oracle) riql.alpha=0.1") == ["77.0", "-", "1", "0", "77.0"]
    assert shown(text, "riql") == ["-5.0", "-", "1", "0", "-5.0"]
    assert shown(text, "bc") == ["-5.0", "-", "1", "1", "failed"]
    assert shown(text, "this run: mine mine.width=8") == ["33.3", "own", "seeds,", "ok"]
    value = -20.272305 + 0.333 * (3234.3 + 20.272305)
    assert f"mean return {value:.1f} over 100 episodes" in text
    assert lines[-2:] == [str(Path("results") / mine.run_id), mine.command]
    assert "50.0" not in text.split("this run")[0]  # of the clean cell


def test_beside_the_table_shows_no_other_cell(shipped):
    others = [
        record(threat="none"),
        record(threat="obs-adv"),
        record(corruption=CorruptionSpec("obs-random", 0.1, 1.0)),
        record(corruption=CorruptionSpec("obs-random", 0.3, 0.5)),
        record(steps=1000),
        record(environment=environment("Walker2d-v5")),
    ]
    folder = shipped([])
    contents = {"core.csv": runs_csv(others)}
    for name, content in {**contents, "SHA256SUMS": sums_of(contents)}.items():
        (folder / name).write_text(content)
    text = beside_the_table(record(), Path("results"))
    assert text.splitlines()[3] == "(no shipped run of this cell and number of steps)"
    assert shown(text, "this run: iql") == ["50.0", "unit", "0,", "ok"]
    for made in others:
        assert "(no shipped run" not in beside_the_table(made, Path("results"))


def test_beside_the_table_for_a_run_without_a_score(shipped):
    shipped(grid(2))
    text = beside_the_table(record("iql", 5, outcome="diverged"), Path("results"))
    assert shown(text, "this run: iql") == ["-", "unit", "5,", "diverged"]
    assert "diverged: it diverged" in text.splitlines()
    assert "mean return" not in text
    plain = environment("Pendulum-v1")
    made = dataclasses.replace(
        record(environment=environment("Pendulum-v1", 0.0, 1.0)),
        score={"return_mean": -150.25, "normalized_mean": None},
    )
    made = dataclasses.replace(made, spec=dataclasses.replace(made.spec, environment=plain))
    text = beside_the_table(made, Path("results"))
    assert shown(text, "this run: iql") == ["-", "unit", "0,", "ok"]
    assert "mean return -150.2 over 100 episodes" in text


def test_beside_the_table_where_nothing_is_sound(shipped):
    """Section 4: such a cell shows how many failed, and no mean."""
    shipped([record(unit=unit, outcome="diverged") for unit in range(3)])
    text = beside_the_table(record("mine", 0, 12.0), Path("results"))
    assert "nan" not in text
    assert shown(text, "iql") == ["-", "-", "3", "3", "failed", "failed", "failed"]


def test_beside_the_table_mixes_no_settings(shipped):
    """Runs of two rho are no two units of one algorithm."""
    shipped(
        [record("riql", 0, 10.0, optimizer=SAM), record("riql", 0, 30.0, optimizer=OptimizerSpec("sam", SAM.on, 0.5))]
    )
    table = beside_the_table(record("mine", 0, 77.0), Path("results")).split("this run")[0]
    assert "20.0" not in table
    assert "10.0" in table
    assert "30.0" in table


def test_beside_the_table_is_as_the_shipped_tables_are():
    """Whatever is shipped at the time: a run of the core's first cell is shown beside it."""
    mine = record("mine", None, 1.0, suite("core").corruptions[0])
    text = beside_the_table(mine, Path("results"))
    alike = [row for row in reading.shipped_runs() if row["corruption"] == mine.spec.corruption.name]
    names = {shown_name(r["algo"], r["optimizer"]) for r in alike if r["steps"] == str(mine.spec.steps)}
    for name in names:
        assert any(line.startswith(f"{name} ") for line in text.splitlines())
    assert ("(no shipped run" in text) == (not names)


def test_two_folders_that_differ_in_a_run_are_refused(tmp_path, capsys):
    """The same record twice is one; another record of the same run is none to choose between."""
    (record_,) = grid(1, algorithms=(("iql", None),), threats=("none",))
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        (folder / record_.run_id).mkdir(parents=True)
        (folder / record_.run_id / "record.json").write_text(record_.text())
    words = ["leaderboard", "build", "--records", str(one), "--records", str(two), "--out", str(tmp_path / "out")]
    assert main([*words, "--suite", "core"]) == 0
    other = dataclasses.replace(record_, versions={**record_.versions, "torch": "2.14.0"})
    (two / record_.run_id / "record.json").write_text(other.text())
    assert main([*words, "--suite", "core"]) == 2
    assert f"{one} and {two} both hold run {record_.run_id}, and their records differ" in capsys.readouterr().err
