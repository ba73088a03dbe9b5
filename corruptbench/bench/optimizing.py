"""What a training step takes with each optimizer, beside plain Adam's."""

import statistics
from typing import Any

from corruptbench.bench.timing import median_ratio, rate
from corruptbench.bench.training import STEPS
from corruptbench.data import load
from corruptbench.optimizers import OPTIMIZERS, optimizer_for
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner


def optimizers(case: str, *, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Milliseconds a step of an algorithm, a row for each optimizer on its usual objectives, all of them in turns."""
    agent, data = ALGORITHMS.get(case)(), load(dataset)
    learners = {}
    for name in OPTIMIZERS:
        optimizer = optimizer_for(agent, name)
        learners[name] = Learner(agent, optimizer, data, seed=0, steps=STEPS, engine=engine)
        learners[name].advance(5)
    taken: dict[str, list[float]] = {name: [] for name in learners}
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
