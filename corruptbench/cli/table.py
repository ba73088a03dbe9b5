"""One run's row beside the shipped rows of its cell, as the terminal shows it."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from corruptbench.records import RunRecord
from corruptbench.tables import stats
from corruptbench.tables.labels import label, threat
from corruptbench.tables.listing import Row, cell, order, run_row
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


def _shipped_line(name: str, rows: list[Row], sound: list[float]) -> str:
    scores = [float(row["normalized"]) if row["outcome"] == "ok" and row["normalized"] else None for row in rows]
    floored = stats.with_floor(scores, sound)
    mean = f"{stats.mean(floored):.1f}" if floored else "-"
    spread = stats.std(floored) if floored else None
    units = " ".join("failed" if score is None else f"{score:.1f}" for score in scores)
    failed = sum(score is None for score in scores)
    return f"{name:<24} {mean:>7} {'-' if spread is None else f'{spread:.1f}':>6} {len(rows):>3} {failed:>6}   {units}"
