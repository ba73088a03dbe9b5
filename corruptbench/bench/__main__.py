"""One measurement in this process: its arguments as JSON in, its rows as JSON out."""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch

from corruptbench.bench import attack, evaluation, optimizing, sharpness, start, training, workers


def main() -> None:
    wanted = json.loads(sys.argv[1])
    name, _, case = wanted.pop("name").partition(" ")
    torch.set_num_threads(1)
    measurements: dict[str, Callable[..., list[dict[str, Any]]]] = {
        "train": training.training,
        "optimizers": optimizing.optimizers,
        "sharpness": sharpness.sharpness,
        "population": training.population,
        "gpu": training.gpu,
        "rate": workers.one,
        "workers": workers.workers,
        "evaluate": evaluation.evaluation,
        "attack": attack.attack,
        "load": start.loading,
        "start": start.start_up,
        "memory": start.memory,
    }
    rows = measurements[name](*([case] if case else []), **wanted)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
