"""Checkpoints of a collection: a killed one goes on from the last, and ends in the bytes it would have ended in.

They are made between two episodes, so of the environment nothing is needed but its random generator.
"""

import logging
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from corruptbench.collect.config import Evaluation
from corruptbench.errors import IntegrityError, UsageError
from corruptbench.store import canonical, check_manifest, parse_json, pretty, publish, read_json

log = logging.getLogger(__name__)

KEPT = 2
"""The newest may be damaged by a failing disk; then there is one before it."""


@dataclass(frozen=True)
class State:
    """All that a collection is between two episodes."""

    arrays: Mapping[str, np.ndarray]  # recorded steps, and what was learned, by name
    evaluations: list[Evaluation]
    exploration: dict[str, Any]  # state of the PCG64 of the actions and the learner's noise
    environment: dict[str, Any]  # state of the environment's PCG64 before the next reset


@dataclass(frozen=True)
class Checkpoints:
    """The folders ``step-<number>`` of one collection below ``folder``, each whole or absent, the last two kept."""

    folder: Path
    every: int = 25_000  # environment steps; one is made at the first end of an episode from there on

    def due(self, step: int) -> int:
        """The step from which on the next one is made, after ``step`` steps."""
        return (step // self.every + 1) * self.every

    def save(self, step: int, identity: Mapping[str, Any], state: State) -> None:
        """Publishes the one of ``step`` and drops those before the last two; raises ResourceError where it cannot."""
        content = {
            "identity": identity,
            "evaluations": state.evaluations,
            "exploration": state.exploration,
            "environment": state.environment,
        }

        def write(folder: Path) -> None:
            save_file({name: np.ascontiguousarray(array) for name, array in state.arrays.items()}, folder / "arrays.st")
            (folder / "state.json").write_text(pretty(content))

        publish(self.folder / f"step-{step}", write, replace=True)  # one that is there already is a damaged one
        for path in self._all()[KEPT:]:
            _drop(path)

    def newest(self, identity: Mapping[str, Any]) -> State | None:
        """The newest one that is not damaged, None where there is none.

        ``identity`` is what the bytes of the collection depend on. Raises UsageError, naming the first difference,
        where the checkpoint is another collection's.
        """
        for path in self._all():
            try:
                found, state = _read(path)
            except IntegrityError as error:
                log.warning("a damaged checkpoint is passed over: %s", error)
                continue
            self._check(found, identity)
            log.info("goes on from the checkpoint %s", path)
            return state
        return None

    def remove(self) -> None:
        """Removes them, what a killed process left of one, and the folder if nothing else is in it."""
        for path in [*self._all(), *self.folder.glob(".step-*")]:
            shutil.rmtree(path, ignore_errors=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _all(self) -> list[Path]:
        """Newest first."""
        paths = [path for path in self.folder.glob("step-*") if path.name.removeprefix("step-").isdecimal()]
        return sorted(paths, key=lambda path: -int(path.name.removeprefix("step-")))

    def _check(self, found: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        made, asked = _flat(found), _flat(parse_json(canonical(identity)))  # a tuple becomes a list on its way
        for key in sorted(made.keys() | asked.keys()):
            if made.get(key) != asked.get(key):
                raise UsageError(
                    f"{self.folder} holds a checkpoint made with {key} {made.get(key)!r}, and this command has "
                    f"{asked.get(key)!r}: repeat the command that made it, or remove {self.folder} to begin anew"
                )


def _read(folder: Path) -> tuple[dict[str, Any], State]:
    """Identity and state; raises IntegrityError for a folder that is not as it was written."""
    check_manifest(folder)
    content = read_json(folder / "state.json")
    try:
        evaluations = [Evaluation(*values) for values in content["evaluations"]]
        arrays = load_file(folder / "arrays.st")
        return content["identity"], State(arrays, evaluations, content["exploration"], content["environment"])
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise IntegrityError(f"{folder}: not readable as a checkpoint: {error}") from error


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
    shutil.rmtree(hidden, ignore_errors=True)
