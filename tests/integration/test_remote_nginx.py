"""The http remote against a real nginx."""

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
