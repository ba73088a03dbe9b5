"""Checkpoints of long work: what was killed goes on from the last, and ends in the bytes it would have ended in."""

import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from corruptbench.errors import IntegrityError, UsageError
from corruptbench.store import canonical, check_manifest, parse_json, pretty, publish, read_json, remove

log = logging.getLogger(__name__)

KEPT = 2
"""The newest may be damaged by a failing disk; then there is one before it."""


@dataclass(frozen=True)
class Checkpoint:
    """All that the work is between two of its steps."""

    step: int
    arrays: Mapping[str, np.ndarray]
    notes: Mapping[str, Any]  # what else there is, as JSON


@dataclass(frozen=True)
class Checkpoints:
    """The folders ``step-<number>`` of one piece of work below ``folder``, each whole or absent, the last two kept.

    What the bytes of the work depend on is its ``identity``. Another's checkpoint is an error, or with ``anew`` passed
    over and removed.
    """

    folder: Path
    every: int  # steps
    anew: bool = False

    def due(self, step: int) -> int:
        """The step from which on the next one is made, after ``step`` steps."""
        return (step // self.every + 1) * self.every

    def save(self, checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
        """Publishes it and drops those before the last two; raises ResourceError where it cannot."""

        def write(folder: Path) -> None:
            arrays = {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()}
            (folder / "arrays.safetensors").write_bytes(save(arrays))
            (folder / "state.json").write_text(pretty({"identity": identity, "notes": checkpoint.notes}))

        path = self.folder / f"step-{checkpoint.step}"
        publish(path, write, replace=True)  # one that is there already is a damaged one
        for old in self._all()[KEPT:]:
            _drop(old)

    def newest(self, identity: Mapping[str, Any]) -> Checkpoint | None:
        """The newest one that is not damaged, None where there is none.

        Raises UsageError, naming the first difference, where it is another's and that is an error.
        """
        for path in self._all():
            try:
                found, checkpoint = _read(path)
            except IntegrityError as error:
                log.warning("a damaged checkpoint is passed over: %s", error)
                continue
            difference = _difference(found, identity)
            if difference is None:
                log.info("goes on from the checkpoint %s", path)
                return checkpoint
            other = f"{self.folder} holds a checkpoint made with {difference}"
            if not self.anew:
                raise UsageError(f"{other}: go on with what made it, or remove {self.folder} to begin anew")
            log.warning("%s, which may give other bytes: it is removed", other)
            _drop(path)
        return None

    def remove(self) -> None:
        """Removes them, what a killed process left of one, and the folder if nothing else is in it."""
        for path in self._all():
            _drop(path)
        for path in self.folder.glob(".step-*"):
            remove(path)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _all(self) -> list[Path]:
        """Newest first."""
        paths = [path for path in self.folder.glob("step-*") if path.name.removeprefix("step-").isdecimal()]
        return sorted(paths, key=lambda path: -int(path.name.removeprefix("step-")))


def _read(folder: Path) -> tuple[dict[str, Any], Checkpoint]:
    """Identity and content; raises IntegrityError for a folder that is not as it was written."""
    check_manifest(folder)
    content = read_json(folder / "state.json")
    try:
        arrays = load_file(folder / "arrays.safetensors")
        step = int(folder.name.removeprefix("step-"))
        return content["identity"], Checkpoint(step, arrays, content["notes"])
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder}: not readable as a checkpoint: {error}") from error


def _difference(found: Mapping[str, Any], identity: Mapping[str, Any]) -> str | None:
    """The first thing that is not the same, in words."""
    made, asked = _flat(found), _flat(parse_json(canonical(identity)))  # a tuple becomes a list on its way
    for key in sorted(made.keys() | asked.keys()):
        if made.get(key) != asked.get(key):
            return f"{key} {made.get(key)!r}, and this command has {asked.get(key)!r}"
    return None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _drop(folder: Path) -> None:
    """Out of sight first: what a kill leaves half removed is no checkpoint."""
    hidden = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    os.rename(folder, hidden)
    remove(hidden)
