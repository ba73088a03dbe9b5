"""Training steps per second, beside the plain version and the rate of matrix products."""

import statistics
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from corruptbench.bench.plain import PlainLearner
from corruptbench.bench.timing import matrix_rate, median_ratio, peak_memory_mb, rate
from corruptbench.data import load
from corruptbench.optimizers import optimizer_for
from corruptbench.population import Population
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner

STEPS = 1_000_000
MEMBERS, MEMBERS_ON_GPU = 4, 64
"""Of the populations."""


def training(case: str, *, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """``case`` is ``iql``, ``riql``, ``iql+sam`` or ``riql+sam``; one row."""
    name, _, sam = case.partition("+")
    learner = _member(case, dataset, 0, engine)
    begin = time.perf_counter()
    learner.advance(1)
    compiling = time.perf_counter() - begin
    learner.advance(20)
    memory = peak_memory_mb()
    torch.manual_seed(0)
    plain = PlainLearner(name, load(dataset), sam=bool(sam), steps=STEPS)
    with FlopCounterMode(display=False) as counter:
        plain.update(1)
    flop = counter.get_total_flops()
    ours, theirs, limits = [], [], []
    for _ in range(rounds):
        limits.append(matrix_rate() / flop)
        theirs.append(rate(plain.update, seconds))
        ours.append(rate(learner.advance, seconds))
    return [
        {
            "what": f"train {case}",
            "value": statistics.median(ours),
            "unit": "steps/s",
            "beside": "plain",
            "ratio": median_ratio(ours, theirs),
            "share_of_matrix_rate": median_ratio(ours, limits),
            "plain_share_of_matrix_rate": median_ratio(theirs, limits),
            "memory_mb": memory,
            "first_step_s": compiling,
            "engine": learner.engine,
        }
    ]


def population(case: str, *, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Updates per second of all members together, beside those of one run; one row."""
    single = _member(case, dataset, 0, engine)
    single.advance(20)
    together, compiling = _together(case, dataset, MEMBERS, engine, "cpu")
    memory = peak_memory_mb()
    alone, all_members = [], []
    for _ in range(rounds):
        alone.append(rate(single.advance, seconds))
        all_members.append(MEMBERS * rate(together.advance, seconds))
    return [
        {
            "what": f"train {MEMBERS} {case} as a population",
            "value": statistics.median(all_members),
            "unit": "steps/s",
            "beside": "one run",
            "ratio": median_ratio(all_members, alone),
            "memory_mb": memory,
            "first_step_s": compiling,
            "engine": together.engine,
        }
    ]


def gpu(case: str, *, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """As :func:`population`, one run and many on the first GPU; a row each, and peak memory is the GPU's."""
    return [_on_gpu(case, dataset, members, engine, seconds, rounds) for members in (1, MEMBERS_ON_GPU)]


def _on_gpu(case: str, dataset: str, members: int, engine: str, seconds: float, rounds: int) -> dict[str, Any]:
    torch.cuda.reset_peak_memory_stats()
    together, compiling = _together(case, dataset, members, engine, "cuda")
    rates = [members * rate(together.advance, seconds) for _ in range(rounds)]  # an advance ends when the GPU has
    return {
        "what": f"train {members} {case} on {torch.cuda.get_device_name()}",
        "value": statistics.median(rates),
        "unit": "steps/s",
        "memory_mb": torch.cuda.max_memory_allocated() / 2**20,
        "first_step_s": compiling,
        "engine": together.engine,
    }


def _member(case: str, dataset: str, seed: int, engine: str) -> Learner:
    name, _, optimizer = case.partition("+")
    agent = ALGORITHMS.get(name)()
    return Learner(
        agent, optimizer_for(agent, optimizer or "adam"), load(dataset), seed=seed, steps=STEPS, engine=engine
    )


def _together(case: str, dataset: str, members: int, engine: str, device: str) -> tuple[Population, float]:
    """A population that is warm, and the seconds of its first step."""
    learners = [_member(case, dataset, seed, "eager") for seed in range(members)]
    together = Population(learners, engine=engine, device=device)
    begin = time.perf_counter()
    together.advance(1)
    compiling = time.perf_counter() - begin
    together.advance(10)
    return together, compiling
