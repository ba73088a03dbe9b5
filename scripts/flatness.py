"""Does SAM help because it finds flat minima? Writes docs/flatness.md's tables and figures: python scripts/flatness.py

Everything comes from leaderboard/records and leaderboard/again, records and their sharpness reports: the same ones
give the same bytes.
"""

import bisect
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flatness_cells import NONE, compared, count, ratio
from flatness_figures import learners_picture, scatter
from flatness_learners import (
    again_table,
    beside_adam,
    beside_sam,
    measures_table,
    overview_table,
    radii_table,
    stage_table,
    without_sam,
)
from flatness_runs import (
    AGAIN,
    ALGORITHMS,
    BESIDE,
    DATA,
    LOSSES,
    MEASURES,
    OWN,
    RECORDS,
    REST,
    ROOT,
    SHOWN,
    STAGES,
    Run,
    cell_of,
    centred,
    compared_runs,
    corrupted_and_clean,
    grouped,
    of_sam,
    own_name,
    paired,
    study_runs,
    suite_runs,
)
from flatness_surface import Surface, measured_pairs, quantities, read
from markers import insert

from corruptbench.drawing import Picture, write
from corruptbench.records import RunRecord, read_records
from corruptbench.suites import suite
from corruptbench.tables import stats

DOC = ROOT / "docs" / "flatness.md"
FIGURES = ROOT / "docs" / "figures"

COLUMNS = (*((loss, loss, ALGORITHMS) for loss in LOSSES), ("actor of bc", "actor", ("bc",)))
"""Of correlation tables: heading, loss, algorithms."""
FALLS = (0, 20, 30, 125, 145)
"""Steps between which the medians of episodes' lengths are counted: the hopper falls at a few of them most often."""


def main() -> None:
    records = read_records(RECORDS)
    for marker, table in tables(records, read_records(AGAIN)).items():
        insert(DOC, marker, table)
    write(FIGURES, pictures(records))


def tables(records: Sequence[RunRecord], again: Sequence[RunRecord]) -> dict[str, str]:
    """The page's tables by their markers; ``again`` are runs that the records have, done again."""
    runs, everything = suite_runs(records, "flatness"), study_runs(records)
    units = suite(f"flatness-{STAGES[0]}").units
    found = {"overview": overview_table(everything, units)}
    found |= {"amount": amount(runs), "made": made_table(everything), "scores": scores_table(runs)}
    found |= {"means": means_table(runs), "drops": drops_table(runs), "slopes": slope_table(runs)}
    found["lengths"] = lengths_table(runs)
    for data in DATA:
        found[f"sharper-{data}"] = ratio_table(corrupted_and_clean(runs), data)
        found[f"ratios-{data}"] = ratio_table(paired(runs), data)
        found[f"correlation-{data}"] = correlation_table(runs, data)
        found[f"apart-{data}"] = correlation_table(runs, data, apart=True)
        found[f"rest-{data}"] = correlation_table(runs, data, measures=REST)
        found[f"rest-apart-{data}"] = correlation_table(runs, data, apart=True, measures=REST)
    found["surface"] = surface_table(runs, read())
    found["partial"] = correlation_table(runs, "corrupted", given="weight norm")
    found["explained"] = explained_table(runs)
    for stage in STAGES:
        found[stage] = stage_table(suite_runs(records, f"flatness-{stage}"), beside_adam, "Adam")
    found["radii"] = radii_table(suite_runs(records, "flatness-radius"))
    found["controls-sam"] = stage_table(suite_runs(records, "flatness-controls"), beside_sam, "SAM")
    found["variants-sam"] = stage_table(suite_runs(records, "flatness-variants"), without_sam, "without SAM")
    balanced = compared_runs(everything)
    found["everything"] = f"{parts(balanced)}\n\n{correlation_table(balanced, 'corrupted')}" if balanced else NONE
    found["everything-partial"] = correlation_table(balanced, "corrupted", given="weight norm") if balanced else NONE
    found["everything-rest"] = correlation_table(balanced, "corrupted", measures=REST) if balanced else NONE
    others = [run for run in balanced if not of_sam(run)]
    found["everything-others"] = f"{parts(others)}\n\n{correlation_table(others, 'corrupted')}" if others else NONE
    found["measures"] = measures_table(balanced)
    found["falls"] = falls_table([run for run in everything if run.unit < units])
    redone = suite_runs(again, "flatness", AGAIN)
    replaced = {run.learner for run in redone}
    others = [run for run in suite_runs(records, "flatness-variants") if run.learner not in replaced]
    found["again"], found["again-variants"] = again_table(runs, redone), overview_table([*redone, *others], units)
    return found


def pictures(records: Sequence[RunRecord]) -> list[Picture]:
    runs, everything = suite_runs(records, "flatness"), study_runs(records)
    shared = compared_runs(everything)
    stages = {run.learner: stage for stage in STAGES for run in suite_runs(records, f"flatness-{stage}")}
    stages |= {name: kind for algo in ALGORITHMS for name, kind in ((algo, "plain"), (f"{algo}+sam", "sam"))}
    drawn = [scatter(runs, data) for data in DATA]
    return drawn + [learners_picture(shared, stages, loss) for loss in ("V", "Q") if shared]


def parts(runs: Sequence[Run]) -> str:
    """How many runs there are, of which units and learners, and which cell's scores vary most, in words."""
    units = ", ".join(str(unit) for unit in sorted({run.unit for run in runs}))
    learners = grouped(sorted({(run.algo, own_name(run) or "Adam") for run in runs}), lambda pair: pair[0])
    algorithms = grouped(learners, lambda algo: ", ".join(name for _, name in learners[algo]))
    named = "; ".join(f"{' and '.join(algos)} with {names}" for names, algos in algorithms.items())
    varied = {cell: squares([run.score for run in own]) for cell, own in grouped(runs, together).items()}
    most = max(varied, key=lambda cell: varied[cell])
    text = f"{len(runs)} runs, of the learners that have units {units}: {named}."
    if varied[most] > 0:
        share = 100 * varied[most] / sum(varied.values())
        text += f" Of the scores' variance within cells {share:.0f} % is that of {', '.join(most)}."
    return text


def together(run: Run) -> tuple[str, str]:
    return cell_of(run, apart=False)


def squares(values: Sequence[float]) -> float:
    """The sum of squares about the mean."""
    return sum((value - stats.mean(values)) ** 2 for value in values)


def made_table(runs: Sequence[Run]) -> str:
    """How many runs of each learner were trained on which kind of CPU by which version."""
    kinds = sorted({run.made for run in runs})
    lines = ["| runs | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
    for learner, own in sorted(grouped(runs, lambda run: run.learner).items()):
        cells = [str(sum(run.made == kind for run in own) or "-") for kind in kinds]
        lines.append(f"| {learner} | {' | '.join(cells)} |")
    return "\n".join(lines)


def slope_table(runs: Sequence[Run], data: str = "corrupted") -> str:
    """How much of the rise along the gradient is rho times its length, the slope alone: median over runs."""
    kinds = {
        "SAM, rho 0.05": lambda found: 0.05 * found["gradient_norm"] / found["sam"]["0.05"],
        SHOWN: lambda found: 0.01 * found["weight_norm"] * found["gradient_norm"] / found["sam_relative"]["0.01"],
    }
    lines = ["| | | " + " | ".join(LOSSES) + " |", "|---|---|" + "---:|" * len(LOSSES)]
    for algo in dict.fromkeys(run.algo for run in runs):
        reports = [run.report["data"][data]["objectives"] for run in runs if run.report and run.algo == algo]
        for name, share in kinds.items():
            shares = [[share(report[loss]) for report in reports if loss in report] for loss in LOSSES]
            cells = [f"{100 * float(np.median(each)):.0f} %" if each else "-" for each in shares]
            lines += [f"| {algo} | {name} | {' | '.join(cells)} |"] * bool(reports)
    return "\n".join(lines)


def lengths_table(runs: Sequence[Run], data: str = "corrupted") -> str:
    """How long a step in a random direction must be to raise the loss as far as SAM's does, on average: plain runs.

    The mean rise grows with the square of the length, rho^2 trace / (2 P), and is measured at a tenth of the weights.
    """
    lines = ["| | " + " | ".join(OWN) + " |", "|---|" + "---:|" * len(OWN)]
    for algo in dict.fromkeys(run.algo for run in runs):
        plain = [run.report["data"][data]["objectives"] for run in runs if run.report and run.learner == algo]
        cells = [[steps_alike(report[loss]) for report in plain if loss in report] for loss in OWN]
        shown = [f"{np.median(each):.1f} ({min(each):.1f} to {max(each):.1f})" if each else "-" for each in cells]
        lines += [f"| {algo} | {' | '.join(shown)} |"] * bool(plain)
    return "\n".join(lines)


def steps_alike(found: Mapping[str, Any]) -> float:
    """The length of a random step with the mean rise of SAM's at rho 0.05."""
    return 0.1 * found["weight_norm"] * math.sqrt(found["sam"]["0.05"] / found["average_relative"]["0.1"]["value"])


def amount(runs: Sequence[Run]) -> str:
    """How many units of each learner and threat model there are, and how many of them with a report."""
    groups = grouped(runs, lambda run: (run.learner, run.threat))
    threats = list(dict.fromkeys(run.threat for run in sorted(runs, key=lambda run: run.threat != "none")))
    lines = ["| units, of them measured | " + " | ".join(threats) + " |", "|---|" + "---:|" * len(threats)]
    for learner in dict.fromkeys(run.learner for run in runs):
        cells = [groups.get((learner, threat), []) for threat in threats]
        shown = [f"{len(found)}, {sum(run.report is not None for run in found)}" for found in cells]
        lines.append(f"| {learner} | {' | '.join(shown)} |")
    return "\n".join(lines)


def scores_table(runs: Sequence[Run]) -> str:
    """SAM's score minus the plain one, paired by unit: Student's interval, sign-flip test, Holm over the rows."""
    found = paired(runs)
    tests = {key: stats.sign_flip([s.score - p.score for p, s in pairs]) for key, pairs in found.items()}
    adjusted = dict(zip(tests, stats.holm(list(tests.values())), strict=True))
    lines = [
        "| algorithm, threat model | n | plain | SAM | difference | 95 % interval | p, Holm | smallest possible |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    for (algo, threat), pairs in found.items():
        scores = compared([(p.score, s.score) for p, s in pairs])
        least = stats.smallest_p(len(pairs), len(found))
        lines.append(f"| {algo}, {threat} | {count(pairs)} | {scores} | {adjusted[algo, threat]:.2f} | {least:.2f} |")
    return "\n".join(lines)


def means_table(runs: Sequence[Run]) -> str:
    """Mean score and standard deviation over units of every learner under every threat model."""
    threats = list(dict.fromkeys(run.threat for run in sorted(runs, key=lambda run: run.threat != "none")))
    lines = ["| | " + " | ".join(threats) + " |", "|---|" + "---:|" * len(threats)]
    groups = grouped(runs, lambda run: (run.learner, run.threat))
    for learner in dict.fromkeys(run.learner for run in runs):
        cells = [[run.score for run in groups.get((learner, threat), [])] for threat in threats]
        shown = [f"{np.mean(cell):.1f} ± {np.std(cell, ddof=1):.1f}" if len(cell) > 1 else "-" for cell in cells]
        lines.append(f"| {learner} | {' | '.join(shown)} |")
    return "\n".join(lines)


def drops_table(runs: Sequence[Run]) -> str:
    """What corruption costs, the clean score less the corrupted one of the same unit: SAM's minus the plain one."""
    scores = {(run.learner, run.threat, run.unit): run.score for run in runs}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for algo, threat, unit in dict.fromkeys((run.algo, run.threat, run.unit) for run in runs if run.threat != "none"):
        pairs = [[scores.get((name, each, unit)) for each in ("none", threat)] for name in (algo, f"{algo}+sam")]
        lost = [clean - corrupted for clean, corrupted in pairs if clean is not None and corrupted is not None]
        if len(lost) == 2:
            found.setdefault((algo, threat), []).append((lost[0], lost[1]))
    adjusted = stats.holm([stats.sign_flip([sam - plain for plain, sam in own]) for own in found.values()])
    lines = [
        "| algorithm, threat model | n | plain loses | SAM loses | difference | 95 % interval | p, Holm |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    for (key, own), p in zip(found.items(), adjusted, strict=True):
        lines.append(f"| {', '.join(key)} | {len(own)} | {compared(own)} | {p:.2f} |")
    return "\n".join(lines)


def ratio_table(pairs: Mapping[tuple[str, str], Sequence[tuple[Run, Run]]], data: str) -> str:
    """The second runs' sharpness as a multiple of the first ones', geometric mean over units; what is beside it too."""
    columns = [*MEASURES, *BESIDE]
    lines = ["| | loss | n | " + " | ".join(columns) + " |", "|---|---|---:|" + "---:|" * len(columns)]
    for (algo, threat), found in pairs.items():
        measured = [pair for pair in found if all(run.report for run in pair)]
        for loss in LOSSES if measured else ():
            cells = [ratio(measured, data, loss, measure) for measure in columns]
            if any(cell != "-" for cell in cells):
                lines.append(f"| {algo}, {threat} | {loss} | {len(measured)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def correlation_table(
    runs: Sequence[Run],
    data: str,
    *,
    apart: bool = False,
    given: str | None = None,
    measures: Iterable[str] = (*MEASURES, *BESIDE),
) -> str:
    """Pearson's r of score and log sharpness within cells, with an interval over units and the number of runs.

    With ``given``, one of BESIDE, the partial r: what goes with its logarithm is taken out of both.
    """
    algorithms = {run.algo for run in runs}
    columns = [column for column in COLUMNS if algorithms & set(column[2])]
    lines = ["| | " + " | ".join(heading for heading, _, _ in columns) + " |", "|---|" + "---|" * len(columns)]
    for measure in (name for name in measures if name != given):
        cells = [correlated(runs, data, loss, measure, own, apart=apart, given=given) for _, loss, own in columns]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def falls_table(runs: Sequence[Run]) -> str:
    """How many runs of each cell end a typical episode by which step, and what range of scores those have."""
    names = [f"{first + 1} to {last}" for first, last in itertools.pairwise(FALLS)] + [f"later than {FALLS[-1]}"]
    lines = ["| | runs | " + " | ".join(names) + " |", "|---|---:|" + "---:|" * len(names)]
    for cell, own in grouped(runs, together).items():
        scores = grouped(own, lambda run: bisect.bisect_left(FALLS, run.fall) - 1)
        shown = []
        for number in range(len(FALLS)):
            found = [run.score for run in scores.get(number, [])]
            shown.append(f"{len(found)} ({min(found):.1f} to {max(found):.1f})" if found else "-")
        lines.append(f"| {', '.join(cell)} | {len(own)} | {' | '.join(shown)} |")
    return "\n".join(lines)


def surface_table(runs: Sequence[Run], surfaces: Mapping[str, Surface]) -> str:
    """The return around the weights, plain and SAM, paired by unit."""
    found = measured_pairs(runs, surfaces)
    if not found:
        return NONE
    lines = ["| | n | | plain | SAM | difference | 95 % interval |", "|---|---:|---|---:|---:|---:|---|"]
    for cell, pairs in found.items():
        values = [(quantities(plain), quantities(sam)) for plain, sam in pairs]
        for name in values[0][0]:
            shown = compared([(plain[name], sam[name]) for plain, sam in values])
            lines.append(f"| {', '.join(cell)} | {len(pairs)} | {name} | {shown} |")
    return "\n".join(lines)


def explained_table(runs: Sequence[Run], data: str = "corrupted") -> str:
    """How much of the variance of each measure's logarithm within cells is that of SAM's mean and the plain one's."""
    lines = ["| | " + " | ".join(heading for heading, _, _ in COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for measure in [*MEASURES, *BESIDE]:
        cells = []
        for _, loss, algorithms in COLUMNS:
            own = [run for run in runs if run.algo in algorithms]
            points, left = (centred(own, data, loss, measure, apart=apart) for apart in (False, True))
            whole, rest = (sum(point.x**2 for point in each) for each in (points, left))
            cells.append(f"{100 * (1 - rest / whole):.0f} %" if whole else "-")
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def correlated(
    runs: Sequence[Run],
    data: str,
    loss: str,
    measure: str,
    algorithms: Sequence[str],
    *,
    apart: bool,
    given: str | None,
) -> str:
    """``+0.42 [+0.10, +0.70] (60)``."""
    points = centred([run for run in runs if run.algo in algorithms], data, loss, measure, apart=apart)
    if not points:
        return "-"
    x, y, cells = [p.x for p in points], [p.y for p in points], [cell_of(p.run, apart=apart) for p in points]
    taken = [math.log(p.run.measured(data, loss, given) or math.nan) for p in points] if given else None
    bounds = stats.correlation_interval(x, y, cells, [p.run.unit for p in points], taken)
    shown = "" if bounds is None else f" [{bounds[0]:+.2f}, {bounds[1]:+.2f}]"
    return f"{stats.correlation(x, y, cells, taken):+.2f}{shown} ({len(points)})"


if __name__ == "__main__":
    main()
