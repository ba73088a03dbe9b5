"""A figure as SVG and PNG, the same to the byte whenever it is drawn, and as part of a page in the page's colours."""

import html
import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corruptbench.store import write_file

INK, PAPER = "#1b1f25", "#fefefd"
"""Text and background of a file; in a page they are the page's own, so each has a value that nothing else has."""
HEAT = "#2f7fc1"
_COLORS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#997700", "#0c93b5", "#777777")
"""Paul Tol's "bright" scheme, which people with any kind of colour blindness tell apart; yellow, cyan and grey are
darker here, so that a line of each stands out from white by 3 to 1. In a page they are its own --c0 to --c6."""
_MARKERS = "os^Dv<>"

_SETTINGS = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "figure.facecolor": PAPER,
    "figure.titlesize": 10,
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: a page's reader can search it
    "svg.hashsalt": "corruptbench",
    "text.color": INK,
    "text.parse_math": False,  # a setting's dollar signs are no formula
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Style:
    """How one learner is drawn: nothing hangs on its colour alone."""

    color: str
    marker: str
    line: str

    def drawn(self, **more: Any) -> dict[str, Any]:
        """The arguments of a line with markers."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.line, **more}


def styles(learners: Sequence[str]) -> dict[str, Style]:
    """A style for each; dashed for any optimizer but Adam, and again for whoever comes after the last colour."""
    found = {}
    for i, name in enumerate(learners):
        dashed = ("+" in name) != bool(i // len(_COLORS) % 2)
        found[name] = Style(_COLORS[i % len(_COLORS)], _MARKERS[i % len(_MARKERS)], "--" if dashed else "-")
    return found


@dataclass(frozen=True)
class Picture:
    """A figure of a page."""

    name: str  # of its files, without their ending
    title: str
    text: str  # what it shows, for whoever does not see it
    svg: bytes
    png: bytes

    def inline(self) -> str:
        """The SVG as an element of a page: its ids are its own there, and its colours follow the page's."""
        text = self.svg.decode()
        text = text[text.index("<svg") :].replace(INK, "currentColor").replace(PAPER, "var(--card)")
        for i, color in enumerate(_COLORS):
            text = text.replace(color, f"var(--c{i})")
        text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", text)
        head, _, body = text.partition(">")
        points = float(re.search(r'width="([0-9.]+)pt"', head)[1])  # type: ignore[index]
        head = re.sub(r' (width|height)="[0-9.]+pt"', "", head)
        labels = f'role="img" aria-labelledby="{self.name}-title" style="--width: {points * 4 / 3:.0f}px"'
        return f'{head} {labels}><title id="{self.name}-title">{html.escape(self.title)}</title>{body}'


def picture(name: str, title: str, text: str, size: tuple[float, float], draw: Callable[[Any], None]) -> Picture:
    """What ``draw`` puts on a figure of ``size`` inches under its title; the user's own settings are left out."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", _SETTINGS]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a setting's text, which the font need not have
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.suptitle(title, x=0.01, horizontalalignment="left")  # where a narrow screen begins
        svg, png = io.BytesIO(), io.BytesIO()
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # both files have the layout that was found, and it takes most of the time
        about = {"Creator": None, "Date": None, "Format": None, "Type": None}
        figure.savefig(svg, format="svg", metadata=about)
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
    return Picture(name, title, text, svg.getvalue(), png.getvalue())


def write(folder: Path, pictures: Iterable[Picture]) -> list[Path]:
    """Both files of each picture; raises ResourceError."""
    files = [
        (folder / f"{p.name}.{ending}", content)
        for p in pictures
        for ending, content in (("svg", p.svg), ("png", p.png))
    ]
    for path, content in files:
        write_file(path, content)
    return [path for path, _ in files]


def panels(figure: Any, count: int, below: str = "", beside: str = "", *, shared: bool = True) -> list[Any]:
    """Axes for ``count`` panels, two in a line, named at the outer ones; unless ``shared`` each has scales of its own.

    Without ``below`` no two share an x axis. What is left over of the last line stays empty, and the panel above it has
    its numbers.
    """
    columns = min(count, 2)
    scales = {"sharex": shared and bool(below), "sharey": shared}
    found = list(figure.subplots(rows_of(count), columns, squeeze=False, **scales).flat)
    for empty in found[count:]:
        empty.set_axis_off()
    for axes in found[:count][-columns:]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(below)
    for axes in found[:count:columns]:
        axes.set_ylabel(beside)
    return found[:count]


def plain_numbers(axis: Any) -> None:
    """Plain numbers at a logarithmic axis, where matplotlib has formulas; between powers of 10 if few are there."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain())


def rows_of(count: int) -> int:
    return (count + 1) // 2


def legend(figure: Any, looks: Mapping[str, Style], columns: int = 5) -> None:
    """One legend for all panels, under them."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=short(name), **look.drawn(markersize=4)) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), columns))


def short(text: str, most: int = 40) -> str:
    """A name as a figure has room for."""
    head = (most - 1) // 2  # its end tells it from others as much as its beginning
    return text if len(text) <= most else f"{text[:head]}\N{HORIZONTAL ELLIPSIS}{text[head + 1 - most :]}"
