"""The software and the processor that a result depends on."""

from importlib.metadata import version
from typing import Any

PACKAGES = ("corruptbench", "torch", "numpy", "gymnasium", "mujoco")


def versions() -> dict[str, str]:
    """Package name to version, without local parts such as ``+cpu``."""
    return {name: version(name).partition("+")[0] for name in PACKAGES}


def platform() -> dict[str, Any]:
    """What moves the last bits of a computation with torch: versions, instruction set, threads (section 6 B)."""
    import torch

    return {
        "versions": versions(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
