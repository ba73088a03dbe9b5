"""What a person wants to see of a dataset: episodes, returns, lengths, ranges of features; as text and as a plot."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from corruptbench.environments import Space
from corruptbench.errors import UsageError
from corruptbench.numerics import chunks, episode_returns, mean_and_std
from corruptbench.types import TransitionDataset

QUANTILES = (0, 25, 50, 75, 100)


def describe(dataset: TransitionDataset, box: Space) -> dict[str, Any]:
    """The figures of ``data info``, as JSON values; actions in the units of the environment, whose ``box`` they are."""
    returns, lengths = episode_returns(dataset.rewards, dataset.episodes)
    env = dataset.environment
    return {
        "id": dataset.id,
        "sha256": dataset.sha256,
        "environment": env.id,
        "transitions": len(dataset),
        "episodes": len(returns),
        "terminations": int(dataset.terminations.sum()),
        "returns": _spread(returns),
        "normalized_mean": env.normalized(float(returns.mean())),
        "lengths": _spread(lengths),
        "features": {
            name: _features(values.reshape(len(dataset), -1))
            for name, values in {
                "observations": dataset.observations,
                "actions": box.from_unit(dataset.actions),
                "rewards": dataset.rewards,
                "next_observations": dataset.next_observations,
            }.items()
        },
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    quantiles = np.percentile(values, QUANTILES)
    return {"mean": float(values.mean()), **{f"q{q}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}}


def _features(values: np.ndarray) -> list[dict[str, float]]:
    """Smallest, mean, standard deviation and largest of each column."""
    low = np.full(values.shape[1], np.inf)
    high = -low
    for part in chunks(len(values)):
        low, high = np.minimum(low, values[part].min(0)), np.maximum(high, values[part].max(0))
    mean, std = mean_and_std(values)
    rows = zip(low.tolist(), mean.tolist(), std.tolist(), high.tolist(), strict=True)
    return [dict(zip(("min", "mean", "std", "max"), row, strict=True)) for row in rows]


def text(before: Mapping[str, Any], after: Mapping[str, Any] | None = None, threat: str = "") -> str:
    """The figures as lines; with ``after``, the same dataset under ``threat`` beside each figure that it changes."""
    lines = [
        f"{before['id']}: {before['transitions']:,} transitions in {before['episodes']:,} episodes of "
        f"{before['environment']}, {before['terminations']:,} ended by a terminal state",
        f"SHA-256 of the content {before['sha256']}",
    ]
    if after:
        lines.append(f"under {threat} {after['sha256']}")
    share = "" if before["normalized_mean"] is None else f" (normalized {before['normalized_mean']:.1f})"
    lines += ["", _header("min", "25 %", "median", "75 %", "max", "mean")]
    for name in ("returns", "lengths"):
        for which, figures in (("", before), (threat, after)):
            if figures and (figures is before or figures[name] != before[name]):
                cells = [figures[name][f"q{q}"] for q in QUANTILES] + [figures[name]["mean"]]
                tail = share if name == "returns" and figures is before else ""
                lines.append(_line(name if not which else f"  {which}", cells) + tail)
    lines += ["", _header("min", "mean", "std", "max")]
    for name, columns in before["features"].items():
        for i, column in enumerate(columns):
            title = name if len(columns) == 1 else f"{name}[{i}]"
            lines.append(_line(title, list(column.values())))
            changed = after["features"][name][i] if after else column
            if changed != column:
                lines.append(_line(f"  {threat}", list(changed.values())))
    return "\n".join(lines) + "\n"


def audit_text(audit: Mapping[str, Any]) -> str:
    """What a corruption did, a line an element, with its flags (section 2); of a plug-in whatever it says."""
    lines = []
    for element, figures in sorted(audit.items()):
        if not isinstance(figures, Mapping):
            figures = {"figure": figures}
        named = sorted(figures.keys() - {"surrogate_weak"}, key=lambda n: (_AUDIT.index(n) if n in _AUDIT else 99, n))
        parts = [f"{name.replace('_', ' ')} {_figure(figures[name])}" for name in named]
        flag = "; surrogate-weak: the attack moves the value less than noise does" * bool(figures.get("surrogate_weak"))
        lines.append(f"audit of {element}: {', '.join(parts)}{flag}\n")
    return "".join(lines)


_AUDIT = ("rate", "largest_z", "unmoved", "at_bound", "value_before", "value_under_noise", "value_after")
"""The order in which people read it."""


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _line(title: str, cells: list[float]) -> str:
    return f"{title:<22.22}" + "".join(f"{cell:>{_WIDTH}.4g}" for cell in cells)


def _header(*names: str) -> str:
    return f"{'':<22}" + "".join(f"{name:>{_WIDTH}}" for name in names)


_WIDTH = 12
"""Of a column; ``-1.234e-05`` and ``-0.0001234`` are the longest."""


PLOTS = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Raises UsageError before anything is computed for a plot that cannot be drawn there."""
    if path.suffix not in PLOTS:
        raise UsageError(f"--plot {path} must end in {', '.join(PLOTS[:-1])} or {PLOTS[-1]}")
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"--plot {path}: there is no folder to put it in, or it is one itself")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: pip install 'corruptbench[report]'")


def plot(path: Path, dataset: TransitionDataset, corrupted: TransitionDataset | None = None, threat: str = "") -> None:
    """Returns over the data, their distribution, the lengths, and the range of each feature; PNG, SVG or PDF.

    Raises UsageError for what matplotlib (extra ``report``) cannot draw or write.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    (over_time, by_return), (by_length, ranges) = figure.subplots(2, 2)
    versions = [(dataset, "clean", "tab:blue")] + ([(corrupted, threat, "tab:red")] if corrupted else [])
    for version, label, color in versions:
        returns, lengths = episode_returns(version.rewards, version.episodes)
        if version is dataset or not np.array_equal(version.rewards, dataset.rewards):
            over_time.plot(returns, ".", markersize=2, color=color, label=label)
            by_return.hist(returns, bins=_bins(returns), color=color, alpha=0.6)
        if version is dataset:
            by_length.hist(lengths, bins=_bins(lengths), color=color, alpha=0.6)
        _plot_ranges(ranges, version, dataset, color, shift=0.0 if version is dataset else 0.3)
    over_time.set(xlabel="episode, in the order of the data", ylabel="return")
    by_return.set(xlabel="return", ylabel="episodes")
    by_length.set(xlabel="length of an episode", ylabel="episodes")
    ranges.set(ylabel="standard deviations from the mean", title="smallest to largest, and one standard deviation")
    if corrupted:
        ranges.legend(handles=[Patch(color=color, label=label) for _, label, color in versions], fontsize=8)
    figure.suptitle(f"{dataset.id}: {len(dataset):,} transitions of {dataset.environment.id}")
    try:
        figure.savefig(path, dpi=120)
    except (ValueError, OSError) as error:
        raise UsageError(f"--plot {path}: {' '.join(str(error).split())}") from error


def _bins(values: np.ndarray) -> int:
    """40, or 1 where the values lie too close together for their size to be told apart."""
    spread = float(np.ptp(values))
    return 40 if spread > 1e-6 * float(np.abs(values).max()) else 1


def _plot_ranges(axes: Any, version: TransitionDataset, clean: TransitionDataset, color: str, shift: float) -> None:
    """A thin bar from the smallest to the largest value of each feature, a thick one over a standard deviation."""
    names, position = [], 0
    for name, short in (("observations", "s"), ("actions", "a"), ("rewards", "r"), ("next_observations", "s'")):
        values = getattr(version, name).reshape(len(version), -1)
        center, unit = mean_and_std(getattr(clean, name).reshape(len(clean), -1))
        unit = np.where(unit > 0, unit, 1)
        for i, figures in enumerate(_features(values)):
            low, high = (figures["min"] - center[i]) / unit[i], (figures["max"] - center[i]) / unit[i]
            mean, std = (figures["mean"] - center[i]) / unit[i], figures["std"] / unit[i]
            axes.plot([position + shift] * 2, [low, high], color=color, linewidth=0.8)
            axes.plot([position + shift] * 2, [mean - std, mean + std], color=color, linewidth=3)
            names.append(short if values.shape[1] == 1 else f"{short}{i}")
            position += 1
    every = -(-len(names) // _MOST_LABELS)
    axes.set_xticks(range(0, len(names), every), names[::every], fontsize=6, rotation=90)


_MOST_LABELS = 60
"""As many names of features as a panel has room for."""
