"""What a corruption is made of (section 2)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from corruptbench.errors import UsageError, nearest
from corruptbench.types import Corrupted, Streams, Surrogate, TransitionDataset

PRESETS = ("riql2024", "rdt2025")
"""Published attacks that some threat models repeat."""

FIELDS = {"obs": "observations", "act": "actions", "rew": "rewards", "dyn": "next_observations"}
"""Element -> the dataset's field that it touches."""


@dataclass(frozen=True)
class Corruption(ABC):
    """A threat model. Calling it returns a :class:`Corrupted` and touches nothing else.

    Raises UsageError for a rate outside [0, 1] and a scale that is not above 0.
    """

    rate: float = 0.3  # c, the share of rows that are touched
    scale: float = 1.0  # epsilon, the radius in standard deviations of the clean field

    name: ClassVar[str]
    element: ClassVar[str]  # obs, act, rew, dyn, mix, or a word of your own
    mode: ClassVar[str]  # random, adv, or another adversary's word
    needs_surrogate: ClassVar[bool] = False
    scaled: ClassVar[bool] = True  # whether scale means anything
    rated: ClassVar[bool] = True  # whether rate is the share of rows that a mask names, but for the luck of the draw
    presets: ClassVar[tuple[str, ...]] = ()  # what a field called preset may say

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise UsageError(f"{self.name}: rate is {self.rate}, allowed is 0 to 1")
        if not 0 < self.scale < float("inf"):
            raise UsageError(f"{self.name}: scale is {self.scale}, allowed is any number above 0")
        if not self.scaled and self.scale != 1:
            raise UsageError(f"{self.name} has no scale: scale is {self.scale}, allowed is 1")
        preset = getattr(self, "preset", "")
        if self.presets and preset and preset not in self.presets:
            allowed = f"{'is' if len(self.presets) == 1 else 'are'} {' and '.join(self.presets)}"
            hint = nearest(preset, self.presets) if preset not in PRESETS else ""
            raise UsageError(f"{self.name}: preset is {preset!r}, allowed {allowed}{hint}")

    @abstractmethod
    def __call__(self, dataset: TransitionDataset, streams: Streams, surrogate: Surrogate | None = None) -> Corrupted:
        """The corrupted dataset, the masks of touched rows, the audit."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The dataset's fields that may change: the element's own, and all four where it is a word of your own."""
        return (FIELDS[self.element],) if self.element in FIELDS else tuple(FIELDS.values())

    @property
    def radii(self) -> Mapping[str, float]:
        """Field -> the largest |z| of its rows, in standard deviations of the clean field, where there is a bound."""
        return {}

    @property
    def reads_episodes(self) -> bool:
        """Whether the result depends on where episodes end, which the dataset's content hash does not tell."""
        return False

    def rows(self, dataset: TransitionDataset, streams: Streams) -> np.ndarray:
        """Mask ``(N,)`` of the rows with u_i < rate. Rows of a lower rate are among those of a higher one."""
        return streams.uniforms(self.element, "rows", len(dataset)) < self.rate

    def needed(self, surrogate: Surrogate | None, dataset: TransitionDataset) -> Surrogate:
        """The surrogate of an attack; raises UsageError where there is none."""
        if surrogate is None:
            raise UsageError(f"{self.name} needs a surrogate, and dataset {dataset.id!r} came with none")
        return surrogate

    def corrupted(
        self, dataset: TransitionDataset, field: str, values: np.ndarray, rows: np.ndarray, audit: Mapping[str, Any]
    ) -> Corrupted:
        """``dataset`` with ``values`` (all rows) in ``field`` on the masked rows, rounded once to float32."""
        changed = np.array(getattr(dataset, field))
        changed[rows] = values[rows]
        return self.replaced(dataset, field, changed, rows, audit)

    def replaced(
        self, dataset: TransitionDataset, field: str, changed: np.ndarray, rows: np.ndarray, audit: Mapping[str, Any]
    ) -> Corrupted:
        """``dataset`` with ``changed`` in the place of ``field``, which differs on the masked rows alone."""
        audit = {"rate": float(rows.mean()) if len(rows) else 0.0, **audit}
        return Corrupted(dataset.replace(**{field: changed}), {field: rows}, {self.element: audit})
