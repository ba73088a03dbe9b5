"""Attacks on a surrogate's value inside a box, and those that lower it: obs-adv, act-adv, dyn-adv."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from corruptbench.bars import progress
from corruptbench.corruptions import released
from corruptbench.corruptions.audit import NoiseAudit, audit_value
from corruptbench.corruptions.corruption import FIELDS, Corruption
from corruptbench.corruptions.noise import uniform_noise
from corruptbench.corruptions.pgd import Value, minimise
from corruptbench.numerics import mean_and_std
from corruptbench.registry import CORRUPTIONS
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset

Critic = Callable[[Tensor, Tensor], Tensor]
"""Q(s, a): ``(rows, do)``, ``(rows, da)`` -> ``(rows,)``."""

Policy = Callable[[Tensor], Tensor]
Field = TypeVar("Field", np.ndarray, Tensor)

CHUNK = 4096
"""Rows that are attacked together. It moves the last bits, so it is part of the definition."""


@dataclass(frozen=True)
class ValueAttack(Corruption):
    """Moves the surrogate's value over z, |z|_inf <= scale, where x becomes x + z * std(x), row by row."""

    surrogate: str = ""  # the dataset's own; white-box, or a run of one's own: its folder or id

    needs_surrogate = True
    raises: ClassVar[bool] = False  # whether the value is raised instead of lowered

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        surrogate = self.needed(surrogate, dataset)
        field = FIELDS[self.element]
        clean = getattr(dataset, field)
        std = mean_and_std(clean)[1]
        rows = self.rows(dataset, streams, surrogate)
        touched = np.flatnonzero(rows)
        start = uniform_noise(streams, self.element, "start", clean.shape, self.scale, rows)
        noise = uniform_noise(streams, self.element, "noise", clean.shape, self.scale, rows)

        z = np.empty_like(start, dtype=np.float32)
        before, under_noise, after = (np.empty(len(touched), np.float32) for _ in range(3))
        bar = progress(total=len(touched), unit="row", desc=self.name, leave=False, delay=2)
        for first in range(0, len(touched), CHUNK):
            part = slice(first, first + CHUNK)
            chosen = touched[part]
            x, unit = torch.from_numpy(clean[chosen]), torch.from_numpy(std).float()
            attacked = self.value_of(dataset, chosen, self.critic(surrogate), surrogate.policy)
            best = self.solve(_moved(attacked, x, unit), torch.from_numpy(start[part]).float(), unit)
            z[part] = best.numpy()
            value = self.value_of(dataset, chosen, surrogate.value, surrogate.policy)
            with torch.no_grad():
                before[part] = value(x).numpy()
                under_noise[part] = value(self.clipped(x + torch.from_numpy(noise[part]).float() * unit)).numpy()
                after[part] = value(self.clipped(x + best * unit)).numpy()
            bar.update(len(chosen))
        bar.close()

        changed = np.array(clean)
        changed[touched] = self.clipped(clean[touched] + z * std)
        moved = NoiseAudit(self.scale)
        moved.add(z)
        audit = {**moved.figures(), **audit_value(before, under_noise, after, raises=self.raises)}
        return self.replaced(dataset, field, changed, rows, audit)

    @property
    def radii(self) -> Mapping[str, float]:
        return {FIELDS[self.element]: self.scale}

    def rows(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> np.ndarray:
        """Mask ``(N,)`` of the attacked rows: drawn at random, whatever the surrogate says."""
        return super().rows(dataset, streams)

    def critic(self, surrogate: Surrogate) -> Critic:
        """What is lowered or raised."""
        return surrogate.value

    def solve(self, value: Value, start: Tensor, std: Tensor) -> Tensor:
        """z of every row, ``(rows, d)``; ``std`` is the field's, ``(d,)``."""
        if not self.raises:
            return minimise(value, start, self.scale)
        return minimise(lambda z: -value(z), start, self.scale)

    @abstractmethod
    def value_of(self, dataset: TransitionDataset, rows: np.ndarray, q: Critic, policy: Policy) -> Value:
        """The value as a function of the field: ``(rows, d)`` -> ``(rows,)``."""

    def clipped(self, values: Field) -> Field:
        """Values are not clipped unless the threat model says so; then what the attack found is."""
        return values


def _moved(value: Value, x: Tensor, unit: Tensor) -> Value:
    """The value as a function of z, the distance from ``x`` in standard deviations ``unit``."""
    return lambda z: value(x + z * unit)


@dataclass(frozen=True)
class OnObservations(ValueAttack):
    """Q(s + z * std(s), a)."""

    element = "obs"

    def value_of(self, dataset: TransitionDataset, rows: np.ndarray, q: Critic, policy: Policy) -> Value:
        actions = torch.from_numpy(dataset.actions[rows])
        return lambda s: q(s, actions)


@dataclass(frozen=True)
class OnActions(ValueAttack):
    """Q(s, a + z * std(a))."""

    clip: bool = False  # keep corrupted actions inside [-1, 1]

    element = "act"

    @property
    def radii(self) -> Mapping[str, float]:
        return {} if self.clip else super().radii  # a clean action outside [-1, 1] may move further

    def value_of(self, dataset: TransitionDataset, rows: np.ndarray, q: Critic, policy: Policy) -> Value:
        observations = torch.from_numpy(dataset.observations[rows])
        return lambda a: q(observations, a)

    def clipped(self, values: Field) -> Field:
        return values.clip(-1, 1) if self.clip else values


@dataclass(frozen=True)
class OnDynamics(ValueAttack):
    """Q(s' + z * std(s'), pi(s' + z * std(s')))."""

    element = "dyn"

    def value_of(self, dataset: TransitionDataset, rows: np.ndarray, q: Critic, policy: Policy) -> Value:
        return lambda s: q(s, policy(s))


@dataclass(frozen=True)
class Lowering(ValueAttack):
    """The solver of section 2, or that of a preset."""

    preset: str = ""  # riql2024 or rdt2025: as their published code does it

    mode = "adv"
    presets: ClassVar[tuple[str, ...]] = ("riql2024", "rdt2025")

    @property
    def reads_episodes(self) -> bool:
        return self.preset == "rdt2025"

    def critic(self, surrogate: Surrogate) -> Critic:
        if self.preset == "riql2024":
            return lambda s, a: surrogate.critics(s, a).mean(-1)
        return surrogate.value

    def solve(self, value: Value, start: Tensor, std: Tensor) -> Tensor:
        if self.preset:
            return released.minimise(value, start * std, self.scale)
        return super().solve(value, start, std)


@CORRUPTIONS.register("obs-adv")
@dataclass(frozen=True)
class ObservationAttack(Lowering, OnObservations):
    """Observations moved to lower Q(s + z * std(s), a)."""

    @property
    def fields(self) -> tuple[str, ...]:
        return released.ALONG if self.preset == "rdt2025" else super().fields

    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        corrupted = super().__call__(dataset, streams, surrogate)
        return released.along_trajectories(dataset, corrupted) if self.preset == "rdt2025" else corrupted


@CORRUPTIONS.register("act-adv")
@dataclass(frozen=True)
class ActionAttack(Lowering, OnActions):
    """Actions moved to lower Q(s, a + z * std(a))."""


@CORRUPTIONS.register("dyn-adv")
@dataclass(frozen=True)
class DynamicsAttack(Lowering, OnDynamics):
    """Next observations moved to lower Q(s' + z * std(s'), pi(s' + z * std(s')))."""

    presets = ("riql2024",)
