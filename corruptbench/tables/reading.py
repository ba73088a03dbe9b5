"""Reads tables of runs: the shipped ones, which ``SHA256SUMS`` names, and a user's own."""

import hashlib
import logging
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from corruptbench.errors import DataError, IntegrityError, ResourceError, UsageError
from corruptbench.tables.listing import Row, read_csv

log = logging.getLogger(__name__)

SUMS = "SHA256SUMS"
PUBLISHED = "published.csv"
"""Scores of others, with columns of their own: no table of runs."""
LEADERBOARD = Path(str(files("corruptbench.leaderboard")))


@dataclass(frozen=True)
class Table:
    """A runs CSV as it was read."""

    path: Path
    rows: list[Row]
    own: bool  # the user's: it is none of the tables that are shipped


def read_table(path: Path) -> Table:
    """A runs CSV. One that is none of the shipped tables is the user's own, and that is said.

    Raises IntegrityError where ``SHA256SUMS`` beside it names it with another sum, UsageError for no file, DataError,
    with the line, for what is no runs CSV.
    """
    text, own = read_text(path)
    return Table(path, read_csv(text, str(path)), own)


def read_text(path: Path) -> tuple[str, bool]:
    """The text of a CSV, and whether it is the user's own, which is said; raises as :func:`read_table`."""
    content, own = _checked(path)
    if own:
        log.info("%s: none of the benchmark's tables, and read as your own", path)
    try:
        return content.decode("utf-8-sig"), own
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: not readable as UTF-8: {error.reason}") from error


def shipped_runs() -> list[Row]:
    """The runs of the shipped tables, each run once; a CSV that ``SHA256SUMS`` does not name is named, and left out."""
    sums = read_sums(LEADERBOARD / SUMS)
    for path in sorted(LEADERBOARD.glob("*.csv")):
        if path.name not in sums:
            log.warning("%s: %s does not name it, so its runs are none of the benchmark's", path, LEADERBOARD / SUMS)
    runs: dict[str, Row] = {}
    for name in sorted(sums):
        if name.endswith(("-summary.csv", "-overall.csv")) or name == PUBLISHED:
            _checked(LEADERBOARD / name)
        else:
            runs.update((row["run_id"], row) for row in read_table(LEADERBOARD / name).rows)
    return list(runs.values())


def _checked(path: Path) -> tuple[bytes, bool]:
    """A table's content, and whether it is the user's own; raises IntegrityError for another sum than is noted."""
    sums = read_sums(path.with_name(SUMS)) if path.with_name(SUMS).is_file() else {}
    if not path.is_file():
        if path.name in sums:
            raise IntegrityError(f"{path}: {path.with_name(SUMS)} names it and it is missing")
        raise UsageError(f"{path}: there is no such file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ResourceError(f"{path}: could not be read: {error.strerror}") from error
    found = hashlib.sha256(content).hexdigest()
    if sums.get(path.name, found) != found:
        raise IntegrityError(f"{path}: its content is not what {path.with_name(SUMS)} says")
    return content, read_sums(LEADERBOARD / SUMS).get(path.name) != found


def read_sums(path: Path) -> dict[str, str]:
    """File name -> SHA-256 of a ``SHA256SUMS``; raises IntegrityError for one that is damaged or was cut off."""
    try:
        text = path.read_bytes().decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{path}: not readable as a list of SHA-256 sums: {error}") from error
    found = re.findall("^([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9._-]*)\n", text, re.MULTILINE)
    sums = {name: digest for digest, name in found}
    if "".join(f"{digest}  {name}\n" for digest, name in found) != text or len(sums) != len(found):
        raise IntegrityError(f"{path}: not a list of SHA-256 sums, one file a line, each once, as sha256sum writes it")
    return sums
