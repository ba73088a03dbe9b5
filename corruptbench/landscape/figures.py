"""The figures of surfaces: all runs along lines, and each run's plane, flat or in three dimensions."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from corruptbench.drawing import Picture, legend, panels, picture, plain_numbers, rows_of, short, styles
from corruptbench.errors import UsageError
from corruptbench.landscape.measured import Measured, Settings
from corruptbench.landscape.report import band, unit_of
from corruptbench.landscape.surface import Surface

WIDTH = 7.0
"""Inches."""
LEVELS = "viridis"
"""Rises evenly in brightness, and people with any kind of colour blindness can read it."""

Named = Mapping[str, Surface]
"""One quantity of each run, by the run's name."""


def check_library() -> None:
    """Raises UsageError, before anything is measured, where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: pip install 'corruptbench[report]'")


def figures(found: Sequence[Measured], settings: Settings, *, three: bool) -> list[Picture]:
    """``lines``, with planes ``plane`` and with ``three`` ``plane3d``; the same of losses, by data."""
    env = found[0].environment.id
    quantities: list[tuple[str, str, str, Named]] = [
        ("", f"{env}: {unit_of(found[0])}", unit_of(found[0]), {m.name: m.scores for m in found})
    ]
    for data in ("corrupted", "clean"):
        losses = {m.name: m.losses[data] for m in found if data in m.losses}
        if losses:
            what = f"loss of {found[0].objective}"
            quantities.append((f"loss-{data}-", f"{what} on {data} data", what, losses))
    pictures = []
    for prefix, title, what, surfaces in quantities:
        pictures.append(line_picture(f"{prefix}lines", title, what, surfaces, settings))
        if settings.plane:
            pictures.append(plane_picture(f"{prefix}plane", title, what, surfaces, settings))
            if three:
                pictures.append(relief_picture(f"{prefix}plane3d", title, what, surfaces, settings))
    return pictures


def line_picture(name: str, title: str, what: str, surfaces: Named, settings: Settings) -> Picture:
    """A line a run, the mean over directions, and a band, its interval; a loss on a logarithmic scale."""
    looks = styles(list(surfaces))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for run, surface in surfaces.items():
            mean, low, high = band(surface)
            axes.fill_between(settings.grid.offsets, low, high, color=looks[run].color, alpha=0.15, linewidth=0)
            axes.plot(settings.grid.offsets, mean, linewidth=1.4, **looks[run].drawn(markersize=3))
        axes.set(xlabel="a, in shares of each unit's norm", ylabel=what)
        if what.startswith("loss") and all((surface.lines.values > 0).all() for surface in surfaces.values()):
            axes.set_yscale("log")
            plain_numbers(axes.yaxis)
        axes.grid(alpha=0.3)
        legend(figure, looks, columns=3)

    over = f"mean and 95 % interval over {settings.directions} directions" if settings.directions > 1 else "1 direction"
    about = "A line for each run along w + a d, a band for the interval over directions; 0 is the run as trained."
    return picture(name, f"{title}, {over}", about, (WIDTH, 3.8), draw)


def plane_picture(name: str, title: str, what: str, surfaces: Named, settings: Settings) -> Picture:
    """A panel a run, all in one scale of colours; a cross is the run as trained."""
    low, high = _range(surfaces)

    def draw(figure: Any) -> None:
        found = panels(figure, len(surfaces), "b, direction 1", "a, direction 0")
        offsets = settings.grid.offsets
        for axes, (run, surface) in zip(found, surfaces.items(), strict=True):
            shades = axes.pcolormesh(offsets, offsets, surface.plane, cmap=LEVELS, vmin=low, vmax=high)
            axes.plot(0, 0, "+", color="white", markersize=8)
            axes.set_aspect("equal")
            axes.set_title(short(run))
        figure.colorbar(shades, ax=found, label=what)

    about = "A panel for each run: w + a d0 + b d1, one scale of colours for all; the cross is the run as trained."
    return picture(name, f"{title}, directions 0 and 1", about, (WIDTH, 0.9 + 2.9 * rows_of(len(surfaces))), draw)


def relief_picture(name: str, title: str, what: str, surfaces: Named, settings: Settings) -> Picture:
    """As :func:`plane_picture`, as a relief."""
    low, high = _range(surfaces)
    a, b = np.meshgrid(settings.grid.offsets, settings.grid.offsets, indexing="ij")

    def draw(figure: Any) -> None:
        columns = min(len(surfaces), 2)
        axes_of: Callable[..., Any] = figure.add_subplot
        for i, (run, surface) in enumerate(surfaces.items()):
            axes = axes_of(rows_of(len(surfaces)), columns, i + 1, projection="3d")
            axes.plot_surface(a, b, surface.plane, cmap=LEVELS, vmin=low, vmax=high, rcount=101, ccount=101)
            axes.set(xlabel="a", ylabel="b", zlim=(low, high))
            axes.set_title(short(run))

    about = "A panel for each run: w + a d0 + b d1 as a relief, one scale of heights and colours for all."
    return picture(name, f"{title}, directions 0 and 1", about, (WIDTH, 0.6 + 3.2 * rows_of(len(surfaces))), draw)


def _range(surfaces: Named) -> tuple[float, float]:
    """Lowest and highest value of all planes."""
    planes = [surface.plane for surface in surfaces.values() if surface.plane is not None]
    return float(min(p.min() for p in planes)), float(max(p.max() for p in planes))
