"""The figures of a suite, drawn from the rows of its tables; a learner looks the same in all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corruptbench.drawing import HEAT, Picture, Style, legend, panels, picture, rows_of, short, styles
from corruptbench.page.grid import Grid, Threat
from corruptbench.page.profiles import profiles
from corruptbench.page.section import Section
from corruptbench.page.severity import severity

WIDTH = 7.0
"""Inches: two panels in a line can be read at that, on paper as well."""


@dataclass(frozen=True)
class Figures:
    """Every figure that a suite has data for."""

    heats: dict[str, Picture]  # by dataset; the page has them as tables
    lines: dict[str, list[Picture]]  # by dataset
    across: list[Picture]

    @property
    def all(self) -> list[Picture]:
        return [*self.heats.values(), *(picture for found in self.lines.values() for picture in found), *self.across]


def figures(section: Section) -> Figures:
    looks = styles(section.learners)
    lines = {}
    for grid in section.grids:
        drawn = intervals(section, grid, looks), learning(section, grid, looks), severity(section, grid, looks)
        lines[grid.dataset] = [picture for picture in drawn if picture]
    heats = {grid.dataset: heat(section, grid) for grid in section.grids}
    across = profiles(section, looks)
    return Figures(heats, lines, [across] if across else [])


def heading(threat: Threat) -> str:
    return "\n".join(filter(None, [short(threat.name), threat.detail]))


def heat(section: Section, grid: Grid) -> Picture:
    """The page's table as a picture: each mean, its change from the clean score, and what failed."""

    def draw(figure: Any) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.subplots()
        for down, name in enumerate(grid.learners):
            for across, where in enumerate(grid.threats):
                entries = grid.at(name, where)
                if entries:
                    shade = 0.05 + 0.6 * grid.share(entries[0])
                    axes.add_patch(Rectangle((across - 0.48, down - 0.48), 0.96, 0.96, facecolor=HEAT, alpha=shade))
                lines: list[str] = []
                for entry in entries:
                    failed = f"{entry.row['failed']} of {entry.row['n']} failed" * (entry.row["failed"] != "0")
                    lines += filter(None, [entry.score or "no mean", entry.shown_change, failed, *entry.notes])
                words = "\n".join(lines or ["not run"])
                axes.text(across, down, words, ha="center", va="center", fontsize=7 if len(lines) > 2 else 8)
        axes.set(xlim=(-0.5, len(grid.threats) - 0.5), ylim=(len(grid.learners) - 0.5, -0.5))
        axes.set_xticks(range(len(grid.threats)), [heading(where) for where in grid.threats], fontsize=7.5)
        axes.set_yticks(range(len(grid.learners)), [short(name) for name in grid.learners])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    size = max(WIDTH, 1.6 + len(grid.threats)), 1.4 + 0.55 * len(grid.learners)
    title = f"{section.title}, {grid.dataset}: mean score, and its change from the clean score"
    text = (
        "A learner in each line, a threat model in each column: the numbers of the heat map, darker for a higher score."
    )
    return picture(section.file(grid.dataset, "heat"), title, text, size, draw)


def intervals(section: Section, grid: Grid, looks: Mapping[str, Style]) -> Picture:
    """A dot for each unit, a bar for their mean, a line for its interval; a panel for each threat model."""
    placed = section.placed(grid)
    shown = [where for where in grid.threats if any(grid.at(name, where) for name in grid.learners)]
    names = [name for name in grid.learners if any(grid.at(name, where) for where in shown)]

    def draw(figure: Any) -> None:
        for axes, where in zip(panels(figure, len(shown), "normalized score"), shown, strict=True):
            for down, name in enumerate(names):
                color = looks[name].color
                for run in placed.get((name, where), []):
                    score, sound = section.score(run), run["outcome"] == "ok"
                    if score is not None:
                        axes.plot(score, down, "o" if sound else "x", color=color, markersize=4, alpha=0.6)
                for entry in grid.at(name, where):
                    row = entry.row
                    if row["ci_low"]:
                        axes.plot([float(row["ci_low"]), float(row["ci_high"])], [down, down], color=color, linewidth=2)
                    if row["mean"]:
                        axes.plot(float(row["mean"]), down, "|", color=color, markersize=14, markeredgewidth=2)
            axes.set_title(heading(where).replace("\n", ", "))
            axes.grid(axis="x", alpha=0.3)
            axes.set(ylim=(len(names) - 0.5, -0.5))
            axes.set_yticks(range(len(names)), [short(name) for name in names])

    size = WIDTH, 0.9 + rows_of(len(shown)) * (0.45 + 0.25 * len(names))
    title = f"{section.title}, {grid.dataset}: every unit, the mean, its 95 % interval"
    text = (
        "Dots are units, crosses failed units at the score they count for, upright bars means; "
        "lines are 95 % intervals of the mean, which there are from 5 units on."
    )
    return picture(section.file(grid.dataset, "intervals"), title, text, size, draw)


def learning(section: Section, grid: Grid, looks: Mapping[str, Style]) -> Picture | None:
    """Scores over training, a thin line for each unit and a thick one for their mean; None without any curve."""
    curves = {
        place: [
            (section.curves[run["run_id"]], run["outcome"] == "ok") for run in runs if run["run_id"] in section.curves
        ]
        for place, runs in section.placed(grid).items()
    }
    shown = [where for where in grid.threats if any(curves.get((name, where)) for name in grid.learners)]
    names = [name for name in grid.learners if any(curves.get((name, where)) for where in shown)]
    if not shown:
        return None

    def draw(figure: Any) -> None:
        for axes, where in zip(panels(figure, len(shown), "training steps", "normalized score"), shown, strict=True):
            for name in names:
                look, lines = looks[name], curves.get((name, where), [])
                for curve, sound in lines:
                    axes.plot(
                        *zip(*curve, strict=True), color=look.color, linestyle=look.line, linewidth=0.6, alpha=0.5
                    )
                    if curve and not sound:
                        axes.plot(*curve[-1], "x", color=look.color, markersize=6)
                scores = [dict(curve) for curve, _ in lines]
                steps = sorted(set.intersection(*map(set, scores))) if scores else []
                means = [sum(points[step] for points in scores) / len(scores) for step in steps]
                axes.plot(steps, means, linewidth=1.6, **look.drawn(markersize=3))
            axes.set_title(heading(where).replace("\n", ", "))
            axes.grid(alpha=0.3)
        legend(figure, {name: looks[name] for name in names})

    size = WIDTH, 1.1 + 1.9 * rows_of(len(shown))
    title = f"{section.title}, {grid.dataset}: scores during training"
    text = (
        "Thin lines are units, thick ones their means over the steps that all of them have; "
        "a cross is where a run diverged or failed. The score that counts is the last one."
    )
    return picture(section.file(grid.dataset, "learning"), title, text, size, draw)
