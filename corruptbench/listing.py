"""A record as a row of the runs CSV, and the columns of the tables."""

from collections.abc import Iterable

from corruptbench.csv_text import to_csv
from corruptbench.records import RunRecord

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
        "return_mean": number(score.get("return_mean")),
        "normalized": number(score.get("normalized_mean")),
        "corrupted_sha256": record.corruption["sha256"] or "",
        "run_id": record.run_id,
        "version": record.versions["corruptbench"],
        "command": record.command,
    }


def runs_csv(records: Iterable[RunRecord]) -> str:
    """The runs CSV, sorted by what was run."""
    rows = sorted((run_row(record) for record in records), key=order)
    return to_csv(RUNS, rows)


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
