"""One row for each learner that has every cell of a suite: its figures across the cells, and its rank (section 5)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from corruptbench.csv_text import to_csv
from corruptbench.suites import Suite
from corruptbench.tables import stats
from corruptbench.tables.listing import Row, cell, number

LEARNER = ("protocol", "algo", "optimizer", "sam_on", "rho", "track", "options")
STATISTICS: dict[str, stats.Statistic] = {
    "iqm": stats.iqm,
    "mean": stats.mean_of_all,
    "median": stats.median,
    "optimality_gap": stats.optimality_gap,
}
"""What is computed of the scores ``(units, cells)``."""
OVERALL = (
    "suite", *LEARNER, "steps", "cells", "n",
    *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")), "drop", "rank",
    "smallest_p", "flags",
)  # fmt: skip

PRELIMINARY, RANKED = 5, 10
"""Units in every cell from which a table has intervals and tests, and from which it has ranks."""
LEVEL = 0.05


@dataclass(frozen=True)
class Standing:
    """A learner's scores in every cell of a suite, over the units that it has in all of them."""

    row: Row  # any of its runs
    units: tuple[str, ...]
    scores: np.ndarray  # (units, cells)
    clean: np.ndarray  # (cells,) bool: those of the clean data

    @property
    def drop(self) -> float | None:
        """Points that corruption costs, the mean over its cells against that over the clean ones."""
        if self.clean.all() or not self.clean.any():
            return None
        return stats.drop(self.scores[:, self.clean].ravel(), self.scores[:, ~self.clean].ravel()).points


def overall_csv(runs: Sequence[Row], selected: Suite) -> str:
    """The table, the best IQM first. A learner that lacks a cell is not in it.

    Diverged and failed runs count with the floor of section 4. Ranks are given where each of the suite's own learners
    has at least 10 units in every cell: 1 and the number of own learners that are better by the paired test of section
    5 over all pairs, so learners that the test cannot tell apart share one. A guest's rank, from 10 units on, is that
    among the suite's own and itself: it depends on no other guest, and the suite's own on none. ``smallest_p`` is what
    the test of those pairs can reach; where that is no 0.05, it could tell nobody apart, and there is no rank.
    """
    found = standings(runs, selected)
    own = {(*(row[name] for name in LEARNER[1:-1]), _own(row)) for row in selected.rows()}
    least = {key: len(standing.units) for key, standing in found.items() if key[1:] in own}
    complete = len(least) == len(own)
    units = min(least.values()) if complete else 0
    ours = {key: found[key] for key in found if key[1:] in own}
    rows = []
    for key, standing in found.items():
        name = "/".join((selected.name, *key))
        n = min(units, len(standing.units)) if complete else 0
        row = {
            "suite": f"{selected.name}-{selected.version}",
            **dict(zip(LEARNER, key, strict=True)),
            "steps": standing.row["steps"],
            "cells": str(standing.scores.shape[1]),
            "n": str(len(standing.units)),
            "drop": number(standing.drop),
            **(_rank(key, {**ours, key: standing}) if n >= RANKED else {"rank": "", "smallest_p": ""}),
            "flags": "incomplete" if n < PRELIMINARY else "preliminary" if n < RANKED else "",
        }
        for statistic, compute in STATISTICS.items():
            bounds = stats.aggregate_interval(standing.scores, compute, f"{name}/{statistic}")
            low, high = bounds or (None, None)
            row |= {
                statistic: number(compute(standing.scores)),
                f"{statistic}_low": number(low),
                f"{statistic}_high": number(high),
            }
        rows.append(row)
    rows.sort(key=lambda row: (-float(row["iqm"]), *(row[name] for name in LEARNER)))
    return to_csv(OVERALL, rows)


def standings(runs: Sequence[Row], selected: Suite) -> dict[tuple[str, ...], Standing]:
    """Learner -> its scores, for each that has every cell of the suite with a unit in all of them."""
    wanted = list(dict.fromkeys(_place(row) for row in selected.rows()))
    sound: dict[tuple[str, ...], list[float]] = defaultdict(list)
    learners: dict[tuple[str, ...], dict[tuple[str, ...], dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in runs:
        if row["outcome"] == "ok" and row["normalized"]:
            sound[cell(row)].append(float(row["normalized"]))
        learner = (*(row[name] for name in LEARNER[:-1]), _own(row))
        learners[learner][_place(row)][row["unit"]] = row
    found = {}
    for learner, places in learners.items():
        if not all(place in places for place in wanted):
            continue
        units = sorted(set.intersection(*(set(places[place]) for place in wanted)), key=int)
        columns = []
        for place in wanted:
            rows = [places[place][unit] for unit in units]
            scores = [float(r["normalized"]) if r["outcome"] == "ok" and r["normalized"] else None for r in rows]
            columns.append(stats.with_floor(scores, sound[cell(rows[0])]) if rows else None)
        known = [column for column in columns if column]
        if len(known) == len(wanted):
            clean = np.array([place[1] == "none" for place in wanted])
            found[learner] = Standing(places[wanted[0]][units[0]], tuple(units), np.array(known).T, clean)
    return found


def _rank(key: tuple[str, ...], found: dict[tuple[str, ...], Standing]) -> Row:
    """The columns of a learner's rank among others."""
    pairs = len(found) * (len(found) - 1) // 2
    smallest = stats.smallest_p(min(len(standing.units) for standing in found.values()), max(1, pairs))
    rank = ranked(found)[key] if smallest < LEVEL else ""
    return {"rank": str(rank), "smallest_p": f"{smallest:.3g}"}


def ranked(found: dict[tuple[str, ...], Standing]) -> dict[tuple[str, ...], int]:
    """Learner -> 1 + how many are better, by the test of every pair on its common units, Holm over all pairs."""
    pairs = list(combinations(found, 2))
    differences = {}
    for one, other in pairs:
        a, b = found[one], found[other]
        means = [dict(zip(s.units, s.scores.mean(1), strict=True)) for s in (a, b)]
        shared = [unit for unit in a.units if unit in means[1]]
        differences[one, other] = [float(means[0][unit] - means[1][unit]) for unit in shared]
    adjusted = stats.holm([stats.sign_flip(values) if values else 1.0 for values in differences.values()])
    better = dict.fromkeys(found, 0)
    for (one, other), p in zip(pairs, adjusted, strict=True):
        if p < LEVEL:
            better[other if sum(differences[one, other]) > 0 else one] += 1
    return {learner: 1 + count for learner, count in better.items()}


def _own(row: Row) -> str:
    """The settings of a learner."""
    return ";".join(option for option in row["options"].split(";") if not option.startswith("corruption."))


def _place(row: Row) -> tuple[str, ...]:
    """What names a cell of a suite: dataset and threat model."""
    own = tuple(option for option in row["options"].split(";") if option.startswith("corruption."))
    return (*(row[name] for name in ("dataset", "corruption", "rate", "scale", "preset")), *own)
