"""Attacks that lower a surrogate's value inside a box: obs-adv, act-adv, dyn-adv."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from corruptbench.corruptions.audit import NoiseAudit, audit_value
from corruptbench.corruptions.corruption import FIELDS, Corruption
from corruptbench.corruptions.noise import uniform_noise
from corruptbench.corruptions.pgd import minimise
from corruptbench.numerics import mean_and_std
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset

Value = Callable[[Tensor], Tensor]
Field = TypeVar("Field", np.ndarray, Tensor)

CHUNK = 4096
"""Rows that are attacked together. It moves the last bits, so it is part of the definition."""


@dataclass(frozen=True)
class ValueAttack(Corruption):
    """Minimises the surrogate's value over z, |z|_inf <= scale, where x becomes x + z * std(x), row by row."""

    mode = "adv"
    needs_surrogate = True

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        surrogate = self.needed(surrogate, dataset)
        field = FIELDS[self.element]
        clean = getattr(dataset, field)
        std = mean_and_std(clean)[1]
        rows = self.rows(dataset, streams)
        touched = np.flatnonzero(rows)
        start = uniform_noise(streams, self.element, "start", clean.shape, self.scale, rows)
        noise = uniform_noise(streams, self.element, "noise", clean.shape, self.scale, rows)

        z = np.empty_like(start, dtype=np.float32)
        before, under_noise, after = (np.empty(len(touched), np.float32) for _ in range(3))
        for first in range(0, len(touched), CHUNK):
            part = slice(first, first + CHUNK)
            value = self.value_of(dataset, touched[part], surrogate)
            x, unit = torch.from_numpy(clean[touched[part]]), torch.from_numpy(std).float()
            best = minimise(_moved(value, x, unit), torch.from_numpy(start[part]).float(), self.scale)
            z[part] = best.numpy()
            with torch.no_grad():
                before[part] = value(x).numpy()
                under_noise[part] = value(self.clipped(x + torch.from_numpy(noise[part]).float() * unit)).numpy()
                after[part] = value(self.clipped(x + best * unit)).numpy()

        changed = np.array(clean)
        changed[touched] = self.clipped(clean[touched] + z * std)
        moved = NoiseAudit(self.scale)
        moved.add(z)
        audit = {**moved.figures(), **audit_value(before, under_noise, after)}
        return self.replaced(dataset, field, changed, rows, audit)

    @abstractmethod
    def value_of(self, dataset: TransitionDataset, rows: np.ndarray, surrogate: Surrogate) -> Value:
        """The attacked value as a function of the field: ``(rows, d)`` -> ``(rows,)``."""

    def clipped(self, values: Field) -> Field:
        """Values are not clipped unless the threat model says so; then what the attack found is."""
        return values


def _moved(value: Value, x: Tensor, unit: Tensor) -> Value:
    """The value as a function of z, the distance from ``x`` in standard deviations ``unit``."""
    return lambda z: value(x + z * unit)


@CORRUPTIONS.register("obs-adv")
@dataclass(frozen=True)
class ObservationAttack(ValueAttack):
    """Observations moved to lower Q(s + z * std(s), a)."""

    element = "obs"

    def value_of(self, dataset: TransitionDataset, rows: np.ndarray, surrogate: Surrogate) -> Value:
        actions = torch.from_numpy(dataset.actions[rows])
        return lambda s: surrogate.value(s, actions)


@CORRUPTIONS.register("act-adv")
@dataclass(frozen=True)
class ActionAttack(ValueAttack):
    """Actions moved to lower Q(s, a + z * std(a))."""

    clip: bool = False  # keep corrupted actions inside [-1, 1]

    element = "act"

    def value_of(self, dataset: TransitionDataset, rows: np.ndarray, surrogate: Surrogate) -> Value:
        observations = torch.from_numpy(dataset.observations[rows])
        return lambda a: surrogate.value(observations, a)

    def clipped(self, values: Field) -> Field:
        return values.clip(-1, 1) if self.clip else values


@CORRUPTIONS.register("dyn-adv")
@dataclass(frozen=True)
class DynamicsAttack(ValueAttack):
    """Next observations moved to lower Q(s' + z * std(s'), pi(s' + z * std(s')))."""

    element = "dyn"

    def value_of(self, dataset: TransitionDataset, rows: np.ndarray, surrogate: Surrogate) -> Value:
        return lambda s: surrogate.value(s, surrogate.policy(s))
