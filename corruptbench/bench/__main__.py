"""One measurement in this process: its arguments as JSON in, its rows or its error as JSON out."""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch

from corruptbench.bench import attack, evaluation, optimizing, sharpness, start, training, workers
from corruptbench.bench.processes import THREADS
from corruptbench.errors import CorruptBenchError, sentence
from corruptbench.resources import lack_of


def main() -> int:
    wanted = json.loads(sys.argv[1])
    name, _, case = wanted.pop("name").partition(" ")
    torch.set_num_threads(THREADS)
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
    try:
        print(json.dumps(measurements[name](*([case] if case else []), **wanted)), flush=True)
        return 0
    except Exception as error:
        ours = error if isinstance(error, CorruptBenchError) else lack_of(error) or CorruptBenchError(sentence(error))
        said = {"error": type(ours).__name__, "message": str(ours)}
        print(json.dumps({**said, "traceback": traceback.format_exc()}), flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
