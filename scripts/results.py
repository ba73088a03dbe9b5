"""Writes what the committed records show into the docs: python scripts/results.py

Tables between ``<!-- NAME -->`` and ``<!-- /NAME -->`` of README.md, docs/learning.md and the cards of the shipped
datasets, and the learning curves of the horizons as docs/figures/horizon.*. Everything comes from leaderboard/records,
so the same records give the same text.
"""

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

from markers import insert

from corruptbench.corruptions.auto import members
from corruptbench.csv_text import to_csv
from corruptbench.data import ASSETS, shipped
from corruptbench.drawing import Picture, legend, panels, picture, styles
from corruptbench.records import RunRecord, read_records
from corruptbench.spec import DEFAULT_STEPS
from corruptbench.suites import suite
from corruptbench.tables import stats
from corruptbench.tables.labels import threat
from corruptbench.tables.listing import run_row, shown_name

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "leaderboard" / "records"
FIGURES = ROOT / "docs" / "figures"
CURVE = ("run_id", "algo", "corruption", "unit", "steps", "step", "return_mean", "normalized_mean")


def main() -> None:
    records = read_records(RECORDS)
    horizon = [r for r in records if is_horizon(r)]
    core, tiny = own_runs(records, "core"), own_runs(records, "tiny")
    FIGURES.mkdir(parents=True, exist_ok=True)
    insert(ROOT / "docs" / "learning.md", "horizon", horizon_table(horizon))
    insert(ROOT / "docs" / "learning.md", "core", suite_table(core, "core"))
    insert(ROOT / "README.md", "core", suite_table(core, "core"))
    insert(ROOT / "README.md", "tiny", suite_table(tiny, "tiny"))
    insert(ROOT / "docs" / "attacks.md", "harm", harm_table(records))
    for dataset, card in shipped().items():
        insert(ASSETS / dataset / "README.md", "learned", learned_table(records, dataset, card))
    rows = horizon_rows(horizon)
    (FIGURES / "horizon.csv").write_text(to_csv(CURVE, rows))
    drawn = horizon_picture(rows)
    (FIGURES / "horizon.svg").write_bytes(drawn.svg)
    (FIGURES / "horizon.png").write_bytes(drawn.png)


def is_horizon(record: RunRecord) -> bool:
    """IQL as it is on the clean data, of any number of steps."""
    spec = record.spec
    cell = (spec.dataset, spec.corruption.name, spec.algorithm.name, spec.optimizer.name)
    return cell == ("hopper-replay", "none", "iql", "adam") and not record.options


def own_runs(records: list[RunRecord], name: str) -> list[RunRecord]:
    """The runs of a suite itself, with the settings that the suite's own rows have."""
    selected = suite(name)
    wanted = list(selected.rows())
    selection = [(record, run_row(record)) for record in records if selected.selects(record)]
    return [record for record, row in selection if any(row.items() >= own.items() for own in wanted)]


def learned_table(records: list[RunRecord], dataset: str, card: dict) -> str:
    """IQL and BC on the clean dataset at the default number of steps, beside the dataset's own mean."""
    lines = [
        "| | normalized score | units |",
        "|---|---:|---|",
        f"| the dataset's mean | {card['normalized_mean']:.1f} | |",
    ]
    for algorithm in ("bc", "iql"):
        found = []
        for record in records:
            spec = record.spec
            cell_of = (spec.dataset, spec.corruption.name, name(record), spec.steps)
            if cell_of == (dataset, "none", algorithm, DEFAULT_STEPS) and not record.options and spec.unit is not None:
                found.append(record)
        values = scores(found)
        lines.append(f"| {algorithm} | {cell(values)} | {', '.join(f'{v:.1f}' for v in values)} |")
    return "\n".join(lines)


def name(record: RunRecord) -> str:
    return shown_name(record.spec.algorithm.name, record.spec.optimizer.name)


def scores(records: list[RunRecord]) -> list[float]:
    """Normalized scores by unit; the tables here are only made of sound runs, and say so otherwise."""
    ordered = sorted(records, key=lambda r: r.spec.unit if r.spec.unit is not None else -1)
    return [float("nan") if r.score is None else float(r.score["normalized_mean"] or 0) for r in ordered]


def horizon_table(records: list[RunRecord]) -> str:
    groups: dict[int, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[record.spec.steps].append(record)
    longest = stats.mean(scores(groups[max(groups)]))
    lines = ["| steps | n | mean score | std | of the longest | units |", "|---:|---:|---:|---:|---:|---|"]
    for steps in sorted(groups):
        values = scores(groups[steps])
        spread = stats.std(values)
        lines.append(
            f"| {steps:,} | {len(values)} | {stats.mean(values):.1f} | {'' if spread is None else f'{spread:.1f}'} "
            f"| {100 * stats.mean(values) / longest:.0f} % | {', '.join(f'{v:.1f}' for v in values)} |"
        )
    return "\n".join(lines)


def suite_table(records: list[RunRecord], of: str) -> str:
    """Mean scores, a line for each algorithm, a column for each threat model that has a run."""
    selected = suite(of)
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[name(record), record.spec.corruption.name].append(record)
    shown = [c for c in selected.corruptions if any(key[1] == c for key in groups)]
    lines = ["| | " + " | ".join(shown) + " |", "|---|" + "---:|" * len(shown)]
    for algorithm in selected.algorithms:
        cells = [cell(scores(groups[algorithm, corruption])) for corruption in shown]
        lines.append(f"| {algorithm} | {' | '.join(cells)} |")
    return "\n".join(lines)


HARM_STEPS = 25_000
HARM = ("none", *members("obs-auto"), "obs-adv:preset=rdt2025")
"""The attacks of scripts/attack_study.sh: those of the ensemble, and a published one that touches s' too."""


def harm_table(records: list[RunRecord]) -> str:
    """IQL and RIQL on hopper-replay under each attack, beside what it did to the surrogate's value."""
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        if is_harm(record):
            groups[threat(run_row(record)), name(record)].append(record)
    lines = ["| attack | value before | value after | iql | riql |", "|---|---:|---:|---|---|"]
    for attack in HARM:
        runs = [groups[attack, learner] for learner in ("iql", "riql")]
        first = min((r for found in runs for r in found), key=lambda r: (r.spec.unit, r.run_id), default=None)
        audit = first.corruption["audit"].get("obs", {}) if first else {}
        values = [f"{audit[which]:.0f}" if which in audit else "" for which in ("value_before", "value_after")]
        lines.append(f"| `{attack}` | {' | '.join([*values, *(with_interval(scores(found)) for found in runs)])} |")
    worst = [worst_of({a: groups[a, learner] for a in members("obs-auto")}) for learner in ("iql", "riql")]
    return "\n".join([*lines, f"| worst case, `obs-auto` | | | {' | '.join(worst)} |"])


def is_harm(record: RunRecord) -> bool:
    """A run of the study: the usual settings, so many steps, an attack of the list."""
    spec = record.spec
    usual = all(option.startswith("corruption.") for option in record.options)
    rate = 0.0 if spec.corruption.name == "none" else 0.3
    cell_of = (spec.dataset, spec.steps, spec.corruption.scale, spec.corruption.rate == rate)
    return (
        cell_of == ("hopper-replay", HARM_STEPS, 1.0, True)
        and name(record) in ("iql", "riql")
        and spec.unit is not None
        and usual
        and threat(run_row(record)) in HARM
    )


def with_interval(values: list[float]) -> str:
    """``18.1 [13.4, 22.8] (n=3)``: Student's interval, which two and more units have."""
    if not values:
        return "-"
    bounds = stats.t_interval(values)
    shown = f" [{bounds[0]:.1f}, {bounds[1]:.1f}]" if bounds else ""
    return f"{stats.mean(values):.1f}{shown} (n={len(values)})"


def worst_of(attacks: dict[str, list[RunRecord]]) -> str:
    """The lowest mean over attacks, each with the same units, those that all of them have."""
    by_unit = {a: {r.spec.unit: scores([r])[0] for r in runs} for a, runs in attacks.items()}
    shared = sorted(set.intersection(*(set(units) for units in by_unit.values())), key=str)
    if not shared:
        return "-"
    found = stats.worst_case({a: [units[unit] for unit in shared] for a, units in by_unit.items()}, "harm")
    return f"{found.mean:.1f}, `{found.attack}` (n={len(shared)})"


def cell(values: list[float]) -> str:
    """``41.2 ± 3.0 (n=3)``, without a spread for one unit."""
    if not values:
        return "-"
    spread = stats.std(values)
    return f"{stats.mean(values):.1f}{'' if spread is None else f' ± {spread:.1f}'} (n={len(values)})"


def horizon_rows(records: list[RunRecord]) -> list[dict[str, str]]:
    """The points of the runs' learning curves, run by run."""
    rows = []
    for record in sorted(records, key=lambda r: (r.spec.steps, r.spec.unit or 0, r.run_id)):
        spec = record.spec
        fixed = (record.run_id, name(record), spec.corruption.name, str(spec.unit), str(spec.steps))
        with (RECORDS / record.run_id / "curve.csv").open() as stream:
            for point in csv.DictReader(stream):
                measured = (point["step"], *(f"{float(point[column]):.4f}" for column in CURVE[-2:]))
                rows.append(dict(zip(CURVE, (*fixed, *measured), strict=True)))
    return rows


def horizon_picture(rows: list[dict[str, str]]) -> Picture:
    """Score over steps, a line for each run, a look for each number of steps."""
    runs: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        runs[row["steps"], row["run_id"]].append(row)
    looks = styles([f"{int(steps):,} steps" for steps in dict.fromkeys(steps for steps, _ in runs)])

    def draw(figure: Any) -> None:
        (axes,) = panels(figure, 1, "training step", "normalized score, 10 episodes")
        for (steps, _), points in runs.items():
            values = [[float(point[column]) for point in points] for column in ("step", "normalized_mean")]
            axes.plot(*values, **looks[f"{int(steps):,} steps"].drawn(linewidth=1, markersize=3))
        legend(figure, looks)

    title = "IQL on the clean data, by the number of steps"
    return picture("horizon", title, f"{title}: learning curves, one line a run", (6.0, 4.0), draw)


if __name__ == "__main__":
    main()
