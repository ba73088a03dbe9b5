"""The table across a suite's cells: its figures by hand, who is in it, and who has a rank (section 5)."""

import csv
import dataclasses
import io

import numpy as np
import pytest
from test_report import SAM, TINY, record

from corruptbench.spec import OptimizerSpec
from corruptbench.tables.build import build
from corruptbench.tables.listing import run_rows
from corruptbench.tables.overall import OVERALL, ranked, standings

CELLS = ("none", "obs-random")
OF_TWO = dataclasses.replace(TINY, algorithms=("iql", "riql"))


def overall(records, selected=TINY):
    return list(csv.DictReader(io.StringIO(build(records, selected)["tiny-overall.csv"])))


def runs(algo, scores, optimizer=None, **spec):
    """``scores``: threat model -> score of each unit, None for one that diverged."""
    return [
        record(
            algo, unit, score, threat, optimizer=optimizer, outcome="ok" if score is not None else "diverged", **spec
        )
        for threat, column in scores.items()
        for unit, score in enumerate(column)
    ]


def both(units, shift=0.0):
    """The suite's two learners, IQL ``shift`` points above RIQL with SAM in every unit and cell."""
    clean, noisy = [30.0 + unit for unit in range(units)], [10.0 + 2 * unit for unit in range(units)]
    higher = [[score + shift for score in column] for column in (clean, noisy)]
    lower = {"none": clean, "obs-random": noisy}
    return runs("iql", dict(zip(lower, higher, strict=True))) + runs("riql", lower, SAM)


def test_figures_by_hand():
    scores = {"none": [40.0, 60.0], "obs-random": [10.0, 20.0]}
    found = overall(runs("iql", scores))
    assert [tuple(row) for row in found] == [OVERALL]
    (row,) = found
    expected = {
        "suite": "tiny-3",
        "algo": "iql",
        "cells": "2",
        "n": "2",
        "iqm": f"{(20 + 40) / 2:.4f}",  # one of four is cut off at each end
        "mean": "32.5000",
        "median": f"{(50 + 15) / 2:.4f}",
        "optimality_gap": "67.5000",
        "drop": "35.0000",
        "iqm_low": "",  # under 5 units there is no interval
        "rank": "",
        "flags": "incomplete",
    }
    assert {name: row[name] for name in expected} == expected


def test_a_diverged_run_counts_with_the_floor_of_its_cell():
    sound = {"none": [40.0, 60.0], "obs-random": [-7.0, 20.0]}
    broken = {"none": [40.0, 60.0], "obs-random": [None, 20.0]}
    found = {row["algo"]: row for row in overall(runs("iql", broken) + runs("riql", sound, SAM))}
    assert found["iql"]["mean"] == found["riql"]["mean"]  # min(0, the lowest sound run of the cell) = -7
    assert found["iql"]["n"] == "2"


def test_only_who_has_every_cell_is_in_it_and_guests_may_be():
    """Over the units that it has in all of them; a guest makes the table no less complete."""
    one_cell = runs("iql", {"none": [1.0] * 5})
    uneven = runs("riql", {"none": [1.0] * 9, "obs-random": [2.0] * 7}, SAM)
    guest = runs("bc", {"none": [3.0] * 5, "obs-random": [4.0] * 5})
    found = {row["algo"]: row for row in overall(one_cell + uneven + guest)}
    assert found.keys() == {"riql", "bc"}
    assert (found["riql"]["n"], found["bc"]["n"]) == ("7", "5")
    assert {row["flags"] for row in found.values()} == {"incomplete"}  # iql lacks a cell
    assert found["riql"]["iqm_low"] != ""


@pytest.mark.parametrize(("units", "flags"), [(4, "incomplete"), (5, "preliminary"), (9, "preliminary"), (10, "")])
def test_standing_by_units_and_ranks_from_ten_on(units, flags):
    found = overall(both(units, shift=1.0))
    assert {row["flags"] for row in found} == {flags}
    assert [row["rank"] for row in found] == (["1", "2"] if units >= 10 else ["", ""])
    assert [row["algo"] for row in found] == ["iql", "riql"]


def test_a_suites_learner_may_have_settings_of_its_optimizer():
    """Its runs complete the table; those with the usual setting are a guest's."""
    selected = dataclasses.replace(TINY, algorithms=("iql+gsam:alpha=0.2",))
    scores = {"none": [1.0] * 5, "obs-random": [2.0] * 5}
    spec = OptimizerSpec("gsam", ("V", "Q"), 0.05, {"alpha": 0.2})
    for options, flags in (({"gsam.alpha": "0.2"}, "preliminary"), ({}, "incomplete")):
        found = overall(runs("iql", scores, spec, options=options), selected)
        assert [row["flags"] for row in found] == [flags]


def test_who_cannot_be_told_apart_shares_a_rank():
    assert [row["rank"] for row in overall(both(10))] == ["1", "1"]
    mixed = both(10, shift=1.0)
    third = runs("bc", {"none": [0.0] * 10, "obs-random": [0.0] * 10})
    found = standings(run_rows(mixed + third), TINY)
    ranks = {learner[1]: rank for learner, rank in ranked(found).items()}
    assert ranks == {"iql": 1, "riql": 2, "bc": 3}


def by_score(algos, apart=5.0):
    """Ten units of each, in every cell ``apart`` points below the one before."""
    return [
        run
        for place, algo in enumerate(algos)
        for run in runs(algo, {name: [90.0 - apart * place + unit for unit in range(10)] for name in CELLS})
    ]


def test_a_guest_moves_nobodys_rank():
    """Its own is the one among the suite's learners and itself: five guests make no rank of the others coarser."""
    guests = [f"guest-{number}" for number in range(5)]
    found = {row["algo"]: row for row in overall(by_score(["iql", *guests, "riql"]), OF_TWO)}
    assert {name: row["rank"] for name, row in found.items()} == {"iql": "1", "riql": "2", **dict.fromkeys(guests, "2")}
    p = {name: row["smallest_p"] for name, row in found.items()}
    assert (p["iql"], p["guest-3"]) == (f"{2 / 1024:.3g}", f"{3 * 2 / 1024:.3g}")


def test_a_guest_with_fewer_units_has_no_rank():
    guest = runs("guest", {name: [50.0] * 9 for name in CELLS})
    found = {row["algo"]: row for row in overall(by_score(["iql", "riql"]) + guest, OF_TWO)}
    assert (found["guest"]["rank"], found["guest"]["smallest_p"], found["guest"]["flags"]) == ("", "", "preliminary")
    assert [found[name]["rank"] for name in ("iql", "riql")] == ["1", "2"]


def test_a_guest_with_more_units_is_no_further_than_the_table():
    few = [run for run in by_score(["iql", "riql"]) if run.spec.unit < 5]
    found = {row["algo"]: row for row in overall(few + by_score(["guest"]), OF_TWO)}
    assert {row["flags"] for row in found.values()} == {"preliminary"}


def test_where_the_test_can_tell_nobody_apart_there_is_no_rank():
    """28 pairs of 8 learners at 10 units: the smallest p is 28 * 2 / 1024."""
    names = ["iql", *(f"iql:beta={beta}" for beta in range(4, 11))]
    selected = dataclasses.replace(TINY, algorithms=tuple(names))
    made = [
        run
        for place in range(8)
        for run in runs(
            "iql",
            {name: [90.0 - 10 * place + unit for unit in range(10)] for name in CELLS},
            options={"iql.beta": f"{place + 3}.0"} if place else {},
        )
    ]
    found = overall(made, selected)
    assert len(found) == 8
    assert {(row["rank"], row["smallest_p"], row["flags"]) for row in found} == {("", "0.0547", "")}


def test_intervals_resample_whole_units():
    """Cells whose ups and downs cancel in every unit have no spread in the mean, however units are drawn."""
    up = [10.0 + unit for unit in range(6)]
    found = overall(runs("iql", {"none": up, "obs-random": [50 - score for score in up]}))
    (row,) = found
    assert row["mean_low"] == row["mean_high"] == row["mean"] == "25.0000"
    assert float(row["iqm_low"]) <= float(row["iqm"]) <= float(row["iqm_high"])


def test_the_order_of_records_is_without_effect():
    records = both(6, shift=2.0)
    order = np.random.default_rng(0).permutation(len(records))
    assert overall(records) == overall([records[i] for i in order])
