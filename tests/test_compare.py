"""leaderboard compare: what is paired with what, what is said of it, and what is refused."""

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from builders_scripts import script

from corruptbench.cli import main
from corruptbench.csv_text import to_csv
from corruptbench.errors import DataError, IntegrityError, UsageError
from corruptbench.records import read_records
from corruptbench.rng import unit_seeds
from corruptbench.tables import reading, stats
from corruptbench.tables.build import build_all
from corruptbench.tables.compare import compare, completed
from corruptbench.tables.listing import RUNS, run_rows
from corruptbench.tables.published import PUBLISHED, beside, differences, published_scores
from corruptbench.tables.reading import LEADERBOARD, read_sums, shipped_runs
from corruptbench.tables.results import read_results

ROOT = Path(__file__).parent.parent


def run(algo="iql", unit=0, score=50.0, corruption="obs-random", **changes):
    """A row of the runs CSV; a score of None is a run that diverged."""
    seeds = unit_seeds(unit) if unit != "" else (1, 2)
    row = {
        **dict.fromkeys(RUNS, ""),
        "protocol": "cb2026",
        "dataset": "hopper-replay",
        "environment": "Hopper-v5",
        "algo": algo,
        "optimizer": "adam",
        "track": "universal",
        "corruption": corruption,
        "rate": "0" if corruption == "none" else "0.3",
        "scale": "1",
        "unit": str(unit),
        "train_seed": str(seeds[0]),
        "corruption_seed": str(seeds[1]),
        "steps": "50000",
        "outcome": "ok" if score is not None else "diverged",
        "normalized": "" if score is None else str(score),
        **changes,
    }
    made_up = hashlib.sha256(repr(row).encode()).hexdigest()[:16]
    return {**row, "run_id": changes.get("run_id", made_up)}


def runs(algo, scores, corruption="obs-random", **changes):
    return [run(algo, unit, score, corruption, **changes) for unit, score in enumerate(scores)]


def only_pair(mine, theirs):
    (pair,) = compare(mine, theirs).pairs
    return pair


def written(path, rows, columns=RUNS):
    path.write_text(to_csv(columns, rows))
    return path


def minimal(path, *lines, columns="dataset,corruption,unit,normalized"):
    path.write_text("".join(f"{line}\n" for line in (columns, *lines)))
    return path


# Pairs


def test_a_cell_is_paired_by_unit():
    """Whatever the order, over the units that both have."""
    mine = runs("mine", [10.0, 20.0, 30.0, 44.0, 50.0, 99.0])[::-1]
    theirs = [*runs("iql", [11.0, 18.0, 27.0, 40.0, 45.0]), run("iql", 8, 0.0)]
    pair = only_pair(mine, theirs)
    (found,) = pair.cells
    assert (found.units, found.apart, found.failed) == (("0", "1", "2", "3", "4"), (1, 1), (0, 0))
    assert (found.mine, found.theirs) == pytest.approx((154 / 5, 141 / 5))
    assert found.differences == (-1.0, 2.0, 3.0, 4.0, 5.0)
    assert found.difference == pytest.approx(13 / 5)
    assert found.interval == stats.interval([-1.0, 2.0, 3.0, 4.0, 5.0], "compare/5")
    assert pair.p == pair.adjusted == 2 * 2 / 32  # all signs as they are, and the first one turned, and both turned
    assert pair.smallest == 0.0625
    assert pair.verdict() == "with 5 units the smallest p is 0.0625: no difference can be called (p = 0.125)"


def test_units_are_sorted_as_numbers():
    pair = only_pair(runs("mine", range(12)), runs("iql", [0.0] * 12))
    assert pair.units == pair.cells[0].units == tuple(map(str, range(12)))


def test_under_5_units_there_is_no_test():
    pair = only_pair(runs("mine", [90.0, 91.0, 92.0]), runs("iql", [1.0, 2.0, 4.0]))
    assert (pair.p, pair.adjusted, pair.smallest) == (None, None, 0.25)
    assert pair.verdict() == ("with 3 units the smallest p is 0.25: no difference can be called (a test needs 5 units)")
    assert pair.cells[0].interval == stats.t_interval([89.0, 89.0, 88.0])
    assert compare(runs("mine", [1.0]), runs("iql", [2.0])).family == 0


def test_ten_units_that_differ():
    """Both ways, and the words for each."""
    low, high = runs("a", [10.0 + i for i in range(10)]), runs("b", [20.0 + 2 * i for i in range(10)])
    assert only_pair(high, low).verdict() == "mine is higher (p = 0.00195; with 10 units the smallest p is 0.00195)"
    assert only_pair(low, high).verdict().startswith("mine is lower (p = 0.00195")


def test_ties_are_shown_as_ties():
    scores = [10.0 + i for i in range(10)]
    assert only_pair(runs("a", scores), runs("b", scores)).verdict() == "a tie: the same score in every unit"
    near = [score + (1 if i % 2 else -1) for i, score in enumerate(scores)]
    pair = only_pair(runs("a", near), runs("b", scores))
    assert pair.verdict() == "a tie: no difference is called (p = 1; with 10 units the smallest p is 0.00195)"


def test_the_test_is_of_each_units_mean_over_the_cells():
    """10 points up in one cell and 10 down in the other is no difference, though each cell shows one."""
    mine = [*runs("mine", [60.0 + i for i in range(6)]), *runs("mine", [20.0] * 6, "none")]
    theirs = [*runs("iql", [50.0 + i for i in range(6)]), *runs("iql", [30.0] * 6, "none")]
    pair = only_pair(mine, theirs)
    assert [found.difference for found in pair.cells] == [10.0, -10.0]
    assert (pair.difference, pair.p, pair.verdict()) == (0.0, 1.0, "a tie: the same score in every unit")
    pair = only_pair(mine[:11], theirs)  # one cell lacks a unit: the test has five
    assert [len(found.units) for found in pair.cells] == [6, 5]
    assert pair.units == ("0", "1", "2", "3", "4")


def test_a_part_of_the_tables_cells_is_not_tested():
    """The test is over all cells of the table; whoever chose the best of them would be better without being so."""
    theirs = [*runs("iql", [10.0] * 10), *runs("iql", [30.0] * 10, "none"), *runs("iql", [5.0] * 10, steps="25000")]
    found = compare(runs("mine", [20.0 + i for i in range(10)]), theirs)
    (pair,) = found.pairs
    assert (pair.difference, pair.p, found.family) == (14.5, None, 0)
    lacking = "no test, which is over all cells of the table: mine lacks hopper-replay, none (rate 0, scale 1)"
    assert pair.verdict() == lacking
    whole = [*runs("mine", [20.0] * 10), *runs("mine", [40.0] * 10, "none"), *runs("mine", [1.0] * 10, "obs-adv")]
    assert only_pair(whole, theirs).p is not None  # what the table lacks may be there


def test_a_cell_without_a_floor_leaves_no_unit_to_test():
    mine = [*runs("mine", [20.0] * 6), *runs("mine", [None] * 6, "none")]
    theirs = [*runs("iql", [10.0] * 6), *runs("iql", [None] * 6, "none")]
    pair = only_pair(mine, theirs)
    assert [len(found.differences) for found in pair.cells] == [6, 0]
    assert (pair.units, pair.p) == ((), None)


def test_holm_is_over_the_pairs_that_are_tested():
    better, even = [20.0 + i for i in range(10)], [10.0 + (i % 2) for i in range(10)]
    theirs = [*runs("iql", [10.0] * 10), *runs("bc", [10.5] * 10), *runs("riql", [0.0] * 3)]
    found = compare([*runs("a", better), *runs("b", even)], theirs)
    p = [pair.p for pair in found.pairs]
    assert (found.family, len(found.pairs), p.count(None)) == (4, 6, 2)
    adjusted = stats.holm([value for value in p if value is not None])
    assert [pair.adjusted for pair in found.pairs if pair.p is not None] == adjusted
    assert {pair.smallest for pair in found.pairs if pair.p is not None} == {4 * 2 / 1024}
    assert max(adjusted) == 1.0
    assert min(adjusted) == 4 * 2 / 1024


def test_failed_runs_count_with_the_floor():
    """min(0, lowest sound run of the cell), whoever's it is, on both sides; n never shrinks."""
    mine, theirs = runs("mine", [40.0, None, 50.0]), runs("iql", [30.0, -7.0, None])
    (found,) = only_pair(mine, theirs).cells
    assert found.failed == (1, 1)
    assert found.differences == (10.0, 0.0, 57.0)
    assert (found.mine, found.theirs) == pytest.approx((83 / 3, 16 / 3))
    pair = only_pair(runs("mine", [None, None]), runs("iql", [None, None]))
    assert (pair.cells[0].mine, pair.cells[0].differences, pair.units) == (None, (), ())


def test_without_a_common_unit_nothing_is_paired():
    pair = only_pair([run("mine", 0, 10.0)], [run("iql", 1, 30.0)])
    assert (pair.cells[0].mine, pair.cells[0].theirs, pair.cells[0].difference) == (10.0, 30.0, None)
    assert pair.verdict().startswith("no unit has every cell of both")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "walker2d-replay"}, "it with dataset hopper-replay instead"),
        ({"environment": "Hopper-v4"}, "it with environment Hopper-v5 instead"),
        ({"corruption": "obs-adv"}, "it with corruption obs-random instead"),
        ({"rate": "0.1"}, "it with rate 0.3 instead"),
        ({"scale": "0.5"}, "it with scale 1 instead"),
        ({"preset": "riql2024"}, "it with preset none instead"),
        ({"steps": "25000"}, "it with steps 50000 instead"),
        ({"protocol": "cb2027"}, "it with protocol cb2026 instead"),
        ({"options": "corruption.clip=true"}, "no such cell"),
        ({"options": "references=0/1"}, "no such cell"),
    ],
)
def test_what_differs_is_not_compared(changes, said):
    found = compare([run("mine", **changes)], [run("iql")])
    assert found.pairs == ()
    assert len(found.unmatched) == 1
    assert found.unmatched[0].endswith(f"not compared, the table has {said}")


def test_settings_make_another_algorithm():
    """But on the oracle track, where they differ from cell to cell, and never where they are the corruption's."""
    theirs = [run("iql", 0), run("iql", 0, options="iql.beta=1"), run("iql", 0, optimizer="sam", rho="0.05")]
    theirs += [
        run("riql", 0, track="oracle", options="riql.delta=4"),
        run("riql", 0, 1.0, "none", track="oracle", options="riql.delta=1"),
    ]
    pairs = compare([run("mine"), run("mine", 0, 3.0, "none")], theirs).pairs
    assert [len(pair.cells) for pair in pairs] == [1, 1, 1, 2]
    other = {"dataset": "file:mine.hdf5", "options": "references=0/1"}  # the dataset's own scale, and no setting
    (pair,) = compare(*([run(name), run(name, **other)] for name in ("mine", "iql"))).pairs
    assert len(pair.cells) == 2
    clipped = "corruption.clip=true"
    assert len(compare([run("mine", options=clipped)], [run("iql", options=f"{clipped};iql.beta=1")]).pairs) == 1


def test_the_same_runs_are_no_comparison_and_a_unit_stands_once():
    assert compare([run("iql", 0, run_id="a" * 16)], [run("iql", 0, run_id="a" * 16)]).pairs == ()
    assert len(compare([run("iql", 0, run_id="b" * 16)], [run("iql", 0, run_id="a" * 16)]).pairs) == 1
    with pytest.raises(DataError, match="my results: unit 0 of iql on hopper-replay under obs-random stands twice"):
        compare([run("iql", 0, 1.0), run("iql", 0, 2.0)], [run("bc")])


# My results


def test_records_and_a_runs_csv_are_the_same_results(tmp_path):
    records = read_records(LEADERBOARD / "records")[:6]
    for made in records:
        shutil.copytree(LEADERBOARD / "records" / made.run_id, tmp_path / "records" / made.run_id)
    found = read_results(tmp_path / "records")
    assert found.rows == run_rows(records) == read_results(written(tmp_path / "runs.csv", run_rows(records))).rows
    assert not found.minimal
    broken = tmp_path / "records" / records[0].run_id / "record.json"
    broken.write_text(broken.read_text()[:-9])
    with pytest.raises(IntegrityError, match=r"1 of 6 records are broken, the first one: .*record\.json"):
        read_results(tmp_path / "records")


def test_runs_without_unit_or_score_are_left_out_and_that_is_said(tmp_path):
    rows = [run("iql", 0), run("iql", "", 2.0), run("iql", 1, 3.0, train_seed="5"), run("iql", 2, 4.0, normalized="")]
    path = written(tmp_path / "mine.csv", rows)
    found = read_results(path)
    assert [row["unit"] for row in found.rows] == ["0"]
    assert found.left_out == [
        f"{path}: 2 of 4 runs have seeds of their own, and are no unit",
        f"{path}: 1 of 4 runs have no normalized score",
    ]
    with pytest.raises(DataError, match=r"it holds no scores of units: .* 1 of 1 runs have seeds of their own"):
        read_results(written(tmp_path / "none.csv", rows[1:2]))


def test_the_minimal_csv(tmp_path):
    path = minimal(
        tmp_path / "my-algo.csv",
        "hopper-replay,none,0,12.5",
        '"hopper-replay","obs-adv:scale=0.50,rate=0.1,preset=riql2024",03,-1e1',
        "d4rl:hopper-x,act-adv:clip=true,1,",
    )
    found = read_results(path)
    assert found.minimal
    names = ("algo", "dataset", "corruption", "rate", "scale", "preset", "options", "unit", "normalized", "outcome")
    assert [tuple(row[name] for name in names) for row in found.rows] == [
        ("my-algo", "hopper-replay", "none", "0", "1", "", "", "0", "12.5", "ok"),
        ("my-algo", "hopper-replay", "obs-adv", "0.1", "0.5", "riql2024", "", "3", "-1e1", "ok"),
        ("my-algo", "d4rl:hopper-x", "act-adv", "0.3", "1", "", "corruption.clip=true", "1", "", "failed"),
    ]  # fmt: skip
    named = minimal(tmp_path / "x.csv", "cql,hopper-replay,none,0,1", columns="algo,dataset,corruption,unit,normalized")
    assert read_results(named).rows[0]["algo"] == "cql"


@pytest.mark.parametrize(
    ("line", "columns", "message"),
    [
        ("", "dataset,corruption,unit", "line 1: column 'normalized' is missing"),
        ("", "dataset,corruption,unit,normalised", "line 1: unknown column 'normalised' (did you mean 'normalized'?)"),
        ("", "dataset,corruption,unit,normalized,alg", "line 1: unknown column 'alg' (did you mean 'algo'?)"),
        ("hopper-replay,none,0", None, "line 2: it has 3 values, and the header has 4 names"),
        ("hopper-replay,none,0,nan", None, "line 2: normalized is 'nan', needed is a number or nothing"),
        ("hopper-replay,none,-1,5", None, "line 2: unit is '-1', needed is a whole number or nothing"),
        ("hopper-replay,none,,5", None, "line 2, unit: it is empty, needed is a whole number"),
        ("hopper-replay,obs-avd,0,5", None, "line 2, corruption: unknown corruption 'obs-avd': known are "),
        ("hopper-replay,obs-adv:rat=1,0,5", None, "line 2, corruption: threat model 'obs-adv:rat=1': unknown option"),
        ("hopper-replay,obs-adv:rate=2,0,5", None, "line 2, corruption: obs-adv: rate is 2.0, allowed is 0 to 1"),
        ("hopper-replay,antigravity:Class,0,5", None, "line 2, corruption: corruption 'antigravity:Class' is a class"),
        ("../x,none,0,5", None, "line 2, dataset: '../x' is the name of none"),
        ("hopper-replay,none,0,1e99", None, "normalized is 1e99, allowed is -1e+09 to 1e+09"),
    ],
)
def test_a_wrong_minimal_csv_is_refused_by_line_and_column(line, columns, message, tmp_path):
    path = minimal(tmp_path / "mine.csv", *[line] * bool(line), columns=columns or "dataset,corruption,unit,normalized")
    with pytest.raises(DataError) as error:
        read_results(path)
    assert str(error.value).startswith((f"{path}, {message}", f"{path}: {message}"))
    assert "\n" not in str(error.value)


def test_no_table_commands_a_terminal(tmp_path):
    path = written(tmp_path / "mine.csv", [run("x\x1b[2J")])
    with pytest.raises(DataError, match=r"algo is 'x\\x1b\[2J', which has a character that cannot be printed"):
        read_results(path)


def test_a_minimal_csv_takes_steps_and_environment_of_the_table(tmp_path):
    table = [run("iql"), run("iql", steps="25000", run_id="a" * 16), run("iql", corruption="none", steps="70000")]
    found = read_results(minimal(tmp_path / "mine.csv", "hopper-replay,obs-random,0,5"))
    with pytest.raises(UsageError) as error:
        completed(found, table, None)
    assert str(error.value) == (
        f"{tmp_path / 'mine.csv'} does not tell its steps, and the table has 25,000 and 50,000: say which by --steps"
    )
    (row,) = completed(found, table, 25000)
    assert (row["steps"], row["environment"], row["protocol"]) == ("25000", "Hopper-v5", "cb2026")
    assert completed(found, table[:1], None)[0]["steps"] == "50000"
    assert compare(completed(found, table, 123), table).pairs == ()
    elsewhere = [run("iql", environment="Hopper-v4")]  # the dataset's own environment is another one
    assert compare(completed(found, elsewhere, None), elsewhere).pairs == ()
    with pytest.raises(UsageError, match="--steps is 0, allowed is 1 and above"):
        completed(found, table, 0)
    whole = read_results(written(tmp_path / "runs.csv", [run("mine")]))
    with pytest.raises(UsageError, match=r"--steps 5: .* tells the steps of its runs, so leave it out"):
        completed(whole, table, 5)


# The command


@pytest.fixture
def files(tmp_path):
    """My runs, and a table to compare them with."""
    cells = {"none": 20.0, "obs-random": 10.0}
    mine = [r for name, low in cells.items() for r in runs("mine", [low + i for i in range(6)], name)]
    theirs = [r for name, low in cells.items() for r in runs("iql", [low - 1 + 2 * i for i in range(6)], name)]
    return written(tmp_path / "mine.csv", mine), written(tmp_path / "table.csv", theirs)


def test_compare_prints_each_cell_and_the_verdict(files, capsys):
    mine, table = files
    assert main(["leaderboard", "compare", str(mine), "--against", str(table)]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == f"{mine} against {table}: normalized scores, a difference is mine - theirs".split()
    low, high = stats.interval([1.0 - i for i in range(6)], "compare/6")
    for words in (
        "hopper-replay none, 50,000 steps 22.5 24.0 -1.5",
        "hopper-replay obs-random (0.3, 1), 50,000 steps 12.5 14.0 -1.5",
        "mean of these 2 cells -1.5",
    ):
        assert [*words.split(), f"[{low:+.1f},", f"{high:+.1f}]", "6"] in lines
    p = stats.sign_flip([1.0 - i for i in range(6)])
    assert f"a tie: no difference is called (p = {p:.3g}; with 6 units the smallest p is 0.0312)" in out
    assert "Tests: sign-flip on each unit's mean over the cells, 1 pair of algorithms together (Holm)." in out


def test_compare_as_json(files, capsys):
    mine, table = files
    assert main(["leaderboard", "compare", str(mine), "--against", str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (pair,) = found["pairs"]
    assert (found["family"], found["protocol_known"], pair["mine"], pair["theirs"]) == (1, True, "mine", "iql")
    assert pair["p"] == pair["holm_p"] == stats.sign_flip([1.0 - i for i in range(6)])
    assert [cell["corruption"] for cell in pair["cells"]] == ["none", "obs-random"]
    assert pair["cells"][1]["difference"] == -1.5
    assert pair["cells"][1]["units"] == list("012345")


def test_a_minimal_csv_against_the_shipped_tables(tmp_path, capsys):
    """The README's own example: four columns against a suite, which says the rest."""
    path = minimal(tmp_path / "mine.csv", "hopper-replay,none,0,12.5", "hopper-replay,none,1,11")
    assert main(["leaderboard", "compare", str(path), "--against", "core"]) == 0
    out = capsys.readouterr().out
    assert "so its protocol is unknown: its unit i is taken for the table's unit i, with 50,000 steps" in out
    core = {row["algo"] for row in reading.read_table(LEADERBOARD / "core.csv").rows if row["corruption"] == "none"}
    assert all(f"mine against {algo}" in out for algo in core)
    assert main(["leaderboard", "compare", str(path)]) == 2
    assert "say which by --steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.csv"], 2, "none.csv: there is no such file"),
        (["mine.csv", "--against", "cor"], 2, "--against cor: neither a file nor a suite, which are core, "),
        (["mine.csv", "--against", "minimal.csv"], 2, "it does not tell its environment and steps"),
        (["wrong.csv", "--against", "table.csv"], 3, "wrong.csv, line 1: column 'dataset' is missing"),
        (["other.csv", "--against", "table.csv"], 3, "have nothing to compare: walker2d-replay, obs-random"),
        (["table.csv", "--against", "table.csv"], 3, "have nothing to compare: they are the very runs of the table"),
    ],
)
def test_refusals(arguments, code, message, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minimal(tmp_path / "minimal.csv", "hopper-replay,none,0,12.5")
    (tmp_path / "wrong.csv").write_text("\n")
    written(tmp_path / "other.csv", [run("mine", dataset="walker2d-replay")])
    assert main(["leaderboard", "compare", *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err.splitlines()[-1]
    assert captured.out == ""


# Published scores


def test_published_scores_are_what_the_script_makes_of_the_source():
    """Its words by hand, one row of each source."""
    rows = published_scores()
    assert len(rows) == 561
    of = {(row["source"], row["algo"], row["dataset"], row["share"], row["corruption"]): row for row in rows}
    assert len(of) == 561
    hopper = "d4rl:hopper-medium-replay-v2"
    row = of["TRACER-T3", "riql", "d4rl:walker2d-medium-replay-v2", "1", "obs-adv"]
    assert [row[k] for k in ("track", "level", "steps", "mean", "n", "verified")] == [
        "oracle", "transition", "3000000", "70", "4", "yes",
    ]  # fmt: skip
    row = of["ADG-T1", "iql", hopper, "0.1", "obs-random"]
    assert [row[k] for k in ("track", "level", "steps", "spread")] == ["", "sequence", "1000000", "std"]
    assert of["ADG-T1", "rdt", hopper, "1", "mix-random"]["steps"] == "100000"
    assert of["ADG-T1", "rdt", hopper, "1", "mix-random"]["mixture"] == "obs+act+rew on the same rows"
    row = of["RPEX-T1(offline column)", "iql", hopper, "1", "dyn-random"]
    assert [row[k] for k in ("n", "std", "spread")] == ["1", "", ""]
    row = of["SAM-2511.17568(secondary notes)", "iql+sam", hopper, "1", "obs-random"]
    assert [row[k] for k in ("mean", "scale", "steps", "verified")] == ["73.21", "", "", "no"]
    assert [row[k] for k in ("environment", "level")] == ["Hopper-v2", ""]
    assert {row["verified"] for row in rows if row["provenance"] == "secondary"} == {"no"}
    assert {row["provenance"] for row in rows if row["verified"] == "yes"} == {"paper", "readme"}
    assert {row["corruption"] for row in rows if row["dataset"] == "average"} == {"obs+mix-random", "obs+mix-adv"}
    assert "rew-adv" in {row["corruption"] for row in rows if not row["attack"]}


def test_the_script_refuses_a_word_that_it_does_not_know():
    published = script("published")
    source = {
        "source": "TRACER-T2", "algo": "IQL", "dataset": "hopper-medium-replay-v2", "corruption": "observation",
        "mode": "random", "rate": "0.3", "range": "1.0", "mean": "52", "std": "16.6", "seeds": "4",
        "provenance": "paper",
    }  # fmt: skip
    made = published.row_of(source)
    assert tuple(sorted(made)) == tuple(sorted(PUBLISHED))
    assert made in published_scores()
    assert published.row_of({**source, "provenance": "secondary"})["verified"] == "no"
    for name, word in (("source", "X"), ("corruption", "reward?"), ("mode", "worst"), ("provenance", "rumour")):
        with pytest.raises(KeyError):
            published.row_of({**source, name: word})


def test_published_scores_disturb_no_table(tmp_path, monkeypatch):
    """They are no runs, and a table that is built beside them keeps their sum, as it was."""
    assert len(shipped_runs()) == len({row["run_id"] for row in shipped_runs()})
    for path in LEADERBOARD.glob("*.csv"):
        shutil.copy(path, tmp_path)
    shutil.copy(LEADERBOARD / "SHA256SUMS", tmp_path)
    (tmp_path / "published.csv").write_text("edited\n")
    records = str(LEADERBOARD / "records")
    assert main(["leaderboard", "build", "--records", records, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "SHA256SUMS").read_text() == (LEADERBOARD / "SHA256SUMS").read_text()
    monkeypatch.setattr(reading, "LEADERBOARD", tmp_path)
    for read in (published_scores, shipped_runs):
        with pytest.raises(IntegrityError, match=r"published\.csv: its content is not what .*SHA256SUMS says"):
            read()
    (tmp_path / "SHA256SUMS").write_text(build_all([], [])["SHA256SUMS"])
    with pytest.raises(IntegrityError, match=r"published\.csv: .*SHA256SUMS does not name it"):
        published_scores()
    assert "published.csv" in read_sums(LEADERBOARD / "SHA256SUMS")


def test_which_published_scores_stand_beside_mine():
    rows = published_scores()
    found = beside(run(), "iql", rows)
    assert {(row["algo"], row["environment"], row["corruption"]) for row in found} == {
        ("iql", "Hopper-v2", "obs-random")
    }
    assert {row["source"].partition("-")[0] for row in found} == {"TRACER", "ADG", "RPEX", "SAM"}
    everyone = beside(run(), "mine", rows)  # nobody's name: all of them
    assert {"iql", "tracer", "rdt+adg", "iql+sam"} <= {row["algo"] for row in everyone}
    assert beside(run(rate="0.1"), "iql", rows) == []
    assert {row["scale"] for row in beside(run(scale="0.5"), "iql", rows)} == {""}  # which do not say theirs
    assert beside(run(options="corruption.clip=true"), "iql", rows) == []
    assert beside(run(environment="Ant-v5"), "iql", rows) == []
    assert beside(run(environment=""), "iql", rows) == []


def test_how_protocols_differ():
    """Dataset, environment version, level, mixture, attack, steps, scale, track, and what the ± is."""
    rows = published_scores()

    def of(source, cell, **wanted):
        (row,) = [
            row
            for row in rows
            if row["source"].startswith(source) and row in beside(cell, "riql", rows)
            if all(row[k] == v for k, v in wanted.items())
        ]
        return differences(row, cell)

    mix = run("riql", corruption="mix-adv")
    assert of("TRACER", mix) == [
        "data d4rl:hopper-medium-replay-v2, here hopper-replay",
        "environment Hopper-v2, here Hopper-v5",
        "attacks EDAC's mean of 10 critics, 100 steps, the last iterate, "
        "here IQL's min of 2 critics, 40 steps that keep the best",
        "riql with settings of the track oracle, here universal",
        "3,000,000 steps, here 50,000 steps",
        "its ± is a standard error, here the std over units",
    ]
    assert of("ADG-T2", mix, share="0.1")[:4] == [
        "data 10 % of the episodes of d4rl:hopper-medium-replay-v2, here hopper-replay",
        "environment Hopper-v2, here Hopper-v5",
        "corrupts trajectories, where a state is the s of one row and the s' of the row before, "
        "here rows by themselves",
        "mixture of obs+act+rew on the same rows, here of obs+act+rew+dyn on rows of their own",
    ]
    clean = run("iql", corruption="none")
    (row,) = [row for row in beside(clean, "iql", rows) if row["source"].startswith("CORL-README(last")]
    assert not row["scale"]
    assert not [clause for clause in differences(row, clean) if "scale" in clause]  # clean data have none
    assert of("SAM", run("riql"))[2:] == [
        "corrupts a level that is not stated, here rows by themselves",
        "scale not stated, here 1",
        "steps not stated, here 50,000 steps",
    ]
    same = run("riql", dataset="d4rl:hopper-medium-replay-v2", environment="Hopper-v2", steps="2000000", track="oracle")
    assert of("RPEX", same) == []


def test_compare_shows_published_scores_and_marks_the_unverified(files, capsys):
    mine, table = files
    assert main(["leaderboard", "compare", str(mine), "--against", str(table), "--published"]) == 0
    out = capsys.readouterr().out
    shown = [line for line in out.splitlines() if " (n=" in line or "n not stated" in line]
    expected = [
        row for cell in ("none", "obs-random") for row in beside(run("mine", 0, 1.0, cell), "mine", published_scores())
    ]
    assert len(shown) == len(expected) + 2
    for line in shown:
        assert ("unverified: from notes of others, not from the paper" in line) == ("SAM-2511" in line)
    assert "TRACER-T2                          iql          52 ± 16.6 (n=4)" in out
    assert "    3,000,000 steps, here 50,000 steps" in out.split("How these protocols differ from mine:")[1]


def test_a_failed_run_counts_the_same_beside_the_table_and_beside_published_scores(tmp_path, capsys):
    """The floor is the lowest sound run of the cell on either side."""
    mine = written(tmp_path / "mine.csv", runs("riql", [40.0, None, 50.0]))
    table = written(tmp_path / "table.csv", runs("iql", [30.0, -7.0, 10.0]))
    assert main(["leaderboard", "compare", str(mine), "--against", str(table), "--published"]) == 0
    above, beside_mine = capsys.readouterr().out.split("Published scores beside mine")
    assert re.search(r"50,000 steps +27\.7 +11\.0 ", above)
    assert re.search(r"mine +riql +27\.7 ± 30\.4 \(n=3\)", beside_mine)


def test_a_difference_of_some_cells_says_of_which(tmp_path, capsys):
    rows = [run("riql", 0, 40.0), run("riql", 0, 30.0, steps="25000")]
    mine = written(tmp_path / "mine.csv", rows)
    table = written(tmp_path / "table.csv", [{**row, "algo": "iql"} for row in rows])
    assert main(["leaderboard", "compare", str(mine), "--against", str(table), "--published"]) == 0
    (lines,) = [part.splitlines() for part in capsys.readouterr().out.split("  TRACER-T2\n")[1:]]
    named = "hopper-replay obs-random (0.3, 1)"
    assert f"    3,000,000 steps, here 25,000 steps ({named}, 25,000 steps)" in lines
    assert f"    3,000,000 steps, here 50,000 steps ({named}, 50,000 steps)" in lines
    assert "    environment Hopper-v2, here Hopper-v5" in lines


def test_published_csv_is_readable_by_anyone():
    with (LEADERBOARD / "published.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == published_scores()
