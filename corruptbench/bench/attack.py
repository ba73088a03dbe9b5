"""An adversarial corruption of observations, beside the rate of matrix products."""

import statistics
import time
from typing import Any

from corruptbench.bench.timing import matrix_rate, median_ratio
from corruptbench.contract import apply
from corruptbench.corrupting import named_corruption
from corruptbench.corruptions import pgd
from corruptbench.data import load
from corruptbench.rng import unit_seeds
from corruptbench.surrogates import surrogate_for
from corruptbench.types import Streams


def attack(*, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """``obs-adv`` at the rate 0.1, with its audit: gradient steps of single rows per second."""
    clean = load(dataset)
    surrogate, streams = surrogate_for(clean), Streams(unit_seeds(0)[1])
    name, corruption = named_corruption("obs-adv:rate=0.1")
    weights = sum(w.numel() for w in surrogate.model.state["critic"][::2])
    flop_of_a_row = 2 * weights * (2 * pgd.STEPS + 1)  # each step goes forward and back, the last iterate forward
    rates, limits = [], []
    for _ in range(rounds):
        limits.append(matrix_rate() / flop_of_a_row)
        begin = time.perf_counter()
        touched = int(apply(corruption, name, clean, streams, surrogate).masks["observations"].sum())
        rates.append(touched / (time.perf_counter() - begin))
    return [
        {
            "what": "attack observations",
            "value": statistics.median(rates),
            "unit": "rows/s",
            "share_of_matrix_rate": median_ratio(rates, limits),
        }
    ]
