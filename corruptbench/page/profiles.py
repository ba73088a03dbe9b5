"""Performance profiles: the share of a learner's runs above each score, over the cells that all learners have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from corruptbench.drawing import Picture, Style, legend, picture
from corruptbench.page.grid import Threat
from corruptbench.page.section import Section
from corruptbench.tables import stats

Cell = tuple[str, Threat]
"""Dataset and threat model."""


@dataclass(frozen=True)
class Matrices:
    """Scores of learners over the same cells."""

    cells: tuple[Cell, ...]
    scores: dict[str, np.ndarray]  # learner -> (units, cells), over the units that it has in all of the cells


def matrices(section: Section) -> Matrices | None:
    """The suite's own learners that have a run, and each guest that has all of their cells; None without shared ones.

    A profile over more cells would be one over other cells: learners with an easier selection would look better.
    """
    found: dict[str, dict[Cell, dict[str, float]]] = {}
    for (name, dataset, where), runs in section.by_place.items():
        scores = {run["unit"]: section.score(run) for run in runs}
        if len(scores) == len(runs) and None not in scores.values():
            known = {unit: score for unit, score in scores.items() if score is not None}
            found.setdefault(name, {})[dataset, where] = known
    own = [found[name] for name in section.own_learners if name in found]
    cells = tuple(cell for cell in own[0] if all(cell in has for has in own)) if own else ()
    tables = {}
    for name in section.learners:
        has = found.get(name, {})
        if cells and all(cell in has for cell in cells):
            units = sorted(set.intersection(*(set(has[cell]) for cell in cells)), key=int)
            if units:
                tables[name] = np.array([[has[cell][unit] for cell in cells] for unit in units])
    return Matrices(cells, tables) if tables else None


def profiles(section: Section, looks: Mapping[str, Style]) -> Picture | None:
    """A curve for each learner, with its band from 5 units on; None where learners share no cell."""
    found = matrices(section)
    if not found:
        return None
    every = np.concatenate([table.ravel() for table in found.scores.values()])
    thresholds = np.linspace(min(0.0, every.min()), every.max(), 201)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for name, scores in found.scores.items():
            look = looks[name]
            share = stats.performance_profile(scores, thresholds)
            axes.plot(thresholds, share, **look.drawn(markersize=4, markevery=25))
            band = stats.profile_band(scores, thresholds, f"{section.title}/{name}/profile")
            if band:
                axes.fill_between(thresholds, *band, color=look.color, alpha=0.15, linewidth=0)
        axes.set(xlabel="normalized score", ylabel="share of runs above it", ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        legend(figure, {name: looks[name] for name in found.scores})

    cells = ", ".join(" ".join(filter(None, [data, where.name, where.detail])) for data, where in found.cells)
    units = ", ".join(f"{name} {len(scores)}" for name, scores in found.scores.items())
    title = f"{section.title}: performance profiles over {len(found.cells)} cells"
    text = (
        f"The share of runs with a score above each one, over the cells that all of these learners have ({cells}). "
        f"Units: {units}. Bands are 95 % intervals at each score, from 5 units on."
    )
    return picture(section.file("profiles"), title, text, (7.0, 3.6), draw)
