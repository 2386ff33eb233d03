"""The S3 remote against moto's server."""

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
    with servers.s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


class TestS3(RemoteContract):
    @pytest.fixture
    def remote(self, server: servers.Running, tmp_path: Path) -> Remote:
        return open_remote(
            f"s3://cache/{tmp_path.name}", Access(write=True, environ=servers.s3_environ(server))
        )
