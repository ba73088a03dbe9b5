"""What a corruption did, measured (section 2, Audit). Figures are plain floats, for JSON."""

import numpy as np

from corruptbench.numerics import mean_and_std


class NoiseAudit:
    """How far touched rows moved, in standard deviations: z comes in pieces ``(rows, d)``, ``scale`` bounds it."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.coordinates = self.unmoved = self.at_bound = 0
        self.largest = 0.0

    def add(self, z: np.ndarray) -> None:
        size = np.abs(z)
        self.coordinates += size.size
        self.largest = max(self.largest, float(size.max(initial=0.0)))
        self.unmoved += int((size < 0.05 * self.scale).sum())
        self.at_bound += int((size > 0.95 * self.scale).sum())

    def figures(self) -> dict[str, float]:
        """Largest |z|, share of coordinates under 0.05 and over 0.95 of the radius."""
        count = max(self.coordinates, 1)
        return {"largest_z": self.largest, "unmoved": self.unmoved / count, "at_bound": self.at_bound / count}


def audit_reward(clean: np.ndarray, values: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Mean |change| / std(r) over the touched rows; 0 where nothing is touched or the reward is constant."""
    std = float(mean_and_std(clean)[1])
    change = np.abs(values[rows] - clean[rows])
    return {"mean_change": float(change.mean() / std) if len(change) and std else 0.0}


def audit_value(
    before: np.ndarray, under_noise: np.ndarray, after: np.ndarray, *, raises: bool = False
) -> dict[str, float | bool]:
    """The surrogate's mean value over the touched rows: clean, under random noise of the same budget, attacked.

    ``surrogate_weak`` is raised where the attack lowers the value less than the noise does, or, of an attack that
    ``raises`` it, raises it less.
    """
    figures = [float(v.mean(dtype=np.float64)) if len(v) else 0.0 for v in (before, under_noise, after)]
    return {
        "value_before": figures[0],
        "value_under_noise": figures[1],
        "value_after": figures[2],
        "surrogate_weak": figures[2] < figures[1] if raises else figures[2] > figures[1],
    }
