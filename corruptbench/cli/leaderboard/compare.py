"""``corruptbench leaderboard compare``: my results against a table of runs, and beside published scores."""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corruptbench.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from corruptbench.tables.compare import CellDifference, Comparison, Pair
    from corruptbench.tables.listing import Row
    from corruptbench.tables.results import Results

HELP = "my results against a table, paired by unit: differences, intervals and one test a pair of algorithms"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "mine",
        metavar="MINE",
        type=Path,
        help="folder of records, runs CSV, or any CSV of dataset,corruption,unit,normalized (and algo)",
    )
    parser.add_argument("--against", help="runs CSV or suite (default: all shipped tables)")
    parser.add_argument("--steps", type=int, help="training steps of a MINE that does not tell them")
    parser.add_argument("--published", action="store_true", help="show published scores too, and how they were made")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def main(options: argparse.Namespace) -> int:
    from corruptbench.store import pretty
    from corruptbench.tables.compare import compare, completed
    from corruptbench.tables.results import read_results

    results = read_results(options.mine)
    name, table, left_out = _table(options.against)
    results = replace(results, left_out=[*results.left_out, *left_out])
    rows = completed(results, table, options.steps)
    comparison = compare(rows, table)
    if not comparison.pairs and not options.published:
        why = comparison.unmatched or ("they are the very runs of the table",)
        raise DataError(f"{options.mine} and {name} have nothing to compare: {why[0]}")
    published = _published(rows, table) if options.published else None
    if options.json:
        print(pretty(_json(results, name, comparison, published)), end="")
    else:
        print("\n".join([*_text(results, name, comparison), *([] if published is None else _beside(published)), ""]))
    return 0


def _table(against: str | None) -> tuple[str, "list[Row]", list[str]]:
    """The table's name, its runs, and sentences about those that were left out."""
    from corruptbench.suites import suite_names
    from corruptbench.tables import reading
    from corruptbench.tables.results import read_results

    if against is None:
        return "the shipped tables", reading.shipped_runs(), []
    if against in suite_names():
        path = reading.LEADERBOARD / f"{against}.csv"
        if not path.is_file():
            raise UsageError(f"--against {against}: no table of this suite is shipped")
        return against, reading.read_table(path).rows, []
    if not Path(against).is_file():
        known = ", ".join(suite_names())
        raise UsageError(
            f"--against {against}: neither a file nor a suite, which are {known}{nearest(against, suite_names())}"
        )
    found = read_results(Path(against))
    if found.minimal:
        raise UsageError(f"--against {against}: it does not tell its environment and steps, so it can only be MINE")
    return against, found.rows, found.left_out


# As text


def _text(results: "Results", name: str, comparison: "Comparison") -> list[str]:
    from corruptbench.tables import stats

    lines = [f"{results.path} against {name}: normalized scores, a difference is mine - theirs"]
    if results.minimal:
        steps = {int(found.row["steps"]) for pair in comparison.pairs for found in pair.cells}
        lines += [
            f"{results.path} tells neither environment nor steps nor training, so its protocol is unknown: its unit i "
            f"is taken for the table's unit i, with {' and '.join(f'{count:,}' for count in sorted(steps)) or 'no'} "
            "steps"
        ]
    for pair in comparison.pairs:
        lines += ["", *_pair_lines(pair)]
    lines.append("")
    if any(found.interval and len(found.units) < stats.FEWEST for pair in comparison.pairs for found in pair.cells):
        lines.append("Intervals of 2 to 4 units are Student's, those of more are the bootstrap's.")
    if comparison.family:
        lines.append(
            f"Tests: sign-flip on each unit's mean over the cells, {comparison.family} "
            f"{'pairs' if comparison.family > 1 else 'pair'} of algorithms together (Holm)."
        )
    return [*lines, *results.left_out, *comparison.unmatched]


def _pair_lines(pair: "Pair") -> list[str]:
    from corruptbench.tables.labels import label

    title = f"{label(pair.mine)} against {label(pair.theirs)}"
    lines = [f"{title:<50} {'mine':>7} {'theirs':>7} {'difference':>10}  {'95 % interval':<18} n"]
    for found in pair.cells:
        means = [_shown(value) for value in (found.mine, found.theirs)]
        line = f"  {_cell(found.row):<48} {means[0]:>7} {means[1]:>7} {_shown(found.difference, '+'):>10}"
        lines.append(f"{line}  {_bounds(found.interval):<18} {len(found.units)}{_remarks(found)}")
    if len(pair.cells) > 1:
        line = f"  {f'mean of these {len(pair.cells)} cells':<48} {'':>15} {_shown(pair.difference, '+'):>10}"
        lines.append(f"{line}  {_bounds(pair.interval):<18} {len(pair.units)}")
    return [*lines, f"  {pair.verdict()}"]


def _cell(row: "Row") -> str:
    from corruptbench.tables.labels import threat

    severity = "" if row["corruption"] == "none" else f" ({row['rate']}, {row['scale']})"
    return f"{row['dataset']} {threat(row)}{severity}, {int(row['steps']):,} steps"


def _shown(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.1f}"


def _bounds(bounds: tuple[float, float] | None) -> str:
    return f"[{bounds[0]:+.1f}, {bounds[1]:+.1f}]" if bounds else "-"


def _remarks(found: "CellDifference") -> str:
    counts = zip(("mine", "theirs"), found.failed, found.apart, strict=True)
    words = [
        f"{count} of {side} {what}"
        for side, failed, apart in counts
        for count, what in ((failed, "failed"), (apart, "not paired"))
        if count
    ]
    return f"  {', '.join(words)}" if words else ""


# Published scores


def _published(rows: "Sequence[Row]", table: "Sequence[Row]") -> list[dict[str, Any]]:
    """Each cell and algorithm of mine with the published scores beside it."""
    from corruptbench.tables import stats
    from corruptbench.tables.compare import place_of, sound_scores
    from corruptbench.tables.labels import label
    from corruptbench.tables.listing import shown_name
    from corruptbench.tables.published import beside, differences, published_scores

    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[label(row), row["environment"], row["steps"], _threat_of(row)].append(row)
    scores, sound, found = published_scores(), sound_scores([*rows, *table]), []
    for (name, *_), members in groups.items():
        own = [float(row["normalized"]) if row["outcome"] == "ok" else None for row in members]
        floored = stats.with_floor(own, sound[place_of(members[0])])
        known_as = shown_name(members[0]["algo"], members[0]["optimizer"])
        theirs = [{**row, "differs": differences(row, members[0])} for row in beside(members[0], known_as, scores)]
        if theirs:
            found.append(
                {
                    "algo": name,
                    "cell": members[0],
                    "mean": stats.mean(floored) if floored else None,
                    "std": stats.std(floored) if floored else None,
                    "n": len(members),
                    "scores": theirs,
                }
            )
    return found


def _threat_of(row: "Row") -> str:
    from corruptbench.tables.labels import threat

    return f"{row['dataset']} {threat(row)} {row['rate']} {row['scale']}"


def _beside(published: list[dict[str, Any]]) -> list[str]:
    if not published:
        return ["", "No published score is of a robot and a threat model of mine."]
    lines = ["", "Published scores beside mine: other protocols, so no difference between them is called"]
    differs: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # source -> clause -> cells
    for found in published:
        mean = _spread(_shown(found["mean"]), "" if found["std"] is None else f"{found['std']:.1f}", str(found["n"]))
        cell = _cell(found["cell"]) if found["cell"]["steps"] else _threat_of(found["cell"])
        lines.append(f"  {cell}")
        lines.append(f"    {'mine':<34} {found['algo']:<12} {mean}")
        for row in found["scores"]:
            mark = "" if row["verified"] == "yes" else "  unverified: from notes of others, not from the paper"
            part = "" if row["share"] == "1" else f"  on {100 * float(row['share']):g} % of the data"
            score = _spread(row["mean"], row["std"], row["n"])
            lines.append(f"    {row['source']:<34} {row['algo']:<12} {score}{part}{mark}")
            for clause in row["differs"]:
                differs[row["source"]][clause].append(cell)
    lines.append("How these protocols differ from mine:")
    for source, clauses in differs.items():
        everywhere = set().union(*clauses.values())
        lines.append(f"  {source}")
        for clause, cells in sorted(clauses.items()):
            where = "" if set(cells) == everywhere else f" ({'; '.join(dict.fromkeys(cells))})"
            lines.append(f"    {clause}{where}")
    return lines


def _spread(mean: str, std: str, n: str) -> str:
    return f"{mean}{f' ± {std}' if std else ''} ({f'n={n}' if n else 'n not stated'})"


# As JSON


def _json(
    results: "Results", name: str, comparison: "Comparison", published: list[dict[str, Any]] | None
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "mine": str(results.path),
        "against": name,
        "protocol_known": not results.minimal,
        "pairs": [_json_pair(pair) for pair in comparison.pairs],
        "family": comparison.family,
        "not_compared": [*results.left_out, *comparison.unmatched],
    }
    return values if published is None else {**values, "published": published}


def _json_pair(pair: "Pair") -> dict[str, Any]:
    from corruptbench.tables.compare import CELL
    from corruptbench.tables.labels import label

    cells = [
        {
            **{column: found.row[column] for column in CELL},
            "units": found.units,
            "unpaired": found.apart,
            "failed": found.failed,
            "mine": found.mine,
            "theirs": found.theirs,
            "difference": found.difference,
            "interval": found.interval,
        }
        for found in pair.cells
    ]
    return {
        "mine": label(pair.mine),
        "theirs": label(pair.theirs),
        "cells": cells,
        "lacking": pair.lacking,
        "units": pair.units,
        "difference": pair.difference,
        "interval": pair.interval,
        "p": pair.p,
        "holm_p": pair.adjusted,
        "smallest_p": pair.smallest,
        "verdict": pair.verdict(),
    }
