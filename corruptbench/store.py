"""Files that are either whole or absent: canonical JSON, atomic files, folders published by one rename."""

import contextlib
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corruptbench.errors import IntegrityError, ResourceError

MANIFEST = "manifest.json"

LARGEST_JSON = 1 << 20
"""Characters of a JSON text: records have some thousand, and reading so many takes less than a second."""
_DEEPEST_JSON = 64
_LONGEST_INTEGER = 40
"""Digits; the state of a PCG64 has up to 39."""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no space, one text for one value; NaN and infinity raise ValueError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def key_of(value: Any) -> str:
    """The name of what depends on ``value`` and nothing else: 32 hexadecimal digits of its canonical JSON's SHA-256."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


def pretty(value: Any) -> str:
    """JSON for people, equally deterministic, ending in a newline."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n"


def parse_json(text: str, *, infinite: bool = False) -> Any:
    """The value of a JSON text; raises ValueError for what is no guess of ours, or a trap for who reads it.

    That is NaN (and infinity, unless ``infinite``), a number no machine has, a key that stands twice, and more text or
    depth than any file of ours needs.
    """
    if len(text) > LARGEST_JSON:
        raise ValueError(f"{len(text)} characters, allowed are {LARGEST_JSON}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    def constant(word: str) -> float:
        if not infinite or word == "NaN":
            raise ValueError(f"{word} is not a number")
        return float(word)

    def finite(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise ValueError(f"{digits[:40]} is more than a number can be")
        return float(digits)

    def integer(digits: str) -> int:
        if len(digits) > _LONGEST_INTEGER:
            raise ValueError(f"a number has {len(digits)} digits, allowed are {_LONGEST_INTEGER}")
        return int(digits)

    too_deep = ValueError(f"lists and objects lie more than {_DEEPEST_JSON} deep in each other")
    try:
        value = json.loads(
            text, object_pairs_hook=unique, parse_constant=constant, parse_float=finite, parse_int=integer
        )
    except RecursionError:
        raise too_deep from None
    level, depth = [value], 0
    while level := [node for node in level if isinstance(node, list | dict)]:
        depth += 1
        if depth > _DEEPEST_JSON:
            raise too_deep
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
    return value


def read_json(path: Path) -> Any:
    """The value in a JSON file; raises IntegrityError, naming the file."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no file")
        with path.open("rb") as file:
            content = file.read(4 * LARGEST_JSON + 1)
        return parse_json(content.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: not readable as JSON: {error}") from error


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, content: bytes) -> None:
    """Writes under a random name beside ``path``, syncs, renames. Raises ResourceError with path and size."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ResourceError(f"{path}: {len(content)} bytes could not be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def publish(folder: Path, write: Callable[[Path], None], *, replace: bool = False) -> None:
    """Makes ``folder`` appear whole: ``write`` fills a folder beside it, a manifest is written last, then one rename.

    With ``replace`` an existing folder gives way; without, an existing whole folder wins and ours is dropped.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        manifest = {}
        for path in sorted(p for p in temporary.rglob("*") if p.is_file()):
            _sync_file(path)
            manifest[path.relative_to(temporary).as_posix()] = {
                "sha256": sha256_file(path),
                "size": path.stat().st_size,
            }
        write_file(temporary / MANIFEST, pretty(manifest).encode())
        if replace and folder.exists():
            old = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}")
            os.rename(folder, old)
            os.rename(temporary, folder)
            shutil.rmtree(old)
        else:
            try:
                os.rename(temporary, folder)
            except OSError:
                if not folder.is_dir():
                    raise
                check_manifest(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        raise ResourceError(f"{folder}: could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_manifest(folder: Path) -> None:
    """Raises IntegrityError that names the first foreign, missing or changed file."""
    manifest = read_json(folder / MANIFEST)
    try:
        expected = {folder / name: (entry["size"], entry["sha256"]) for name, entry in manifest.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{folder / MANIFEST}: not a manifest: it gives no size and SHA-256 for each file"
        ) from error
    foreign = {p for p in folder.rglob("*") if p.is_file()} - expected.keys() - {folder / MANIFEST}
    if foreign:
        raise IntegrityError(
            f"{folder / MANIFEST}: it does not name {min(foreign).relative_to(folder)}, which lies beside it"
        )
    for path, (size, sha256) in expected.items():
        if not path.is_file():
            raise IntegrityError(f"{path}: the manifest names it and it is missing")
        if path.stat().st_size != size or sha256_file(path) != sha256:
            raise IntegrityError(f"{path}: its content is not what {folder / MANIFEST} says was written")


def probe_writable(folder: Path) -> None:
    """Raises ResourceError unless a file can be made below ``folder``, which is created."""
    probe = folder / f".probe.{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
    except OSError as error:
        raise ResourceError(f"--out {folder}: cannot be written to: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    if os.name == "posix":
        _sync_file(path)
