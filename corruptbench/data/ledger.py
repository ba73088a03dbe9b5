"""Data from elsewhere stay what they were: their SHA-256 is noted at the first reading and compared at later ones."""

import hashlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from corruptbench.errors import DataError, IntegrityError, ResourceError
from corruptbench.store import pretty, read_json, sha256_file, write_file

log = logging.getLogger(__name__)


def check_or_record(path: Path, record: Path, what: str) -> str:
    """The SHA-256 of ``path``: at the first call written to ``record``, with the size in bytes, at later ones compared.

    ``what`` names the dataset in errors, ``d4rl:hopper-medium-v2``. Raises DataError without a file, IntegrityError if
    its content is not what was recorded or the record is damaged, ResourceError if it cannot be read or noted.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, and {what} was to be read from it")
    try:
        found, size = sha256_file(path), path.stat().st_size
    except OSError as error:
        raise ResourceError(f"{path}: could not be read: {error.strerror}") from error
    return _compared(path, found, size, record, what)


def check_or_record_files(folder: Path, files: Iterable[Path], record: Path, what: str) -> str:
    """As :func:`check_or_record` for files below a folder, by the SHA-256 of the list that ``sha256sum`` prints."""
    lines, size = [], 0
    try:
        for path in sorted(files):
            lines.append(f"{sha256_file(path)}  {path.relative_to(folder).as_posix()}\n")
            size += path.stat().st_size
    except OSError as error:
        raise ResourceError(f"{folder}: could not be read: {error.strerror}") from error
    return _compared(folder, hashlib.sha256("".join(lines).encode()).hexdigest(), size, record, what)


def _compared(path: Path, found: str, size: int, record: Path, what: str) -> str:
    if not record.exists():
        write_file(record, pretty({"sha256": found, "size": size}).encode())
        log.info("%s: SHA-256 %s recorded in %s", what, found, record)
        return found
    expected = read_json(record)
    known = expected.get("sha256") if isinstance(expected, dict) else None
    if not isinstance(known, str) or not re.fullmatch("[0-9a-f]{64}", known):
        raise IntegrityError(f"{record}: holds no SHA-256 of {what}; delete it and the next reading writes it anew")
    if found != known:
        raise IntegrityError(
            f"{path}: its SHA-256 begins with {found[:16]}, and at the first reading of {what} it was {known[:16]}; "
            f"if the new content is meant, delete {record}"
        )
    return found
