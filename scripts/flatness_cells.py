"""What stands in one cell of the tables of docs/flatness.md, of pairs of runs: means with intervals, ratios, counts."""

import math
from collections.abc import Sequence

from flatness_runs import Run, grouped

from corruptbench.tables import stats

NONE = "No runs yet of the same units."
"""What stands in a table's place where there is no pair."""


def compared(pairs: Sequence[tuple[float, float]]) -> str:
    """``15.6 | 13.1 | -2.5 | -4.9 to -0.1``: both means, that of the differences, Student's 95 % interval of it."""
    before, after = (stats.mean([pair[side] for pair in pairs]) for side in (0, 1))
    bounds = stats.t_interval([b - a for a, b in pairs])
    shown = f"{bounds[0]:+.1f} to {bounds[1]:+.1f}" if bounds else "-"
    return f"{before:z.1f} | {after:z.1f} | {after - before:+z.1f} | {shown}"


def count(pairs: Sequence[tuple[Run, Run]]) -> str:
    """How many pairs, and how many runs of them failed."""
    failed = sum(run.failed for pair in pairs for run in pair)
    return f"{len(pairs)}, {failed} failed" if failed else str(len(pairs))


def ratio(pairs: Sequence[tuple[Run, Run]], data: str, loss: str, measure: str) -> str:
    """The second run's sharpness as a multiple of the first one's, geometric mean over the pairs that have both.

    First over a unit's pairs, then over units, with a star where Student's 95 % interval over units leaves out 1.
    """
    logs = []
    for own in grouped(pairs, lambda pair: pair[1].unit).values():
        values = [[run.measured(data, loss, measure) for run in pair] for pair in own]
        found = [math.log(after / before) for before, after in values if before and after]
        logs += [stats.mean(found)] if found else []
    bounds = stats.t_interval(logs)
    return f"{math.exp(stats.mean(logs)):.2f}{'*' * bool(bounds and bounds[0] * bounds[1] > 0)}" if logs else "-"
