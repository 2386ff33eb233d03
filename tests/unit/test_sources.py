"""Where files of published repositories are read from: the web with its moods, folders, memory."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from opambin.errors import MisuseError, UnavailableError
from opambin.publish.signed.sources import (
    FolderSource,
    TooLongError,
    TreeSource,
    WebSource,
    open_source,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 40


@contextmanager
def serving(*, ranges: bool = True, status: int = 200, cut: int = 0) -> Iterator[tuple[WebSource, list[str]]]:
    """A server that has one file, under every name that does not begin with ``no``."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Range', '')} {self.headers['Accept-Encoding']}")
            if self.path.startswith("/no") or status != 200:
                self.send_response(404 if self.path.startswith("/no") else status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = int(self.headers["Range"][6:-1]) if ranges and "Range" in self.headers else 0
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(CONTENT) - begin))
            self.end_headers()
            self.wfile.write(CONTENT[begin : len(CONTENT) - cut])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    source = WebSource(f"http://127.0.0.1:{server.server_port}/")
    try:
        yield source, asked
    finally:
        source.close()
        server.shutdown()
        server.server_close()


def whole(pieces: Iterator[bytes] | None) -> bytes:
    assert pieces is not None
    return b"".join(pieces)


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without"])
@pytest.mark.parametrize("start", [0, 1, 5000, len(CONTENT)])
def test_from_a_byte_on(ranges: bool, start: int) -> None:
    with serving(ranges=ranges) as (source, asked):
        assert whole(source.pieces("packages/a/a.1+b~c/opam", start)) == CONTENT[start:]
    assert asked[0].startswith("/packages/a/a.1%2Bb~c/opam ")
    assert asked[0].endswith(" identity")  # a server that unpacks .gz on the way would spoil digests


def test_not_there() -> None:
    with serving() as (source, _):
        assert source.pieces("nothing") is None
    with serving(status=410) as (source, _):
        assert source.pieces("x") is None


def test_a_server_that_fails_is_asked_again() -> None:
    with serving(status=503) as (source, asked), pytest.raises(UnavailableError, match="said 503"):
        source.pieces("x")
    assert len(asked) > 1


def test_a_line_that_breaks_off() -> None:
    with serving(cut=100) as (source, _), pytest.raises(UnavailableError, match="broke off"):
        whole(source.pieces("x"))


def test_nobody_answers() -> None:
    with pytest.raises(UnavailableError, match="can't be fetched") as caught:
        WebSource("http://127.0.0.1:9").pieces("x")
    assert "0x" not in str(caught.value)  # no object in memory is named


def test_limits() -> None:
    source = TreeSource({"a": b"12345"}, "a tree")
    assert read(source, "a", 5) == b"12345"
    assert read(source, "b", 5) is None
    with pytest.raises(TooLongError, match="a tree: a is longer than 4 bytes"):
        read(source, "a", 4)


@pytest.mark.parametrize("url", ["ftp://example.org/x", "http:///x", "s3://bucket/x"])
def test_no_source(url: str) -> None:
    with pytest.raises(MisuseError):
        open_source(url)


def test_kinds(tmp_path: Path) -> None:
    assert isinstance(open_source("https://example.org/opam"), WebSource)
    place = tmp_path / "a b"
    place.mkdir()
    for url in (str(place), f"file://{tmp_path}/a%20b"):
        found = open_source(url)
        assert isinstance(found, FolderSource)
        assert found.name == str(place.resolve())
    with pytest.raises(UnavailableError):
        open_source(str(tmp_path / "nowhere"))
