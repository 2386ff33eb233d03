"""The http remote against a real nginx."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import servers
from faulty import breaking_proxy
from remote_contract import RemoteContract

from opambin.errors import UnavailableError
from opambin.remote.access import Access
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.open import open_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opambin.remote.guard import Guarded
    from opambin.remote.protocol import Remote


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Running]:
    with servers.nginx(tmp_path_factory.mktemp("nginx") / "root", dav=True) as running:
        yield running


class TestNginx(RemoteContract):
    lists = servers.DAV_MODULE.exists()
    one_winner = False  # nginx ignores If-None-Match on PUT

    @pytest.fixture
    def remote(self, server: servers.Running, tmp_path: Path) -> Iterator[Remote]:
        (server.root / tmp_path.name).mkdir()
        remote = open_remote(f"{server.url}/{tmp_path.name}", Access(write=True))
        yield remote
        remote.close()


# --- what is special about this server


@pytest.fixture
def folder(server: servers.Running, tmp_path: Path) -> Path:
    made = server.root / f"{tmp_path.name}-x"
    made.mkdir()
    return made


def at(server: servers.Running, folder: Path, **access: float) -> Guarded:
    return open_remote(f"{server.url}/{folder.name}", Access(write=True, **access))  # type: ignore[arg-type]


def test_with_passwords(tmp_path: Path) -> None:
    with servers.nginx(tmp_path / "root", dav=True, password=True) as server:
        nobody = open_remote(server.url, Access(write=True))
        with pytest.raises(RefusedError, match="no credentials, or wrong ones"):
            nobody.get("x", limit=1)
        with pytest.raises(RefusedError, match="no credentials, or wrong ones"):
            nobody.put("x", b"1")
        nobody.close()
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login {servers.USER} password {servers.PASSWORD}\n")
        somebody = open_remote(server.url, Access(write=True, environ={"NETRC": str(netrc)}))
        assert somebody.put("a/b", b"1")
        assert somebody.get("a/b", limit=1) == b"1"
        somebody.close()


def test_a_server_that_only_serves_files(tmp_path: Path) -> None:
    with servers.nginx(tmp_path / "root") as server:
        (server.root / "x").write_bytes(b"1")
        remote = open_remote(server.url, Access(write=True))
        assert remote.get("x", limit=1) == b"1"
        with pytest.raises(RefusedError, match="takes no writes"):
            remote.put("y", b"1")
        with pytest.raises(UnavailableError, match="can't list"):
            list(remote.entries(""))
        assert remote.get("x", limit=1) == b"1"  # that it takes no writes does not close it for reading
        remote.close()


def test_folders_that_the_server_makes_by_itself(tmp_path: Path) -> None:
    with servers.nginx(tmp_path / "root", extra="dav_methods PUT DELETE; create_full_put_path on;") as server:
        remote = open_remote(server.url, Access(write=True))
        assert remote.put("a/b/c/d", b"1")
        assert (server.root / "a/b/c/d").read_bytes() == b"1"
        remote.close()


def test_its_own_folder_is_made_too(server: servers.Running, tmp_path: Path) -> None:
    """A new remote below a folder that is not there yet could not be written to at all."""
    name = f"{tmp_path.name}-new/sub"
    remote = open_remote(f"{server.url}/{name}", Access(write=True))
    assert remote.put("opam-bin-remote", b"1")
    assert remote.put("keys/ab/x/0", b"1")
    assert remote.get("keys/ab/x/0", limit=1) == b"1"
    remote.close()


def test_a_server_that_stops_answering(server: servers.Running, folder: Path) -> None:
    """It costs one time-out, however much is asked."""
    remote = at(server, folder, answer_seconds=1.0, connect_seconds=1.0)
    remote.put("x", b"1")
    names = [f"keys/{number}" for number in range(300)]
    for pid in workers_of(server):
        os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(RemoteDownError, match="no answer within 1 s") as caught:
            remote.get_many(names, limit=10)
        assert time.monotonic() - start < 3
        start = time.monotonic()
        for call in (lambda: remote.get("x", limit=1), lambda: remote.put("y", b"")):
            with pytest.raises(RemoteDownError) as again:
                call()
            assert again.value is caught.value
        assert time.monotonic() - start < 0.1
    finally:
        for pid in workers_of(server):
            os.kill(pid, signal.SIGCONT)
    remote.close()


def workers_of(server: servers.Running) -> list[int]:
    """Return the processes that answer: nginx's master only starts them."""
    text = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="ascii")
    return [int(pid) for pid in text.split()]


def test_two_writers_of_one_name(server: servers.Running, folder: Path) -> None:
    """nginx can't promise that one alone is told that it wrote; the bytes are those of one."""
    remote = at(server, folder)
    contents = [bytes([65 + number]) * 200_000 for number in range(4)]
    told: list[bool] = []
    threads = [threading.Thread(target=lambda c=c: told.append(remote.put("keys/x", c))) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(told)
    assert remote.get("keys/x", limit=200_000) in contents
    assert remote.put("keys/x", b"late") is False
    remote.close()


def test_the_limit_on_uploads_is_told(tmp_path: Path) -> None:
    with servers.nginx(tmp_path / "root", dav=True, extra="client_max_body_size 1k;") as server:
        remote = open_remote(server.url, Access(write=True))
        with pytest.raises(UnavailableError, match="larger than the server takes"):
            remote.put("x", b"1" * 5000)
        remote.close()


def test_probing_300_keys(server: servers.Running, folder: Path) -> None:
    """At most 0.3 s over loopback; the fastest of five turns, for others use this machine, too."""
    names = [f"keys/{number % 256:02x}/{number:064x}/0" for number in range(300)]
    for name in names[:200]:
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"s" * 1500)
    remote = at(server, folder)
    times, used = [], []
    for _ in range(5):
        start, cpu = time.perf_counter(), time.process_time()
        answers = remote.get_many(names, limit=65_536)
        times.append(time.perf_counter() - start)
        used.append(time.process_time() - cpu)
        assert sum(data is not None for data in answers.values()) == 200
    remote.close()
    assert min(used) < 0.3
    assert min(times) < 0.6  # 0.1 s on a machine that is ours alone


def test_a_download_beside_curl(server: servers.Running, folder: Path) -> None:
    """A large one takes about the time that curl takes, and survives a proxy that breaks it twice."""
    data = os.urandom(1 << 20) * 60
    (folder / "big").write_bytes(data)
    curl = servers.program("curl")
    remote = at(server, folder)

    def seconds(action: Callable[[], object]) -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    def fetch() -> None:
        found = hashlib.sha256()
        assert remote.fetch("big", found.update, size=len(data))
        assert found.hexdigest() == wanted

    wanted = hashlib.sha256(data).hexdigest()
    url = f"{server.url}/{folder.name}/big"
    theirs = min(
        seconds(
            lambda: hashlib.sha256(subprocess.run([curl, "-s", url], capture_output=True, check=True).stdout)
        )
        for _ in range(3)
    )
    ours = min(seconds(fetch) for _ in range(3))
    remote.close()
    assert ours < 1.5 * theirs + 0.5
    with breaking_proxy(server.port, [10_000_000, 25_000_000]) as port:
        broken = open_remote(f"http://127.0.0.1:{port}/{folder.name}", Access())
        found = hashlib.sha256()
        assert broken.fetch("big", found.update, size=len(data))
        assert found.hexdigest() == wanted
        broken.close()


# --- TLS


def test_only_certificates_that_are_known(tmp_path: Path) -> None:
    with servers.nginx(tmp_path / "root", dav=True, tls=True) as server:
        (server.root / "x").write_bytes(b"1")
        stranger = open_remote(server.url, Access())
        with pytest.raises(RemoteDownError, match="no safe connection"):
            stranger.get("x", limit=1)
        stranger.close()
        known = open_remote(
            server.url, Access(write=True, environ={"SSL_CERT_FILE": str(servers.certificate(server))})
        )
        assert known.get("x", limit=1) == b"1"
        assert known.put("a/y", b"2")
        assert known.get_many(["a/y", "z"], limit=1) == {"a/y": b"2", "z": None}
        known.close()


def test_not_from_https_to_http(tmp_path: Path) -> None:
    with (
        servers.nginx(tmp_path / "plain") as plain,
        servers.nginx(tmp_path / "tls", tls=True, extra=f"return 302 {plain.url}/x;") as server,
    ):
        (plain.root / "x").write_bytes(b"1")
        environ = {"SSL_CERT_FILE": str(servers.certificate(server))}
        remote = open_remote(server.url, Access(environ=environ))
        with pytest.raises(RemoteDownError, match="from https to plain http"):
            remote.get("x", limit=1)
        assert plain.requests() == []
        remote.close()


def test_a_slow_server_behind_tls(tmp_path: Path) -> None:
    """The watch ends it, too: a connection under TLS is shut from below."""
    with servers.nginx(tmp_path / "root", tls=True, extra="limit_rate 10;") as server:
        (server.root / "x").write_bytes(b"1" * 1000)
        environ = {"SSL_CERT_FILE": str(servers.certificate(server))}
        remote = open_remote(server.url, Access(environ=environ, answer_seconds=1.5))
        start = time.monotonic()
        with pytest.raises(RemoteDownError, match=r"too slowly|no answer within"):
            remote.get("x", limit=2000)
        assert time.monotonic() - start < 4
        remote.close()
