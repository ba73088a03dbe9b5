"""How fast this machine trains, beside the plain version and in one call, because absolute figures drift."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from corruptbench.data import shipped
from corruptbench.errors import unknown

CASES = (("iql", False), ("iql", True), ("riql", False), ("riql", True))


def measure(dataset: str, engine: str, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """One row a case: steps per second of this project and of the plain version, each the median of ``rounds``.

    Each case runs in a process of its own, so that its peak memory is its own. Raises UsageError for an
    unknown dataset.
    """
    if dataset not in shipped():
        raise unknown("dataset", dataset, shipped())
    rows = []
    for algo, sam in CASES:
        command = [
            sys.executable,
            "-m",
            "corruptbench.bench",
            dataset,
            engine,
            algo,
            str(int(sam)),
            str(seconds),
            str(rounds),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def one(dataset_name: str, engine: str, algo: str, sam: bool, seconds: float, rounds: int) -> dict[str, Any]:
    """One case, the two versions in turn, in this process."""
    import torch

    from corruptbench.data import load
    from corruptbench.optimizers import optimizer_for
    from corruptbench.plain import PlainLearner
    from corruptbench.registry import ALGORITHMS
    from corruptbench.train import Learner

    torch.set_num_threads(1)
    torch.manual_seed(0)
    dataset = load(dataset_name)
    agent = ALGORITHMS.get(algo)()
    begin = time.perf_counter()
    learner = Learner(
        agent, optimizer_for(agent, "sam" if sam else "adam"), dataset, seed=0, steps=1_000_000, engine=engine
    )
    learner.advance(3)
    start_up = time.perf_counter() - begin
    memory = _peak()
    plain = PlainLearner(algo, dataset.observations.shape[1], dataset.actions.shape[1], sam=sam, steps=1_000_000)

    def plain_steps(count: int) -> None:
        for step in range(count):
            plain.update(learner.batch(step))

    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(rounds):
        rates["plain"].append(_rate(plain_steps, seconds))
        rates["ours"].append(_rate(learner.advance, seconds))
    ours, theirs = (sorted(r)[rounds // 2] for r in (rates["ours"], rates["plain"]))
    ratio = sorted(a / b for a, b in zip(rates["ours"], rates["plain"], strict=True))[rounds // 2]
    return {
        "case": algo + ("+sam" if sam else ""),
        "engine": learner.engine,
        "steps_per_second": ours,
        "plain_steps_per_second": theirs,
        "ratio": ratio,
        "peak_memory_mb": memory,
        "start_up_seconds": start_up,
    }


def _rate(steps: Callable[[int], object], seconds: float) -> float:
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        steps(20)
        count += 20
    return count / (time.perf_counter() - begin)


def _peak() -> float:
    """Peak resident memory of this process, in MB; 0 on Windows, which does not tell."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    name, engine, algo, sam, seconds, rounds = sys.argv[1:]
    print(json.dumps(one(name, engine, algo, sam == "1", float(seconds), int(rounds))))
