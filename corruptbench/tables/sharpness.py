"""Sharpness reports as CSV, a row for each run, step, data and loss: what a data frame reads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from corruptbench.csv_text import to_csv
from corruptbench.records import RunRecord
from corruptbench.tables.labels import full_threat, label
from corruptbench.tables.listing import run_row

NAMES = ("run_id", "dataset", "corruption", "learner", "unit", "normalized", "step", "data", "objective")


def reports_csv(found: Iterable[tuple[RunRecord, Sequence[Mapping[str, Any]]]]) -> str:
    """Runs with their reports, a row for each step, data (``corrupted``, ``clean``) and loss.

    ``normalized`` is the score of the run's last step, with 4 decimals and empty where there is none. The measures are
    those of the report, without its shares of active units: ``trace`` with its standard error ``trace_error``,
    ``eigenvalue_max`` with ``eigenvalue_max_residual``, ``sam_0.05`` and so on.
    """
    rows = [row for record, reports in found for report in reports for row in _rows(record, report)]
    measures = dict.fromkeys(name for row in rows for name in row if name not in NAMES)
    return to_csv([*NAMES, *measures], rows)


def _rows(record: RunRecord, report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    row = run_row(record)
    run = {name: row[name] for name in ("run_id", "dataset", "unit", "normalized")}
    run |= {"corruption": full_threat(row), "learner": label(row), "step": report["step"]}
    for data, measured in sorted(report["data"].items(), reverse=True):  # corrupted, clean
        for objective, values in sorted(measured["objectives"].items()):
            yield {**run, "data": data, "objective": objective, **dict(_flat(values))}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """``{"trace": {"value": 2.0, "error": 1.0}}`` as ``trace`` and ``trace_error``."""
    for name, value in sorted(values.items(), key=lambda item: item[0] != "value"):
        whole = prefix if name == "value" else f"{prefix}_{name}".lstrip("_")
        if isinstance(value, Mapping):
            yield from _flat(value, whole)
        else:
            yield whole, value
