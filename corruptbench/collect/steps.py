"""The steps of a collection: as they are recorded, which of them are kept, and the file they are kept in.

One line a step; ``final`` is stored once an episode::

    observations  s0  s1  s2 |  s0  s1 ...        terminals  0  0  1 | 0  0 ...   the Markov chain ended
    actions       a0  a1  a2 |  a0  a1 ...        timeouts   0  0  0 | 0  1 ...   only the clock ran out
    rewards       r0  r1  r2 |  r0  r1 ...        final      s3      | ...        what the last action led to
"""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

FIELDS = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")


class Replay:
    """A growing record of steps in float32; ``actions`` are in the environment's own units."""

    def __init__(self, observation_dim: int, action_dim: int, capacity: int) -> None:
        self.size = 0
        self.observations = np.zeros((capacity, observation_dim), np.float32)
        self.actions = np.zeros((capacity, action_dim), np.float32)
        self.rewards = np.zeros(capacity, np.float32)
        self.next_observations = np.zeros((capacity, observation_dim), np.float32)
        self.terminals = np.zeros(capacity, bool)
        self.timeouts = np.zeros(capacity, bool)

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: float,
        next_observation: np.ndarray,
        terminal: bool,
        timeout: bool,
    ) -> None:
        """Records one step: ``(do,)``, ``(da,)``, a number, ``(do,)`` and how the episode ended, if it did."""
        i = self.size
        self.observations[i], self.actions[i], self.rewards[i] = observation, action, reward
        self.next_observations[i], self.terminals[i], self.timeouts[i] = next_observation, terminal, timeout
        self.size += 1

    def recorded(self) -> dict[str, np.ndarray]:
        """The fields without the room that is left over, ``(size, ...)`` each."""
        return {name: getattr(self, name)[: self.size] for name in FIELDS}

    def restore(self, recorded: Mapping[str, np.ndarray]) -> None:
        """Takes over what :meth:`recorded` gave."""
        self.size = len(recorded["rewards"])
        for name in FIELDS:
            getattr(self, name)[: self.size] = recorded[name]


def episodes_kept(replay: Replay, transitions: int) -> np.ndarray:
    """Mask ``(steps,)`` of whole episodes drawn evenly over the course of training, ``transitions`` or a little more.

    An episode is kept where what is kept so far is less than its share of what was seen so far.
    """
    n = replay.size
    share = min(1.0, transitions / n)
    kept = np.zeros(n, bool)
    count = start = 0
    for end in (np.flatnonzero(replay.terminals[:n] | replay.timeouts[:n]) + 1).tolist():
        if count < share * end:
            kept[start:end] = True
            count += end - start
        start = end
    return kept


def write_hdf5(path: Path, replay: Replay, kept: np.ndarray) -> None:
    """The kept steps in D4RL's keys, with ``final_observations``, one row an episode, in order."""
    n = replay.size
    ends = (replay.terminals[:n] | replay.timeouts[:n]) & kept
    with h5py.File(path, "w") as file:
        for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
            values = getattr(replay, name)[:n][kept]
            file.create_dataset(name, data=values, compression="gzip", compression_opts=9, shuffle=True)
        finals = replay.next_observations[:n][ends]
        file.create_dataset("final_observations", data=finals, compression="gzip", compression_opts=9, shuffle=True)
