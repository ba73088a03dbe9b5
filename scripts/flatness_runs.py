"""The runs that the study of flatness reads, and how they are put together: those of a suite, of a unit, of a cell."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from corruptbench.records import RunRecord
from corruptbench.sharpness import reports_of
from corruptbench.suites import suite
from corruptbench.tables import stats
from corruptbench.tables.compare import place_of, sound_scores
from corruptbench.tables.labels import label
from corruptbench.tables.listing import run_row

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "leaderboard" / "records"
AGAIN = ROOT / "leaderboard" / "again"
"""Runs that RECORDS has, done again on the kind of CPU that the variants were made on."""

T = TypeVar("T")
K = TypeVar("K")

LOSSES = ("V", "Q", "actor", "common")
NETWORKS = {"V": "value", "Q": "critic", "actor": "actor", "common": "critic"}
"""Whose hidden units are those of a loss."""
OWN = LOSSES[:-1]
"""What is trained, without the loss that is common to all critics."""
DATA = ("corrupted", "clean")
MEASURES: dict[str, Callable[[dict[str, Any]], float]] = {
    "largest eigenvalue": lambda found: found["eigenvalue_max"]["value"],
    "trace": lambda found: found["trace"]["value"],
    "Fisher trace": lambda found: found["fisher_trace"],
    "SAM, rho 0.05": lambda found: found["sam"]["0.05"],
    "SAM, rho 0.01 of the weights": lambda found: found["sam_relative"]["0.01"],
    "ASAM, rho 0.5": lambda found: found["asam"]["0.5"],
    "mean rise, 0.1 of the weights": lambda found: found["average_relative"]["0.1"]["value"],
}

REST: dict[str, Callable[[dict[str, Any]], float]] = {
    "smallest eigenvalue, below 0": lambda found: -found["eigenvalue_min"]["value"],
    **{f"SAM, rho {rho}": lambda found, rho=rho: found["sam"][rho] for rho in ("0.005", "0.01", "0.02", "0.1", "0.2")},
    **{
        f"SAM, rho {rho} of the weights": lambda found, rho=rho: found["sam_relative"][rho]
        for rho in ("0.001", "0.003")
    },
    **{f"ASAM, rho {rho}": lambda found, rho=rho: found["asam"][rho] for rho in ("0.1", "2.0")},
    "mean rise, 0.2": lambda found: found["average"]["0.2"]["value"],
    "active units": lambda found: found["active"],
}
"""What a report holds besides."""

BESIDE: dict[str, Callable[[dict[str, Any]], float]] = {
    "weight norm": lambda found: found["weight_norm"],
    "loss": lambda found: found["loss"],
}
"""No sharpness, and what sharpness goes with: how far the weights have grown, how well they fit."""
SHOWN = "SAM, rho 0.01 of the weights"
"""The measure where one has to do."""
ALGORITHMS = ("iql", "riql")
"""Those with critics. BC's actor has a column of its own: its scores vary most, and would drown the others'."""
STAGES = ("radius", "where", "controls", "variants")


class Run(NamedTuple):
    """What the study reads of a run."""

    algo: str
    learner: str  # riql+sam
    threat: str
    unit: int
    score: float
    report: dict[str, Any] | None  # sharpness at the last step
    failed: bool = False  # it diverged or failed, and its score is the floor of its cell
    made: str = ""  # the kind of CPU and the version
    rho: float = 0.0  # of SAM, 0 without
    fall: float = 0.0  # median length of its evaluation's episodes, in steps; 0 where there is none
    alike: bool = True  # its networks are the functions of their weights that Adam's are

    def measured(self, data: str, loss: str, measure: str) -> float | None:
        """None where there is no report, no such loss, or nothing above 0 to take the logarithm of."""
        found = self.report["data"][data]["objectives"].get(loss) if self.report else None
        value = (MEASURES | REST | BESIDE)[measure](found | self.active(data, loss)) if found else 0.0
        return value if value > 0 else None

    def active(self, data: str, loss: str) -> dict[str, float]:
        """``active``, the share of the loss's hidden units that are above 0, mean over layers."""
        assert self.report is not None
        layers = self.report["data"][data].get("activity", {}).get(NETWORKS[loss], [])
        return {"active": stats.mean([layer["active"] for layer in layers])} if layers else {}


def suite_runs(records: Iterable[RunRecord], name: str, folder: Path = RECORDS) -> list[Run]:
    """The runs of a suite itself, in the suite's order of algorithms and threat models.

    One that diverged or failed has the score that tables give it: the floor of its cell, over all learners in it
    (section 4 of the protocol). In ``folder`` lie their reports.
    """
    selected = suite(name)
    learners = list(dict.fromkeys(label(row) for row in selected.rows()))
    wanted = list(selected.rows())
    rows = [(record, run_row(record)) for record in records if selected.selects(record)]
    sound = sound_scores(row for _, row in rows)
    found = []
    for record, row in rows:
        if not any(row.items() >= own.items() for own in wanted):
            continue
        spec, known = record.spec, (record.score or {}).get("normalized_mean")
        score = stats.with_floor([known], sound[place_of(row)])
        assert spec.unit is not None
        if score is None:  # nothing in its cell is sound
            continue
        report = next((each for each in reports_of(record, folder / record.run_id) if each["step"] == spec.steps), None)
        found.append(
            Run(
                spec.algorithm.name,
                label(row),
                spec.corruption.name,
                spec.unit,
                score[0],
                report,
                failed=known is None,
                rho=spec.optimizer.rho,
                fall=float(np.median(record.evaluation["lengths"])) if record.evaluation else 0.0,
                alike=not {"layer_norm", "activation"} & spec.algorithm.options.keys(),
                made=f"{record.execution['cpu']}, version {record.versions['corruptbench']}",
            )
        )
    threats = {threat: number for number, threat in enumerate(selected.threats)}
    order = {learner: number for number, learner in enumerate(learners)}
    return sorted(found, key=lambda run: (run.algo, threats[run.threat], order[run.learner], run.unit))


def of_common_units(runs: Sequence[Run]) -> list[Run]:
    """The runs of units 0 to k - 1 of all learners that have them under every threat model, so that each weighs alike.

    Of all k the one that keeps most runs, the larger one of two.
    """
    threats = {run.threat for run in runs}
    there = {(run.learner, run.threat, run.unit) for run in runs}
    best: list[Run] = []
    for k in range(1, max((run.unit for run in runs), default=0) + 2):
        whole = {
            run.learner
            for run in runs
            if all((run.learner, threat, unit) in there for threat in threats for unit in range(k))
        }
        kept = [run for run in runs if run.learner in whole and run.unit < k]
        best = kept if len(kept) >= len(best) else best
    return best


def study_runs(records: Sequence[RunRecord]) -> list[Run]:
    """The runs of IQL and RIQL of all stages on ``none`` and ``obs-adv``, each once."""
    stages = ["flatness", *(f"flatness-{stage}" for stage in STAGES)]
    runs = [run for name in stages for run in suite_runs(records, name)]
    first: dict[tuple[str, str, int], Run] = {}
    for run in runs:
        first.setdefault((run.learner, run.threat, run.unit), run)
    wanted = [run for run in first.values() if run.algo in ALGORITHMS and run.threat in ("none", "obs-adv")]
    return sorted(wanted, key=lambda run: (run.algo, run.threat))


def compared_runs(runs: Iterable[Run]) -> list[Run]:
    """Those whose sharpness can be compared over learners, of the units that these have in common.

    Layer normalization and concatenated ReLU make another function of the same weights.
    """
    return of_common_units([run for run in runs if run.alike])


def own_name(run: Run) -> str:
    """What a learner is beside its algorithm: ``sam rho=0.1``; nothing for the algorithm alone."""
    return run.learner.removeprefix(run.algo).replace(f"{run.algo}.", "").lstrip("+ ")


class Point(NamedTuple):
    run: Run
    x: float  # log sharpness less its mean over the runs of the cell
    y: float  # score less that mean


def cell_of(run: Run, *, apart: bool) -> tuple[str, str]:
    return run.learner if apart else run.algo, run.threat


def centred(runs: Sequence[Run], data: str, loss: str, measure: str, *, apart: bool = False) -> list[Point]:
    """A cell is an algorithm under a threat model, its plain and SAM runs together unless ``apart``.

    Together they show what SAM does to both, apart what is left without it. A cell of one run says nothing.
    """
    points = []
    for cell in grouped(runs, lambda run: cell_of(run, apart=apart)).values():
        known = [(run, math.log(value)) for run in cell if (value := run.measured(data, loss, measure))]
        if len(known) > 1:
            x, y = stats.mean([log for _, log in known]), stats.mean([run.score for run, _ in known])
            points += [Point(run, log - x, run.score - y) for run, log in known]
    return points


def paired(runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[Run, Run]]]:
    """Plain and SAM run of each unit that has both, by algorithm and threat model."""
    cells = grouped(runs, lambda run: (run.algo, run.threat))
    found = {}
    for (algo, threat), cell in cells.items():
        plain, sam = ({run.unit: run for run in cell if run.learner == name} for name in (algo, f"{algo}+sam"))
        pairs = [(plain[unit], sam[unit]) for unit in sorted(plain.keys() & sam.keys())]
        if pairs:
            found[algo, threat] = pairs
    return found


def corrupted_and_clean(runs: Sequence[Run]) -> dict[tuple[str, str], list[tuple[Run, Run]]]:
    """Of the learners without SAM the run on clean data and the one under each threat model, of each unit with both."""
    plain = [run for run in runs if run.learner == run.algo]
    clean = {(run.algo, run.unit): run for run in plain if run.threat == "none"}
    pairs = [(clean.get((run.algo, run.unit)), run) for run in plain if run.threat != "none"]
    return grouped([(a, b) for a, b in pairs if a], lambda pair: (pair[1].algo, pair[1].threat))


def of_sam(run: Run) -> bool:
    """SAM, or one of its relatives: gsam, asam, ..."""
    return run.learner.partition(" ")[0].partition("+")[2].endswith("sam")


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """In the order in which keys are first met."""
    found: dict[K, list[T]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return dict(found)
