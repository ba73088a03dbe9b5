"""Files that are either whole or absent: canonical JSON, atomic files, folders published by one rename."""

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from corruptbench.errors import IntegrityError, ResourceError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
LINK = "it is a link or lies behind one, and none is followed"

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside(path, lambda name: name.touch(exist_ok=False)) as temporary:
            with temporary.open("r+b") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    except OSError as error:
        raise ResourceError(f"{path}: {len(content)} bytes could not be written: {error.strerror}") from error


def publish(folder: Path, write: Callable[[Path], None], *, replace: bool = False) -> None:
    """Makes ``folder`` appear whole: ``write`` fills a folder beside it, a manifest is written last, then one rename.

    With ``replace`` an existing folder gives way; without, an existing whole folder wins and ours is dropped.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with beside(folder, Path.mkdir) as temporary:
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
                with beside(folder, Path.mkdir) as old:
                    os.rename(folder, old / folder.name)
                    os.rename(temporary, folder)
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


@contextlib.contextmanager
def beside(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A new file or folder ``.<name>.<16 hexadecimal digits>`` beside ``path``, gone at the end unless it was renamed.

    What killed processes left under such names is removed first: whoever works on one holds a lock on it, and the
    kernel lets go of a lock when its process ends.
    """
    for left in _leftovers(path):
        with contextlib.suppress(OSError), held(left) as ours:
            if ours:
                remove(left)
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        make(temporary)
        try:
            with held(temporary) as ours:
                if ours or ours is None:
                    yield temporary
                    return
        finally:
            remove(temporary)


def _leftovers(path: Path) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}")
    return [other for other in path.parent.iterdir() if pattern.fullmatch(other.name)]


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool | None]:
    """Whether a file or folder is ours until the end: False where another process holds it or it is gone.

    None where the system has no such locks; then nothing is ever taken for a leftover.
    """
    descriptor, ours = None, None
    try:
        if fcntl:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    except OSError:  # a file system without locks, or not to be opened by us
        ours = None
    try:
        yield ours
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Holds a folder of work under way, made if need be, and waits where another process does.

    It saves double work and nothing else. At the end the folder goes unless something is left in it. Raises
    ResourceError where it cannot be made.
    """
    waiting = False
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(f"{folder}: could not be made: {error.strerror}") from error
        with held(folder) as ours:
            if ours is not False:
                try:
                    yield
                finally:
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                return
        if not waiting:
            log.info("%s: waiting for another process that is at it", folder)
        waiting = True
        time.sleep(0.1)


def remove(path: Path) -> None:
    """Removes a file or a folder as far as it can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


class Finding(NamedTuple):
    """What is wrong with one file or folder."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def findings(folder: Path, only: str | None = None) -> Iterator[Finding]:
    """Every foreign, missing or changed file of a published folder; ``only`` looks at the manifest and one file.

    Links are foreign: none is followed, and nothing outside of the folder is read.
    """
    path = folder / MANIFEST
    if path.is_symlink():
        yield Finding(path, LINK)
        return
    try:
        manifest = {_inside(name): (entry["size"], entry["sha256"]) for name, entry in read_json(path).items()}
    except IntegrityError as error:
        yield Finding(path, str(error).removeprefix(f"{path}: "))
        return
    except (AttributeError, KeyError, TypeError, ValueError):
        yield Finding(path, "not a manifest: it gives no size and SHA-256 for each file")
        return
    if not manifest:
        yield Finding(path, "it names no file")
        return
    if only is None:
        named = {path, *(folder / name for name in manifest)}
        for found in sorted(folder.rglob("*")):
            if found not in named and not any(found in inner.parents for inner in named):
                yield Finding(found, f"{path} does not name it")
    elif only not in manifest:
        yield Finding(folder / only, f"{path} does not name it")
    for name, (size, sha256) in manifest.items():
        if only in (None, name) and (what := _problem(folder, name, size, sha256)):
            yield Finding(folder / name, what)


def check_manifest(folder: Path, only: str | None = None) -> None:
    """Raises IntegrityError that names the first foreign, missing or changed file; ``only`` as in :func:`findings`."""
    for finding in findings(folder, only):
        raise IntegrityError(str(finding))


def _inside(name: str) -> str:
    """``name``, if it is that of a file below a folder, as ``publish`` writes it; raises ValueError."""
    if any(part in ("", ".", "..") for part in name.split("/")) or set(name) & set("\\:\0"):
        raise ValueError(f"{name!r} is no name of a file in a folder")
    return name


def _problem(folder: Path, name: str, size: int, sha256: str) -> str | None:
    """What is wrong with a file that was written with this size and hash, None for nothing."""
    path = folder / name
    try:
        if os.path.realpath(path) != os.path.join(os.path.realpath(folder), *name.split("/")):
            return LINK
        if path.is_dir():
            return "it is a folder, and a file was written"
        if not path.is_file():
            return "the manifest names it and it is missing"
        if path.stat().st_size != size or sha256_file(path) != sha256:
            return f"its content is not what {folder / MANIFEST} says was written"
    except OSError as error:
        return f"could not be read: {error.strerror}"
    return None


def probe_writable(folder: Path, option: str = "--out") -> None:
    """Raises ResourceError unless a file can be made below ``folder``, which is created."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with beside(folder / "probe", lambda path: path.touch(exist_ok=False)):
            pass
    except OSError as error:
        raise ResourceError(f"{option} {folder}: cannot be written to: {error.strerror}") from error


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    if os.name == "posix":
        _sync_file(path)
