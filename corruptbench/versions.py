"""The software and the processor that a result depends on."""

import hashlib
import platform as system
import re
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

PACKAGES = ("corruptbench", "torch", "numpy", "gymnasium", "mujoco")

CPUINFO = Path("/proc/cpuinfo")
FIRST, LONGEST = 4096, 64
"""Characters that are read of it, which the first processor's begin, and of a field."""
MODEL = (("vendor_id", "cpu family", "model"), ("CPU implementer", "CPU part"))
"""The fields of ``CPUINFO`` that say which processor it is, of x86 and of Arm."""


def versions() -> dict[str, str]:
    """Package name to version, without local parts such as ``+cpu``."""
    return {name: version(name).partition("+")[0] for name in PACKAGES}


def platform(*parts: str) -> dict[str, Any]:
    """What moves the last bits of a computation with torch: versions, processor, threads (section 6 B).

    ``parts`` are the modules and packages of the project that compute it, whose source counts as well.
    """
    import torch

    return {
        "versions": versions(),
        "source": _source_of(parts),
        "cpu": processor(),
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    """The kind of CPU: instruction set, maker and model, as in ``AVX512 GenuineIntel 6/143``.

    Libraries for matrices choose their kernels by maker and model too, so that the instruction set alone does not say
    whether two machines come to the same bits.
    """
    import torch

    return f"{torch.backends.cpu.get_cpu_capability()} {_model()}"


def _model() -> str:
    """Maker and model of the first processor, as much of it as the system tells."""
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(FIRST).partition("\n\n")[0].splitlines()
    except OSError:  # another system's
        lines = []
    fields = {name.strip(): _word(value) for name, _, value in (line.partition(":") for line in lines)}
    for maker, *model in MODEL:
        if fields.get(maker):
            return f"{fields[maker]} {'/'.join(fields.get(name) or '?' for name in model)}"
    return _word(system.processor() or system.machine())


def _word(text: str) -> str:
    """What tables and keys can hold of what a system says."""
    return re.sub("[^A-Za-z0-9_.()@-]+", " ", text).strip()[:LONGEST]


def _source_of(parts: tuple[str, ...]) -> str:
    """SHA-256 over the Python files of modules and packages of the project, by name."""
    digest = hashlib.sha256()
    for part in parts:
        module = Path(str(files("corruptbench"))) / f"{part}.py"
        package = [] if module.is_file() else Path(str(files(f"corruptbench.{part}"))).glob("*.py")
        for path in sorted(package) or [module]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
