"""The versions that a result depends on."""

from importlib.metadata import version

PACKAGES = ("corruptbench", "torch", "numpy", "gymnasium", "mujoco")


def versions() -> dict[str, str]:
    """Package name to version, without local parts such as ``+cpu``."""
    return {name: version(name).partition("+")[0] for name in PACKAGES}
