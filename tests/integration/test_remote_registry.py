"""The remote in a registry against Debian's docker-registry."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import servers
from faulty import breaking_proxy
from remote_contract import RemoteContract

from opambin.remote import ociupload
from opambin.remote.access import Access
from opambin.remote.batch import in_batch
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.open import open_remote
from opambin.remote.protocol import Span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opambin.remote.protocol import Remote
    from opambin.remote.transport import Request


@pytest.fixture(scope="module", params=[False, True], ids=["open", "with passwords"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.Running]:
    with servers.registry(tmp_path_factory.mktemp("registry"), password=request.param) as running:
        yield running


class TestRegistry(RemoteContract):
    one_winner = False  # a registry has no conditional writes

    @pytest.fixture
    def remote(self, server: servers.Running, tmp_path: Path) -> Iterator[Remote]:
        environ = servers.docker_config(tmp_path / "docker", server.host)
        name = tmp_path.name.lower().replace("_", "-").strip("-")
        remote = open_remote(f"oci://{server.host}/cache/{name}", Access(write=True, environ=environ))
        yield remote
        remote.close()


# --- what is special about this server


def test_a_probe_costs_one_request_and_an_archive_two(tmp_path: Path) -> None:
    """The content of a slot is in its manifest."""
    from opambin.remote.transport import Transport

    with servers.registry(tmp_path / "registry") as server:
        remote = open_remote(f"oci://{server.host}/cache", Access(write=True))
        remote.put("slot", b"x" * 2000)
        remote.put("archives/ab/cd.tar.zst", os.urandom(300_000))
        seen: list[str] = []
        read = Transport.read

        def counted(self: Transport, request: Request, *, limit: int) -> object:
            seen.append(f"{request.method} {request.url.partition('/v2/')[2]}")
            return read(self, request, limit=limit)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transport, "read", counted)
            assert remote.get("slot", limit=2000) == b"x" * 2000
        assert seen == ["GET cache/manifests/slot"]
        assert len(remote.get("archives/ab/cd.tar.zst", limit=100, span=Span(0, 100)) or b"") == 100
        remote.close()


@pytest.mark.parametrize("form", ["bytes", "file"])
def test_a_blob_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(ociupload, "MONOLITHIC_BYTES", 1000)
    monkeypatch.setattr(ociupload, "PIECE_BYTES", 70_000)
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    with servers.registry(tmp_path / "registry", password=True) as server:
        environ = servers.docker_config(tmp_path / "docker", server.host)
        remote = open_remote(f"oci://{server.host}/cache", Access(write=True, environ=environ))
        assert remote.put("big", data if form == "bytes" else tmp_path / "file")
        pieces: list[bytes] = []
        assert remote.fetch("big", pieces.append, size=len(data))
        assert b"".join(pieces) == data
        remote.close()


def test_a_wrong_password(tmp_path: Path) -> None:
    with servers.registry(tmp_path / "registry", password=True) as server:
        environ = servers.docker_config(tmp_path / "docker", server.host, servers.USER, "wrong")
        remote = open_remote(f"oci://{server.host}/cache", Access(write=True, environ=environ))
        with pytest.raises(RefusedError, match="docker login"):
            remote.get("x", limit=1)
        with pytest.raises(RefusedError, match="docker login"):
            remote.put("x", b"1")
        remote.close()


def test_a_login_in_the_url(tmp_path: Path) -> None:
    """For a job that has a token in its environment, and no configuration of docker."""
    with servers.registry(tmp_path / "registry", password=True) as server:
        login = f"{servers.USER}:{quote(servers.PASSWORD)}"
        remote = open_remote(f"oci://{login}@{server.host}/cache", Access(write=True))
        assert remote.put("x", b"1")
        assert remote.get("x", limit=1) == b"1"
        assert remote.url == f"oci://{server.host}/cache"
        remote.close()


def test_a_registry_that_lets_nobody_delete(tmp_path: Path) -> None:
    with servers.registry(tmp_path / "registry", delete=False) as server:
        remote = open_remote(f"oci://{server.host}/cache", Access(write=True))
        remote.put("x", b"1")
        with pytest.raises(RefusedError, match="does not let anybody delete"):
            remote.remove("x")
        assert remote.get("x", limit=1) == b"1"
        remote.close()


def test_downloads_and_reads_over_a_line_that_breaks(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    with servers.registry(tmp_path / "registry") as server:
        remote = open_remote(f"oci://{server.host}/cache", Access(write=True))
        remote.put("big", data)
        remote.put("small", b"1")
        remote.close()
        with breaking_proxy(server.port, [100, 1_000_000, 1_500_000]) as port:
            broken = open_remote(f"oci://127.0.0.1:{port}/cache", Access())
            assert broken.get("small", limit=1) == b"1"
            pieces: list[bytes] = []
            assert broken.fetch("big", pieces.append, size=len(data))
            assert b"".join(pieces) == data
            broken.close()


def test_a_registry_that_stops_answering(tmp_path: Path) -> None:
    with servers.registry(tmp_path / "registry") as server:
        remote = open_remote(f"oci://{server.host}/cache", Access(answer_seconds=1.0))
        assert remote.get("x", limit=1) is None
        server.stop_answering()
        start = time.monotonic()
        for _ in range(3):
            with pytest.raises(RemoteDownError):
                remote.get_many([f"keys/{number}" for number in range(50)], limit=1)
        assert time.monotonic() - start < 3
        server.answer_again()
        remote.close()


def test_of_two_writers_the_bytes_of_one_are_there(tmp_path: Path) -> None:
    """A registry can't promise that the first one wins; it never mixes two."""
    with servers.registry(tmp_path / "registry") as server:
        remote = open_remote(f"oci://{server.host}/cache", Access(write=True))
        contents = [bytes([65 + number]) * 1000 for number in range(4)]
        told = in_batch(lambda name: b"%d" % remote.put("slot", contents[int(name)]), list("0123"), 4)
        assert told.faults == {}
        assert b"1" in told.values()
        late = in_batch(lambda name: b"%d" % remote.put("slot", contents[int(name)]), list("0123"), 1)
        assert dict(late) == dict.fromkeys("0123", b"0")
        assert remote.get("slot", limit=1000) in contents
        assert remote.put("slot", b"late") is False
        remote.close()
