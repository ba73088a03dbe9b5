"""What the page says of one suite: the rows of its two tables, and nothing that is computed beside them."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from corruptbench.contents import CURVE, read_curve
from corruptbench.page.grid import CLEAN, FLAGS, Change, Grid, Threat, grid, learner
from corruptbench.records import RunRecord
from corruptbench.store import MANIFEST, check_manifest
from corruptbench.suites import Suite
from corruptbench.tables import stats
from corruptbench.tables.build import build
from corruptbench.tables.labels import label
from corruptbench.tables.listing import CELL, SUMMARY, Row, cell, read_csv
from corruptbench.tables.overall import OVERALL

Curve = list[tuple[float, float]]
"""Training step and normalized score."""
Place = tuple[str, str, Threat]
"""Learner, dataset and threat model."""


@dataclass(frozen=True)
class Section:
    """A suite's tables as they were built, the curves of its runs, and why some of them ended early."""

    suite: Suite
    runs: list[Row]
    summary: list[Row]
    overall: list[Row]  # of the learners that have every cell
    reasons: dict[str, str]  # by run id, of what is not ok
    curves: dict[str, Curve]  # by run id

    @property
    def title(self) -> str:
        return f"{self.suite.name}-{self.suite.version}"

    def file(self, *words: str) -> str:
        """The name of a file about it; a dataset's id may hold what such a name may not."""
        return re.sub("[^A-Za-z0-9_-]+", "-", "-".join((self.suite.name, *words)))

    @cached_property
    def own_learners(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(label(row) for row in self.suite.rows()))

    @cached_property
    def _places(self) -> dict[str, set[tuple[str, Threat]]]:
        """The cells of each learner that has a row."""
        places: dict[str, set[tuple[str, Threat]]] = defaultdict(set)
        for row in self.summary:
            places[learner(row)].add((row["dataset"], Threat.of(row)))
        return dict(places)

    @cached_property
    def learners(self) -> tuple[str, ...]:
        """Those of the heat maps and figures, where each has the same colour: the suite's own, then its guests.

        A guest is among them when it has every cell that all of the suite's own learners with a run have.
        """
        own = [self._places[name] for name in self.own_learners if name in self._places]
        needed = set.intersection(*own) if own else set()
        guests = (name for name, has in self._places.items() if has >= needed)
        return tuple(dict.fromkeys([*self.own_learners, *guests]))

    @cached_property
    def in_part(self) -> tuple[str, ...]:
        """Guests that lack one of those cells: they are in the tables alone."""
        return tuple(name for name in self._places if name not in self.learners)

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """One for each dataset that has a run."""
        threats = list(dict.fromkeys(Threat.of(row) for row in self.suite.rows()))
        shown = [row for row in self.summary if learner(row) in self.learners]
        rows = {name: [row for row in shown if row["dataset"] == name] for name in self.suite.dataset_ids}
        return tuple(grid(found, self.learners, threats, self.change) for found in rows.values() if found)

    def change(self, row: Row) -> Change | None:
        """A row of the summary against its learner's clean one, paired by unit.

        None for a clean row, and without a unit in common. A worst case has a mean only, so it is compared where it has
        as many units as the clean row.
        """
        plain = learner({**row, "track": "universal", "options": ""})  # an oracle's settings may not concern clean data
        found = [self._clean[key] for name in (learner(row), plain) if (key := (row["dataset"], name)) in self._clean]
        if not found or row["corruption"] == CLEAN:
            return None
        before, after = self._scores(found[0]), self._scores(row)
        if not self.behind(row) and row["mean"] and len(before) == int(row["n"]):
            after = dict.fromkeys(before, float(row["mean"]))
        shared = sorted(before.keys() & after.keys(), key=int)
        if not shared:
            return None
        lost = stats.drop([before[unit] for unit in shared], [after[unit] for unit in shared])
        return Change(-lost.points, len(shared), len(shared) == len(before) == len(after))

    @cached_property
    def _clean(self) -> dict[tuple[str, str], Row]:
        return {(row["dataset"], learner(row)): row for row in self.summary if row["corruption"] == CLEAN}

    def _scores(self, row: Row) -> dict[str, float]:
        """What its runs count for, by unit."""
        scores = {run["unit"]: self.score(run) for run in self.behind(row)}
        return {unit: score for unit, score in scores.items() if score is not None}

    @cached_property
    def _by_cell(self) -> dict[tuple[str, ...], list[Row]]:
        groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in self.runs:
            groups[_key(row)].append(row)
        return dict(groups)

    @cached_property
    def by_place(self) -> dict[Place, list[Row]]:
        """The runs that stand behind a place of a grid."""
        places: dict[Place, list[Row]] = defaultdict(list)
        for rows in self._by_cell.values():
            places[learner(rows[0]), rows[0]["dataset"], Threat.of(rows[0])] += rows
        return dict(places)

    @cached_property
    def _labels(self) -> dict[tuple[str, ...], str]:
        rows = {_key(row): row for row in (*self.runs, *self.summary)}  # a label asks installed packages
        return {key: label(row) for key, row in rows.items()}

    def label(self, row: Row) -> str:
        return self._labels[_key(row)]

    @cached_property
    def floors(self) -> dict[tuple[str, ...], float | None]:
        """What a failed run counts for in its cell, None where there is nothing to measure it by (section 4)."""
        sound: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for row in self.runs:
            sound[cell(row)] += [float(row["normalized"])] if row["outcome"] == "ok" and row["normalized"] else []
        floors = {key: stats.with_floor([None], scores) for key, scores in sound.items()}
        return {key: floor[0] if floor else None for key, floor in floors.items()}

    def score(self, row: Row) -> float | None:
        """What a run counts for in the summary."""
        return float(row["normalized"]) if row["outcome"] == "ok" and row["normalized"] else self.floors[cell(row)]

    def placed(self, grid: Grid) -> dict[tuple[str, Threat], list[Row]]:
        """The runs of a grid by learner and threat model."""
        return {(name, where): rows for (name, data, where), rows in self.by_place.items() if data == grid.dataset}

    def behind(self, row: Row) -> list[Row]:
        """The runs of a row of the summary, none for an ensemble's worst case."""
        return self._by_cell.get(_key(row), [])

    @property
    def flags(self) -> list[str]:
        """Those that stand beside a cell of it."""
        found = {flag.partition("=")[0] for row in self.summary for flag in row["flags"].split(";")}
        return [flag for flag in FLAGS if flag in found]

    @property
    def versions(self) -> dict[str, int]:
        """How many of its runs each version of the package made."""
        return dict(sorted(Counter(row["version"] for row in self.runs).items()))

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.runs if row["outcome"] != "ok"]

    @property
    def standing(self) -> str:
        """``incomplete``, ``preliminary`` or ``ranked`` (section 5): the best that any row is said to be.

        A row is never said to be better than the suite, and a guest with few units may be said to be worse.
        """
        words = {row["flags"].split(";")[0] for row in self.summary}
        if not self.summary or words == {"incomplete"}:
            return "incomplete"
        return "preliminary" if words <= {"incomplete", "preliminary"} else "ranked"

    @property
    def coverage(self) -> tuple[int, int, int]:
        """How many of the suite's own rows have a run, how many there are, and the fewest units of those that do."""
        wanted = list(self.suite.rows())
        counts = [
            max((int(row["n"]) for row in self.summary if all(row[k] == v for k, v in own.items())), default=0)
            for own in wanted
        ]
        present = [count for count in counts if count]
        return len(present), len(wanted), min(present, default=0)


def _key(row: Row) -> tuple[str, ...]:
    """What makes runs one row of the summary."""
    return tuple(row[name] for name in CELL)


def section(found: Sequence[tuple[Path, RunRecord]], selected: Suite) -> Section:
    """A suite's tables, read back as text; raises IntegrityError for a learning curve that is damaged.

    ``found`` has each record with the folder that its run's folder lies in.
    """
    records = [record for _, record in found]
    tables = build(records, selected)
    runs = read_csv(tables[f"{selected.name}.csv"])
    folders = {record.run_id: folder / record.run_id for folder, record in found}
    return Section(
        selected,
        runs,
        read_csv(tables[f"{selected.name}-summary.csv"], columns=SUMMARY),
        read_csv(tables[f"{selected.name}-overall.csv"], columns=OVERALL),
        {record.run_id: record.reason for record in records if record.reason},
        _curves(runs, folders),
    )


def _curves(runs: Sequence[Row], folders: Mapping[str, Path]) -> dict[str, Curve]:
    """The learning curves that lie beside the records, compared with their manifests where there are any."""
    curves = {}
    for run in runs:
        folder = folders[run["run_id"]]
        if (folder / CURVE).is_file():
            if (folder / MANIFEST).is_file():
                check_manifest(folder, CURVE)
            points = [(point.get("step"), point.get("normalized_mean")) for point in read_curve(folder / CURVE)]
            curves[run["run_id"]] = [(step, score) for step, score in points if step is not None and score is not None]
    return curves
