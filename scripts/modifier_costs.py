"""What modified networks cost: python scripts/modifier_costs.py [seconds]

Parameters of IQL's networks on hopper-replay and the time of a compiled step beside that of the usual networks, taken
in turns, so that what else the machine does falls on all of them. The outcome goes into docs/modifiers.md.
"""

import statistics
import sys
import time
from pathlib import Path

import torch
from markers import insert

from corruptbench.algos.iql import IQL
from corruptbench.bench.timing import median_ratio
from corruptbench.data import load
from corruptbench.optimizers import Optimizer
from corruptbench.rng import stream
from corruptbench.train import Learner

DOC = Path(__file__).parent.parent / "docs" / "modifiers.md"
KINDS = {
    "usual networks": IQL(),
    "`layer_norm true`": IQL(layer_norm=True),
    "`activation crelu`": IQL(activation="crelu"),
    "both": IQL(layer_norm=True, activation="crelu"),
    "`activation crelu`, `hidden 128,128`": IQL(activation="crelu", hidden=(128, 128)),
}
STEPS = 20
"""Of one turn."""


def parameters(agent: IQL, observation_dim: int = 11, action_dim: int = 3) -> int:
    """Of all networks that are trained."""
    state = agent.init(observation_dim, action_dim, lambda name: stream("cost", name))
    return sum(p.numel() for group in ("value", "critic", "actor") for p in state[group])


def ratios(seconds: float) -> dict[str, float]:
    """Time of a step by kind, that of the usual networks being 1: the median over turns."""
    dataset = load("hopper-replay")
    learners = [
        Learner(agent, Optimizer(), dataset, seed=0, steps=10**6, engine="compiled") for agent in KINDS.values()
    ]
    taken: list[list[float]] = [[] for _ in learners]
    for learner in learners:
        learner.advance(STEPS)  # compiles
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for learner, times in zip(learners, taken, strict=True):
            start = time.perf_counter()
            learner.advance(STEPS)
            times.append(time.perf_counter() - start)
    print(f"{len(taken[0])} turns, {statistics.median(taken[0]) / STEPS * 1000:.1f} ms a step", file=sys.stderr)
    return {name: median_ratio(times, taken[0]) for name, times in zip(KINDS, taken, strict=True)}


def main() -> None:
    torch.set_num_threads(1)
    found = ratios(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
    rows = [f"| {name} | {parameters(agent):,} | {found[name]:.2f} |" for name, agent in KINDS.items()]
    text = "\n".join(["| IQL on Hopper | parameters | time of a step |", "|---|---:|---:|", *rows])
    print(text)
    insert(DOC, "costs", text)


if __name__ == "__main__":
    main()
