"""What a training step takes with each optimizer, beside plain Adam's."""

import statistics
from typing import Any

import torch._dynamo.config

from corruptbench.bench.timing import median_ratio, rate
from corruptbench.bench.training import STEPS
from corruptbench.data import load
from corruptbench.optimizers import OPTIMIZERS, optimizer_for
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner

PROGRAMS = 2
"""Of an optimizer at most: whole updates, and others."""


def optimizers(case: str, *, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds a step of an algorithm, a row for each optimizer on its usual objectives, all of them in turns."""
    agent, data = ALGORITHMS.get(case)(), load(dataset)
    learners = {
        name: Learner(agent, optimizer_for(agent, name), data, seed=0, steps=STEPS, engine=engine)
        for name in OPTIMIZERS
    }
    taken: dict[str, list[float]] = {name: [] for name in learners}
    # all their programs belong to one function, of which torch keeps eight
    with torch._dynamo.config.patch(recompile_limit=PROGRAMS * len(learners)):
        for learner in learners.values():  # only now, for each new learner makes torch forget what it has compiled
            learner.advance(5)
        for _ in range(rounds):
            for name, learner in learners.items():
                taken[name].append(1000 / rate(learner.advance, seconds))
    return [
        {
            "what": f"step of {case}+{name}",
            "value": statistics.median(times),
            "unit": "ms",
            "beside": "Adam's",
            "ratio": median_ratio(times, taken["adam"]),
            "engine": learners[name].engine,
        }
        for name, times in taken.items()
    ]
