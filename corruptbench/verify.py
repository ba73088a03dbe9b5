"""Every damaged, missing or foreign file of a folder of results, a cache, a dataset, a folder of tables.

Nothing is changed and no link is followed. What is kept where, and what belongs into it::

    results, leaderboard/records     <run id>/ with a manifest, or record and curve alone; .<run id>/step-<n>/
    cache                            corrupted/<key>/  surrogates/<key>/  d4rl/<file>  sha256/<source>/<name>.json
    one run, checkpoint, dataset     a manifest names its files; a shipped dataset's card, its data
    tables                           SHA256SUMS names them; records/ and again/, runs, may lie beside

Names with a dot in front are unfinished work or what a killed process left, and ``*.lock`` are locks: no damage.
"""

import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from corruptbench import contents, settings
from corruptbench.contents import wrong_content
from corruptbench.data import cache
from corruptbench.data.d4rl import DATASETS
from corruptbench.errors import IntegrityError, UsageError
from corruptbench.records import RECORD, RUN_ID
from corruptbench.store import LINK, MANIFEST, Finding, findings, read_json, sha256_file
from corruptbench.tables.reading import SUMS, read_sums

KEPT = {RECORD, contents.CURVE}
"""What is kept of a run without a manifest, in ``leaderboard/records``."""

OF_A_RUN = {"timing.json", "policy.safetensors", "agent.safetensors", "sharpness.json"}
"""What no run has without a manifest."""

DATASET = {contents.DATA, contents.DATA_CARD}
SHIPPED = DATASET | {
    "README.md", "episodes.csv", "evaluations.csv", "returns.png", contents.SURROGATE, contents.SURROGATE_CARD,
}  # fmt: skip
"""What a dataset of the package has, without a manifest too."""

MARKS = DATASET | {
    RECORD, contents.CORRUPTED, contents.CORRUPTED_CARD, contents.SURROGATE, contents.SURROGATE_CARD,
}  # fmt: skip
"""Any of these tells what a folder is."""

PYTHON = {"__init__.py", "__pycache__"}
"""In the package's own folders."""

STRANGE = "it is foreign, no part of what this folder is for"


class Verification:
    """Looks at one folder; what was counted on the way stands in ``files`` and ``unfinished``."""

    def __init__(self, folder: Path) -> None:
        self.root = Path(os.path.abspath(folder))
        self.files = 0  # that were looked at
        self.unfinished = 0  # names with a dot in front
        if not self.root.is_dir():
            raise UsageError(f"{folder}: {'it is a file' if folder.exists() else 'there is no such folder'}")
        self.check = self._kind()

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong."""
        yield from self.check(self.root)

    def _kind(self) -> Callable[[Path], Iterator[Finding]]:
        """The check that a folder needs; raises UsageError for one that nothing is known of."""
        there = {path.name for path in self.root.iterdir()}
        if SUMS in there or there & {f"{suite}.csv" for suite in settings.names("suites")}:
            return self._tables
        if there & MARKS or MANIFEST in there:
            return self._published
        if there & CACHED.keys() or self.root == Path(os.path.abspath(cache())):
            return self._cache
        if all(name.startswith(".") for name in there):  # results of which nothing is finished
            return self._collection
        if any(RUN_ID.fullmatch(name) or _is_published(self.root / name) for name in there):
            return self._collection
        raise UsageError(
            f"{self.root}: it holds nothing to verify, needed is a folder of runs, one run, a cache, a dataset, or "
            f"tables with {SUMS}"
        )

    def _children(self, folder: Path) -> Generator[Finding, None, list[Path]]:
        """What is to be looked at in a folder without a manifest; yields the links and what is wrong in checkpoints."""
        children = []
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                yield Finding(path, LINK)
            elif path.name.startswith("."):
                self.unfinished += 1
                for step in sorted(path.glob("step-*")) if RUN_ID.fullmatch(path.name[1:]) else ():
                    yield from [Finding(step, LINK)] if step.is_symlink() else self._published(step)
            elif path.suffix != ".lock" and path.name not in PYTHON:
                children.append(path)
        return children

    def _collection(self, folder: Path) -> Iterator[Finding]:
        """A folder of published folders: results, records, a part of the cache, checkpoints."""
        for path in (yield from self._children(folder)):
            if _is_published(path):
                yield from self._published(path)
            elif path.is_dir() and RUN_ID.fullmatch(path.name):
                yield Finding(path, f"it has neither {RECORD} nor {MANIFEST}")
            else:
                yield Finding(path, STRANGE)

    def _published(self, folder: Path) -> Iterator[Finding]:
        """A folder that was published whole; one that a running process exchanges meanwhile is looked at again."""
        while before := _identity(folder):
            try:
                found = list(whole(folder))
                files = sum(path.is_file() for path in folder.rglob("*"))
            except OSError as error:
                found, files = [Finding(folder, f"could not be read: {error.strerror}")], 0
            if _identity(folder) == before:
                self.files += files
                yield from found
                return

    def _tables(self, folder: Path) -> Iterator[Finding]:
        """CSVs, each in ``SHA256SUMS``, with the records that they are made of."""
        sums: dict[str, str] = {}
        try:
            sums = read_sums(folder / SUMS)
        except IntegrityError as error:
            yield Finding(folder / SUMS, str(error).removeprefix(f"{folder / SUMS}: "))
        for name, digest in sums.items():
            path = folder / name
            self.files += 1
            if not path.is_symlink() and not path.is_file():
                yield Finding(path, f"{folder / SUMS} names it and it is missing")
            elif not path.is_symlink() and sha256_file(path) != digest:
                yield Finding(path, f"its content is not what {folder / SUMS} says")
        for path in (yield from self._children(folder)):
            if path.name in ("records", "again") and path.is_dir():
                yield from self._collection(path)
            elif path.suffix == ".csv" and path.name not in sums:
                yield Finding(path, f"{folder / SUMS} does not name it")

    def _cache(self, folder: Path) -> Iterator[Finding]:
        for path in (yield from self._children(folder)):
            if path.name not in CACHED:
                yield Finding(path, STRANGE)
            elif not path.is_dir():
                yield Finding(path, "it is a file, and a folder is needed")
            else:
                yield from CACHED[path.name](self, path)

    def _downloads(self, folder: Path) -> Iterator[Finding]:
        """D4RL's files, as they were when they were read for the first time."""
        known = {entry.file_name: entry.name for entry in DATASETS.values()}
        for path in (yield from self._children(folder)):
            if path.name not in known or not path.is_file():
                yield Finding(path, STRANGE)
            else:
                self.files += 1
                note = folder.parent / "sha256" / "d4rl" / f"{known[path.name]}.json"
                if note.is_file() and not _wrong_note(note) and sha256_file(path) != read_json(note)["sha256"]:
                    yield Finding(path, f"its content is not what {note} says")

    def _notes(self, folder: Path) -> Iterator[Finding]:
        """The sums of files from elsewhere: D4RL's, and Minari's, whose names have slashes in them."""
        for path in (yield from self._children(folder)):
            if path.is_dir():
                yield from self._notes(path)
            elif path.suffix != ".json" or (path.parent.name == "d4rl" and path.stem not in DATASETS):
                yield Finding(path, STRANGE)
            else:
                self.files += 1
                if wrong := _wrong_note(path):
                    yield wrong


CACHED: dict[str, Callable[[Verification, Path], Iterator[Finding]]] = {
    "corrupted": Verification._collection,
    "surrogates": Verification._collection,
    "d4rl": Verification._downloads,
    "sha256": Verification._notes,
}
"""What a cache holds, and how each is looked at."""


def whole(folder: Path) -> Iterator[Finding]:
    """Everything that is wrong in a folder that was published whole, such as a run's.

    A file is named once: what is no longer what was written need not be readable.
    """
    found = list(findings(folder) if _has(folder, MANIFEST) else _without_manifest(folder))
    yield from found
    named = {finding.path for finding in found}
    for path in sorted(folder.iterdir()):
        known = path.name == MANIFEST or any(_has(folder, name) for name in MARKS)
        if known and path not in named and path.is_file() and (wrong := wrong_content(path)):
            yield wrong


def _without_manifest(folder: Path) -> Iterator[Finding]:
    """A record that is kept without weights, or a dataset of the package; anything else has a manifest."""
    there = {path.name for path in folder.iterdir()}
    known = there
    if there & DATASET:
        known = SHIPPED | PYTHON
        for name in sorted(DATASET - there):
            yield Finding(folder / name, "it is missing")
    elif RECORD in there and not there & OF_A_RUN:
        known = KEPT
    else:
        yield Finding(folder / MANIFEST, "it is missing")
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            yield Finding(path, LINK)
        elif path.name not in known or (path.name not in PYTHON and not path.is_file()):
            yield Finding(path, STRANGE)


def _is_published(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and any(_has(folder, name) for name in (MANIFEST, *MARKS))


def _has(folder: Path, name: str) -> bool:
    return os.path.lexists(folder / name)


def _identity(folder: Path) -> tuple[int, int] | None:
    """What is another one as soon as a folder takes the place of another."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _wrong_note(path: Path) -> Finding | None:
    wrong = wrong_content(path)
    if wrong:
        return wrong
    note = read_json(path)
    sound = isinstance(note, dict) and isinstance(note.get("size"), int)
    if sound and re.fullmatch("[0-9a-f]{64}", str(note.get("sha256"))):
        return None
    return Finding(path, "it holds no size and SHA-256 of a file")
