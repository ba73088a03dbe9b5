"""Records to tables: one row a run, one row a cell and algorithm. The tables are derived and never edited."""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from corruptbench import stats
from corruptbench.errors import IntegrityError
from corruptbench.records import RunRecord
from corruptbench.suites import Suite, suite, suite_names

LEADERBOARD = Path(str(files("corruptbench.leaderboard")))
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
        "rho": str(spec.optimizer.rho) if spec.optimizer.on else "",
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
        "return_mean": _number(score.get("return_mean")),
        "normalized": _number(score.get("normalized_mean")),
        "corrupted_sha256": record.corruption["sha256"] or "",
        "run_id": record.run_id,
        "version": record.versions["corruptbench"],
        "command": record.command,
    }


def runs_csv(records: Iterable[RunRecord]) -> str:
    """The runs CSV, sorted by what was run."""
    rows = sorted((run_row(record) for record in records), key=order)
    return _csv(RUNS, rows)


def summary_csv(runs: Sequence[Row], selected: Suite) -> str:
    """One row for each algorithm in each cell: its units' mean, spread, worst quarter, interval and flags.

    Diverged and failed runs count with the floor of section 4; n never shrinks.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    sound: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in runs:
        groups[tuple(row[name] for name in CELL)].append(row)
        if row["outcome"] == "ok" and row["normalized"]:
            sound[cell(row)].append(float(row["normalized"]))
    units = _units(list(groups.values()), selected)
    rows = []
    for key, members in groups.items():
        scores = [float(m["normalized"]) if m["outcome"] == "ok" and m["normalized"] else None for m in members]
        floored = stats.with_floor(scores, sound[cell(members[0])])
        bounds = stats.interval(floored, "/".join(key)) if floored else None
        n = len(members)
        fewest = min(units, n)
        flags = [] if fewest >= 10 else ["preliminary"] if fewest >= 5 else ["incomplete"]
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "suite": f"{selected.name}-{selected.version}",
                "steps": members[0]["steps"],
                "n": str(n),
                "failed": str(sum(m["outcome"] != "ok" for m in members)),
                "mean": _number(stats.mean(floored) if floored else None),
                "std": _number(stats.std(floored) if floored else None),
                "worst_quarter": _number(stats.worst_quarter(floored) if floored else None),
                "ci_low": _number(bounds[0] if bounds else None),
                "ci_high": _number(bounds[1] if bounds else None),
                "flags": ";".join(flags),
            }
        )
    return _csv(SUMMARY, sorted(rows, key=order))


def build(records: Sequence[RunRecord], selected: Suite) -> dict[str, str]:
    """File name -> content of a suite's two tables."""
    chosen = runs_csv(record for record in records if selected.selects(record))
    return {
        f"{selected.name}.csv": chosen,
        f"{selected.name}-summary.csv": summary_csv(read_csv(chosen), selected),
    }


def read_csv(text: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text)))


def shipped_runs() -> list[Row]:
    """The runs of every shipped table, each run once, checked against ``SHA256SUMS``."""
    listed = LEADERBOARD / "SHA256SUMS"
    try:
        sums = dict(line.split("  ")[::-1] for line in listed.read_text("ascii").splitlines())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{listed}: not readable as a list of SHA-256 sums: {error}") from error
    runs: dict[str, Row] = {}
    for name in sorted(sums.keys() | {f"{known}.csv" for known in suite_names()}):
        path = LEADERBOARD / name
        content = path.read_bytes() if path.is_file() else None
        if content is None and name not in sums:
            continue  # a suite of which nothing has been run
        if content is None or hashlib.sha256(content).hexdigest() != sums.get(name):
            raise IntegrityError(f"{path}: its content is not what {LEADERBOARD / 'SHA256SUMS'} says")
        if not name.endswith("-summary.csv"):
            runs.update((row["run_id"], row) for row in read_csv(content.decode()))
    return list(runs.values())


def sums_of(contents: dict[str, str]) -> str:
    """``SHA256SUMS`` of files by name, in the form that ``sha256sum -c`` reads."""
    return "".join(f"{hashlib.sha256(contents[name].encode()).hexdigest()}  {name}\n" for name in sorted(contents))


def build_all(records: Sequence[RunRecord], names: Iterable[str]) -> dict[str, str]:
    """The tables of the named suites and their ``SHA256SUMS``, by file name."""
    contents: dict[str, str] = {}
    for name in names:
        contents.update(build(records, suite(name)))
    return {**contents, "SHA256SUMS": sums_of(contents)}


def _units(groups: Iterable[list[Row]], selected: Suite) -> int:
    """The smallest number of units that any row of the suite has, 0 where one is missing."""
    wanted = list(selected.rows())
    counts = [
        max((len(rows) for rows in groups if all(rows[0][k] == v for k, v in row.items())), default=0) for row in wanted
    ]
    return min(counts)


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


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _csv(header: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
