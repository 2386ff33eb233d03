"""Debian's docker-registry with token authentication: what ghcr.io and its like want, for real."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from typing import TYPE_CHECKING, TypeAlias

import pytest
import servers
import token_issuer
from remote_contract import RemoteContract

from opambin.remote.access import Access
from opambin.remote.faults import RefusedError
from opambin.remote.open import open_remote
from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worlds import World

    from opambin.remote.protocol import Remote

pytestmark = pytest.mark.integration
KEY = SecretKey("ci", b"t" * 32)
PULL = frozenset({"pull"})
Private: TypeAlias = tuple[servers.Running, token_issuer.Issuer]
_numbers = itertools.count(1300)


@pytest.fixture(scope="module")
def private(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Private]:
    """A registry that gives nothing without a login."""
    with token_issuer.registry(tmp_path_factory.mktemp("private")) as found:
        yield found


class TestRegistryWithTokens(RemoteContract):
    one_winner = False  # a registry has no conditional writes

    @pytest.fixture
    def remote(self, private: Private, tmp_path: Path) -> Iterator[Remote]:
        host = private[0].host
        environ = servers.docker_config(tmp_path / "docker", host)
        name = tmp_path.name.lower().replace("_", "-").strip("-")
        remote = open_remote(f"oci://{host}/cache/{name}", Access(write=True, environ=environ))
        yield remote
        remote.close()


def test_an_identity_token_is_exchanged(private: Private, tmp_path: Path) -> None:
    server, issuer = private
    config = {"auths": {server.host: {"identitytoken": token_issuer.IDENTITY}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    remote = open_remote(
        f"oci://{server.host}/it", Access(write=True, environ={"DOCKER_CONFIG": str(tmp_path)})
    )
    issuer.asked.clear()
    assert remote.put("x", b"1")
    assert remote.get("x", limit=1) == b"1"
    assert set(issuer.asked) == {(servers.USER, "pull"), (servers.USER, "pull,push")}
    remote.close()


@pytest.mark.parametrize("password", ["wrong", None], ids=["wrong password", "no login"])
def test_who_is_not_known_gets_nothing(private: Private, tmp_path: Path, password: str | None) -> None:
    server, _ = private
    environ = (
        servers.docker_config(tmp_path, server.host, servers.USER, password)
        if password
        else {"DOCKER_CONFIG": str(tmp_path)}
    )
    remote = open_remote(f"oci://{server.host}/it", Access(write=True, environ=environ))
    for call in (lambda: remote.get("x", limit=1), lambda: remote.put("y", b"1")):
        with pytest.raises(RefusedError, match=r"wants a login .*\(401\): docker login"):
            call()
    remote.close()


def test_all_may_read_and_some_may_write(tmp_path: Path) -> None:
    """As a public package of ghcr.io: a token is wanted of everybody, and given to everybody for reading."""
    with token_issuer.registry(tmp_path / "registry", anonymous=PULL) as (server, issuer):
        url = f"oci://{server.host}/team/cache"
        environ = servers.docker_config(tmp_path / "docker", server.host)
        writer = open_remote(url, Access(write=True, environ=environ))
        assert writer.put("archives/x", b"z" * 100_000)
        writer.close()
        issuer.asked.clear()
        anybody = open_remote(url, Access(write=True, environ={"DOCKER_CONFIG": str(tmp_path)}))
        pieces: list[bytes] = []
        assert anybody.fetch("archives/x", pieces.append, size=100_000)
        assert b"".join(pieces) == b"z" * 100_000
        assert issuer.asked == [("", "pull")]
        with pytest.raises(RefusedError, match=r"needs a login that may write \(401\): docker login"):
            anybody.put("archives/y", b"1")
        with pytest.raises(RefusedError, match=r"\(401\): docker login"):  # is not asked a second time
            anybody.remove("archives/x")
        assert anybody.get("archives/x", limit=100_000) == b"z" * 100_000
        anybody.close()


def test_a_token_that_has_ended_is_got_again(tmp_path: Path) -> None:
    """The registry, not the answer that came with the token, says when it ends."""
    with token_issuer.registry(tmp_path / "registry", anonymous=PULL) as (server, issuer):
        remote = open_remote(f"oci://{server.host}/it", Access(environ={}))
        issuer.seconds = -58  # and a minute that the registry allows for clocks
        assert remote.get("x", limit=1) is None
        time.sleep(3)
        issuer.seconds = 300
        assert remote.get("x", limit=1) is None
        assert len(issuer.asked) == 2
        remote.close()


def test_one_machine_pushes_with_a_login_and_another_pulls_without(tiny_root: World, tmp_path: Path) -> None:
    builder, user = (dataclasses.replace(tiny_root, number=next(_numbers)) for _ in range(2))
    for world in (builder, user):
        world.empty_switch(f"s{world.number}")
    builder.opam("install", "--switch", f"s{builder.number}", "top")
    with token_issuer.registry(tmp_path / "registry", anonymous=PULL) as (server, issuer):
        url = f"oci://{server.host}/team/cache"
        words = ("push", "--switch", f"s{builder.number}", "--remote", url, "--json")
        more = {"OPAMBIN_SIGNING_KEY": KEY.reveal()}
        refused = builder.opam_bin(*words, more=more, code=None)
        assert "docker login" in refused.text
        login = servers.docker_config(tmp_path / "docker", server.host)
        pushed = json.loads(builder.opam_bin(*words, more=more | login).out)
        assert (len(pushed["pushed"]), pushed["failed"]) == (3, {})
        issuer.asked.clear()
        trusting = {"OPAMBIN_REMOTE": url, "OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
        done = user.opam_bin("install", "--switch", f"s{user.number}", "top", more=trusting)
    assert "3 snapshots fetched from environment" in done.text
    assert user.built == []
    assert set(issuer.asked) == {("", "pull")}
