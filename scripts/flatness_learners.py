"""The tables of docs/flatness.md with a row for each learner: its scores and its sharpness beside another's."""

from collections.abc import Callable, Sequence

from flatness_cells import NONE, compared, count, ratio
from flatness_runs import ALGORITHMS, BESIDE, MEASURES, OWN, SHOWN, Run, grouped, own_name

from corruptbench.tables import stats

NOTHING = "No runs yet but those that `flatness` has."
"""What stands in a stage's place where it has no learner of its own."""


def stage_table(runs: Sequence[Run], base: Callable[[Run], str | None], heading: str) -> str:
    """Each learner against the one that ``base`` names, if any, paired by unit under the same threat model.

    The last columns are how sharp its losses became beside the other's.
    """
    if not any(run.learner not in (run.algo, f"{run.algo}+sam") for run in runs):
        return NOTHING
    there = {(run.learner, run.threat, run.unit): run for run in runs}
    pairs = [(there.get((base(run) or "", run.threat, run.unit)), run) for run in runs]
    found = grouped([(a, b) for a, b in pairs if a], lambda pair: (pair[1].learner, pair[1].threat))
    if not found:
        return NONE
    adjusted = stats.holm([stats.sign_flip([b.score - a.score for a, b in pairs]) for pairs in found.values()])
    lines = [
        f"| learner, threat | n | {heading} | score | difference | 95 % interval | p, Holm | "
        + " | ".join(f"sharpness of {loss}" for loss in OWN)
        + " | weights of Q |",
        "|---|---:|---:|---:|---:|---|---:|" + "---:|" * (len(OWN) + 1),
    ]
    for ((learner, threat), own), p in zip(found.items(), adjusted, strict=True):
        scores = compared([(a.score, b.score) for a, b in own])
        columns = [*((loss, SHOWN) for loss in OWN), ("Q", "weight norm")]
        ratios = " | ".join(ratio(own, "corrupted", loss, measure) for loss, measure in columns)
        lines.append(f"| {learner}, {threat} | {count(own)} | {scores} | {p:.2f} | {ratios} |")
    return "\n".join(lines)


def beside_adam(run: Run) -> str | None:
    """The algorithm alone."""
    return None if run.learner == run.algo else run.algo


def beside_sam(run: Run) -> str | None:
    """The algorithm with SAM, for whatever else stands beside it."""
    return None if run.learner in (run.algo, f"{run.algo}+sam") else f"{run.algo}+sam"


def without_sam(run: Run) -> str | None:
    """For a learner with SAM the same one without."""
    name, space, settings = run.learner.partition(" ")
    return f"{run.algo}{space}{settings}" if name == f"{run.algo}+sam" else None


def again_table(first: Sequence[Run], again: Sequence[Run]) -> str:
    """Each run that was done again beside the first one, as a learner of its own: ``iql+sam again``."""
    names = {f"{run.learner} again": run.learner for run in again}
    runs = [*first, *(run._replace(learner=f"{run.learner} again") for run in again)]
    return stage_table(runs, lambda run: names.get(run.learner), "first")


def overview_table(runs: Sequence[Run], units: int) -> str:
    """A row for each learner: how far its scores are from Adam's in each cell, and how sharp V and Q are beside Adam's.

    Of the first ``units`` units, paired; sharpness as in :func:`measures_table`, on the data that were seen, of the
    units that all of the learner's cells have.
    """
    there = {(run.learner, run.threat, run.unit): run for run in runs if run.unit < units}
    cells = list(dict.fromkeys((run.algo, run.threat) for run in there.values()))
    pairs = [(there.get((run.algo, run.threat, run.unit)), run) for run in there.values()]
    found = grouped([(a, b) for a, b in pairs if a], lambda pair: own_name(pair[1]))
    columns = {f"{loss}: {word}": (loss, name) for word, name in (("trace", "trace"), ("rise", SHOWN)) for loss in "VQ"}
    columns["weights of Q"] = ("Q", "weight norm")
    headings = [*(", ".join(cell) for cell in cells), *columns]
    lines = ["| | units | " + " | ".join(headings) + " |", "|---|---:|" + "---:|" * len(headings)]
    for name, own in found.items():
        by_cell = grouped(own, lambda pair: (pair[1].algo, pair[1].threat))
        shown = [difference(by_cell.get(cell, []), name) for cell in cells]
        whole = set.intersection(*({b.unit for _, b in pairs} for pairs in by_cell.values()))
        like = [(a, b) for a, b in own if name and b.alike and b.unit in whole]
        sharp = [ratio(like, "corrupted", *column) for column in columns.values()]
        most = max(map(len, by_cell.values()))
        number = f"{len(whole)} to {most}" if len(whole) < most else str(most)
        lines.append(f"| {name or 'Adam, its score'} | {number} | {' | '.join(shown + sharp)} |")
    return "\n".join(lines) if found else NONE


def difference(pairs: Sequence[tuple[Run, Run]], name: str) -> str:
    """``-2.5*``: mean difference of paired scores, with a star where Student's interval leaves out 0.

    Of a learner without a name, Adam, the mean score.
    """
    if not pairs:
        return "-"
    if not name:
        return f"{stats.mean([b.score for _, b in pairs]):.1f}"
    found = [b.score - a.score for a, b in pairs]
    bounds = stats.t_interval(found)
    return f"{stats.mean(found):+z.1f}{'*' * bool(bounds and bounds[0] * bounds[1] > 0)}"


def measures_table(runs: Sequence[Run], data: str = "corrupted") -> str:
    """How sharp each learner's V and Q are by every measure, as multiples of Adam's: geometric means over all runs.

    Of the learners that all of ALGORITHMS have. With a star where Student's 95 % interval leaves out 1, of a unit's
    means over algorithms and threat models.
    """
    there = {(run.learner, run.threat, run.unit): run for run in runs}
    pairs = [(there.get((base, run.threat, run.unit)), run) for run in runs if (base := beside_adam(run))]
    found = grouped([(a, b) for a, b in pairs if a], lambda pair: own_name(pair[1]))
    whole = {name: own for name, own in found.items() if {b.algo for _, b in own} == set(ALGORITHMS)}
    if not whole:
        return NONE
    columns = [*MEASURES, *BESIDE]
    lines = ["| | loss | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for name, own in whole.items():
        for loss in ("V", "Q"):
            cells = [ratio(own, data, loss, measure) for measure in columns]
            lines.append(f"| {name} | {loss} | {' | '.join(cells)} |")
    return "\n".join(lines)


def radii_table(runs: Sequence[Run]) -> str:
    """Score, and sharpness as a multiple of Adam's, at every radius, over the units that all of an algorithm's have."""
    radii = sorted({run.rho for run in runs})
    if len(radii) < 3:
        return NOTHING
    lines = [
        "| | units | | " + " | ".join(f"rho {rho:g}" if rho else "Adam" for rho in radii) + " |",
        "|---|---|---|" + "---:|" * len(radii),
    ]
    for algo, own in grouped(runs, lambda run: run.algo).items():
        cells = grouped(own, lambda run: (run.threat, run.rho))
        units = set.intersection(*({run.unit for run in cell} for cell in cells.values()))
        for threat in dict.fromkeys(run.threat for run in own) if units else ():
            at = [[run for run in cells.get((threat, rho), ()) if run.unit in units] for rho in radii]
            rows = {"score": [f"{stats.mean([run.score for run in cell]):.1f}" if cell else "-" for cell in at]}
            for loss in ("V", "Q"):
                pairs = [list(zip(at[0], cell, strict=True)) if cell else [] for cell in at]
                rows[f"sharpness of {loss}"] = [ratio(each, "corrupted", loss, SHOWN) for each in pairs]
            shown = ", ".join(str(unit) for unit in sorted(units))
            lines += [f"| {algo}, {threat} | {shown} | {name} | {' | '.join(row)} |" for name, row in rows.items()]
    return "\n".join(lines)
