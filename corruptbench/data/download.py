"""Fetches one file over http or https: whole or absent, and a broken download goes on where it broke."""

import logging
import os
from dataclasses import asdict, dataclass
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from filelock import FileLock

from corruptbench.bars import progress
from corruptbench.data.web import ask, body
from corruptbench.errors import IntegrityError, NetworkError, ResourceError, UsageError
from corruptbench.links import open_own, own_size
from corruptbench.store import pretty, read_json, write_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Note:
    """What the file was when a download began, kept beside the part of it that has come."""

    url: str
    validator: str  # strong ETag or Last-Modified: the server says by it whether the file is still the same
    size: int  # of the whole file, in bytes


def fetch(url: str, target: Path, *, timeout: float = 10.0) -> None:
    """Downloads ``url`` to ``target``, which appears when it is whole; one that is already there is left alone.

    The part that has come lies in ``.<name>.part`` beside it; the next call asks for the rest (RFC 9110, Range and
    If-Range), and starts anew where the file has changed or the server cannot continue. ``timeout`` is the number of
    seconds without a byte after which it gives up. Raises NetworkError, ResourceError where the disk is the trouble,
    UsageError for a URL that is not http or https.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url}: only http and https URLs are downloaded")
    part, note = (target.with_name(f".{target.name}.{end}") for end in ("part", "part.json"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):  # two runs at a time would write into one part
            if target.exists():
                return
            log.info("downloading %s to %s", url, target)
            _complete(url, part, note, timeout, target.name)
            os.replace(part, target)
            note.unlink(missing_ok=True)
    except NetworkError as error:
        raise NetworkError(f"{url}: not downloaded: {error}; {_outlook(url, part, note)}") from error
    except OSError as error:  # those of the network have become NetworkError
        raise ResourceError(f"{target}: could not be written: {error.strerror or error}") from error


def _complete(url: str, part: Path, note_path: Path, timeout: float, label: str) -> None:
    """Brings ``part`` to its whole length, on the disk; a NetworkError says only what happened."""
    note = _noted(url, note_path)
    kept = own_size(part)
    if note and 0 < kept == note.size:
        return
    rest = note if note and 0 < kept < note.size else None
    response = ask(url, {"Range": f"bytes={kept}-", "If-Range": rest.validator} if rest else {}, timeout)
    if rest and not _continues(response, rest, kept):
        log.info("%s: the download starts anew: the file has changed, or the server cannot continue", url)
        rest = None
        if response.status != 200:
            response.close()
            response = ask(url, {}, timeout)
    with response:
        if isinstance(response, HTTPError) or response.status != (206 if rest else 200):
            raise NetworkError(f"the server answered {response.status} {response.reason}")
        size = rest.size if rest else response.length
        if size is None and not response.chunked:
            raise NetworkError("the server does not say how long the file is, so nobody could tell whether it is whole")
        with open_own(part, append=rest is not None) as file:
            if not rest:
                _write_note(url, response.headers, size, note_path)
            _append(response, file, kept if rest else 0, size, timeout, label)


def _append(response: HTTPResponse, file: IO[bytes], kept: int, size: int | None, timeout: float, label: str) -> None:
    """The body behind the ``kept`` bytes, with a progress bar; NetworkError if it ends before ``size``."""
    found = kept
    with progress(total=size, initial=kept, desc=label, unit="B", unit_scale=True) as bar:
        for chunk in body(response, None if size is None else size - kept, timeout):
            file.write(chunk)
            found += len(chunk)
            bar.update(len(chunk))
    file.flush()
    os.fsync(file.fileno())
    if size is not None and found != size:
        raise NetworkError(f"the connection ended after {found:,} of {size:,} bytes")


def _continues(response: HTTPResponse | HTTPError, note: Note, kept: int) -> bool:
    """Whether the answer is the rest of the same file."""
    expected = f"bytes {kept}-{note.size - 1}/{note.size}"
    same = _validator(response.headers) in (None, note.validator)  # None: If-Range has made sure of it
    return response.status == 206 and response.headers.get("Content-Range") == expected and same


def _validator(headers: Message) -> str | None:
    """What If-Range takes: a strong ETag, else Last-Modified."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _write_note(url: str, headers: Message, size: int | None, path: Path) -> None:
    """Of a download that can go on later; without a validator or a size nothing could tell a changed file."""
    validator = _validator(headers)
    if validator and size is not None:
        write_file(path, pretty(asdict(Note(url, validator, size))).encode())
    else:
        path.unlink(missing_ok=True)


def _noted(url: str, path: Path) -> Note | None:
    """The note of a download of the same URL, or None."""
    try:
        note = Note(**read_json(path))
    except (IntegrityError, TypeError):  # there is none, or it is damaged
        return None
    return note if note.url == url and isinstance(note.validator, str) and isinstance(note.size, int) else None


def _outlook(url: str, part: Path, note: Path) -> str:
    """How to go on after a failure; a part that nobody could continue is removed."""
    if _noted(url, note) is None:
        part.unlink(missing_ok=True)
    kept = own_size(part)
    return (
        f"{kept:,} bytes are kept, and the same command goes on from there" if kept else "the same command tries again"
    )
