"""The data that travels through the benchmark: datasets, corrupted datasets, batches, surrogates."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from corruptbench.numerics import chunks
from corruptbench.rng import stream, uniforms

if TYPE_CHECKING:
    from torch import Tensor

HASHED = ("observations", "actions", "rewards", "next_observations", "terminations")


@dataclass(frozen=True)
class Environment:
    """Where a policy is evaluated; all of it moves scores, so all of it is part of a result (section 4)."""

    id: str  # of Gymnasium, "Hopper-v5"
    model: str  # MuJoCo model file, "" where the environment is not MuJoCo's
    contact_margin: float = 1.0  # factor on the model's geom margins
    reference_min: float | None = None  # return of normalized score 0
    reference_max: float | None = None  # return of normalized score 100
    references_supplied: bool = False  # by the user, not by D4RL's table

    def normalized(self, mean_return: float) -> float | None:
        """100 (return - min) / (max - min), or None without references."""
        if self.reference_min is None or self.reference_max is None:
            return None
        return 100 * (mean_return - self.reference_min) / (self.reference_max - self.reference_min)


@dataclass(frozen=True, eq=False)
class TransitionDataset:
    """N transitions (s, a, r, s', d), read-only; no row crosses an episode boundary (section 1).

    Use :meth:`replace` to make a changed copy.
    """

    id: str
    environment: Environment
    observations: np.ndarray  # (N, do) float32
    actions: np.ndarray  # (N, da) float32, rescaled from the environment's box to [-1, 1]
    rewards: np.ndarray  # (N,) float32
    next_observations: np.ndarray  # (N, do) float32
    terminations: np.ndarray  # (N,) bool, the Markov chain ended; a time limit does not end it
    episodes: np.ndarray  # (N,) int64, the number of the episode a row belongs to
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*HASHED, "episodes"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.rewards)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={getattr(self, name).shape}" for name in HASHED)
        return f"TransitionDataset({self.id!r}, {self.environment.id}, {shapes})"

    @property
    def nbytes(self) -> int:
        """Bytes of the five fields."""
        return sum(getattr(self, name).nbytes for name in HASHED)

    def replace(self, **fields: Any) -> "TransitionDataset":
        """A new dataset with some fields exchanged."""
        return replace(self, **fields)

    @cached_property
    def sha256(self) -> str:
        """Content hash of section 2: each field's line ``name dtype shape`` and its little-endian C-order bytes.

        The line is ASCII and ends in a newline, the shape is written ``100000x11``.
        """
        digest = hashlib.sha256()
        for name in HASHED:
            values = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {values.dtype.name} {'x'.join(map(str, values.shape))}\n".encode("ascii"))
            digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Corrupted:
    """What a corruption returns. The masks never reach a learner."""

    dataset: TransitionDataset
    masks: Mapping[str, np.ndarray]  # field -> (N,) bool, the rows that were touched
    audit: Mapping[str, Any]  # element -> figures of section 2

    def arrays(self) -> dict[str, np.ndarray]:
        """Each mask as ``masks.<field>`` and each field that has one: all that a file need hold beside the audit."""
        found = {f"masks.{field}": mask for field, mask in self.masks.items()}
        found |= {field: getattr(self.dataset, field) for field in self.masks}
        return {name: np.ascontiguousarray(values) for name, values in found.items()}

    @classmethod
    def of_arrays(
        cls, clean: TransitionDataset, arrays: Mapping[str, np.ndarray], audit: Mapping[str, Any]
    ) -> "Corrupted":
        """The inverse of :meth:`arrays`, on the dataset that was corrupted."""
        masks = {name.removeprefix("masks."): arrays[name] for name in sorted(arrays) if name.startswith("masks.")}
        return cls(clean.replace(**{field: arrays[field] for field in HASHED if field in arrays}), masks, audit)


@dataclass(frozen=True)
class Streams:
    """The named random streams of one corruption seed."""

    seed: int

    def uniforms(self, element: str, purpose: str, *shape: int) -> np.ndarray:
        """Uniforms in [0, 1), float64, of ``cb2026/<seed>/<element>/<purpose>`` from its start."""
        return uniforms(stream(self.seed, element, purpose), *shape)

    def uniform_blocks(self, element: str, purpose: str, *shape: int) -> Iterator[tuple[slice, np.ndarray]]:
        """The same uniforms some rows at a time, with the rows they belong to."""
        bits = stream(self.seed, element, purpose)
        for part in chunks(shape[0]):
            yield part, uniforms(bits, part.stop - part.start, *shape[1:])


class Surrogate(Protocol):
    """The model that an attack is computed against, on raw observations; it normalises them itself."""

    @property
    def sha256(self) -> str:
        """Of the file its weights came from."""

    def critics(self, observations: "Tensor", actions: "Tensor") -> "Tensor":
        """Each critic's value: ``(batch, do)``, ``(batch, da)`` -> ``(batch, K)``."""

    def value(self, observations: "Tensor", actions: "Tensor") -> "Tensor":
        """Q of section 2, of IQL the minimum of the critics: ``(batch, do)``, ``(batch, da)`` -> ``(batch,)``."""

    def policy(self, observations: "Tensor") -> "Tensor":
        """The actor's actions: ``(batch, do)`` -> ``(batch, da)``."""


class Batch(NamedTuple):
    """Rows for one training step; observations are normalised. Leading axes before ``batch`` are free."""

    observations: "Tensor"  # (batch, do)
    actions: "Tensor"  # (batch, da), in [-1, 1] unless corrupted
    rewards: "Tensor"  # (batch,)
    next_observations: "Tensor"  # (batch, do)
    terminations: "Tensor"  # (batch,), 1 where the Markov chain ended
