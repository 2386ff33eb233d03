"""The S3 remote against moto's server."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import faulty as fault
import obstore
import pytest
import servers
from faulty import breaking_proxy, faulty
from remote_contract import RemoteContract

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.remote.access import Access
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.open import open_remote
from opambin.remote.protocol import FORMAT, FORMAT_NAME
from opambin.remote.s3 import S3Remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from opambin.remote.protocol import Remote


OBJECT = ("Last-Modified: Wed, 25 Nov 2026 18:13:47 GMT", 'ETag: "one"')
OBJECT_HEAD = fault.head(200, 100, *OBJECT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Running]:
    with servers.s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


class TestS3(RemoteContract):
    @pytest.fixture
    def remote(self, server: servers.Running, tmp_path: Path) -> Remote:
        return open_remote(
            f"s3://cache/{tmp_path.name}", Access(write=True, environ=servers.s3_environ(server))
        )


# --- what is special about this server


def test_a_large_object_goes_up_in_parts(server: servers.Running, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 11
    (tmp_path / "file").write_bytes(data)
    remote = open_remote("s3://cache/large", Access(write=True, environ=servers.s3_environ(server)))
    assert remote.put("archives/ab/cd.tar.zst", tmp_path / "file")
    assert not remote.put("archives/ab/cd.tar.zst", tmp_path / "file")
    pieces: list[bytes] = []
    assert remote.fetch("archives/ab/cd.tar.zst", pieces.append, size=len(data))
    assert b"".join(pieces) == data


@pytest.mark.parametrize("replace", [False, True])
def test_pages_have_the_type_that_browsers_want(server: servers.Running, *, replace: bool) -> None:
    access = Access(write=True, environ=servers.s3_environ(server))
    remote = open_remote("s3://cache/typed", access)
    names = [f"{replace}/{name}" for name in ("a.html", "b.svg", "c.tar.zst")]
    for name in names:
        assert remote.put(name, b"<p>", replace=replace)
    store = S3Remote("s3://cache/typed", access)._small
    types = [obstore.get(store, name).attributes.get("Content-Type") for name in names]
    assert types[:2] == ["text/html; charset=utf-8", "image/svg+xml"]
    assert "text" not in str(types[2])


def test_no_such_bucket(server: servers.Running) -> None:
    """It is not an empty one."""
    remote = open_remote("s3://another", Access(write=True, environ=servers.s3_environ(server)))
    with pytest.raises(RemoteDownError, match="no such bucket"):
        remote.get("x", limit=1)


def test_settings_that_can_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(MisuseError, match="SecretAccessKey"):
        open_remote("s3://cache", Access())
    with pytest.raises(MisuseError, match="s3://cache"):
        open_remote("s3://cache", Access(environ={"AWS_ENDPOINT_URL": "no url"}))


def test_nobody_listens() -> None:
    environ = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{servers.free_port()}"}
    remote = open_remote("s3://cache", Access(environ=environ, answer_seconds=2))
    start = time.monotonic()
    for _ in range(3):
        with pytest.raises(RemoteDownError, match="no connection"):
            remote.get_many([f"keys/{number}" for number in range(50)], limit=1)
    assert time.monotonic() - start < 5


def test_a_store_that_stops_answering(server: servers.Running) -> None:
    access = Access(environ=servers.s3_environ(server), answer_seconds=1.0, connect_seconds=1.0)
    remote = open_remote("s3://cache", access)
    assert remote.get("x", limit=1) is None
    server.stop_answering()
    try:
        start = time.monotonic()
        for _ in range(3):
            with pytest.raises(RemoteDownError, match="no answer in time"):
                remote.get_many([f"keys/{number}" for number in range(50)], limit=1)
        assert time.monotonic() - start < 4
    finally:
        server.answer_again()


def test_a_download_over_a_line_that_breaks(server: servers.Running) -> None:
    data = os.urandom(5_000_000)
    open_remote("s3://cache/line", Access(write=True, environ=servers.s3_environ(server))).put("big", data)
    with breaking_proxy(server.port, [1_000_000, 2_000_000]) as port:
        environ = {**servers.s3_environ(server), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        remote = open_remote("s3://cache/line", Access(environ=environ))
        pieces: list[bytes] = []
        assert remote.fetch("big", pieces.append, size=len(data))
        assert b"".join(pieces) == data


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        pytest.param(fault.status(403), RefusedError, "not allowed", id="403"),
        pytest.param(fault.status(500), RemoteDownError, "500", id="500"),
        pytest.param(fault.status(400), UnavailableError, "400", id="400"),
        pytest.param(fault.silent, RemoteDownError, "no answer in time", id="silent"),
        pytest.param(fault.reset, RemoteDownError, "no connection", id="reset"),
        pytest.param(fault.drip(OBJECT_HEAD + b"x" * 100, 0.05), RemoteDownError, "no answer", id="drips"),
        pytest.param(fault.raw(OBJECT_HEAD + b"x"), UnavailableError, "no answer", id="truncated"),
    ],
)
def test_stores_that_misbehave(
    bad: Callable[[fault.Call], bool | None], kind: type[Exception], words: str
) -> None:
    with faulty() as server:
        server.always = bad
        access = Access(environ={"AWS_ENDPOINT_URL": server.url}, answer_seconds=1.5)
        remote = open_remote("s3://cache", access)
        start = time.monotonic()
        with pytest.raises(kind, match=words):
            remote.get("x", limit=1000)
        assert time.monotonic() - start < 6


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(fault.raw(fault.head(200, 101, *OBJECT) + b"x" * 101), id="announced"),
        pytest.param(fault.endless("Transfer-Encoding: chunked", *OBJECT), id="endless chunks"),
    ],
)
def test_no_answer_is_longer_than_the_limit(bad: Callable[[fault.Call], bool | None]) -> None:
    with faulty() as server:
        server.always = bad
        access = Access(environ={"AWS_ENDPOINT_URL": server.url}, answer_seconds=3)
        with pytest.raises((BadDataError, UnavailableError)):
            open_remote("s3://cache", access).get("x", limit=100)


def test_who_may_not_list_gets_403_for_what_is_not_there() -> None:
    def hides(call: fault.Call) -> bool:
        if call.asked.path == f"/cache/{FORMAT_NAME}":
            call.send(fault.head(200, len(FORMAT), *OBJECT) + FORMAT)
            return True
        return fault.status(403)(call)

    with faulty() as server:
        server.always = hides
        remote = open_remote("s3://cache", Access(environ={"AWS_ENDPOINT_URL": server.url}))
        assert remote.get("keys/x", limit=100) is None
        assert remote.get(FORMAT_NAME, limit=100) == FORMAT
