"""Writes a collected dataset with its card: what made it, what is in it, and the returns over time as a plot."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from corruptbench.collect.config import CollectConfig, Evaluation, ended
from corruptbench.collect.readme import readme
from corruptbench.collect.steps import Replay, episodes_kept, write_hdf5
from corruptbench.data import read_hdf5
from corruptbench.environments import environment
from corruptbench.store import pretty, sha256_file
from corruptbench.versions import versions


def write_dataset(
    folder: Path, name: str, config: CollectConfig, replay: Replay, evaluations: list[Evaluation], command: str
) -> dict[str, Any]:
    """Fills ``folder`` with data.hdf5, card.json, README.md, episodes.csv, evaluations.csv and returns.png.

    The plot is left out where matplotlib (extra ``report``) is not installed, the evaluations where the policy is
    random. Returns the card, whose ``ended`` is ``target``, ``max-steps`` (before the target) or ``steps`` (asked for).
    """
    kept = episodes_kept(replay, config.transitions)
    write_hdf5(folder / "data.hdf5", replay, kept)
    env = environment(config.env)
    dataset = read_hdf5(folder / "data.hdf5", name, env)
    episodes = _episodes(replay, kept)
    returns = np.array([e[2] for e in episodes if e[3]])
    card = {
        "name": name,
        "environment": config.env,
        "command": command,
        "seed": config.seed,
        "versions": versions(),
        "sha256": sha256_file(folder / "data.hdf5"),
        "content_sha256": dataset.sha256,
        "transitions": len(dataset),
        "episodes": len(returns),
        "return_mean": round(float(returns.mean()), 2),
        "return_min": round(float(returns.min()), 2),
        "return_max": round(float(returns.max()), 2),
        "normalized_mean": _rounded(env.normalized(float(returns.mean()))),
        "steps_collected": replay.size,
        "final_evaluations": [round(e.mean_return, 2) for e in evaluations[-config.eval_window :]],
        "policy": config.policy,
        "ended": ended(config, evaluations),
    }
    (folder / "card.json").write_text(pretty(card))
    _write_csv(folder / "episodes.csv", ("first_step", "steps", "return", "kept"), episodes)
    if config.policy == "sac":
        rows = [(s, f"{r:.3f}", f"{n:.1f}") for s, r, n in evaluations]
        _write_csv(folder / "evaluations.csv", Evaluation._fields, rows)
    plotted = _plot(folder / "returns.png", config, episodes, evaluations)
    (folder / "README.md").write_text(readme(card, config, plotted))
    return card


def _episodes(replay: Replay, kept: np.ndarray) -> list[tuple[int, int, float, int]]:
    """First step, number of steps, return and 1 if kept, of every episode that ended."""
    rows, start = [], 0
    for end in (np.flatnonzero(replay.terminals[: replay.size] | replay.timeouts[: replay.size]) + 1).tolist():
        total = float(replay.rewards[start:end].sum(dtype=np.float64))
        rows.append((start + 1, end - start, round(total, 3), int(kept[start])))
        start = end
    return rows


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_text(text.getvalue())


def _plot(path: Path, config: CollectConfig, episodes: list[tuple], evaluations: list[Evaluation]) -> bool:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for is_kept, label, color in ((0, "episode, not kept", "0.8"), (1, "episode, kept", "tab:blue")):
        chosen = [(first, total) for first, _, total, k in episodes if k == is_kept]
        if chosen:
            axes.plot(*zip(*chosen, strict=True), ".", markersize=2, color=color, label=label)
    if evaluations:
        steps, returns, _ = zip(*evaluations, strict=True)
        axes.plot(steps, returns, color="tab:red", label="evaluation")
    if config.target_return is not None and config.policy == "sac":
        axes.axhline(config.target_return, color="0.4", linewidth=0.8, linestyle="--", label="medium")
    explorer = "SAC" if config.policy == "sac" else "Random actions"
    axes.set(xlabel="environment step", ylabel="return", title=f"{explorer} on {config.env}, seed {config.seed}")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return True


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 2)
