"""Results against a table of runs: paired by unit, cell by cell, and one test for each pair of algorithms (section 5).

A cell is compared only where dataset, environment, threat model with all its settings, and steps agree.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from corruptbench.data import home
from corruptbench.errors import DataError, UsageError
from corruptbench.tables import stats
from corruptbench.tables.listing import Row, cell
from corruptbench.tables.results import Results

LEVEL = 0.05

Learner = tuple[str, ...]
Cell = tuple[str, ...]
Scores = dict[str, float | None]
"""Unit -> normalized score, None for a run that diverged or failed."""
THREAT = ("corruption", "rate", "scale", "preset")
CELL = ("protocol", "dataset", "environment", *THREAT, "steps")
"""Columns in which two runs agree that are compared, and with them the corruption's own options."""
_STEPS = CELL.index("steps")


@dataclass(frozen=True)
class CellDifference:
    """Two algorithms in one cell, over the units that both have."""

    row: Row  # any of my runs there: it names the cell
    units: tuple[str, ...]
    apart: tuple[int, int]  # my units and theirs that the other one lacks
    failed: tuple[int, int]  # of the units, mine and theirs
    mine: float | None  # mean; None where runs failed and no sound one of the cell tells the floor
    theirs: float | None
    differences: tuple[float, ...]  # mine - theirs, one a unit
    interval: tuple[float, float] | None  # 95 %: bootstrap from 5 units on, Student's for 2 to 4

    @property
    def difference(self) -> float | None:
        return stats.mean(self.differences) if self.differences else None


@dataclass(frozen=True)
class Pair:
    """One of my algorithms against one of theirs, over the cells that both have."""

    mine: Row  # any of its runs: it names the algorithm
    theirs: Row
    cells: tuple[CellDifference, ...]
    lacking: tuple[str, ...]  # their other cells in the table, with as many steps
    units: tuple[str, ...]  # that both have in every one of the cells
    differences: tuple[float, ...]  # of a unit's mean over the cells
    interval: tuple[float, float] | None
    p: float | None = None  # None where there is no test
    adjusted: float | None = None  # Holm over the pairs
    smallest: float = 1.0  # p that so many units and pairs can reach

    @property
    def difference(self) -> float | None:
        return stats.mean(self.differences) if self.differences else None

    def verdict(self) -> str:
        """What may be said of the two, in words."""
        n, units = len(self.units), f"{len(self.units)} unit{'s' * (len(self.units) != 1)}"
        if not n:
            return "no unit has every cell of both, so nothing is paired and no difference can be called"
        smallest = f"with {units} the smallest p is {self.smallest:.3g}"
        if self.adjusted is None:
            if n < stats.FEWEST:
                return f"{smallest}: no difference can be called (a test needs {stats.FEWEST} units)"
            return f"no test, which is over all cells of the table: mine lacks {' and '.join(self.lacking)}"
        if not any(self.differences):
            return "a tie: the same score in every unit"
        found = f"p = {self.adjusted:.3g}"
        if self.smallest >= LEVEL:
            return f"{smallest}: no difference can be called ({found})"
        if self.adjusted >= LEVEL:
            return f"a tie: no difference is called ({found}; {smallest})"
        return f"mine is {'higher' if sum(self.differences) > 0 else 'lower'} ({found}; {smallest})"


@dataclass(frozen=True)
class Comparison:
    pairs: tuple[Pair, ...]
    family: int  # pairs that were tested
    unmatched: tuple[str, ...]  # sentences about cells of mine that the table lacks


def compare(mine: Sequence[Row], theirs: Sequence[Row]) -> Comparison:
    """Every algorithm of mine against every one of theirs; where both are the same runs there is nothing to compare.

    Raises DataError where two runs are the same unit of the same algorithm and cell.
    """
    ours, table = _grouped(mine, "my results"), _grouped(theirs, "the table")
    sound = sound_scores([*mine, *theirs])  # one floor for both
    pairs = []
    for one in ours.values():
        for other in table.values():
            shared = [place for place in one if place in other]
            same = all(_ids(one[place]) == _ids(other[place]) != {""} for place in shared)
            if shared and not same:
                pairs.append(_pair(one, other, shared, sound))
    tested = [pair for pair in pairs if pair.p is not None]
    adjusted = iter(stats.holm([pair.p for pair in tested if pair.p is not None]))
    finished = tuple(
        replace(
            pair,
            adjusted=None if pair.p is None else next(adjusted),
            smallest=stats.smallest_p(len(pair.units), len(tested) if pair.p is not None else 1),
        )
        for pair in pairs
    )
    return Comparison(finished, len(tested), tuple(_unmatched(ours, table)))


def place_of(row: Row) -> Cell:
    """The cell of a run."""
    return (row["protocol"], *cell(row))


def sound_scores(rows: Iterable[Row]) -> dict[Cell, list[float]]:
    """Cell -> the scores of its runs that neither failed nor diverged."""
    sound: dict[Cell, list[float]] = defaultdict(list)
    for row in rows:
        if row["outcome"] == "ok" and row["normalized"]:
            sound[place_of(row)].append(float(row["normalized"]))
    return sound


def completed(results: Results, table: Sequence[Row], steps: int | None) -> list[Row]:
    """The rows of results, where need be with the steps and the environment of the table's cells.

    A minimal CSV tells neither: it is compared in the environment that its dataset belongs to, with ``steps``, or with
    the table's where that has one number only. Raises UsageError where it has several, and for steps that the results
    tell themselves.
    """
    if not results.minimal:
        if steps is not None:
            raise UsageError(f"--steps {steps}: {results.path} tells the steps of its runs, so leave it out")
        return results.rows
    if steps is not None and steps < 1:
        raise UsageError(f"--steps is {steps}, allowed is 1 and above")
    cells: dict[Cell, list[Row]] = defaultdict(list)
    for row in table:
        cells[_minimal_place(row)].append(row)
    known = [row for place in {_minimal_place(row) for row in results.rows} for row in cells[place]]
    found = sorted({int(row["steps"]) for row in known})
    if steps is None and len(found) > 1:
        allowed = " and ".join(f"{count:,}" for count in found)
        raise UsageError(f"{results.path} does not tell its steps, and the table has {allowed}: say which by --steps")
    chosen = str(steps) if steps is not None else "".join(map(str, found))
    rows = []
    for row in results.rows:
        own, there = home(row["dataset"]), {other["environment"] for other in cells[_minimal_place(row)]}
        environment = own.id if own else "".join(there) if len(there) == 1 else ""
        protocol = {other["protocol"] for other in known}
        rows.append({**row, "steps": chosen, "environment": environment, "protocol": "".join(sorted(protocol)[:1])})
    return rows


def _minimal_place(row: Row) -> Cell:
    own = [option for option in row["options"].split(";") if option.startswith("corruption.")]
    return (row["dataset"], *(row[name] for name in THREAT), *own)


def _learner(row: Row) -> Learner:
    """What makes runs those of one algorithm; on another track its settings differ from cell to cell."""
    own = [o for o in row["options"].split(";") if o and not o.startswith(("corruption.", "references="))]
    settings = own if row["track"] == "universal" else []
    return (*(row[name] for name in ("algo", "optimizer", "sam_on", "rho", "track")), *settings)


def _grouped(rows: Iterable[Row], whose: str) -> dict[Learner, dict[Cell, dict[str, Row]]]:
    """Algorithm -> cell -> unit -> its run."""
    groups: dict[Learner, dict[Cell, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        units = groups[_learner(row)][place_of(row)]
        if row["unit"] in units:
            where = f"{row['algo']} on {row['dataset']} under {row['corruption']}"
            raise DataError(f"{whose}: unit {row['unit']} of {where} stands twice, needed is one score for each unit")
        units[row["unit"]] = row
    return groups


def _ids(units: dict[str, Row]) -> set[str]:
    return {row["run_id"] for row in units.values()}


def _pair(
    one: dict[Cell, dict[str, Row]], other: dict[Cell, dict[str, Row]], shared: Sequence[Cell], sound: dict
) -> Pair:
    cells = [_difference(one[place], other[place], sound[place]) for place in shared]
    paired = [found for found in cells if found.differences]
    by_unit = [dict(zip(found.units, found.differences, strict=True)) for found in paired]
    units = sorted(set.intersection(*map(set, by_unit)), key=int) if len(paired) == len(cells) else []
    differences = [stats.mean([found[unit] for found in by_unit]) for unit in units]
    steps = {(place[0], place[_STEPS]) for place in shared}
    lacking = [place for place in other if place not in one and (place[0], place[_STEPS]) in steps]
    tested = len(units) >= stats.FEWEST and not lacking
    return Pair(
        next(iter(one[shared[0]].values())),
        next(iter(other[shared[0]].values())),
        tuple(cells),
        tuple(_named(place) for place in lacking),
        tuple(units),
        tuple(differences),
        _interval(differences),
        stats.sign_flip(differences) if tested else None,
    )


def _difference(mine: dict[str, Row], theirs: dict[str, Row], sound: Sequence[float]) -> CellDifference:
    units = sorted(mine.keys() & theirs.keys(), key=int)
    runs = [[side[unit] for unit in units or sorted(side, key=int)] for side in (mine, theirs)]
    scores = [stats.with_floor([_score(row) for row in rows], sound) for rows in runs]
    means = [stats.mean(found) if found else None for found in scores]
    paired = [a - b for a, b in zip(scores[0] or [], scores[1] or [], strict=False)] if units else []
    return CellDifference(
        row=next(iter(mine.values())),
        units=tuple(units),
        apart=(len(mine) - len(units), len(theirs) - len(units)),
        failed=(_failed(runs[0]), _failed(runs[1])),
        mine=means[0],
        theirs=means[1],
        differences=tuple(paired),
        interval=_interval(paired),
    )


def _score(row: Row) -> float | None:
    return float(row["normalized"]) if row["outcome"] == "ok" and row["normalized"] else None


def _failed(rows: Sequence[Row]) -> int:
    return sum(_score(row) is None for row in rows)


def _interval(differences: Sequence[float]) -> tuple[float, float] | None:
    """Of the mean of paired differences. The stream bears no name of anyone's, so every pair draws the same units."""
    bootstrap = stats.interval(differences, f"compare/{len(differences)}")
    return bootstrap or stats.t_interval(differences)


def _unmatched(
    ours: dict[Learner, dict[Cell, dict[str, Row]]], table: dict[Learner, dict[Cell, dict[str, Row]]]
) -> Iterable[str]:
    """A sentence for each cell of mine that the table lacks, with what it has where they differ in one thing only."""
    theirs = {place for cells in table.values() for place in cells}
    for place in dict.fromkeys(place for cells in ours.values() for place in cells if place not in theirs):
        near: dict[str, set[str]] = defaultdict(set)
        for other in theirs:
            different = [i for i in range(len(CELL)) if place[i] != other[i]]
            if len(different) == 1 and place[len(CELL) :] == other[len(CELL) :]:
                near[CELL[different[0]]].add(other[different[0]] or "none")
        of = dict(zip(CELL, place, strict=False))
        steps = f"{of['steps']} steps" if of["steps"] else "steps unknown"
        named = ", ".join([_named(place), steps, of["environment"] or "environment unknown"])
        has = "; ".join(f"{name} {' and '.join(sorted(values))}" for name, values in sorted(near.items()))
        yield f"{named}: not compared, the table has {f'it with {has} instead' if has else 'no such cell'}"


def _named(place: Cell) -> str:
    of = dict(zip(CELL, place, strict=False))
    return f"{of['dataset']}, {of['corruption']} (rate {of['rate']}, scale {of['scale']})"
