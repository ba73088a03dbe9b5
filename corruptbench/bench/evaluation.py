"""The final evaluation of a policy, 100 episodes, beside Gymnasium's loop."""

import os
import statistics
import time
from typing import Any

import torch

from corruptbench.bench.timing import median_ratio
from corruptbench.data import load
from corruptbench.evaluate import FINAL_EPISODES, evaluate
from corruptbench.simulation import GymnasiumLoop
from corruptbench.surrogates import surrogate_for


def evaluation(*, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """The actor of the dataset's surrogate, on one thread and on two; a row each."""
    clean = load(dataset)
    policy = surrogate_for(clean).model
    times: dict[str, list[float]] = {"loop": [], "1": [], "2": []}
    steps = 0
    for _ in range(min(rounds, 3)):  # the loop alone takes many seconds
        for way, taken in times.items():
            torch.set_num_threads(2 if way == "2" else 1)
            begin = time.perf_counter()
            world = GymnasiumLoop(clean.environment, FINAL_EPISODES) if way == "loop" else None
            steps = sum(evaluate(policy, clean.environment, FINAL_EPISODES, world).lengths)
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
