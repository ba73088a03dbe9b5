"""The surfaces of runs in numbers: text for the terminal, JSON with every point."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from corruptbench.landscape.cliffs import cliffs
from corruptbench.landscape.measured import Measured, Settings
from corruptbench.landscape.surface import Surface
from corruptbench.tables import stats


def interval(values: Sequence[float], name: str) -> tuple[float, float] | None:
    """95 % interval of a mean over directions: Student's for 2 to 10 of them, bootstrap above, None for one."""
    return stats.t_interval(values) or (stats.interval(values, f"landscape/{name}") if len(values) > 10 else None)


def mean_drops(surface: Surface, settings: Settings) -> list[dict[str, float | None]]:
    """Mean drop at each radius over directions, with its interval."""
    rows = []
    for radius, values in zip(settings.grid.radii, surface.lines.drops.T.tolist(), strict=True):
        low, high = interval(values, f"drop/{radius!r}") or (None, None)
        rows.append({"radius": radius, "mean": stats.mean(values), "ci_low": low, "ci_high": high})
    return rows


def unit_of(measured: Measured) -> str:
    """What scores are called."""
    return "return" if measured.scores is measured.returns else "normalized score"


def to_json(found: Sequence[Measured], settings: Settings) -> dict[str, Any]:
    """Every number: the settings, and of each run all points of its surfaces and what the tables show."""
    return {
        "directions": settings.directions,
        "episodes": settings.episodes,
        "offsets": settings.grid.offsets,
        "environment": found[0].environment.id,
        "unit": unit_of(found[0]),
        "runs": [_run_json(measured, settings) for measured in found],
    }


def _run_json(measured: Measured, settings: Settings) -> dict[str, Any]:
    scores, count = measured.scores, cliffs(measured.returns.lines)
    return {
        "run_id": measured.run.record.run_id,
        "name": measured.name,
        "recorded": measured.run.record.score,
        "score": scores.lines.center,
        "drops": mean_drops(scores, settings),
        "cliffs": count._asdict(),
        "returns": _points(measured.returns),
        "objective": measured.objective,
        "losses": {
            data: {
                "loss": surface.lines.center,
                "rises": [_negative(row) for row in mean_drops(surface, settings)],
                **_points(surface),
            }
            for data, surface in measured.losses.items()
        },
    }


def _points(surface: Surface) -> dict[str, Any]:
    """Every value, ``(directions, offsets)`` and ``(offsets a, offsets b)``."""
    return {"lines": surface.lines.values.tolist(), "plane": None if surface.plane is None else surface.plane.tolist()}


def _negative(row: dict[str, float | None]) -> dict[str, float | None]:
    """A drop as a rise."""
    low, high = (None if row[name] is None else -row[name] for name in ("ci_high", "ci_low"))  # type: ignore[operator]
    return {**row, "mean": -(row["mean"] or 0.0), "ci_low": low, "ci_high": high}


def text(found: Sequence[Measured], settings: Settings) -> str:
    """A table for each run: a line a radius, with the mean drop of the score and the mean rise of its losses."""
    step = settings.radius / settings.points
    lines = [
        f"{found[0].environment.id}, {unit_of(found[0])}: {settings.directions} directions and their opposites, "
        f"{settings.episodes} episodes a point, radius in shares of each unit's norm"
    ]
    for measured in found:
        record, count = measured.run.record, cliffs(measured.returns.lines)
        recorded = "-"
        if record.score and record.evaluation:
            value = record.score["normalized_mean"] if unit_of(measured) != "return" else record.score["return_mean"]
            recorded = f"{value:.1f} over {len(record.evaluation['returns'])} episodes"
        lines += ["", f"{measured.name} ({record.run_id})"]
        lines.append(f"score {measured.scores.lines.center:.1f} at 0, recorded {recorded}")
        lines.append(
            f"cliffs on {count.first} of {count.ways} ways within the first step of {step:g}, "
            f"on {count.along} anywhere up to {settings.radius:g}"
        )
        columns = [("drop of score", mean_drops(measured.scores, settings), "z.1f")]
        for data, surface in measured.losses.items():
            lines.append(f"loss of {measured.objective} on {data} data {surface.lines.center:.4g} at 0")
            rises = [_negative(row) for row in mean_drops(surface, settings)]
            columns.append((f"rise of loss, {data}", rises, "z.3g"))
        lines.append(f"{'radius':<8}" + "".join(f"{title + '  [95 %]':>32}" for title, _, _ in columns))
        for i, radius in enumerate(settings.grid.radii):
            lines.append(f"{radius:<8.4g}" + "".join(f"{_cell(rows[i], form):>32}" for _, rows, form in columns))
    return "\n".join([*lines, ""])


def _cell(row: dict[str, float | None], form: str) -> str:
    bounds = "" if row["ci_low"] is None else f"  [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"
    return f"{row['mean']:{form}}{bounds}"


def band(surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over directions at each offset and the bounds of its interval, ``(offsets,)``; NaN where there is none."""
    columns = surface.lines.values.T.tolist()
    bounds = [interval(values, f"line/{i}") or (np.nan, np.nan) for i, values in enumerate(columns)]
    return surface.lines.values.mean(0), np.array([low for low, _ in bounds]), np.array([high for _, high in bounds])
