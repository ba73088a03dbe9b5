"""Simulates what the statistics promise and writes it into docs/statistics.md: python scripts/statistics_check.py

Everything is drawn from one named stream, so the same code gives the same tables. It takes a minute or two.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from markers import insert

from corruptbench.rng import stream, uniforms
from corruptbench.tables import stats

ROOT = Path(__file__).parent.parent
PAIRS = 1000
SETS = 2000
UNITS = (3, 5, 10)
MEAN, STD, COLLAPSED = 60.0, 10.0, 5.0
"""Normalized points: of a run that learns, its std over units, and of a run that does not."""


def main() -> None:
    doc = ROOT / "docs" / "statistics.md"
    tables = {"smallest": smallest, "test": test_table, "coverage": coverage_table, "correlation": correlation_table}
    for marker, table in tables.items():
        insert(doc, marker, table())


def normal(bits: np.random.PCG64, *shape: int) -> np.ndarray:
    """Box-Muller, so that the numbers depend on nothing but the stream."""
    u, v = uniforms(bits, *shape), uniforms(bits, *shape)
    return np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * math.pi * v)


def scores_normal(bits: np.random.PCG64, *shape: int) -> np.ndarray:
    return MEAN + STD * normal(bits, *shape)


def scores_collapsing(bits: np.random.PCG64, *shape: int) -> np.ndarray:
    """A fifth of the runs collapse."""
    sound = scores_normal(bits, *shape)
    return np.where(uniforms(bits, *shape) < 0.2, COLLAPSED, sound)


SCORES: dict[str, tuple[Callable[..., np.ndarray], float]] = {
    "normal": (scores_normal, MEAN),
    "a fifth collapses": (scores_collapsing, 0.8 * MEAN + 0.2 * COLLAPSED),
}
"""Kind of scores -> how they are drawn, and their true mean."""


def smallest() -> str:
    """Smallest p by number of units and of comparisons."""
    families = (1, 3, 6, 10)
    lines = ["| units | " + " | ".join(map(_comparisons, families)) + " |", "|---:|" + "---:|" * len(families)]
    for n in (3, 4, 5, 6, 7, 8, 10, 12):
        lines.append(f"| {n} | " + " | ".join(f"{stats.smallest_p(n, family):.3g}" for family in families) + " |")
    return "\n".join(lines)


def _comparisons(count: int) -> str:
    return f"{count} comparison{'s' * (count > 1)}"


def test_table() -> str:
    """How often the test calls a difference: none is there, or one of two standard deviations."""
    lines = ["| scores | units | no difference | two standard deviations |", "|---|---:|---:|---:|"]
    for kind, (draw, _) in SCORES.items():
        for n in (5, 10):
            bits = stream("statistics-check", "test", kind.replace(" ", "-"), n)
            mine, theirs = draw(bits, PAIRS, n), draw(bits, PAIRS, n)
            spread = math.sqrt(float(np.var(draw(bits, 100_000))))
            rates = [called(mine + shift - theirs) for shift in (0.0, 2 * spread)]
            lines.append(f"| {kind} | {n} | {100 * rates[0]:.1f} % | {100 * rates[1]:.1f} % |")
    return "\n".join(lines)


def called(differences: np.ndarray) -> float:
    """The share of comparisons, (pairs, units), in which a single test calls a difference at 5 %."""
    return float(np.mean([stats.sign_flip(values) < 0.05 for values in differences]))


def coverage_table() -> str:
    """How often a 95 % interval holds the true mean."""
    lines = ["| scores | units | bootstrap | Student's |", "|---|---:|---:|---:|"]
    return "\n".join([*lines, *(coverage_row(kind, n) for kind in SCORES for n in UNITS)])


def coverage_row(kind: str, n: int) -> str:
    draw, truth = SCORES[kind]
    sets = draw(stream("statistics-check", "coverage", kind.replace(" ", "-"), n), SETS, n).tolist()
    bootstrap = [stats.interval(values, f"check/{i}") for i, values in enumerate(sets)]
    student = [stats.t_interval(values) for values in sets]
    return f"| {kind} | {n} | {covered(bootstrap, truth)} | {covered(student, truth)} |"


def covered(bounds: list[tuple[float, float] | None], truth: float) -> str:
    found = [low <= truth <= high for low, high in filter(None, bounds)]
    return f"{100 * np.mean(found):.1f} %" if found else "none is given"


DESIGNS = ((6, 2), (12, 1), (3, 1), (4, 13))
"""Of a correlation: cells, and the runs that a unit has in each; in docs/flatness.md the third is BC's, the last that
of all learners."""
FOLLOWED = 0.8
"""How much of x and y is a third quantity, where that is taken out."""


def correlation_table() -> str:
    """How often a 95 % interval of a correlation within cells holds the true one."""
    lines = [
        "| cells, a unit's runs in each | true correlation | a unit's runs share | 3 units | 5 units | 10 units |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for cells, runs in DESIGNS:
        for truth, shared in ((0.0, 0.0), (0.0, 0.5), (0.6, 0.0)):
            held = " | ".join(correlation_cell(cells, runs, truth, shared, n) for n in UNITS)
            what = "half a standard deviation" if shared else "nothing"
            lines.append(f"| {cells}, {runs} | {truth:g} | {what} | {held} |")
        held = " | ".join(correlation_cell(cells, runs, 0.0, 0.0, n, FOLLOWED) for n in UNITS)
        lines.append(f"| {cells}, {runs}, partial | 0 | nothing | {held} |")
    return "\n".join(lines)


def correlation_cell(count: int, runs: int, truth: float, shared: float, n: int, followed: float = 0.0) -> str:
    bits = stream("statistics-check", "correlation", count, runs, str(truth), str(shared), n)
    x, noise = normal(bits, SETS, count, n, runs), normal(bits, SETS, count, n, runs)
    y = truth * x + math.sqrt(1 - truth**2) * noise
    x, y = (values + shared * normal(bits, SETS, 1, n, 1) for values in (x, y))
    third = normal(bits, SETS, count, n, runs) if followed else None
    if third is not None:
        x, y = (followed * third + math.sqrt(1 - followed**2) * values for values in (x, y))
    cells, units = (list(map(int, index.flatten())) for index in np.indices((count, n, runs))[:2])
    found = [
        stats.correlation_interval(
            x[i].flatten(), y[i].flatten(), cells, units, None if third is None else third[i].flatten()
        )
        for i in range(SETS)
    ]
    return covered(found, truth)


if __name__ == "__main__":
    main()
