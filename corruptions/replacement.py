"""What corruptions have in common that put other values in the place of the clean ones, whatever those were."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from corruptbench.corruptions.audit import NoiseAudit, audit_reward
from corruptbench.corruptions.corruption import FIELDS, Corruption
from corruptbench.numerics import mean_and_std
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset


@dataclass(frozen=True)
class Replacement(Corruption):
    """The touched rows get other values. There is no scale: what is lost is lost."""

    scaled = False

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        field = FIELDS[self.element]
        clean = getattr(dataset, field)
        rows = self.rows(dataset, streams)
        changed = np.array(clean)
        changed[rows] = self.values(clean, rows, streams)
        if self.element == "rew":
            return self.replaced(dataset, field, changed, rows, audit_reward(clean, changed, rows))
        std = mean_and_std(clean)[1]
        moved = NoiseAudit(self.scale)
        moved.add((changed[rows].astype(np.float64) - clean[rows]) / np.where(std > 0, std, 1))
        return self.replaced(dataset, field, changed, rows, moved.figures())

    @abstractmethod
    def values(self, clean: np.ndarray, rows: np.ndarray, streams: Streams) -> np.ndarray:
        """What the masked rows get, ``(touched, ...)``, from the clean field ``(N, ...)``."""
