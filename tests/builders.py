"""Small made-up datasets for the tests: nothing here is written to disk, all of it is a function of a seed."""

import numpy as np

from corruptbench.types import Environment, TransitionDataset


def random_dataset(rows: int = 400, do: int = 5, da: int = 2, seed: int = 0) -> TransitionDataset:
    """``rows`` unrelated transitions, about one in ten of them terminal, in episodes of 40 rows.

    Dimensions have means and scales of their own, and next observations are not the observations of the row below, so
    normalising with the wrong statistics or the wrong field shows.
    """
    rng = np.random.default_rng(seed)
    mean, scale = rng.normal(size=do), rng.uniform(0.5, 3, size=do)
    observations = mean + scale * rng.normal(size=(rows, do))
    next_observations = observations + 0.5 + 0.3 * scale * rng.normal(size=(rows, do))
    return TransitionDataset(
        id="test:random",
        environment=Environment(id="Test-v0", model=""),
        observations=observations.astype(np.float32),
        actions=rng.uniform(-1, 1, size=(rows, da)).astype(np.float32),
        rewards=rng.normal(1, 2, size=rows).astype(np.float32),
        next_observations=next_observations.astype(np.float32),
        terminations=rng.uniform(size=rows) < 0.1,
        episodes=np.arange(rows, dtype=np.int64) // 40,
    )
