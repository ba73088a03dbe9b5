"""A dataset as training reads it: one row of one array holds a whole transition, so that a batch is one gather."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from corruptbench.rng import stream, uniforms
from corruptbench.types import Batch

MEASURED_ROWS = 4096
"""How many rows losses are measured on where nothing else is said."""


def measured_rows(count: int, rows: int) -> np.ndarray:
    """The rows of a dataset with ``count`` that losses are measured on, ``(rows,)`` int64, drawn with replacement.

    They are the same for every run on it, and for its corrupted versions.
    """
    return (uniforms(stream("sharpness", "rows"), rows) * count).astype(np.int64)


@dataclass(frozen=True)
class Table:
    """``values`` ``(N, 2 do + da + 2)``: s, a, r, s', d side by side."""

    values: Tensor
    observation_dim: int
    action_dim: int

    @classmethod
    def of(cls, rows: Batch) -> "Table":
        columns = (rows.observations, rows.actions, rows.rewards[:, None], rows.next_observations)
        values = torch.cat([*columns, rows.terminations[:, None]], -1)
        return cls(values, rows.observations.shape[1], rows.actions.shape[1])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def rows(self) -> Batch:
        """All of it."""
        return self.split(self.values)

    def batch(self, indices: Tensor) -> Batch:
        """The rows ``indices``, ``(batch,)`` int64."""
        return self.split(self.values.index_select(0, indices))

    def split(self, values: Tensor) -> Batch:
        """The fields of rows, ``(..., batch, 2 do + da + 2)``."""
        widths = (self.observation_dim, self.action_dim, 1, self.observation_dim, 1)
        s, a, r, following, d = values.split(widths, -1)
        return Batch(s, a, r.squeeze(-1), following, d.squeeze(-1))
