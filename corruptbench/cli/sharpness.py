"""``corruptbench sharpness``: how sharp the losses are around the weights of finished runs."""

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from corruptbench.cli.parser import Parser
from corruptbench.cli.source import add_clean_options, clean_data
from corruptbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from corruptbench.records import RunRecord
    from corruptbench.trained import Trained


def main(arguments: Sequence[str]) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)

    import torch

    from corruptbench.bars import progress
    from corruptbench.corrupting import check_clean
    from corruptbench.registry import load_plugin
    from corruptbench.sharpness import Effort
    from corruptbench.store import pretty, probe_writable
    from corruptbench.tables.sharpness import reports_csv
    from corruptbench.trained import require_once

    effort = Effort(options.rows, options.iterations, options.probes, options.directions)
    if not options.dataset:
        parser.require_beside("--dataset", options, ("on_nonfinite", "download"))
    for path in options.plugin:
        load_plugin(path)
    torch.set_num_threads(1)  # another number gives other last bits
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: pip install 'corruptbench[report]'")
    runs = [asked(name, effort, options) for name in options.run]
    require_once(run.record.run_id for run in runs)
    if options.plot is not None:
        probe_writable(options.plot, "--plot")
    clean = clean_data(options, runs[0].record)
    for run in runs if clean is not None else ():
        check_clean(clean, run.record.spec)
    found = []
    for run in progress(runs, desc="sharpness", unit="run", leave=False):
        found.append((run.record, reports(run, clean, effort, options)))
        if not (options.json or options.csv):
            print(table(run.record, found[-1][1][-1]))
    if options.csv:
        print(reports_csv(found), end="")
    if options.json:
        print(pretty([{"run_id": r.run_id, "command": r.command, "reports": reports} for r, reports in found]), end="")
    if options.plot is not None:
        draw(found, options.plot)
    return 0


def build_parser() -> Parser:
    from corruptbench.sharpness import Effort

    usual = Effort()
    parser = Parser(
        "corruptbench sharpness",
        "Measures how sharp each loss of finished runs is; shows a report that was kept with the same settings.",
    )
    parser.add_argument("run", nargs="+", metavar="RUN", help="folder of a run, or its id below --results")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results")
    add_clean_options(parser)
    parser.add_argument("--rows", type=int, default=usual.rows, help="transitions that losses are measured on")
    parser.add_argument("--iterations", type=int, default=usual.iterations, help="of Lanczos' method")
    parser.add_argument("--probes", type=int, default=usual.probes, help="random vectors for the trace")
    parser.add_argument("--directions", type=int, default=usual.directions, help="random directions, both ways")
    parser.add_argument(
        "--save",
        action="store_true",
        help="keep the report in the run's folder, as sharpness.json: of the very data it was trained on",
    )
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw the rise of every loss there (extra report)")
    parser.add_argument("--plugin", type=Path, action="append", default=[], help="Python file with what a run names")
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--json", action="store_true", help="print the reports as JSON")
    printed.add_argument("--csv", action="store_true", help="print a row for each run, step, data and loss")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


class Asked(NamedTuple):
    """A run whose reports are asked for."""

    where: str  # as errors begin
    folder: Path
    record: "RunRecord"
    kept: list[dict[str, Any]]
    run: "Trained | None"  # what lacks a report


def asked(name: str, effort, options: argparse.Namespace) -> Asked:  # type: ignore[no-untyped-def]
    """A run with the reports that it has, and its networks where it lacks the one of its end.

    Raises UsageError before anything is measured for a run that has none and can have none.
    """
    from corruptbench.corrupting import require_remakeable
    from corruptbench.sharpness import reports_of
    from corruptbench.trained import named_run, trained_run

    where = f"RUN {name}"
    folder, record = named_run(name, options.results, where)
    kept = [
        found for found in reports_of(record, folder) if all(found[key] == value for key, value in vars(effort).items())
    ]
    if record.outcome == "ok" and kept and kept[-1]["step"] == record.spec.steps:
        return Asked(where, folder, record, kept, None)
    run = trained_run(name, options.results, where)
    require_remakeable(record, named=bool(options.dataset))
    return Asked(where, folder, record, kept, run)


def reports(run: Asked, clean, effort, options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The reports that a run has, and the one that it lacks."""
    from corruptbench.sharpness import keep, report_of_run

    if run.run is None:
        return run.kept
    try:
        report = report_of_run(run.run, options.results, effort, clean, exactly=options.save)
    except DataError as error:
        raise DataError(f"{run.where}: {error}") from error
    if options.save:
        keep(report, run.folder)
    return [*run.kept, report]


def draw(found, folder: Path) -> None:  # type: ignore[no-untyped-def]
    """The rises on clean data, and on the data that runs saw where these are others for one of them."""
    from corruptbench.drawing import write
    from corruptbench.sharpness.plot import drawn
    from corruptbench.tables.labels import run_names

    names = run_names([record for record, _ in found])
    reports = {name: runs[-1] for name, (_, runs) in zip(names, found, strict=True)}
    several = any(
        report["data"]["corrupted"]["sha256"] != report["data"]["clean"]["sha256"] for report in reports.values()
    )
    for path in write(folder, [drawn(reports, data) for data in ("corrupted", "clean") if several or data == "clean"]):
        print(path, file=sys.stderr)


COLUMNS = (
    ("loss", lambda m: f"{m['loss']:.3g}"),
    ("|gradient|", lambda m: f"{m['gradient_norm']:.3g}"),
    ("|weights|", lambda m: f"{m['weight_norm']:.3g}"),
    ("largest eigenvalue", lambda m: _value(m["eigenvalue_max"])),
    ("smallest", lambda m: _bound(m["eigenvalue_min"])),
    ("trace", lambda m: _value(m["trace"])),
    ("Fisher", lambda m: f"{m['fisher_trace']:.3g}"),
    ("SAM 0.05", lambda m: f"{m['sam']['0.05']:.3g}"),
    ("SAM 0.01|w|", lambda m: f"{m['sam_relative']['0.01']:.3g}"),
    ("ASAM 0.5", lambda m: f"{m['asam']['0.5']:.3g}"),
    ("mean 0.1|w|", lambda m: _value(m["average_relative"]["0.1"])),
)


def _value(found: Mapping[str, float]) -> str:
    """With its residual or its standard error."""
    error = found["residual"] if "residual" in found else found["error"]
    return f"{found['value']:.3g}+-{error:.1g}"


def _bound(found: Mapping[str, float]) -> str:
    """A smallest eigenvalue, or what it is at most where Lanczos' method had not come near it."""
    return _value(found) if found["residual"] < 0.1 * abs(found["value"]) else f"<={found['value']:.3g}"


def table(record, report: Mapping[str, Any]) -> str:  # type: ignore[no-untyped-def]
    """The measures of one report, a line for each loss and data, and the shares of active units."""
    from corruptbench.tables.labels import run_name

    cells = [["", "", *(name for name, _ in COLUMNS)]]
    notes = []
    for data, measured in sorted(report["data"].items(), reverse=True):  # corrupted, clean
        if data == "clean" and measured["sha256"] == report["data"]["corrupted"]["sha256"]:
            notes.append("clean     the same data")
            continue
        cells += [
            [data, name, *(of(found) for _, of in COLUMNS)] for name, found in sorted(measured["objectives"].items())
        ]
        layers = [
            f"{group} {' '.join(format(layer['active'], '.0%') for layer in found)}"
            for group, found in sorted(measured["activity"].items())
            if found
        ]
        notes.append(f"{data:<10}active units by layer: {', '.join(layers)}")
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    head = (
        f"{record.run_id}: {run_name(record)}, {record.spec.dataset}, {report['step']:,} steps, {report['rows']:,} rows"
    )
    lines = [
        "  ".join(
            f"{cell:<{w}}" if i < 2 else f"{cell:>{w}}" for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([head, *lines, *notes, ""])
