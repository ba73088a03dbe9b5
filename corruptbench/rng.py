"""Named random streams: every random number of the benchmark is a function of a text.

No global random state is read or written. A stream is PCG64 seeded with the SHA-256 of its name, and its uniforms
are ``(raw >> 11) * 2**-53`` in float64 (``docs/protocol.md`` section 2), so anyone can reproduce the bytes in any
language.
"""

import hashlib

import numpy as np
from numpy.random import PCG64

PROTOCOL = "cb2026"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()


def seed_from(text: str) -> int:
    """The first 4 bytes, big-endian, of the SHA-256 of ``text``: a seed in [0, 2**32)."""
    return int.from_bytes(_digest(text)[:4], "big")


def stream(*parts: object) -> PCG64:
    """The bit generator named ``cb2026/<part>/<part>...``."""
    text = "/".join((PROTOCOL, *(str(part) for part in parts)))
    return PCG64(int.from_bytes(_digest(text), "big"))


def uniforms(bits: PCG64, *shape: int) -> np.ndarray:
    """The next uniforms in [0, 1) of a stream, float64, in C order of ``shape``."""
    raw = bits.random_raw(int(np.prod(shape, dtype=np.int64)))
    return ((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)


def unit_seeds(unit: int) -> tuple[int, int]:
    """Training seed and corruption seed of a unit (section 5)."""
    return seed_from(f"{PROTOCOL}/unit/{unit}/train"), seed_from(f"{PROTOCOL}/unit/{unit}/corruption")


def episode_seeds(count: int) -> list[int]:
    """The reset seeds of evaluation episodes 0 to ``count`` - 1, equal for all runs (section 4)."""
    return [seed_from(f"{PROTOCOL}/episode/{episode}") for episode in range(count)]


def batch_indices(seed: int, step: int, size: int, rows: int) -> np.ndarray:
    """Row numbers of the batch of ``step``, ``(size,)`` int64, drawn with replacement from ``rows``.

    A function of (seed, step) alone, so a resumed run sees the batches it would have seen.
    """
    return (uniforms(stream(seed, "batch", step), size) * rows).astype(np.int64)


def normals(seed: int, objective: str, update: int, size: int) -> np.ndarray:
    """Standard normals for an update of an objective, ``(size,)`` float32, a function of (seed, objective, update).

    By numpy's own method, which is fast; so another numpy may give others.
    """
    bits = stream(seed, "normals", objective, update)
    return np.random.Generator(bits).standard_normal(size, dtype=np.float32)
