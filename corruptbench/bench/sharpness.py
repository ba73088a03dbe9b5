"""The sharpness report of one run, on the data that it saw and on clean ones."""

import statistics
import time
from typing import Any

from corruptbench.corrupting import corrupt
from corruptbench.data import load
from corruptbench.optimizers.optimizer import Optimizer
from corruptbench.registry import ALGORITHMS
from corruptbench.sharpness import Effort, report_of
from corruptbench.train import Learner


def sharpness(case: str, *, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Seconds of a whole report with its usual effort, of an algorithm after a few steps on noisy observations."""
    clean = load(dataset)
    data = {"corrupted": corrupt(clean, "obs-random", 0).dataset, "clean": clean}
    learner = Learner(ALGORITHMS.get(case)(), Optimizer(), clean, seed=0, steps=20, engine="eager")
    learner.advance(20)
    taken = []
    for _ in range(min(rounds, 2)):  # each takes most of a minute
        begin = time.perf_counter()
        report_of(learner.policy(), learner.step, data, Effort())
        taken.append(time.perf_counter() - begin)
    return [{"what": f"sharpness report of {case}", "value": statistics.median(taken), "unit": "s"}]
