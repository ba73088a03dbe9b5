"""The returns around the study's runs, for docs/flatness.md: python scripts/flatness_surface.py results

Writes docs/figures/flatness-landscape.json, what ``corruptbench landscape --json`` prints of RUNS, of the suite
flatness, one algorithm after the other; scripts/flatness.py reads it. Weights are needed, which leaderboard/records
does not have: ``corruptbench sweep flatness --out results`` makes the runs.
"""

import argparse
import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flatness_runs import ROOT, Run, paired

from corruptbench.cli import main as corruptbench
from corruptbench.records import read_records
from corruptbench.store import pretty
from corruptbench.suites import suite
from corruptbench.tables.labels import run_name

SURFACES = ROOT / "docs" / "figures" / "flatness-landscape.json"
RADII = (0.05, 0.1, 0.2, 0.4)
RUNS = {
    algo: [
        f"{algo}{sam}, {threat}, unit {unit}"
        for threat in ("none", "obs-adv")
        for sam in ("", "+sam")
        for unit in range(3)
    ]
    for algo in ("bc", "iql", "riql")
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder of the runs")
    results = parser.parse_args(arguments).results
    ids = {run_name(record): record.run_id for record in read_records(results) if suite("flatness").selects(record)}
    missing = [name for names in RUNS.values() for name in names if name not in ids]
    if missing:
        parser.error(f"results is {results}, which lacks {'; '.join(missing)}")
    measured = [landscape([ids[name] for name in names], results) for names in RUNS.values()]
    SURFACES.write_text(pretty(joined(measured)), "utf-8")


def landscape(runs: Sequence[str], results: Path) -> dict[str, Any]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = corruptbench(["landscape", *runs, "--results", str(results), "--json"])
    if code:
        raise SystemExit(code)
    found: dict[str, Any] = json.loads(printed.getvalue())
    return found


def joined(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The runs of all, in the order of RUNS."""
    return measured[0] | {"runs": [run for each in measured for run in each["runs"]]}


class Surface(NamedTuple):
    """What a run's surface comes to: points of the normalized score, means over its directions."""

    score: float  # at the run's weights, over the surface's episodes
    drops: dict[float, float]  # by radius
    near: int  # ways out with a cliff within the first step
    cliffs: int  # and with one anywhere
    ways: int


def read() -> dict[str, Surface]:
    """By the name of the run: ``riql+sam, obs-adv, unit 0``."""
    found: dict[str, Any] = json.loads(SURFACES.read_text("utf-8"))
    return {
        run["name"]: Surface(
            run["score"],
            {drop["radius"]: drop["mean"] for drop in run["drops"]},
            run["cliffs"]["first"],
            run["cliffs"]["along"],
            run["cliffs"]["ways"],
        )
        for run in found["runs"]
    }


def name_of(run: Run) -> str:
    return f"{run.learner}, {run.threat}, unit {run.unit}"


def quantities(surface: Surface) -> dict[str, float]:
    """The rows of the table, of one run."""
    return {
        "score at the weights": surface.score,
        **{f"drop at {radius:g}": surface.drops[radius] for radius in RADII},
        "share of the score lost at 0.2, %": 100 * surface.drops[0.2] / surface.score,
        "ways with a cliff within the first step, %": 100 * surface.near / surface.ways,
        "ways with a cliff anywhere, %": 100 * surface.cliffs / surface.ways,
    }


def measured_pairs(
    runs: Sequence[Run], surfaces: Mapping[str, Surface]
) -> dict[tuple[str, str], list[tuple[Surface, Surface]]]:
    """The surfaces of plain and SAM run of each unit that has both, by algorithm and threat model."""
    names = {cell: [(name_of(a), name_of(b)) for a, b in pairs] for cell, pairs in paired(runs).items()}
    found = {
        cell: [(surfaces[a], surfaces[b]) for a, b in pairs if a in surfaces and b in surfaces]
        for cell, pairs in names.items()
    }
    return {cell: pairs for cell, pairs in found.items() if pairs}


if __name__ == "__main__":
    main()
