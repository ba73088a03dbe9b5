"""A record as a row of the runs CSV, and the columns of the tables."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from corruptbench.csv_text import fused, to_csv
from corruptbench.errors import DataError, nearest
from corruptbench.records import OUTCOMES, RUN_ID, RunRecord

CELL = (
    "protocol", "dataset", "environment", "algo", "optimizer", "sam_on", "rho", "track", "corruption", "rate", "scale",
    "preset", "options",
)  # fmt: skip
RUNS = (
    *CELL, "unit", "train_seed", "corruption_seed", "steps", "outcome", "return_mean", "normalized", "corrupted_sha256",
    "run_id", "version", "command",
)  # fmt: skip
SUMMARY = (
    "protocol", "suite", *CELL[1:], "steps", "n", "failed", "mean", "std", "worst_quarter", "ci_low", "ci_high",
    "flags",
)  # fmt: skip

Row = dict[str, str]
Values = tuple[tuple[tuple[str, ...], str, str], ...]
"""Columns, a pattern of their values, and the same in words; columns without one are names and text."""


def shown_name(algo: str, optimizer: str) -> str:
    """``riql+sam``: an algorithm as tables show it."""
    return algo if optimizer == "adam" else f"{algo}+{optimizer}"


def run_row(record: RunRecord) -> Row:
    """A record as a row of the runs CSV; every value is text, numbers with 4 decimals where they were measured."""
    spec = record.spec
    score = record.score or {}
    options = {**record.options, **_sources(record)}
    preset = options.pop("corruption.preset", "")
    return {
        "protocol": spec.protocol,
        "dataset": spec.dataset,
        "environment": spec.environment.id,
        "algo": spec.algorithm.name,
        "optimizer": spec.optimizer.name,
        "sam_on": "+".join(spec.optimizer.on),
        "rho": str(spec.optimizer.rho) if spec.optimizer.rho else "",
        "track": spec.track,
        "corruption": spec.corruption.name,
        "rate": f"{spec.corruption.rate:g}",
        "scale": f"{spec.corruption.scale:g}",
        "preset": preset,
        "options": ";".join(f"{name}={value}" for name, value in sorted(options.items())),
        "unit": "" if spec.unit is None else str(spec.unit),
        "train_seed": str(spec.train_seed),
        "corruption_seed": str(spec.corruption_seed),
        "steps": str(spec.steps),
        "outcome": record.outcome,
        "return_mean": number(score.get("return_mean")),
        "normalized": number(score.get("normalized_mean")),
        "corrupted_sha256": record.corruption["sha256"] or "",
        "run_id": record.run_id,
        "version": record.versions["corruptbench"],
        "command": record.command,
    }


def run_rows(records: Iterable[RunRecord]) -> list[Row]:
    """The rows of the runs CSV, sorted by what was run."""
    return sorted((run_row(record) for record in records), key=order)


def runs_csv(records: Iterable[RunRecord]) -> str:
    """The runs CSV."""
    return to_csv(RUNS, run_rows(records))


NUMBER = r"-?[0-9]{1,99}(\.[0-9]{1,99})?(e[-+]?[0-9]{1,2})?"
VALUES: Values = (
    (("train_seed", "corruption_seed", "steps", "n", "failed"), "[0-9]{1,20}", "a whole number"),
    (("unit",), "[0-9]{0,20}", "a whole number or nothing"),
    (("rate", "scale"), NUMBER, "a number"),
    (("rho", "return_mean", "normalized"), f"({NUMBER})?", "a number or nothing"),
    (("mean", "std", "worst_quarter", "ci_low", "ci_high"), f"({NUMBER})?", "a number or nothing"),
    (("outcome",), "|".join(OUTCOMES), f"one of {', '.join(OUTCOMES)}"),
    (("run_id",), RUN_ID.pattern, "a run's 16 hexadecimal digits"),
)
"""Of the runs and the summary CSV."""


def read_csv(text: str, where: str = "table", columns: Sequence[str] = RUNS, values_of: Values = VALUES) -> list[Row]:
    """The rows of a table with these columns, in whatever order; raises DataError with ``where`` and the line.

    What is refused would be read as another value, or break whoever uses it: wrong columns, rows of another length, a
    number that is none, a run that stands twice, a file that was cut off.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    lines: dict[str, int] = {}  # of the runs
    line = 1
    try:
        header = next(reader, [])
        problem = _header_problem(header, columns)
        for values in [] if problem else reader:
            line, row = reader.line_num, dict(zip(header, map(fused, values), strict=False))
            problem = _row_problem(row, len(values), len(header), values_of)
            if not problem and "run_id" in row and lines.setdefault(row["run_id"], line) != line:
                problem = f"run {row['run_id']} stands in line {lines[row['run_id']]} already"
            if problem:
                break
            rows.append(row)
    except csv.Error as error:
        line, problem = reader.line_num, f"not readable as CSV: {error}"
    if not problem and not text.endswith("\n"):
        problem = "no line break ends it, so the file may have been cut off there; where it is whole, add one"
    if problem:
        raise DataError(f"{where}, line {line}: {problem}")
    return rows


def _header_problem(header: Sequence[str], columns: Sequence[str]) -> str | None:
    for name in header:
        if name not in columns:
            return f"unknown column {name[:40]!r}{nearest(name, columns)}"
        if header.count(name) > 1:
            return f"column {name!r} stands twice"
    missing = [name for name in columns if name not in header]
    return f"column {missing[0]!r} is missing, and with it {len(missing) - 1} others" if missing else None


def _row_problem(row: Row, found: int, needed: int, values_of: Values) -> str | None:
    if found != needed:
        return f"it has {found} values, and the header has {needed} names"
    for names, pattern, words in values_of:
        for name in names:
            if name in row and not re.fullmatch(pattern, row[name]):
                return f"{name} is {row[name][:40]!r}, needed is {words}"
    bad = next((name for name, value in row.items() if "\0" in value), None)
    return f"{bad} holds a NUL character, which no text has" if bad else None


def _sources(record: RunRecord) -> dict[str, str]:
    """The first digits of the hash of a plug-in's file: an edited one is another row."""
    spec = record.spec
    sources = {f"{spec.algorithm.name}.source": spec.algorithm.source_sha256}
    sources["corruption.source"] = spec.corruption.source_sha256
    return {name: value[:8] for name, value in sources.items() if value}


def cell(row: Row) -> tuple[str, ...]:
    """What rows share whose scores can stand beside each other; a corruption's own options are part of it."""
    names = ("dataset", "environment", "corruption", "rate", "scale", "preset", "steps")
    options = [o for o in row["options"].split(";") if o.startswith(("corruption.", "references="))]
    return (*(row[name] for name in names), *options)


def order(row: Row) -> tuple:
    names = (
        "dataset",
        "corruption",
        "rate",
        "scale",
        "preset",
        "algo",
        "optimizer",
        "sam_on",
        "rho",
        "track",
        "options",
    )
    return (*(row[name] for name in names), int(row.get("unit") or -1), row.get("run_id", ""))


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
