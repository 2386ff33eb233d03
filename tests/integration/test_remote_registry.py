"""The remote in a registry against Debian's docker-registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import servers
from remote_contract import RemoteContract

from opambin.remote.access import Access
from opambin.remote.open import open_remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opambin.remote.protocol import Remote


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
