"""What determines a result, and nothing else: a run's spec, its JSON and its id."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

from corruptbench.rng import PROTOCOL
from corruptbench.store import canonical
from corruptbench.types import Environment

DEFAULT_STEPS = 50_000
"""Training steps of a run; how they were chosen stands in ``docs/learning.md``."""


@dataclass(frozen=True)
class CorruptionSpec:
    """A threat model, with the hashes of what it was computed with."""

    name: str
    rate: float
    scale: float
    options: dict[str, Any] = field(default_factory=dict)  # its other fields, where they differ from their defaults
    surrogate_sha256: str | None = None
    source_sha256: str | None = None  # of a plug-in's file


@dataclass(frozen=True)
class AlgorithmSpec:
    name: str
    options: dict[str, Any]  # the fields of its dataclass, modifiers only where they are set
    source_sha256: str | None = None  # of a plug-in's file


@dataclass(frozen=True)
class OptimizerSpec:
    name: str
    on: tuple[str, ...]  # objectives it applies to
    rho: float  # 0 for one without a radius
    options: dict[str, Any] = field(default_factory=dict)  # all its other settings


@dataclass(frozen=True)
class RunSpec:
    """Algorithm, optimizer, cell and unit. Threads, device, paths and logging are not in it."""

    dataset: str
    dataset_sha256: str
    environment: Environment
    corruption: CorruptionSpec
    algorithm: AlgorithmSpec
    optimizer: OptimizerSpec
    track: str  # universal or oracle settings
    unit: int | None  # None for seeds of the user's own
    train_seed: int
    corruption_seed: int
    steps: int
    protocol: str = PROTOCOL

    def to_json(self) -> dict[str, Any]:
        """As JSON; an optimizer without settings of its own says nothing of them, as it did before there were any."""
        value = dataclasses.asdict(self)
        if not self.optimizer.options:
            del value["optimizer"]["options"]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunSpec":
        """The inverse of :meth:`to_json`; raises TypeError for unknown or missing fields."""
        optimizer = value["optimizer"]
        return cls(
            **{
                **value,
                "environment": Environment(**value["environment"]),
                "corruption": CorruptionSpec(**value["corruption"]),
                "algorithm": AlgorithmSpec(**value["algorithm"]),
                "optimizer": OptimizerSpec(**{**optimizer, "on": tuple(optimizer["on"])}),
            }
        )

    @property
    def run_id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the spec's canonical JSON."""
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()[:16]
