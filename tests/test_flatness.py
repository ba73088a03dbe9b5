"""The study of flatness: its statistics by hand, and its page made from the committed records."""

import dataclasses
import json
import math
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from builders_scripts import script

from corruptbench.sharpness import reports_of
from corruptbench.tables.labels import label
from corruptbench.tables.listing import run_row

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def flatness():
    return script("flatness")


def run(flatness, learner, threat, unit, score, sharpness=None, norm=1.0):
    """A run with one sharpness for every measure of V, and none of the other losses."""
    found = {
        "eigenvalue_max": {"value": sharpness},
        "trace": {"value": sharpness},
        "fisher_trace": sharpness,
        "sam": {"0.05": sharpness},
        "sam_relative": {"0.01": sharpness},
        "asam": {"0.5": sharpness},
        "average_relative": {"0.1": {"value": sharpness}},
        "weight_norm": norm,
        "loss": sharpness,
    }
    report = {"data": {name: {"objectives": {"V": found}} for name in flatness.DATA}} if sharpness else None
    algo = learner.partition(" ")[0].partition("+")[0]
    return flatness.Run(algo, learner, threat, unit, score, report)


def test_sam_is_paired_with_the_plain_run_of_its_unit(flatness):
    runs = [run(flatness, "iql", "none", unit, score) for unit, score in ((0, 10.0), (1, 20.0), (3, 99.0))]
    runs += [run(flatness, "iql+sam", "none", unit, score) for unit, score in ((0, 13.0), (1, 21.0), (2, 99.0))]
    table = flatness.scores_table(runs).splitlines()
    assert len(table) == 3
    half = 12.7062 * 1.41421356 / math.sqrt(2)  # of the differences 3 and 1
    shown = f"{2 - half:+.1f} to {2 + half:+.1f}"
    assert table[2] == f"| iql, none | 2 | 15.0 | 17.0 | +2.0 | {shown} | 0.50 | 0.50 |"


def test_ratios_are_geometric_means_over_units(flatness):
    runs = [run(flatness, "riql", "none", unit, 0, value) for unit, value in ((0, 1.0), (1, 2.0))]
    runs += [run(flatness, "riql+sam", "none", unit, 0, value) for unit, value in ((0, 0.5), (1, 4.0))]
    runs += [run(flatness, "riql", "obs-adv", 0, 0, 1.0), run(flatness, "riql+sam", "obs-adv", 0, 0)]  # not measured
    (row,) = [line for line in flatness.ratio_table(flatness.paired(runs), "clean").splitlines() if "| V |" in line]
    assert row == "| riql, none | V | 2 |" + " 1.00 |" * 9


def test_a_ratio_has_a_star_where_its_interval_leaves_out_1(flatness):
    """Logarithms of two ratios with mean m and difference d: m -+ 12.706 d / 2."""
    for d, star in ((0.15, "*"), (0.16, "")):
        pairs = []
        for unit, log in ((0, 1 - d / 2), (1, 1 + d / 2)):
            one = run(flatness, "iql", "none", unit, 0.0, 1.0)
            pairs.append((one, run(flatness, "iql+sam", "none", unit, 0.0, math.exp(log))))
        assert flatness.ratio(pairs, "clean", "V", "trace") == f"2.72{star}"
        assert flatness.ratio([(b, a) for a, b in pairs], "clean", "V", "trace") == f"0.37{star}"


def test_what_corruption_costs_is_paired_by_unit(flatness):
    scores = {"iql": ((10.0, 4.0), (20.0, 18.0), (5.0, None)), "iql+sam": ((8.0, 9.0), (9.0, 8.0), (7.0, 7.0))}
    runs = [
        run(flatness, learner, threat, unit, score)
        for learner, units in scores.items()
        for unit, pair in enumerate(units)
        for threat, score in zip(("none", "obs-adv"), pair, strict=True)
        if score is not None
    ]
    half = 12.7062 * 3  # of the differences -1 - 6 and 1 - 2, in the units 0 and 1
    assert flatness.drops_table(runs).splitlines()[2:] == [
        f"| iql, obs-adv | 2 | 4.0 | 0.0 | -4.0 | {-4 - half:+.1f} to {-4 + half:+.1f} | 0.50 |"
    ]
    assert flatness.means_table(runs).splitlines()[2:] == [
        "| iql | 11.7 ± 7.6 | 11.0 ± 9.9 |",
        "| iql+sam | 8.0 ± 1.0 | 8.0 ± 1.0 |",
    ]


def test_what_goes_with_the_weights_length_is_taken_out(flatness):
    """Score and sharpness both follow the length, and what is left of the two is opposed."""
    runs = [
        run(flatness, "iql", "none", unit, 10.0 * unit + rest, math.exp(3 * unit - rest), math.exp(unit))
        for unit, rest in enumerate((1.0, -1.0, -1.0, 1.0))
    ]
    plain, partial = (
        flatness.correlation_table(runs, "clean", given=given).splitlines()[3].split("|")[2].split()[0]
        for given in (None, "weight norm")
    )
    assert float(plain) > 0.8
    assert partial == "-1.00"
    rows = [line.split(" |")[0] for line in flatness.correlation_table(runs, "clean").splitlines()[2:]]
    assert rows == [f"| {name}" for name in (*flatness.MEASURES, "weight norm", "loss")]


def test_measures_of_learners_are_means_of_units_means(flatness):
    """Two algorithms and two units: log 2 and log 8 of unit 0 and 0 of unit 1 are log 4 and 0."""
    runs = []
    for algo, own in (("iql", {0: 2.0, 1: 1.0}), ("riql", {0: 8.0})):
        for unit, value in own.items():
            runs += [
                run(flatness, algo, "none", unit, 0.0, 1.0),
                run(flatness, f"{algo}+sam", "none", unit, 0.0, value),
            ]
    runs += [run(flatness, "iql+wd", "none", 0, 0.0, 9.0)]  # RIQL has none
    head, _, v, q = flatness.measures_table(runs).splitlines()
    assert head.endswith("| mean rise, 0.1 of the weights | weight norm | loss |")
    assert v == "| sam | V |" + " 2.00 |" * 7 + " 1.00 | 2.00 |"
    assert q == "| sam | Q |" + " - |" * 9
    assert flatness.measures_table(runs[2:3]) == "No runs yet of the same units."
    names = {"iql+sam rho=0.1": "sam rho=0.1", "riql riql.layer_norm=true": "layer_norm=true"}
    assert [
        sys.modules[flatness.study_runs.__module__].own_name(run(flatness, name, "none", 0, 0.0)) for name in names
    ] == list(names.values())


def test_every_number_of_a_report_is_a_measure(flatness):
    """Of each loss on its own data, where it is above 0: nothing that was measured is left out of the correlations."""
    measures = flatness.MEASURES | flatness.REST | flatness.BESIDE
    (one,) = [
        each
        for each in flatness.suite_runs(flatness.read_records(flatness.RECORDS), "flatness")
        if each[1:4] == ("iql+sam", "obs-adv", 0)
    ]
    shown = {name: one.measured("clean", "common", name) for name in measures}
    found = one.report["data"]["clean"]["objectives"]["common"]
    layers = [layer["active"] for layer in one.report["data"]["clean"]["activity"]["critic"]]
    assert shown.pop("active units") == pytest.approx(sum(layers) / len(layers))
    assert shown.pop("smallest eigenvalue, below 0") == -found["eigenvalue_min"]["value"] > 0
    found = {key: value for key, value in found.items() if key not in ("eigenvalue_min", "gradient_norm")}
    values = [each.get("value", each) if isinstance(each, dict) else each for each in found.values()]
    numbers = [[each] if isinstance(each, float) else each.values() for each in values]
    flat = [number.get("value") if isinstance(number, dict) else number for each in numbers for number in each]
    assert sorted(shown.values()) == sorted(flat)


def test_corrupted_runs_are_paired_with_the_clean_one_of_their_unit(flatness):
    runs = [run(flatness, "bc", "none", unit, 0.0, value) for unit, value in ((0, 1.0), (1, 4.0), (2, 9.0))]
    runs += [run(flatness, "bc", "obs-adv", unit, 0.0, value) for unit, value in ((0, 2.0), (1, 2.0), (3, 9.0))]
    runs += [run(flatness, "iql", "obs-adv", 0, 0.0, 9.0), run(flatness, "bc+sam", "obs-adv", 2, 0.0, 9.0)]
    pairs = flatness.corrupted_and_clean(runs)
    assert {cell: [(a.unit, b.unit) for a, b in own] for cell, own in pairs.items()} == {
        ("bc", "obs-adv"): [(0, 0), (1, 1)]
    }
    assert flatness.ratio_table(pairs, "clean").splitlines()[2:] == [
        "| bc, obs-adv | V | 2 |" + " 1.00 |" * 9  # of 2 and 1/2; no other loss was measured
    ]


def test_surfaces_are_paired_by_unit(flatness):
    def surface(score, drop, cliffs):
        return flatness.Surface(score, dict.fromkeys((0.05, 0.1, 0.2, 0.4), drop), cliffs // 2, cliffs, 20)

    runs = [run(flatness, name, "none", unit, 0.0, 1.0) for name in ("iql", "iql+sam") for unit in (0, 1, 2)]
    surfaces = {"iql, none, unit 0": surface(10.0, 1.0, 2), "iql+sam, none, unit 0": surface(8.0, 4.0, 0)}
    surfaces |= {"iql, none, unit 1": surface(20.0, 5.0, 0), "iql+sam, none, unit 1": surface(4.0, 0.0, 4)}
    surfaces |= {"iql, none, unit 2": surface(99.0, 9.0, 9), "riql, none, unit 0": surface(99.0, 9.0, 9)}
    rows = [line.split(" | ") for line in flatness.surface_table(runs, surfaces).splitlines()[2:]]
    assert [row[:6] for row in rows] == [
        ["| iql, none", "2", "score at the weights", "15.0", "6.0", "-9.0"],
        *(["| iql, none", "2", f"drop at {radius}", "3.0", "2.0", "-1.0"] for radius in ("0.05", "0.1", "0.2", "0.4")),
        ["| iql, none", "2", "share of the score lost at 0.2, %", "17.5", "25.0", "+7.5"],
        ["| iql, none", "2", "ways with a cliff within the first step, %", "2.5", "5.0", "+2.5"],
        ["| iql, none", "2", "ways with a cliff anywhere, %", "5.0", "10.0", "+5.0"],
    ]
    assert flatness.surface_table(runs[:3], surfaces) == "No runs yet of the same units."


def test_surfaces_are_those_of_listed_runs(flatness):
    """By name and id, at the radii that the table shows; the score there is that of the first episodes."""
    surfaces = json.loads(sys.modules[flatness.Surface.__module__].SURFACES.read_text("utf-8"))
    assert surfaces["environment"] == "Hopper-v5"
    for found in surfaces["runs"]:
        record = flatness.RunRecord.read(flatness.RECORDS / found["run_id"] / "record.json")
        assert found["recorded"] == record.score
        episodes = record.evaluation["returns"][: surfaces["episodes"]]
        center = found["returns"]["lines"][0][len(surfaces["offsets"]) // 2]
        assert center == pytest.approx(sum(episodes) / len(episodes), rel=1e-9)
    assert len({found["name"] for found in surfaces["runs"]}) == len(surfaces["runs"]) == 36


def test_how_much_of_a_measure_is_sams(flatness):
    """Logs of 0 and 2 without SAM, 4 and 6 with it: of 20 about the mean 3, 4 are left about 1 and 5."""
    logs = {("riql", 0): 0.0, ("riql", 1): 2.0, ("riql+sam", 0): 4.0, ("riql+sam", 1): 6.0}
    runs = [run(flatness, name, "none", unit, 0.0, math.exp(log)) for (name, unit), log in logs.items()]
    runs += [run(flatness, "bc", "none", 0, 0.0, 100.0), run(flatness, "bc", "none", 1, 0.0, 1.0)]  # no critics
    head, _, *rows = flatness.explained_table(runs).splitlines()
    assert head == "| | V | Q | actor | common | actor of bc |"
    assert rows[0] == "| largest eigenvalue | 80 % | - | - | - | - |"
    assert rows[-2] == "| weight norm | - | - | - | - | - |"  # the same of all


def test_learners_of_sam(flatness):
    names = (
        "iql+sam",
        "iql+sam rho=0.1",
        "riql+gsam",
        "riql+sam riql.layer_norm=true",
        "riql",
        "iql+swa",
        "iql+wd x=sam",
    )
    assert [flatness.of_sam(run(flatness, name, "none", 0, 0.0)) for name in names] == [True] * 4 + [False] * 3


def test_which_cell_varies_most_is_told(flatness):
    runs = [run(flatness, "iql", threat, unit, score) for threat, unit, score in (("none", 0, 1.0), ("none", 1, 3.0))]
    runs += [run(flatness, "iql", "obs-adv", unit, score) for unit, score in ((0, 0.0), (1, 6.0))]
    most = "Of the scores' variance within cells 90 % is that of iql, obs-adv."
    assert flatness.parts(runs).endswith(f": iql with Adam. {most}")


def test_a_stage_compares_each_learner_with_adam(flatness):
    def table(runs):
        return flatness.stage_table(runs, flatness.beside_adam, "Adam")

    runs = [run(flatness, "iql", "none", unit, score, 2.0) for unit, score in ((0, 10.0), (1, 20.0))]
    runs += [run(flatness, "iql+sam", "none", unit, score, 1.0) for unit, score in ((0, 13.0), (1, 21.0))]
    assert table(runs) == "No runs yet but those that `flatness` has."
    runs += [run(flatness, "iql+random", "none", unit, score) for unit, score in ((1, 26.0), (2, 99.0))]
    rows = table(runs).splitlines()[2:]
    half = 12.7062 * 1.41421356 / math.sqrt(2)
    shown = f"{2 - half:+.1f} to {2 + half:+.1f}"
    assert rows == [
        f"| iql+sam, none | 2 | 15.0 | 17.0 | +2.0 | {shown} | 1.00 | 0.50* | - | - | - |",
        "| iql+random, none | 1 | 20.0 | 26.0 | +6.0 | - | 1.00 | - | - | - | - |",
    ]


def test_a_control_is_compared_with_sam_too(flatness):
    runs = [run(flatness, "iql", "none", unit, 0.0) for unit in (0, 1)]
    runs += [run(flatness, "iql+sam", "none", unit, score, 1.0) for unit, score in ((0, 10.0), (1, 20.0))]
    runs += [run(flatness, "iql+swa", "none", unit, score, 4.0) for unit, score in ((0, 13.0), (1, 21.0))]
    head, _, row = flatness.stage_table(runs, flatness.beside_sam, "SAM").splitlines()
    assert head.startswith("| learner, threat | n | SAM | score |")
    assert flatness.stage_table(runs[:2] + runs[4:], flatness.beside_sam, "SAM") == "No runs yet of the same units."
    half = 12.7062 * 1.41421356 / math.sqrt(2)
    assert row.startswith(f"| iql+swa, none | 2 | 15.0 | 17.0 | +2.0 | {2 - half:+.1f} to {2 + half:+.1f} | 0.50 |")


def test_a_stage_compares_each_learner_with_sam_and_each_modifier_with_itself(flatness):
    """Pairs share algorithm, threat model and unit, and never a modifier of one with another of the other."""
    learners = {"riql": 1.0, "riql+sam": 2.0, "riql+gsam": 4.0}
    learners |= {"riql riql.layer_norm=true": 8.0, "riql+sam riql.layer_norm=true": 16.0}
    learners |= {"riql+sam riql.activation=crelu": 32.0}  # its plain runs are missing
    runs = [run(flatness, name, "obs-adv", 0, score) for name, score in learners.items()]
    runs += [run(flatness, "riql", "none", 0, 64.0), run(flatness, "riql", "obs-adv", 1, 64.0)]
    end = " | - | 1.00 | - | - | - | - |"
    assert flatness.stage_table(runs, flatness.without_sam, "without SAM").splitlines()[2:] == [
        f"| riql+sam, obs-adv | 1 | 1.0 | 2.0 | +1.0{end}",
        f"| riql+sam riql.layer_norm=true, obs-adv | 1 | 8.0 | 16.0 | +8.0{end}",
    ]
    assert flatness.stage_table(runs, flatness.beside_sam, "SAM").splitlines()[2:] == [
        f"| riql+gsam, obs-adv | 1 | 2.0 | 4.0 | +2.0{end}",
        f"| riql riql.layer_norm=true, obs-adv | 1 | 2.0 | 8.0 | +6.0{end}",
        f"| riql+sam riql.layer_norm=true, obs-adv | 1 | 2.0 | 16.0 | +14.0{end}",
        f"| riql+sam riql.activation=crelu, obs-adv | 1 | 2.0 | 32.0 | +30.0{end}",
    ]


def test_radii_stand_side_by_side_over_the_units_that_all_of_them_have(flatness):
    """Sharpness is the ratio to Adam's of the same unit: of units 0 and 1 the geometric mean of 1/2 and 1/8."""
    runs = []
    for unit, score in enumerate((10.0, 20.0, 90.0)):
        runs.append(run(flatness, "riql", "none", unit, score, 8.0))
    for unit, score, sharpness in ((0, 12.0, 4.0), (1, 14.0, 1.0)):
        runs.append(run(flatness, "riql+sam", "none", unit, score, sharpness)._replace(rho=0.05))
    assert flatness.radii_table(runs) == "No runs yet but those that `flatness` has."
    runs += [each._replace(rho=0.2, score=each.score - 5) for each in runs if each.rho]
    lines = flatness.radii_table(runs).splitlines()
    assert lines[0] == "| | units | | Adam | rho 0.05 | rho 0.2 |"
    assert lines[2:] == [
        "| riql, none | 0, 1 | score | 15.0 | 13.0 | 8.0 |",
        "| riql, none | 0, 1 | sharpness of V | 1.00 | 0.25 | 0.25 |",
        "| riql, none | 0, 1 | sharpness of Q | - | - | - |",
    ]


def test_plain_and_sam_runs_share_a_mean_or_have_their_own(flatness):
    """SAM lowers both, and without it both rise against each other."""
    runs = [run(flatness, "iql", "none", unit, 50.0 - unit, math.exp(9 + unit)) for unit in range(2)]
    runs += [run(flatness, "iql+sam", "none", unit, 10.0 - unit, math.exp(1 + unit)) for unit in range(2)]
    together, apart = (flatness.centred(runs, "clean", "V", "trace", apart=apart) for apart in (False, True))
    assert [value for p in together for value in p[1:]] == pytest.approx(
        [3.5, 20.5, 4.5, 19.5, -4.5, -19.5, -3.5, -20.5]
    )
    assert [value for p in apart for value in p[1:]] == pytest.approx([-0.5, 0.5, 0.5, -0.5] * 2)
    for apart, r in (
        (False, (3.5 * 20.5 + 4.5 * 19.5) / math.sqrt((3.5**2 + 4.5**2) * (20.5**2 + 19.5**2))),
        (True, -1),
    ):
        row = flatness.correlation_table(runs, "clean", apart=apart).splitlines()[3]
        assert row == f"| trace | {r:+.2f} (4) | - | - | - |"
    assert flatness.centred(runs[:1], "clean", "V", "trace") == []  # a cell of one run


def test_bc_has_a_column_of_its_own(flatness):
    """Its scores vary most, and would make up the others' correlations."""
    runs = [run(flatness, "iql", "none", unit, unit, math.exp(unit)) for unit in range(3)]
    heads = "| | V | Q | actor | common |"
    assert flatness.correlation_table(runs, "clean").splitlines()[0] == heads
    bc = [run(flatness, "bc", "none", unit, -unit, math.exp(unit)) for unit in range(3)]
    for each in bc:
        each.report["data"]["clean"]["objectives"]["actor"] = each.report["data"]["clean"]["objectives"].pop("V")
    table = flatness.correlation_table(runs + bc, "clean").splitlines()
    assert table[0] == f"{heads} actor of bc |"
    assert table[3] == "| trace | +1.00 [+1.00, +1.00] (3) | - | - | - | -1.00 [-1.00, -1.00] (3) |"


def test_a_run_that_failed_has_the_floor_of_its_cell_and_is_counted(flatness):
    """A learner's own runs need not be sound: the floor is that of all learners in the cell, as in tables."""
    records = [record for record in flatness.read_records(flatness.RECORDS) if record.spec.steps == 25_000]
    sam = {
        record.run_id
        for record in records
        if (record.spec.algorithm.name, record.spec.optimizer.name, record.spec.corruption.name)
        == ("riql", "sam", "none")
    }
    broken = [
        dataclasses.replace(each, outcome="diverged", score=None, evaluation=None) if each.run_id in sam else each
        for each in records
    ]
    found = flatness.suite_runs(broken, "flatness")
    assert [(run.score, run.failed) for run in found if (run.learner, run.threat) == ("riql+sam", "none")] == [
        (0.0, True)
    ] * 5
    assert sum(run.failed for run in found) == 5
    (row,) = [line for line in flatness.scores_table(found).splitlines() if line.startswith("| riql, none |")]
    plain = sum(run.score for run in found if (run.learner, run.threat) == ("riql", "none")) / 5
    assert row.startswith(f"| riql, none | 5, 5 failed | {plain:.1f} | 0.0 | {-plain:.1f} |")


def test_all_stages_together_are_of_the_units_that_learners_have_in_common(flatness):
    def those(learner, threat, *units):
        return [run(flatness, learner, threat, unit, 0.0) for unit in units]

    runs = those("iql", "none", 0, 1, 2, 3, 4) + those("iql", "obs-adv", 0, 1, 2, 3, 4)
    assert flatness.compared_runs(runs) == runs
    runs += [each for name in ("wd", "swa", "double") for each in those(f"iql+{name}", "none", 0, 1, 2)]
    runs += [each for name in ("wd", "swa", "double") for each in those(f"iql+{name}", "obs-adv", 0, 1, 2)]
    runs += those("iql+random", "none", 0, 1, 2) + those("iql+msam", "none", 0) + those("iql+msam", "obs-adv", 1, 2)
    found = flatness.compared_runs(runs)
    assert {each.unit for each in found} == {0, 1, 2}
    words = "24 runs, of the learners that have units 0, 1, 2: iql with Adam, double, swa, wd"
    assert flatness.parts(found) == f"{words}."
    both = [*found, *(each._replace(algo="riql", learner=each.learner.replace("iql", "riql")) for each in found)]
    assert flatness.parts(both) == f"{words}.".replace("24", "48").replace(": iql", ": iql and riql")
    some = [each for each in both if each.learner != "riql+wd"]
    assert flatness.parts(some) == f"{words}; riql with Adam, double, swa.".replace("24", "42")
    assert flatness.compared_runs(those("iql", "none", 1) + those("iql+wd", "none", 2)) == []
    assert flatness.tables([], [])["everything"] == "No runs yet of the same units."


def test_a_row_of_the_overview_is_a_learner_beside_adam(flatness):
    scores = {"iql": (10.0, 11.0, 12.0), "iql+sam": (8.1, 9.0, 9.9), "iql+msam": (15.0,)}
    sharp = {"iql": 2.0, "iql+sam": 1.0, "iql+msam": 4.0}
    runs = [
        run(flatness, learner, "none", unit, score, sharp[learner])
        for learner, own in scores.items()
        for unit, score in enumerate(own)
    ]
    runs[4] = run(flatness, "iql+sam", "none", 1, 9.0, 0.5)  # the unit that both threat models have
    runs += [run(flatness, "iql", "none", 3, 99.0, 9.0), run(flatness, "iql+sam", "none", 3, 0.0, 9.0)]  # one too many
    runs += [run(flatness, "iql", "obs-adv", 1, 5.0), run(flatness, "iql+sam", "obs-adv", 1, 6.0)]
    runs += [run(flatness, "iql iql.layer_norm=true", "none", 0, 12.0, 7.0)._replace(alike=False)]
    assert flatness.overview_table(runs, 3).splitlines()[2:] == [
        "| Adam, its score | 1 to 3 | 11.0 | 5.0 | - | - | - | - | - |",
        "| sam | 1 to 3 | -2.0* | +1.0 | 0.25 | - | 0.25 | - | - |",
        "| msam | 1 | +5.0 | - | 2.00 | - | 2.00 | - | - |",
        "| layer_norm=true | 1 | +2.0 | - | - | - | - | - | - |",
    ]
    assert flatness.overview_table([], 3) == flatness.NONE


def test_other_functions_of_the_weights_are_compared_with_none(flatness):
    records = [record for record in flatness.read_records(flatness.RECORDS) if record.spec.steps == 25_000]
    runs = flatness.study_runs(records)
    odd = {run.learner for run in runs if not run.alike}
    assert odd == {run.learner for run in runs if "layer_norm" in run.learner or "activation" in run.learner}
    assert len(odd) > 3
    assert {run.learner for run in flatness.compared_runs(runs)}.isdisjoint(odd)
    few = [run for run in runs if run.unit == 0]
    kept, whole = flatness.compared_runs(few), {run.learner for run in few} - odd
    assert {run.learner for run in kept} == {name for name in whole if len([r for r in few if r.learner == name]) == 2}


def test_the_share_of_the_slope(flatness):
    """g 10 and w 50 long: slopes of 0.5 and 5 in rises of 2 and 20."""
    runs = [run(flatness, "iql", "none", 0, 0.0, 2.0)]
    found = runs[0].report["data"]["corrupted"]["objectives"]["V"]
    found |= {"gradient_norm": 10.0, "weight_norm": 50.0, "sam_relative": {"0.01": 20.0}}
    assert flatness.slope_table(runs).splitlines()[2:] == [
        "| iql | SAM, rho 0.05 | 25 % | - | - | - |",
        "| iql | SAM, rho 0.01 of the weights | 25 % | - | - | - |",
    ]


def test_how_long_a_random_step_is_that_rises_as_sams_does(flatness):
    """A tenth of 50 rises by 4, and SAM's step by 36: three tenths do."""
    runs = [run(flatness, "iql", "none", unit, 0.0, 4.0) for unit in (0, 1)]
    runs += [run(flatness, "iql+sam", "none", 0, 0.0, 4.0)]
    for each, rise in zip(runs, (36.0, 144.0, 1.0), strict=True):
        found = each.report["data"]["corrupted"]["objectives"]["V"]
        found |= {"weight_norm": 50.0, "sam": {"0.05": rise}}
    assert flatness.lengths_table(runs).splitlines()[2:] == ["| iql | 22.5 (15.0 to 30.0) | - | - |"]


def test_a_run_done_again_stands_beside_the_first_one(flatness):
    first = [run(flatness, "iql", "none", unit, score, 2.0) for unit, score in ((0, 10.0), (1, 20.0), (2, 99.0))]
    first += [run(flatness, "iql+sam", "none", 0, 5.0), run(flatness, "iql", "obs-adv", 0, 1.0)]
    again = [run(flatness, "iql", "none", unit, score, 1.0) for unit, score in ((0, 13.0), (1, 21.0))]
    again += [run(flatness, "iql+sam", "none", 0, 4.0), run(flatness, "riql", "none", 0, 4.0)]
    half = 12.7062 * 1.41421356 / math.sqrt(2)
    shown = f"{2 - half:+.1f} to {2 + half:+.1f}"
    assert flatness.again_table(first, again).splitlines()[2:] == [
        f"| iql again, none | 2 | 15.0 | 17.0 | +2.0 | {shown} | 1.00 | 0.50* | - | - | - |",
        "| iql+sam again, none | 1 | 5.0 | 4.0 | -1.0 | - | 1.00 | - | - | - | - |",
    ]


def test_where_a_gait_falls(flatness):
    falls = ((20.0, 1.0), (20.5, 2.0), (126.0, 12.0), (145.0, 13.0), (145.5, 20.0))
    runs = [run(flatness, "iql", "none", 0, score)._replace(fall=fall) for fall, score in falls]
    assert flatness.falls_table(runs).splitlines()[2:] == [
        "| iql, none | 5 | 1 (1.0 to 1.0) | 1 (2.0 to 2.0) | - | 2 (12.0 to 13.0) | 1 (20.0 to 20.0) |"
    ]


def test_where_runs_were_made(flatness):
    runs = [run(flatness, "iql", "none", unit, 0.0)._replace(made=made) for unit, made in enumerate("aab")]
    runs += [run(flatness, "iql+wd", "none", 0, 0.0)._replace(made="b")]
    assert flatness.made_table(runs).splitlines()[2:] == ["| iql | 2 | 1 |", "| iql+wd | - | 1 |"]


def test_only_a_report_of_the_last_step_counts(flatness, tmp_path, monkeypatch):
    """Tracking leaves several, and one that goes on from the middle is none of the run's end."""
    records = [record for record in flatness.read_records(flatness.RECORDS) if record.spec.steps == 25_000][:40]
    asked = {"early": [{"step": 5_000}], "last": [{"step": 5_000}, {"step": 25_000, "n": 1}, {"step": 30_000}]}
    for name, reports in asked.items():
        monkeypatch.setattr(
            sys.modules[flatness.suite_runs.__module__], "reports_of", lambda record, folder, reports=reports: reports
        )
        found = {json.dumps(each.report) for each in flatness.suite_runs(records, "flatness")}
        assert found == {"null" if name == "early" else '{"step": 25000, "n": 1}'}


def test_every_report_is_of_the_data_of_its_record(flatness):
    """To the byte, whatever made the one and the other: reading one that is not raises."""
    for folder, least in ((flatness.RECORDS, 450), (flatness.AGAIN, 24)):
        records = flatness.read_records(folder)
        assert sum(len(reports_of(record, folder / record.run_id)) for record in records) >= least


def test_runs_done_again_are_the_same_ones_on_the_variants_cpu(flatness):
    records = {record.run_id: record for record in flatness.read_records(flatness.RECORDS)}
    again = flatness.read_records(flatness.AGAIN)
    assert {record.run_id for record in again} == {
        record.run_id
        for record in records.values()
        if flatness.suite("flatness").selects(record)
        and record.spec.unit in (0, 1, 2)
        and record.spec.corruption.name in ("none", "obs-adv")
        and label(run_row(record)) in ("iql", "iql+sam", "riql", "riql+sam")
    }
    (cpu,) = {record.execution["cpu"] for record in again}
    assert cpu not in {records[record.run_id].execution["cpu"] for record in again}
    variants = [run for run in flatness.suite_runs(records.values(), "flatness-variants") if cpu in run.made]
    assert len(variants) == 166  # of 168: two of ASAM are older


def test_a_run_that_stages_share_counts_once(flatness):
    records = flatness.read_records(flatness.RECORDS)
    runs = flatness.study_runs(records)
    keys = [(run.learner, run.threat, run.unit) for run in runs]
    assert len(set(keys)) == len(keys)
    named = {key for key in keys if key[0] in ("iql", "iql+sam", "riql", "riql+sam")}
    plain_and_sam = flatness.suite_runs(records, "flatness")
    assert named == {
        (r.learner, r.threat, r.unit) for r in plain_and_sam if r.algo in ("iql", "riql") and r.threat != "obs-random"
    }


def test_the_page_is_what_the_records_give(flatness):
    records = flatness.read_records(flatness.RECORDS)
    text = flatness.DOC.read_text("utf-8")
    for marker, table in flatness.tables(records, flatness.read_records(flatness.AGAIN)).items():
        assert f"<!-- {marker} -->\n{table}\n<!-- /{marker} -->" in text, marker


def test_the_figures_are_what_the_records_give(flatness):
    """To the byte, by the matplotlib that made them."""
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    if version("matplotlib") != pinned["matplotlib"]:
        pytest.skip("another matplotlib draws other bytes")
    for drawn in flatness.pictures(flatness.read_records(flatness.RECORDS)):
        assert drawn.svg == (flatness.FIGURES / f"{drawn.name}.svg").read_bytes(), drawn.name
