"""One thread, and a small real dataset: the first episodes of the shipped one."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from corruptbench.data import ASSETS, load
from corruptbench.registry import ALGORITHMS, CORRUPTIONS, PLUGIN_MODULE
from corruptbench.types import TransitionDataset

torch.set_num_threads(1)

SMALL_STEPS = 3_000


LONGEST = (
    "test_sweep", "test_killed", "test_learning", "test_page", "test_population", "test_report", "test_validate",
    "test_landscape",
)  # fmt: skip
"""Files that take the longest; two processes that share the files begin with them, or one is alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all others in the order they are in."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def hopper() -> TransitionDataset:
    """``hopper-replay``, whole."""
    return load("hopper-replay")


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first whole episodes of ``hopper-replay``, about 3,000 steps, as an HDF5 file of the same kind."""
    path = tmp_path_factory.mktemp("data") / "small.hdf5"
    with h5py.File(ASSETS / "hopper-replay" / "data.hdf5") as source, h5py.File(path, "w") as target:
        ends = np.flatnonzero(source["terminals"][...] | source["timeouts"][...]) + 1
        episodes = int(np.searchsorted(ends, SMALL_STEPS)) + 1
        steps = int(ends[episodes - 1])
        for name, values in source.items():
            target[name] = values[: episodes if name == "final_observations" else steps]
    return path


@pytest.fixture(scope="session")
def built_in() -> None:
    """The registries hold all that is built in, so that no test is the first to look."""
    for registry in (ALGORITHMS, CORRUPTIONS):
        registry.names()


@pytest.fixture(autouse=True)
def registries(built_in: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers, and the plug-ins it loads, are forgotten after it."""
    for registry in (ALGORITHMS, CORRUPTIONS):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(PLUGIN_MODULE):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written into the user's cache."""
    monkeypatch.setenv("CORRUPTBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
