"""What ``corruptbench bench`` measures, part by part, and what the figures depend on."""

import os
import platform
from collections.abc import Iterator, Sequence
from typing import Any

from corruptbench.bench.processes import rows_of
from corruptbench.data import shipped
from corruptbench.errors import unknown
from corruptbench.versions import versions

PARTS = {
    "training": ("train iql", "train iql+sam", "train riql", "train riql+sam"),
    "optimizers": ("optimizers iql", "optimizers riql"),
    "sharpness": ("sharpness iql", "sharpness riql"),
    "population": ("population iql", "population iql+sam", "population riql", "population riql+sam"),
    "gpu": ("gpu iql", "gpu iql+sam", "gpu riql", "gpu riql+sam"),
    "workers": ("workers",),
    "evaluation": ("evaluate",),
    "attack": ("attack",),
    "loading": ("load",),
    "start": ("start", "memory"),
}
"""Part -> its measurements, each in a process of its own."""


def check(parts: Sequence[str], dataset: str) -> None:
    """Raises UsageError for an unknown part or dataset."""
    for part in parts:
        if part not in PARTS:
            raise unknown("part", part, PARTS)
    if dataset not in shipped():
        raise unknown("dataset", dataset, shipped())


def measure(parts: Sequence[str], dataset: str, engine: str, seconds: float, rounds: int) -> Iterator[dict[str, Any]]:
    """The rows of the parts, one measurement after the other.

    A row has ``what``, ``value`` and ``unit``; where something stands beside it ``beside`` and ``ratio``;
    ``share_of_matrix_rate``, ``memory_mb`` and ``first_step_s`` where they mean something; and instead of a value the
    reason ``not_measured``, where there is no GPU. Raises CorruptBenchError for a measurement that failed.
    """
    import torch

    for part in parts:
        if part == "gpu" and not torch.cuda.is_available():
            yield {"what": "train on a GPU", "value": None, "unit": "steps/s", "not_measured": "no GPU"}
            continue
        for name in PARTS[part]:
            wanted = {"name": name, "dataset": dataset, "engine": engine, "seconds": seconds, "rounds": rounds}
            yield from rows_of(wanted)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": versions(),
        "system": platform.system(),
    }


def _processor() -> str:
    """The processor's name where Linux tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
