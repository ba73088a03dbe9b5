"""Two runs side by side, one thread each, beside one run alone."""

import json
import os
import statistics
from collections.abc import Sequence
from typing import Any

from corruptbench.bench.processes import child, heard
from corruptbench.bench.timing import rate
from corruptbench.data import load
from corruptbench.optimizers import optimizer_for
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner

NAME = "rate iql"
"""Of what a worker measures."""


def workers(*, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Updates per second of two runs together; nothing where there is one core."""
    if (os.cpu_count() or 1) < 2:
        return []
    wanted = {"name": NAME, "dataset": dataset, "engine": engine, "seconds": seconds, "rounds": rounds}
    children = [child(wanted) for _ in range(2)]
    alone, together = [], []
    try:
        for process in children:
            heard(process, NAME)  # compiled and warm
        for _ in range(rounds):
            alone.append(_ask(children[:1])[0])
            together.append(sum(_ask(children)))
    finally:
        for process in children:
            process.kill()
            process.communicate()
    ratio = statistics.median(two / one for two, one in zip(together, alone, strict=True))
    return [
        {
            "what": "train iql, two workers",
            "value": statistics.median(together),
            "unit": "steps/s",
            "beside": "one worker",
            "ratio": ratio,
        }
    ]


def one(name: str, *, dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """A worker: measures its rate whenever a line comes in, until none does."""
    agent = ALGORITHMS.get(name)()
    learner = Learner(agent, optimizer_for(agent, "adam"), load(dataset), seed=0, steps=1_000_000, engine=engine)
    learner.advance(20)
    print(json.dumps("ready"), flush=True)
    while True:
        try:
            input()
        except EOFError:
            return []
        print(json.dumps(rate(learner.advance, seconds)), flush=True)


def _ask(children: Sequence[Any]) -> list[float]:
    for process in children:
        process.stdin.write("\n")
        process.stdin.flush()
    return [float(heard(process, NAME)) for process in children]
