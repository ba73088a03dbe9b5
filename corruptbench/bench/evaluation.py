"""The final evaluation of a policy, 100 episodes, beside Gymnasium's loop."""

import os
import statistics
import time
from typing import Any

import torch

from corruptbench import simulation
from corruptbench.bench.timing import median_ratio
from corruptbench.data import load
from corruptbench.evaluate import FINAL_EPISODES, evaluate
from corruptbench.surrogates import surrogate_for


def evaluation(*, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """The actor of the dataset's surrogate, on one thread and on two; a row each."""
    clean = load(dataset)
    policy = surrogate_for(clean).model
    batch = simulation.Batch
    times: dict[str, list[float]] = {"loop": [], "1": [], "2": []}
    steps = 0
    for _ in range(min(rounds, 3)):  # the loop alone takes many seconds
        for way, taken in times.items():
            simulation.Batch = None if way == "loop" else batch
            torch.set_num_threads(int(way) if way == "2" else 1)
            begin = time.perf_counter()
            steps = sum(evaluate(policy, clean.environment, FINAL_EPISODES).lengths)
            taken.append(time.perf_counter() - begin)
    return [
        {
            "what": f"evaluate {FINAL_EPISODES} episodes, {way} thread{'s' * (way == '2')}",
            "value": steps / statistics.median(times[way]),
            "unit": "steps/s",
            "beside": "Gymnasium's loop",
            "ratio": median_ratio(times["loop"], times[way]),
        }
        for way in ("1", "2")
        if int(way) <= (os.cpu_count() or 1)
    ]
