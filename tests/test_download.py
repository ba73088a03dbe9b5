"""Downloads from a server of ours that does everything a server should not."""

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic

import numpy as np
import pytest

from corruptbench.data import web
from corruptbench.data.download import fetch
from corruptbench.errors import NetworkError, ResourceError, UsageError

CONTENT, OTHER = (np.random.default_rng(seed).bytes(1000) for seed in (0, 1))


class Site:
    """One file at every path, and the faults of its server; a test sets them between two requests."""

    def __init__(self):
        self.content = CONTENT
        self.etag, self.modified = '"one"', None
        self.status = 200
        self.location = None  # where all paths but /moved are redirected to
        self.ranges, self.if_range = True, True  # whether the server knows these headers
        self.content_range = None  # said instead of the true one
        self.framing = "length"  # or "chunked" or "none"
        self.cut = None  # bytes of the body after which the connection ends
        self.stall = None  # the same, and the server falls silent; -1: before its headers
        self.over = threading.Event()
        self.requests, self.sent = [], 0
        self.url = None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server.site
        site.requests.append(dict(self.headers))
        if site.stall == -1:
            site.over.wait()
            return
        if site.location and self.path != "/moved":
            self.send_response(302)
            self.send_header("Location", site.location)
            self.end_headers()
            return
        start, size = 0, len(site.content)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = not site.if_range or self.headers.get("If-Range") in (None, site.etag, site.modified)
        status = site.status
        if asked and site.ranges and same:
            start = int(asked[1])
            status = 206 if start < size else 416
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", site.content_range or f"bytes {start}-{size - 1}/{size}")
        body = b"" if status == 416 else site.content[start:]
        for name, value in (("ETag", site.etag), ("Last-Modified", site.modified)):
            if value:
                self.send_header(name, value)
        if site.framing == "length":
            self.send_header("Content-Length", str(len(body)))
        if site.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:600], body[600:])) + b"0\r\n\r\n"
        self.end_headers()
        body = body[: site.stall if site.cut is None else site.cut]
        self.wfile.write(body)
        site.sent += len(body)
        if site.stall is not None:
            self.wfile.flush()
            site.over.wait()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.site = Site()
    server.site.url = f"http://127.0.0.1:{server.server_port}/data.hdf5"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.site
    server.site.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def message(error, *arguments, **options):
    with pytest.raises(error) as raised:
        fetch(*arguments, **options)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    return str(raised.value)


def remains(folder):
    """What lies there but for the lock."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def begin(site, target, cut=300):
    """A download that breaks after ``cut`` bytes."""
    site.cut = cut
    with pytest.raises(NetworkError):
        fetch(site.url, target)
    site.cut, site.sent = None, 0
    site.requests.clear()


def test_whole(site, tmp_path):
    target = tmp_path / "new" / "data.hdf5"
    fetch(site.url, target)
    assert target.read_bytes() == CONTENT
    assert remains(target.parent) == ["data.hdf5"]
    assert "Range" not in site.requests[0]


def test_a_file_that_is_there_is_left_alone(site, tmp_path):
    target = tmp_path / "data.hdf5"
    target.write_bytes(b"mine")
    fetch(site.url, target)
    assert target.read_bytes() == b"mine"
    assert site.requests == []


def test_two_at_a_time_download_once(site, tmp_path):
    target = tmp_path / "data.hdf5"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(site.url, target), range(4)))
    assert target.read_bytes() == CONTENT
    assert len(site.requests) == 1


# Going on


@pytest.mark.parametrize(
    ("etag", "modified", "validator"),
    [
        ('"one"', None, '"one"'),
        ('"one"', "Sat, 01 Jan 2022 00:00:00 GMT", '"one"'),
        ('W/"one"', "Sat, 01 Jan 2022 00:00:00 GMT", "Sat, 01 Jan 2022 00:00:00 GMT"),  # If-Range takes no weak ETag
    ],
)
def test_a_broken_download_goes_on(site, tmp_path, etag, modified, validator):
    site.etag, site.modified = etag, modified
    target, part = tmp_path / "data.hdf5", tmp_path / ".data.hdf5.part"
    site.cut = 300
    assert message(NetworkError, site.url, target) == (
        f"{site.url}: not downloaded: the connection ended after 300 of 1,000 bytes; "
        "300 bytes are kept, and the same command goes on from there"
    )
    assert not target.exists()
    assert part.read_bytes() == CONTENT[:300]
    assert message(NetworkError, site.url, target) == (
        f"{site.url}: not downloaded: the connection ended after 600 of 1,000 bytes; "
        "600 bytes are kept, and the same command goes on from there"
    )
    site.cut, site.sent = None, 0
    fetch(site.url, target)
    assert target.read_bytes() == CONTENT
    assert site.sent == 400  # the first part is not sent again
    ranges = [(request.get("Range"), request.get("If-Range")) for request in site.requests]
    assert ranges == [(None, None), ("bytes=300-", validator), ("bytes=600-", validator)]
    assert remains(tmp_path) == ["data.hdf5"]


def test_a_whole_part_needs_no_server(site, tmp_path):
    """Killed between the last byte and the renaming."""
    begin(site, tmp_path / "data.hdf5")
    (tmp_path / ".data.hdf5.part").write_bytes(CONTENT)
    fetch(site.url, tmp_path / "data.hdf5")
    assert (tmp_path / "data.hdf5").read_bytes() == CONTENT
    assert site.requests == []


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        ({"content": OTHER, "etag": '"two"'}, 1),  # If-Range: the server sends all of the new file
        ({"content": OTHER, "etag": '"two"', "if_range": False}, 2),  # it continues with the new file
        ({"ranges": False}, 1),
        ({"content": OTHER[:200], "etag": '"two"', "if_range": False}, 2),  # 416
        ({"content": OTHER[:300], "etag": '"two"', "if_range": False}, 2),  # 416 at the very end
        ({"content": OTHER[:700]}, 2),  # another size under the same ETag
        ({"content": OTHER, "content_range": "bytes 200-999/1000"}, 2),
        ({"content": OTHER, "content_range": "bytes 300-999/2000"}, 2),
        ({"content": OTHER, "content_range": "nonsense"}, 2),
    ],
)
def test_a_download_that_cannot_go_on_starts_anew(site, tmp_path, faults, requests):
    begin(site, tmp_path / "data.hdf5")
    for name, value in faults.items():
        setattr(site, name, value)
    fetch(site.url, tmp_path / "data.hdf5")
    assert (tmp_path / "data.hdf5").read_bytes() == site.content
    assert ["Range" in request for request in site.requests] == [True, False][:requests]
    assert remains(tmp_path) == ["data.hdf5"]


@pytest.mark.parametrize(
    "note",
    [None, "{", "[]", "{}", '{"url": "http://other", "validator": "v", "size": 1000}', '{"url": 1, "size": "x"}'],
)
def test_a_part_that_nobody_knows_is_dropped(site, tmp_path, note):
    path = tmp_path / ".data.hdf5.part.json"
    begin(site, tmp_path / "data.hdf5")
    path.unlink() if note is None else path.write_text(note)
    fetch(site.url, tmp_path / "data.hdf5")
    assert (tmp_path / "data.hdf5").read_bytes() == CONTENT
    assert "Range" not in site.requests[0]


def test_a_part_longer_than_the_file_is_dropped(site, tmp_path):
    begin(site, tmp_path / "data.hdf5")
    (tmp_path / ".data.hdf5.part").write_bytes(CONTENT + b"more")
    fetch(site.url, tmp_path / "data.hdf5")
    assert (tmp_path / "data.hdf5").read_bytes() == CONTENT


def test_without_a_validator_nothing_is_kept(site, tmp_path):
    site.etag, site.cut = None, 300
    assert message(NetworkError, site.url, tmp_path / "data.hdf5") == (
        f"{site.url}: not downloaded: the connection ended after 300 of 1,000 bytes; the same command tries again"
    )
    assert remains(tmp_path) == []


# Servers and networks that fail


def failed(url, what):
    return f"{url}: not downloaded: {what}; the same command tries again"


@pytest.mark.parametrize(("status", "what"), [(404, "404 Not Found"), (503, "503 Service Unavailable")])
def test_status(site, tmp_path, status, what):
    site.status = status
    said = message(NetworkError, site.url, tmp_path / "data.hdf5")
    assert said == failed(site.url, f"the server answered {what}")
    assert remains(tmp_path) == []


def test_status_that_makes_no_sense(site, tmp_path):
    site.status = 206
    said = message(NetworkError, site.url, tmp_path / "data.hdf5")
    assert said == failed(site.url, "the server answered 206 Partial Content")


def test_what_is_kept_survives_a_failing_server(site, tmp_path):
    begin(site, tmp_path / "data.hdf5")
    site.status, site.ranges = 503, False
    assert message(NetworkError, site.url, tmp_path / "data.hdf5") == (
        f"{site.url}: not downloaded: the server answered 503 Service Unavailable; "
        "300 bytes are kept, and the same command goes on from there"
    )


def test_chunks(site, tmp_path):
    site.framing = "chunked"
    fetch(site.url, tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == CONTENT
    site.cut = 700
    said = message(NetworkError, site.url, tmp_path / "broken")
    assert said == failed(site.url, "IncompleteRead: IncompleteRead(0 bytes read)")
    assert remains(tmp_path) == ["whole"]


def test_without_a_length(site, tmp_path):
    site.framing = "none"
    said = message(NetworkError, site.url, tmp_path / "data.hdf5")
    what = "the server does not say how long the file is, so nobody could tell whether it is whole"
    assert said == failed(site.url, what)
    assert remains(tmp_path) == []


def test_stall_in_the_body(site, tmp_path):
    site.stall, start = 300, monotonic()
    assert message(NetworkError, site.url, tmp_path / "data.hdf5", timeout=0.3) == (
        f"{site.url}: not downloaded: no byte came for 0.3 s; "
        "300 bytes are kept, and the same command goes on from there"
    )
    assert monotonic() - start < 2  # and not what connecting may take


def test_stall_before_the_headers(site, tmp_path):
    site.stall = -1
    said = message(NetworkError, site.url, tmp_path / "data.hdf5", timeout=0.3)
    assert said == failed(site.url, "no byte came for 0.3 s")


def test_redirect(site, tmp_path):
    site.location = "/moved"
    begin(site, tmp_path / "data.hdf5")
    fetch(site.url, tmp_path / "data.hdf5")
    assert (tmp_path / "data.hdf5").read_bytes() == CONTENT
    assert [request["Range"] for request in site.requests] == ["bytes=300-"] * 2


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/data.hdf5", "data:,x", "/again"])
def test_redirect_that_is_not_followed(site, tmp_path, location):
    site.location = location
    said = message(NetworkError, site.url, tmp_path / "data.hdf5")
    assert said == failed(site.url, f"the server redirects to {location}, which is not followed")
    assert len(site.requests) == (5 if location == "/again" else 1)
    assert remains(tmp_path) == []


def test_no_way_from_https_back_to_http():
    request = web.Request("https://127.0.0.1/data.hdf5")
    to = [web._Redirects().redirect_request(request, None, 302, "", {}, f"{s}://127.0.0.1/") for s in ("http", "https")]
    assert to[0] is None
    assert to[1].full_url == "https://127.0.0.1/"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/data.hdf5", "/etc/hostname"])
def test_other_schemes(tmp_path, url):
    assert message(UsageError, url, tmp_path / "data.hdf5") == f"{url}: only http and https URLs are downloaded"


def test_refused(site, tmp_path):
    with socket.socket() as reserved:  # bound and not listening
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/data.hdf5"
        said = message(NetworkError, url, tmp_path / "data.hdf5")
    assert said == failed(url, "the server refused the connection")


def test_no_resolver(site, tmp_path, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    url = "http://data.invalid/data.hdf5"
    said = message(NetworkError, url, tmp_path / "data.hdf5")
    assert said == failed(url, "the name of the server could not be resolved, as without a network")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_network_is_said_within_three_seconds(site, tmp_path, monkeypatch, scheme):
    """A resolver that does not answer, and knows no timeout."""
    assert web.CONNECT_SECONDS == 2.5
    over = threading.Event()

    def silent(*arguments, **options):
        over.wait()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(web, "CONNECT_SECONDS", 0.2)
    url, start = f"{scheme}://data.invalid/data.hdf5", monotonic()
    said = message(NetworkError, url, tmp_path / "data.hdf5")
    assert monotonic() - start < 3  # and not for as long as the resolver is silent
    over.set()
    assert said == failed(url, "no connection within 0.2 s")


def test_disk(site, tmp_path):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "data.hdf5"
    assert message(ResourceError, site.url, target) == f"{target}: could not be written: File exists"
    assert site.requests == []
