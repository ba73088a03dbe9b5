"""The software and the processor that a result depends on."""

import hashlib
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

PACKAGES = ("corruptbench", "torch", "numpy", "gymnasium", "mujoco")


def versions() -> dict[str, str]:
    """Package name to version, without local parts such as ``+cpu``."""
    return {name: version(name).partition("+")[0] for name in PACKAGES}


def platform(*parts: str) -> dict[str, Any]:
    """What moves the last bits of a computation with torch: versions, instruction set, threads (section 6 B).

    ``parts`` are the modules and packages of the project that compute it, whose source counts as well.
    """
    import torch

    return {
        "versions": versions(),
        "source": _source_of(parts),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _source_of(parts: tuple[str, ...]) -> str:
    """SHA-256 over the Python files of modules and packages of the project, by name."""
    digest = hashlib.sha256()
    for part in parts:
        module = Path(str(files("corruptbench"))) / f"{part}.py"
        package = [] if module.is_file() else Path(str(files(f"corruptbench.{part}"))).glob("*.py")
        for path in sorted(package) or [module]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
