"""What the presets riql2024 and rdt2025 keep of the published attacks (section 2): their solver, their trajectories."""

import numpy as np
import torch
from torch import Tensor

from corruptbench.corruptions.pgd import Value
from corruptbench.types import Corrupted, TransitionDataset

STEPS = 100
STRIDE = 0.01  # of the radius

ALONG = ("observations", "next_observations")
"""The fields that states along trajectories stand in."""


def minimise(value: Value, start: Tensor, radius: float, steps: int = STEPS) -> Tensor:
    """The last iterate of z <- clip(z - 0.01 radius sign(grad), -radius, radius), all rows ``(rows, d)`` at once.

    The released loop makes a fresh Adam for every step, whose first step is its learning rate times the gradient's sign
    (arXiv 2310.12955 as released). The way is one radius long, so it cannot cross the box. ``start`` may lie outside.
    """
    z = start
    for _ in range(steps):
        z = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(value(z).sum(), z)
        z = (z.detach() - STRIDE * radius * gradient.sign()).clamp(-radius, radius)
    return z.detach()


def along_trajectories(clean: TransitionDataset, corrupted: Corrupted) -> Corrupted:
    """Corrupted states are also the s' of the rows before them (arXiv 2407.04285 corrupts trajectories).

    A row before is one of the same episode that leads to the state; an episode's final observation stays clean.
    """
    rows = corrupted.masks["observations"]
    before = np.zeros(len(clean), bool)
    before[:-1] = rows[1:] & (clean.episodes[1:] == clean.episodes[:-1])
    before[:-1] &= (clean.next_observations[:-1] == clean.observations[1:]).all(1)
    following = np.array(clean.next_observations)
    following[before] = corrupted.dataset.observations[np.flatnonzero(before) + 1]
    return Corrupted(
        corrupted.dataset.replace(next_observations=following),
        {**corrupted.masks, "next_observations": before},
        corrupted.audit,
    )
