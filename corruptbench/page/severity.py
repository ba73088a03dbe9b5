"""Scores over the rate or the scale of one threat model."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corruptbench.drawing import Picture, Style, legend, panels, picture, rows_of, short
from corruptbench.page.grid import CLEAN, Grid, Threat
from corruptbench.page.section import Section


@dataclass(frozen=True)
class Axis:
    """A threat model with one of its two numbers varied, ``rate`` or ``scale``, and the other one fixed."""

    name: str
    varied: str
    fixed: str
    threats: tuple[Threat, ...]  # from the mildest to the strongest

    @property
    def title(self) -> str:
        return f"{short(self.name)}, {'scale' if self.varied == 'rate' else 'rate'} {self.fixed}"


def axes_of(grid: Grid) -> list[Axis]:
    """What has several rates at one scale, or several scales at one rate, among the threat models with a row."""
    groups: dict[tuple[str, str, str], list[Threat]] = defaultdict(list)
    for where in grid.threats:
        if where.name != CLEAN and any(grid.at(name, where) for name in grid.learners):
            groups[where.name, "rate", where.scale].append(where)
            groups[where.name, "scale", where.rate].append(where)
    return [
        Axis(*key, tuple(sorted(found, key=lambda where: float(getattr(where, key[1])))))
        for key, found in groups.items()
        if len(found) > 1
    ]


def severity(section: Section, grid: Grid, looks: Mapping[str, Style]) -> Picture | None:
    """A panel for each axis, with the clean score where the rate is 0; None where nothing has two points."""
    found = axes_of(grid)
    if not found:
        return None
    clean = [where for where in grid.threats if where.name == CLEAN]
    shown = {where for axis in found for where in axis.threats}
    names = [name for name in grid.learners if any(grid.at(name, where) for where in shown)]

    def draw(figure: Any) -> None:
        for axes, axis in zip(panels(figure, len(found), beside="normalized score"), found, strict=True):
            for name in names:
                threats = [*clean, *axis.threats] if axis.varied == "rate" else axis.threats
                rows = [(where, entry.row) for where in threats for entry in grid.at(name, where)]
                points = [(float(getattr(where, axis.varied)), row) for where, row in rows if row["mean"]]
                means = [float(row["mean"]) for _, row in points]
                axes.plot([x for x, _ in points], means, **looks[name].drawn(markersize=4))
                for x, row in points:
                    if row["ci_low"]:
                        axes.vlines(x, float(row["ci_low"]), float(row["ci_high"]), looks[name].color, linewidth=1)
            axes.set(title=axis.title, xlabel=axis.varied)
            axes.grid(alpha=0.3)
        legend(figure, {name: looks[name] for name in names})

    size = 7.0, 1.0 + 2.3 * rows_of(len(found))
    title = f"{section.title}, {grid.dataset}: score over the strength of the corruption"
    text = "Points are means over units, upright lines their 95 % intervals; a rate of 0 is the clean score."
    return picture(section.file(grid.dataset, "severity"), title, text, size, draw)
