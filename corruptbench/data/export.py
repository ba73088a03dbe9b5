"""Writes datasets as files that any other library reads: HDF5 in D4RL's keys, with every next observation."""

import io
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from corruptbench.data.rows import Rows
from corruptbench.environments import Space
from corruptbench.errors import ResourceError
from corruptbench.store import sha256_file, write_file
from corruptbench.types import Corrupted


def fields_of(rows: Rows) -> dict[str, np.ndarray]:
    """D4RL's keys: a row is a step, and an episode's last one is a timeout where it is no terminal.

    So what is read back as a ``file:`` has the same rows, and the episodes are where they were.
    """
    last = np.ones(len(rows), bool)
    last[:-1] = rows.episodes[1:] != rows.episodes[:-1]
    return {
        "observations": rows.observations,
        "actions": rows.actions,
        "rewards": rows.rewards,
        "next_observations": rows.next_observations,
        "terminals": rows.terminations,
        "timeouts": last & ~rows.terminations,
    }


def rows_of_corrupted(corrupted: Corrupted, clean: Rows, box: Space) -> Rows:
    """The rows of corrupted data with actions in the environment's own units: those of ``clean`` where untouched."""
    dataset, actions = corrupted.dataset, corrupted.dataset.actions
    if not box.is_unit:
        touched = corrupted.masks.get("actions", np.zeros(len(clean), bool))
        actions = np.where(touched[:, None], box.from_unit(actions), clean.actions)
    return Rows(
        observations=dataset.observations,
        actions=actions,
        rewards=dataset.rewards,
        next_observations=dataset.next_observations,
        terminations=dataset.terminations,
        episodes=dataset.episodes,
    )


def write_hdf5(path: Path, fields: Mapping[str, np.ndarray]) -> str:
    """Writes whole or not at all, with ``<file>.sha256`` beside it; returns the SHA-256.

    Raises ResourceError with path and bytes.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    size = sum(values.nbytes for values in fields.values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(temporary, "w") as file:
            for name, values in fields.items():
                file.create_dataset(name, data=values)
        digest = sha256_file(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise ResourceError(f"{path}: {size} bytes could not be written: {' '.join(str(error).split())}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    write_file(path.with_name(f"{path.name}.sha256"), f"{digest}  {path.name}\n".encode())
    return digest


def masks_npz(masks: Mapping[str, np.ndarray]) -> bytes:
    """The masks of touched rows as the bytes of an ``.npz``, the same bytes for the same masks."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: masks[name] for name in sorted(masks)})  # type: ignore[arg-type]
    return buffer.getvalue()
