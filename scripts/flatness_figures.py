"""The figures of docs/flatness.md: score over sharpness, a point for each run, and one for each learner."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flatness_runs import ALGORITHMS, LOSSES, SHOWN, STAGES, Run, centred, grouped, own_name

from corruptbench.drawing import Picture, legend, panels, picture, plain_numbers, rows_of, styles
from corruptbench.tables import stats


def scatter(runs: Sequence[Run], data: str, measure: str = SHOWN) -> Picture:
    """Score over log sharpness of the algorithms with critics, both centred, a panel for each loss."""
    runs = [run for run in runs if run.algo in ALGORITHMS]
    looks = styles(list(dict.fromkeys(run.learner for run in runs)))

    def draw(figure: Any) -> None:
        shown = panels(figure, len(LOSSES), f"log of sharpness: {measure}", "score")
        for axes, loss in zip(shown, LOSSES, strict=True):
            axes.set_title(loss)
            for learner, look in looks.items():
                points = [p for p in centred(runs, data, loss, measure) if p.run.learner == learner]
                style = look.drawn(markersize=4, fillstyle="none" if "+" in learner else "full") | {"linestyle": ""}
                axes.plot([p.x for p in points], [p.y for p in points], **style)
        legend(figure, looks)

    title = f"Score and sharpness on {data} data, each less its cell's mean"
    return picture(f"flatness-{data}", title, f"{title}: {measure}, one point a run", (7.2, 6.0), draw)


def learners_picture(
    runs: Sequence[Run], stages: Mapping[str, str], loss: str, data: str = "corrupted", measure: str = SHOWN
) -> Picture:
    """Mean score over geometric mean sharpness, a point for each learner, a panel for each cell, all of the same units.

    Names stand beside each panel in the order of their scores. Panels are not compared, so each has its own scales.
    """
    cells = grouped(runs, lambda run: (run.algo, run.threat))
    there = {stages[run.learner] for run in runs}
    looks = styles([name for name in ("plain", "sam", *STAGES) if name in there])
    lines = max(len({run.learner for run in cell}) for cell in cells.values())
    height = max(3.0, 0.6 + 0.11 * lines)

    def draw(figure: Any) -> None:
        figure.get_layout_engine().set(rect=(0, 0, 0.97, 1))  # it makes too little room for the names at the right
        shown = panels(figure, len(cells), f"sharpness: {measure}", "score", shared=False)
        for axes, ((algo, threat), cell) in zip(shown, cells.items(), strict=True):
            axes.set_title(f"{algo}, {threat}")
            axes.set_xscale("log")
            plain_numbers(axes.xaxis)
            axes.tick_params(axis="x", which="both", labelsize=6)
            found = []
            for learner, own in grouped(cell, lambda run: run.learner).items():
                known = [(math.log(value), run.score) for run in own if (value := run.measured(data, loss, measure))]
                if known:
                    x, y = (stats.mean(values) for values in zip(*known, strict=True))
                    found.append((y, math.exp(x), learner, own_name(own[0]) or "plain"))
            for i, (y, x, learner, name) in enumerate(sorted(found, reverse=True)):
                look = looks[stages[learner]]
                axes.plot([x], [y], **look.drawn(markersize=4))
                axes.annotate(
                    name,
                    (x, y),
                    xytext=(1.04, 1 - (i + 0.5) / len(found)),
                    textcoords="axes fraction",
                    verticalalignment="center",
                    fontsize=6,
                    color=look.color,
                    arrowprops={"arrowstyle": "-", "color": look.color, "linewidth": 0.4, "relpos": (0, 0.5)},
                )
        legend(figure, looks, columns=6)

    title = f"Score and sharpness of {loss}, by learner"
    text = f"{title}: means over units, {measure}"
    return picture(f"flatness-learners-{loss}", title, text, (7.2, height * rows_of(len(cells))), draw)
