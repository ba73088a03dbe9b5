"""Compares scores of runs that were repeated with another training engine: python scripts/engines.py RESULTS

RESULTS are runs that leaderboard/records has, too, trained there by the engine that came before. Scores go to
docs/figures/engines.csv, and the table of paired differences into docs/performance.md; without RESULTS the table is
made from that file.
"""

import csv
import sys
from pathlib import Path
from typing import Any

from markers import insert

from corruptbench.csv_text import to_csv
from corruptbench.records import RunRecord, read_records
from corruptbench.tables import stats

ROOT = Path(__file__).parent.parent
SCORES = ROOT / "docs" / "figures" / "engines.csv"
COLUMNS = ["algo", "corruption", "unit", "before", "now"]


def main(results: list[str]) -> None:
    if results:
        before = {record.run_id: record for record in read_records(ROOT / "leaderboard" / "records")}
        rows = [row(before[now.run_id], now) for now in read_records(Path(results[0]))]
        SCORES.write_text(to_csv(COLUMNS, sorted(rows, key=lambda found: [found[name] for name in COLUMNS[:3]])))
    with SCORES.open() as file:
        insert(ROOT / "docs" / "performance.md", "engines", table(list(csv.DictReader(file))))


def row(before: RunRecord, now: RunRecord) -> dict[str, Any]:
    assert before.score
    assert now.score
    scores = {"before": before.score["normalized_mean"], "now": now.score["normalized_mean"]}
    return {"algo": now.spec.algorithm.name, "corruption": now.spec.corruption.name, "unit": now.spec.unit, **scores}


def table(rows: list[dict[str, str]]) -> str:
    lines = ["| runs | pairs | before | now | difference | 95 % interval |", "|---|---:|---:|---:|---:|---|"]
    for algo, corruption in dict.fromkeys((r["algo"], r["corruption"]) for r in rows):
        own = [r for r in rows if (r["algo"], r["corruption"]) == (algo, corruption)]
        lines.append(line(f"{algo}, {corruption}", own))
    return "\n".join([*lines, line("all", rows)])


def line(name: str, rows: list[dict[str, str]]) -> str:
    before, now = ([float(r[column]) for r in rows] for column in ("before", "now"))
    differences = [b - a for a, b in zip(before, now, strict=True)]
    found = stats.t_interval(differences) or stats.interval(differences, "engines")  # more than 10: the bootstrap
    interval = "-" if found is None else f"{found[0]:+.1f} to {found[1]:+.1f}"
    means = f"{stats.mean(before):.1f} | {stats.mean(now):.1f} | {stats.mean(differences):+.1f}"
    return f"| {name} | {len(rows)} | {means} | {interval} |"


if __name__ == "__main__":
    main(sys.argv[1:])
