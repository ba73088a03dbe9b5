"""A file from elsewhere stays the file it was: its SHA-256 is noted at the first reading and compared at later ones."""

import logging
import re
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
