"""Where reports are kept: beside a run's record, one for each step at which it was measured, as they went."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corruptbench.errors import IntegrityError, UsageError
from corruptbench.records import RunRecord
from corruptbench.sharpness.curvature import Eigenvalue, Estimate
from corruptbench.sharpness.report import SCHEMA, Effort
from corruptbench.sharpness.rise import (
    ADAPTIVE_RADII,
    AVERAGE_RADII,
    AVERAGE_RELATIVE_RADII,
    RADII,
    RELATIVE_RADII,
)
from corruptbench.store import MANIFEST, check_manifest, pretty, publish, read_json

SHARPNESS = "sharpness.json"
MOST = 50
"""Reports of a run: a JSON file is read up to a size."""


def check_every(every: int, steps: int) -> None:
    """Raises UsageError for ``--track-sharpness`` that would leave no or too many reports of so many steps."""
    least = -(-steps // MOST)
    if every < least:
        raise UsageError(f"--track-sharpness is {every}: of {steps:,} steps, allowed is {least} and above")


def text_of(reports: list[dict[str, Any]]) -> str:
    """The content of ``sharpness.json``."""
    return pretty({"schema": SCHEMA, "reports": reports})


def reports_in(folder: Path) -> list[dict[str, Any]]:
    """The reports in a run's folder, by step, none where there is no such file; raises IntegrityError."""
    path = folder / SHARPNESS
    if not path.exists():
        return []
    found = read_json(path)
    try:
        if found["schema"] != SCHEMA:
            raise IntegrityError(f"{path}: its schema is {found['schema']!r}, and this version reads {SCHEMA}")
        reports: list[dict[str, Any]] = sorted(found["reports"], key=lambda report: report["step"])
        for report in reports:
            _check(report)
        return reports
    except (KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path}: no sharpness reports: {error}") from error


def reports_of(record: RunRecord, folder: Path) -> list[dict[str, Any]]:
    """As :func:`reports_in`; raises IntegrityError for one that is of other data than the record's, too."""
    reports = reports_in(folder)
    expected = {"corrupted": record.corruption["sha256"], "clean": record.spec.dataset_sha256}
    for report in reports:
        for data, sha256 in expected.items():
            if report["data"][data]["sha256"] != sha256:
                raise IntegrityError(
                    f"{folder / SHARPNESS}: the report of step {report['step']} is of other {data} data than the record"
                )
    return reports


def _check(report: dict[str, Any]) -> None:
    """Raises KeyError, TypeError or AttributeError for what a reader would miss."""
    numbers = [report[name] for name in vars(Effort())]
    for data in ("corrupted", "clean"):
        measured = report["data"][data]
        numbers.append(len(measured["sha256"]))
        numbers += [layer["active"] for layers in measured["activity"].values() for layer in layers]
        numbers += [number for found in measured["objectives"].values() for number in _numbers(found)]
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError(f"among its numbers are {numbers}")


def _numbers(found: dict[str, Any]) -> Iterator[Any]:
    """Every number of a loss."""
    yield from (found[name] for name in ("loss", "gradient_norm", "weight_norm", "fisher_trace"))
    for name in ("eigenvalue_max", "eigenvalue_min", "trace"):
        yield from _pair(found[name], Estimate if name == "trace" else Eigenvalue)
    rises: dict[str, tuple[float, ...]] = {"sam": RADII, "sam_relative": RELATIVE_RADII, "asam": ADAPTIVE_RADII}
    yield from (found[name][str(radius)] for name, radii in rises.items() for radius in radii)
    means = {"average": AVERAGE_RADII, "average_relative": AVERAGE_RELATIVE_RADII}
    for name, radii in means.items():
        for radius in radii:
            yield from _pair(found[name][str(radius)], Estimate)


def _pair(found: dict[str, Any], kind: type[Eigenvalue | Estimate]) -> list[Any]:
    return [found[name] for name in kind._fields]


def keep(report: dict[str, Any], folder: Path) -> None:
    """Adds a report to a finished run's folder, in place of one of the same step; raises IntegrityError."""
    folder = folder.resolve()  # of a link what it leads to
    check_manifest(folder)
    reports = [*(other for other in reports_in(folder) if other["step"] != report["step"]), report]

    def write(temporary: Path) -> None:
        for path in folder.iterdir():
            if path.name != MANIFEST:
                shutil.copyfile(path, temporary / path.name)
        (temporary / SHARPNESS).write_text(text_of(reports))

    publish(folder, write, replace=True)
