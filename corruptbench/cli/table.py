"""One run's row beside the shipped rows of its cell, as the terminal shows it."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from corruptbench.optimizers import RHO, optimizer_for
from corruptbench.records import RunRecord
from corruptbench.registry import ALGORITHMS
from corruptbench.tables import stats
from corruptbench.tables.listing import Row, cell, order, run_row, shown_name
from corruptbench.tables.reading import shipped_runs


def beside_the_table(record: RunRecord, out: Path) -> str:
    """The shipped rows of the same cell and number of steps, one line an algorithm, and this run's row under them."""
    mine = run_row(record)
    shipped = [row for row in shipped_runs() if cell(row) == cell(mine)]
    sound = [float(row["normalized"]) for row in shipped if row["outcome"] == "ok" and row["normalized"]]
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(shipped, key=order):
        groups[label(row)].append(row)

    lines = [
        f"{mine['dataset']}, {threat(mine)} (rate {mine['rate']}, scale {mine['scale']}), "
        f"{int(mine['steps']):,} steps, {mine['environment']}",
        "",
        f"{'normalized score':<24} {'mean':>7} {'std':>6} {'n':>3} {'failed':>6}   units",
        *(_shipped_line(name, rows, sound) for name, rows in groups.items()),
    ]
    if not groups:
        lines.append("(no shipped run of this cell and number of steps)")
    score = f"{float(mine['normalized']):.1f}" if mine["normalized"] else "-"
    unit = f"unit {mine['unit']}" if mine["unit"] else "own seeds"
    lines.append(f"{'this run: ' + label(mine):<24} {score:>7} {'':>17}   {unit}, {record.outcome}")
    if record.evaluation:
        episodes = len(record.evaluation["returns"])
        lines.append(f"{'':<24} mean return {float(mine['return_mean']):.1f} over {episodes} episodes")
    elif record.outcome == "ok":
        lines.append(f"{'':<24} trained, and not scored (--no-score)")
    if record.reason:
        lines.append(f"{record.outcome}: {record.reason}")
    return "\n".join([*lines, "", f"{out / record.run_id}", record.command, ""])


def worst_of(ensemble: str, records: Sequence[RunRecord]) -> str:
    """Each attack of an ensemble with one learner's score under it, the worst one last."""
    rows = [run_row(record) for record in records]
    lines = ["", f"{ensemble}: {label(rows[0])}"]
    scores = {threat(row): float(row["normalized"] or row["return_mean"]) for row in rows if row["return_mean"]}
    for row in rows:
        shown = f"{scores[threat(row)]:>7.1f}" if threat(row) in scores else f"{row['outcome']:>7}"
        lines.append(f"{threat(row):<32} {shown}")
    failed = sum(record.outcome != "ok" for record in records)
    if failed:
        return "\n".join([*lines, f"worst case: {failed} of {len(records)} failed", ""])
    if not scores:
        return "\n".join([*lines, "no worst case without scores (--no-score)", ""])
    worst = min(scores, key=lambda name: scores[name])
    return "\n".join([*lines, f"{'worst case: ' + worst:<32} {scores[worst]:>7.1f}", ""])


def threat(row: Row) -> str:
    """A row's threat model as ``--corrupt`` spells it, without its rate and its scale."""
    words = [f"preset={row['preset']}"] * bool(row["preset"])
    words += [o.removeprefix("corruption.") for o in row["options"].split(";") if o.startswith("corruption.")]
    return ":".join([row["corruption"], ",".join(words)] if words else [row["corruption"]])


def full_threat(row: Row) -> str:
    """A row's threat model as ``--corrupt`` spells it, with rate and scale where they are not the usual ones."""
    usual = {"rate": ("0.3", "0"), "scale": ("1",)}
    words = [f"{name}={row[name]}" for name in usual if row[name] not in usual[name]]
    short = threat(row)
    return ("," if ":" in short else ":").join([short, ",".join(words)]) if words else short


def label(row: Row) -> str:
    """``riql+sam``, with its track and its settings where they are not the usual ones."""
    parts = [shown_name(row["algo"], row["optimizer"])]
    if row["sam_on"] and row["sam_on"] != _usual_objectives(row["algo"]):
        parts.append(f"on {row['sam_on']}")
    if row["rho"] not in ("", str(RHO)):
        parts.append(f"rho={row['rho']}")
    if row["track"] != "universal":
        parts.append(f"({row['track']})")
    own = [option for option in row["options"].split(";") if option and not option.startswith("corruption.")]
    return " ".join([*parts, *filter(None, [";".join(own)])])


def _usual_objectives(algo: str) -> str:
    """What ``--sam`` alone applies to, nothing for an algorithm that is not at hand."""
    if algo not in ALGORITHMS.names():
        return ""
    return "+".join(optimizer_for(ALGORITHMS.get(algo)(), "sam").on)


def _shipped_line(name: str, rows: list[Row], sound: list[float]) -> str:
    scores = [float(row["normalized"]) if row["outcome"] == "ok" and row["normalized"] else None for row in rows]
    floored = stats.with_floor(scores, sound)
    mean = f"{stats.mean(floored):.1f}" if floored else "-"
    spread = stats.std(floored) if floored else None
    units = " ".join("failed" if score is None else f"{score:.1f}" for score in scores)
    failed = sum(score is None for score in scores)
    return f"{name:<24} {mean:>7} {'-' if spread is None else f'{spread:.1f}':>6} {len(rows):>3} {failed:>6}   {units}"
