"""The rise of every loss with the radius, for the runs compared, as PNG and SVG."""

from collections.abc import Mapping
from typing import Any

from corruptbench.drawing import Picture, legend, panels, picture, plain_numbers, rows_of, styles
from corruptbench.sharpness.rise import RADII

Report = Mapping[str, Any]


def drawn(reports: Mapping[str, Report], data: str) -> Picture:
    """SAM sharpness over rho, a panel for each loss, a line for each run; a rise that is not above 0 has no point."""
    from matplotlib.ticker import NullFormatter

    names = list(dict.fromkeys(name for report in reports.values() for name in report["data"][data]["objectives"]))
    looks = styles(list(reports))

    def draw(figure: Any) -> None:
        for axes, name in zip(panels(figure, len(names), "rho", "rise of the loss"), names, strict=True):
            axes.set(title=name, xscale="log", yscale="log")
            axes.set_xticks(RADII, [str(radius) for radius in RADII])
            axes.xaxis.set_minor_formatter(NullFormatter())
            plain_numbers(axes.yaxis)
            for label, report in reports.items():
                measured = report["data"][data]["objectives"].get(name)
                points = [(r, measured["sam"][str(r)]) for r in RADII if measured and measured["sam"][str(r)] > 0]
                if points:
                    axes.plot(*zip(*points, strict=True), **looks[label].drawn(markersize=4))
        legend(figure, looks)

    title = f"SAM sharpness on {data} data"
    text = f"{title}: the rise of {', '.join(names)} along the gradient, for {', '.join(reports)}"
    return picture(f"sharpness-{data}", title, text, (7.2, 2.6 * rows_of(len(names)) + 0.8), draw)
