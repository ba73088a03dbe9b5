"""A user's results as rows of the runs CSV: a folder of records, a runs CSV, or a CSV of four columns from anywhere."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corruptbench.errors import DataError, IntegrityError, UsageError, shown
from corruptbench.names import is_id
from corruptbench.records import RunRecord, each_record
from corruptbench.registry import CORRUPTIONS
from corruptbench.rng import unit_seeds
from corruptbench.settings import parse_threat
from corruptbench.suites import split_preset, threat_key
from corruptbench.tables.listing import RUNS, Row, read_csv, run_rows
from corruptbench.tables.reading import read_text

MINIMAL = ("dataset", "corruption", "unit", "normalized")
"""The columns that any framework can write; ``algo`` may stand beside them."""
LARGEST = 1e9
"""Normalized points; 100 is an expert's."""


@dataclass(frozen=True)
class Results:
    """Scores of whole units, with what was left out of them."""

    path: Path
    rows: list[Row]
    minimal: bool  # they say neither their environment nor their steps
    left_out: list[str]  # sentences


def read_results(path: Path) -> Results:
    """The results at a path; each row has a unit, and a score unless its run failed.

    Raises UsageError where nothing is there, DataError with the line for a CSV that is none of the two kinds,
    IntegrityError for a broken record or a table that is not what its sum says.
    """
    minimal = False
    if path.is_dir():
        rows = run_rows(_records(path))
    else:
        text, _ = read_text(path)
        header = _header(text)
        minimal = not {"protocol", "run_id"} & set(header)
        rows = _minimal_rows(text, path, header) if minimal else read_csv(text, str(path))
    _check(rows, path)
    kept = [row for row in rows if row["unit"] and (minimal or _seeds(row) == unit_seeds(int(row["unit"])))]
    sound = [row for row in kept if row["normalized"] or row["outcome"] != "ok"]
    sentences = (
        (len(rows) - len(kept), "have seeds of their own, and are no unit"),
        (len(kept) - len(sound), "have no normalized score"),
    )
    left_out = [f"{path}: {count} of {len(rows)} runs {why}" for count, why in sentences if count]
    if not sound:
        raise DataError(f"{path}: it holds no scores of units{': ' * bool(left_out)}{'; '.join(left_out)}")
    return Results(path, sound, minimal, left_out)


def _records(folder: Path) -> list[RunRecord]:
    found = list(each_record(folder))
    broken = [result for result in found if isinstance(result, IntegrityError)]
    if broken:
        raise IntegrityError(f"{len(broken)} of {len(found)} records are broken, the first one: {broken[0]}")
    return [record for record in found if isinstance(record, RunRecord)]


def _minimal_rows(text: str, path: Path, header: Sequence[str]) -> list[Row]:
    """Rows with nothing in the columns that four columns do not tell; an empty score is a run that failed."""
    columns = MINIMAL if set(header) <= set(MINIMAL) else (*MINIMAL, "algo")
    rows = []
    for line, row in enumerate(read_csv(text, str(path), columns), 2):
        try:
            rows.append(_full_row(row, path.stem))
        except UsageError as error:
            raise DataError(f"{path}, line {line}, {error}") from error
    return rows


def _full_row(row: Row, label: str) -> Row:
    if not is_id(row["dataset"]):
        raise UsageError(f"dataset: {shown(row['dataset'])} is the name of none, as hopper-replay is")
    if not row["unit"]:
        raise UsageError("unit: it is empty, needed is a whole number")
    try:
        CORRUPTIONS.known(parse_threat(row["corruption"])[0])
        name, rate, scale, options = threat_key(row["corruption"])
    except UsageError as error:
        raise UsageError(f"corruption: {error}") from error
    preset, others = split_preset(options)
    return {
        **dict.fromkeys(RUNS, ""),
        "dataset": row["dataset"],
        "algo": row.get("algo") or label,
        "optimizer": "adam",
        "track": "universal",
        "corruption": name,
        "rate": f"{rate:g}",
        "scale": f"{scale:g}",
        "preset": preset,
        "options": others,
        "unit": str(int(row["unit"])),
        "outcome": "ok" if row["normalized"] else "failed",
        "normalized": row["normalized"],
    }


def _seeds(row: Row) -> tuple[int, int]:
    return int(row["train_seed"]), int(row["corruption_seed"])


def _header(text: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline="")), [])
    except csv.Error:  # whoever reads the rows says which
        return []


def _check(rows: Sequence[Row], path: Path) -> None:
    """No score whose square is no number, and nothing that reaches a terminal as a command to it."""
    for row in rows:
        if abs(float(row["normalized"] or 0)) > LARGEST:
            raise DataError(f"{path}: normalized is {row['normalized']}, allowed is -{LARGEST:g} to {LARGEST:g}")
        for name, value in row.items():
            if not value.isprintable():
                raise DataError(f"{path}: {name} is {shown(value)}, which has a character that cannot be printed")
