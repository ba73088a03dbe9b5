"""The study of flatness: its statistics by hand, and its page made from the committed records."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def flatness():
    spec = importlib.util.spec_from_file_location("flatness", ROOT / "scripts" / "flatness.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        spec.loader.exec_module(module)
    return module


def run(flatness, learner, threat, unit, score, sharpness=None):
    """A run with one sharpness for every measure of V, and none of the other losses."""
    found = {
        "eigenvalue_max": {"value": sharpness},
        "trace": {"value": sharpness},
        "fisher_trace": sharpness,
        "sam": {"0.05": sharpness},
        "sam_relative": {"0.01": sharpness},
        "asam": {"0.5": sharpness},
        "average_relative": {"0.1": {"value": sharpness}},
    }
    report = {"data": {name: {"objectives": {"V": found}} for name in flatness.DATA}} if sharpness else None
    return flatness.Run(learner.partition("+")[0], learner, threat, unit, score, report)


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
    (row,) = [line for line in flatness.ratio_table(runs, "clean").splitlines() if "| V |" in line]
    assert row == "| riql, none | V | 2 |" + " 1.00 |" * 7


def test_a_stage_compares_each_learner_with_adam(flatness):
    runs = [run(flatness, "iql", "none", unit, score, 2.0) for unit, score in ((0, 10.0), (1, 20.0))]
    runs += [run(flatness, "iql+sam", "none", unit, score, 1.0) for unit, score in ((0, 13.0), (1, 21.0))]
    assert flatness.stage_table(runs) == "No runs yet but those that `tiny` has."
    runs += [run(flatness, "iql+random", "none", unit, score) for unit, score in ((1, 26.0), (2, 99.0))]
    rows = flatness.stage_table(runs).splitlines()[2:]
    half = 12.7062 * 1.41421356 / math.sqrt(2)
    assert rows[0].startswith(f"| iql+sam, none | 2 | 15.0 | 17.0 | +2.0 | {2 - half:+.1f} to {2 + half:+.1f} | 1.00 |")
    assert rows[1] == "| iql+random, none | 1 | 20.0 | 26.0 | +6.0 | - | 1.00 | - |"
    assert flatness.ratio([(runs[0], runs[2])], "clean", "V", "trace") == "0.50"


def test_plain_and_sam_runs_share_a_mean_or_have_their_own(flatness):
    """SAM lowers both, and without it both rise against each other."""
    runs = [run(flatness, "iql", "none", unit, 50.0 - unit, math.exp(9 + unit)) for unit in range(3)]
    runs += [run(flatness, "iql+sam", "none", unit, 10.0 - unit, math.exp(1 + unit)) for unit in range(3)]
    together, apart = (flatness.centred(runs, "clean", "V", "trace", apart=apart) for apart in (False, True))
    assert len(together) == len(apart) == 6
    assert flatness.correlation(flatness.sums_by_unit(together)) > 0.9
    assert flatness.correlation(flatness.sums_by_unit(apart)) == pytest.approx(-1)
    assert flatness.correlation_table(runs, "clean", apart=True).splitlines()[3] == "| trace | -1.00 (6) | - | - | - |"


def test_correlation_is_within_cells(flatness):
    """Between cells sharpness and score rise together, within them they fall: it is the fall that counts."""
    runs = []
    for cell, (algo, base) in enumerate((("iql", 10.0), ("riql", 50.0))):
        for unit in range(3):
            runs.append(run(flatness, algo, "none", unit, base - unit, math.exp(100 * cell + unit)))
    points = flatness.centred(runs, "clean", "V", "trace")
    assert flatness.correlation(flatness.sums_by_unit(points)) == pytest.approx(-1)
    assert flatness.centred(runs[:1], "clean", "V", "trace") == []  # a cell of one run
    x = np.array([p.x for p in points])
    y = np.array([p.y + 0.3 * p.run.unit**2 for p in points])
    moved = [p._replace(y=value - y.mean()) for p, value in zip(points, y, strict=True)]
    expected = np.corrcoef(x, y)[0, 1]
    assert flatness.correlation(flatness.sums_by_unit(moved)) == pytest.approx(expected)
    assert flatness.correlation(np.zeros((2, 3))) == 0


def test_the_interval_draws_whole_units(flatness):
    few = [run(flatness, "iql", "none", unit, -unit, math.exp(unit)) for unit in range(4)]
    assert "[" not in flatness.correlation_table(few, "clean")
    five = [run(flatness, "iql", "none", unit, -unit, math.exp(unit)) for unit in range(5)]
    line = flatness.correlation_table(five, "clean").splitlines()[2]
    assert (
        line == "| largest eigenvalue | -1.00 [-1.00, -1.00] (5) | - | - | - |"
    )  # to two digits: 3 of 3,125 draws vary in nothing


def test_a_control_is_compared_with_sam_too(flatness):
    runs = [run(flatness, "iql", "none", unit, 0.0) for unit in (0, 1)]
    runs += [run(flatness, "iql+sam", "none", unit, score, 1.0) for unit, score in ((0, 10.0), (1, 20.0))]
    runs += [run(flatness, "iql+swa", "none", unit, score, 4.0) for unit, score in ((0, 13.0), (1, 21.0))]
    head, _, row = flatness.stage_table(runs, beside="+sam").splitlines()
    assert head.startswith("| learner, threat | n | SAM | score |")
    assert flatness.stage_table(runs[:2] + runs[4:], beside="+sam") == "No runs yet of the same units."
    half = 12.7062 * 1.41421356 / math.sqrt(2)
    assert row.startswith(f"| iql+swa, none | 2 | 15.0 | 17.0 | +2.0 | {2 - half:+.1f} to {2 + half:+.1f} | 0.50 |")


def test_a_run_that_stages_share_counts_once(flatness):
    records = flatness.read_records(flatness.RECORDS)
    runs = flatness.study_runs(records)
    keys = [(run.learner, run.threat, run.unit) for run in runs]
    assert len(set(keys)) == len(keys)
    named = {key for key in keys if key[0] in ("iql", "iql+sam", "riql", "riql+sam")}
    tiny = flatness.suite_runs(records, "tiny")
    assert named == {
        (r.learner, r.threat, r.unit) for r in tiny if r.algo in ("iql", "riql") and r.threat != "obs-random"
    }


def test_the_page_is_what_the_records_give(flatness):
    records = flatness.read_records(flatness.RECORDS)
    text = flatness.DOC.read_text("utf-8")
    for marker, table in flatness.tables(records).items():
        assert f"<!-- {marker} -->\n{table}\n<!-- /{marker} -->" in text, marker
