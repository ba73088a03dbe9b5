"""One answer over http or https: no connection, no byte and no file is each said in a few words, as a NetworkError."""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from corruptbench.errors import NetworkError, sentence

CONNECT_SECONDS = 2.5
"""For finding the address and connecting to it, so that a missing network is known at once."""

_CHUNK = 1 << 18


def ask(url: str, headers: Mapping[str, str], timeout: float) -> HTTPResponse | HTTPError:
    """The answer, its body unread; an HTTPError only for 416, by which a server says that a Range is past the end.

    ``timeout`` is the number of seconds without a byte after which it gives up. Raises NetworkError.
    """
    request = Request(url, headers={"User-Agent": "corruptbench", **headers})
    try:
        answer: HTTPResponse = build_opener(_Http, _Https, _Redirects).open(request, timeout=timeout)
        return answer
    except HTTPError as error:
        if error.code == 416:
            return error
        error.close()
        raise NetworkError(_cause(error, timeout)) from error
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirect to a malformed URL
        raise NetworkError(_cause(error, timeout)) from error


def body(response: HTTPResponse, remaining: int | None, timeout: float) -> Iterator[bytes]:
    """At most ``remaining`` bytes as they arrive; None is all up to the last chunk. Raises NetworkError."""
    while remaining is None or remaining > 0:
        try:
            chunk = response.read1(_CHUNK if remaining is None else min(_CHUNK, remaining))
        except (OSError, HTTPException) as error:
            raise NetworkError(_cause(error, timeout)) from error
        if not chunk:
            return
        if remaining is not None:
            remaining -= len(chunk)
        yield chunk


def _cause(error: Exception, timeout: float) -> str:
    if isinstance(error, HTTPError):
        if 300 <= error.code < 400:
            return f"the server redirects to {error.headers.get('Location')}, which is not followed"
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, TimeoutError):
        return f"no byte came for {timeout:g} s"
    reason = error.reason if isinstance(error, URLError) else error  # URLError: while connecting
    if isinstance(reason, TimeoutError):
        return f"no connection within {CONNECT_SECONDS:g} s"
    if isinstance(reason, socket.gaierror):
        return "the name of the server could not be resolved, as without a network"
    if isinstance(reason, ConnectionRefusedError):
        return "the server refused the connection"
    return sentence(reason if isinstance(reason, Exception) else error)


class _Connection(HTTPConnection):
    """Gives up connecting after CONNECT_SECONDS, however slow the resolver and however many the addresses."""

    def connect(self) -> None:
        patience, self.timeout = self.timeout, CONNECT_SECONDS
        failures: list[Exception] = []

        def attempt() -> None:
            try:
                super(_Connection, self).connect()
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=attempt, daemon=True)  # a resolver knows no timeout
        thread.start()
        thread.join(CONNECT_SECONDS)
        if thread.is_alive():
            raise TimeoutError
        if failures:
            raise failures[0]
        self.timeout = patience
        self.sock.settimeout(patience)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same, the TLS handshake included."""


class _Http(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(HTTPSHandler):
    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request, context=ssl.create_default_context())


class _Redirects(HTTPRedirectHandler):
    """Follows to http and https, and from https only to https."""

    def redirect_request(
        self, request: Request, file: IO[bytes], code: int, message: str, headers: HTTPMessage, url: str
    ) -> Request | None:
        allowed = ("https",) if request.type == "https" else ("http", "https")
        if urlsplit(url).scheme not in allowed:
            return None
        return super().redirect_request(request, file, code, message, headers, url)
