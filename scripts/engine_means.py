"""What each of the engine's means gains: python scripts/engine_means.py [iql|riql ...] [--rounds N]

Each is taken away in a process of its own, in turns with the engine as it is. The medians of the ratios of steps per
second go between the markers of docs/performance.md. It takes five minutes an algorithm on an idle core.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from markers import insert

from corruptbench import engine, train
from corruptbench.batches import Table
from corruptbench.data import load
from corruptbench.optimizers import optimizer_for
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner
from corruptbench.types import Batch

DOC = Path(__file__).parent.parent / "docs" / "performance.md"
WARM, STEPS = 50, 400


def compiled_with(**changes: object) -> None:
    """Steps are compiled with other options; None leaves one out."""
    usual = torch.compile

    def compile_otherwise(step: Callable, *, options: dict, **more: object) -> Callable:
        return usual(step, options={k: v for k, v in {**options, **changes}.items() if v is not None}, **more)

    engine.torch.compile = compile_otherwise  # type: ignore[assignment]


def gather_by_field() -> None:
    """Five arrays and five gathers, in place of one row of one array."""
    kept: dict[int, Batch] = {}

    def batch(table: Table, indices: torch.Tensor) -> Batch:
        fields = kept[id(table)]
        return Batch(*(getattr(fields, name).index_select(0, indices) for name in Batch._fields))

    usual = Learner.__init__

    def init(learner: Learner, *arguments: object, **more: object) -> None:
        usual(learner, *arguments, **more)  # type: ignore[arg-type]
        rows = learner.table.rows
        kept[id(learner.table)] = Batch(*(getattr(rows, n).contiguous() for n in Batch._fields))

    Learner.__init__, Table.batch = init, batch  # type: ignore[method-assign,assignment]


WAYS: dict[str, Callable[[], object]] = {
    "the engine as it is": lambda: None,
    "not compiled": lambda: setattr(engine, "resolve_engine", lambda asked: "eager"),
    "compiled without the C++ wrapper": lambda: compiled_with(cpp_wrapper=False),
    "what is computed twice, computed twice": lambda: compiled_with(post_grad_custom_pre_pass=None),
    "a gather for each field of the batch": gather_by_field,
    "batches and rates drawn one by one": lambda: setattr(train, "AHEAD", 1),
    "two threads": lambda: torch.set_num_threads(2),
    "tried: no checks of its inputs": lambda: compiled_with(guard_filter_fn=torch.compiler.skip_all_guards_unsafe),
    "tried: memory that is freed kept by malloc": lambda: None,
}
"""What is changed; the first one is what the others are compared with."""
ENVIRONMENT = {
    "tried: memory that is freed kept by malloc": {
        "MALLOC_TRIM_THRESHOLD_": "-1",
        "MALLOC_MMAP_THRESHOLD_": "1073741824",
    }
}


def measure(way: str, name: str) -> float:
    """Steps per second."""
    torch.set_num_threads(1)
    WAYS[way]()
    agent = ALGORITHMS.get(name)()
    learner = Learner(agent, optimizer_for(agent, "adam"), load("hopper-replay"), seed=0, steps=1_000_000)
    learner.advance(WARM)
    begin = time.perf_counter()
    learner.advance(STEPS)
    return STEPS / (time.perf_counter() - begin)


def in_turns(name: str, rounds: int) -> dict[str, float]:
    """The median over rounds of each way's rate as a multiple of the engine's."""
    ratios: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        rates = {}
        for way in WAYS:
            command = [sys.executable, __file__, name, "--way", way]
            environment = {**os.environ, **ENVIRONMENT.get(way, {})}
            rates[way] = float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
        for way, rate in rates.items():
            ratios[way].append(rate / next(iter(rates.values())))
    return {way: statistics.median(found) for way, found in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("algorithms", nargs="*", default=["iql", "riql"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    if options.way:
        print(measure(options.way, options.algorithms[0]))
        return
    found = {name: in_turns(name, options.rounds) for name in options.algorithms}
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---:|' * len(found)}"]
    lines += [f"| {way} | {' | '.join(f'{found[name][way]:.2f}' for name in found)} |" for way in list(WAYS)[1:]]
    print("\n".join(lines))
    insert(DOC, "means", "\n".join(lines))


if __name__ == "__main__":
    main()
