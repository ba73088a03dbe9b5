"""Writes a collected dataset with its card: what made it, what is in it, and the returns over time as a plot."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from corruptbench.collect.replay import CollectConfig, Evaluation, Replay, episodes_kept, write_hdf5
from corruptbench.data import read_hdf5
from corruptbench.environments import environment
from corruptbench.store import pretty, sha256_file
from corruptbench.versions import versions

DIFFERENCES = """\
D4RL's medium-replay data come from rlkit's SAC on `mujoco-py` environments of version 2, all steps until the policy is
medium. This dataset differs in these points:

1. {env} with the versions below, whose rewards and contacts are not those of version 2.
2. SAC is this project's own (`corruptbench/collect/sac.py`): {random_steps:,} uniform actions first, then one update of
   batch {batch_size} a step, hidden layers of {widths} units, learning rate {learning_rate:g}, automatic temperature.
3. "Medium" is a mean return of at least {target_return:.1f}{score} of the deterministic policy, over the last
   {eval_window} evaluations of {eval_episodes} episodes, one every {eval_every:,} steps.
4. Whole episodes are drawn evenly over the course of training until {transitions:,} transitions are reached; D4RL keeps
   all of them.
5. Each episode's final observation is stored, so the true s' of every step is known. D4RL stores `next_observations`.
"""


def write_dataset(
    folder: Path, name: str, config: CollectConfig, replay: Replay, evaluations: list[Evaluation], command: str
) -> dict[str, Any]:
    """Fills ``folder`` with data.hdf5, card.json, README.md, episodes.csv, evaluations.csv and returns.png.

    The plot is left out where matplotlib (extra ``report``) is not installed. Returns the card.
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
    }
    (folder / "card.json").write_text(pretty(card))
    _write_csv(folder / "episodes.csv", ("first_step", "steps", "return", "kept"), episodes)
    _write_csv(folder / "evaluations.csv", Evaluation._fields, [(s, f"{r:.3f}", f"{n:.1f}") for s, r, n in evaluations])
    plotted = _plot(folder / "returns.png", config, episodes, evaluations)
    (folder / "README.md").write_text(_readme(card, config, plotted))
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
    axes.plot(*zip(*[(e.step, e.mean_return) for e in evaluations], strict=True), color="tab:red", label="evaluation")
    axes.axhline(config.target_return, color="0.4", linewidth=0.8, linestyle="--", label="medium")
    axes.set(xlabel="environment step", ylabel="return", title=f"SAC on {config.env}, seed {config.seed}")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    return True


def _readme(card: dict[str, Any], config: CollectConfig, plotted: bool) -> str:
    env = environment(config.env)
    score = env.normalized(config.target_return)
    differences = DIFFERENCES.format(
        **vars(config) | vars(config.sac),
        widths=" and ".join(map(str, config.sac.hidden)),
        score="" if score is None else f" (normalized score {score:.0f})",
    )
    stack = ", ".join(f"{name} {number}" for name, number in card["versions"].items())
    share = "" if card["normalized_mean"] is None else f" (normalized {card['normalized_mean']})"
    picture = "![returns over time](returns.png)\n\n" if plotted else ""
    return f"""# {card["name"]}

{card["transitions"]:,} transitions in {card["episodes"]:,} episodes of {config.env}: what a SAC learner saw from its
first step until it was a medium policy, in the manner of D4RL's medium-replay datasets.

{picture}| | |
|---|---|
| command | `{card["command"]}` |
| seed | {config.seed} |
| versions | {stack} |
| steps collected | {card["steps_collected"]:,} |
| return of an episode | mean {card["return_mean"]}{share}, from {card["return_min"]} to {card["return_max"]} |
| last evaluations | {", ".join(str(r) for r in card["final_evaluations"])} |
| SHA-256 of `data.hdf5` | `{card["sha256"]}` |
| SHA-256 of the content | `{card["content_sha256"]}` |

Keys: `observations`, `actions`, `rewards`, `terminals`, `timeouts` (one row a step, float32 and bool) and
`final_observations` (one row an episode). `episodes.csv` lists every episode of the whole collection,
`evaluations.csv` the evaluations.

## Differences from D4RL

{differences}"""


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 2)
