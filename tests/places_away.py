"""Places on other machines to publish to, while a block lasts: a web server that takes PUT, S3, rsync."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from servers import nginx, program, s3, s3_environ

from opambin.publish import publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import Running

    from opambin.publish.places import Place


@dataclass(frozen=True, slots=True)
class Away:
    """A place on another machine.

    Attributes:
        target: What one publishes to.
        url: Where it is served.
        environ: What it takes to write there.
        server: That it is served by.
    """

    target: str
    url: str
    environ: dict[str, str]
    server: Running

    def place(self) -> Place:
        """Return another publisher's way to it."""
        return publisher.place_of(self.target, self.environ)


@contextmanager
def web(folder: Path) -> Iterator[Away]:
    with nginx(folder / "web", dav=True) as server:
        yield Away(f"{server.url}/repo", f"{server.url}/repo", {"HOME": str(folder)}, server)


@contextmanager
def bucket(folder: Path) -> Iterator[Away]:
    pytest.importorskip("obstore")
    with s3(folder / "s3", public=True) as server:
        environ = {"HOME": str(folder), **s3_environ(server)}
        yield Away("s3://cache/repo", f"{server.url}/cache/repo", environ, server)


@contextmanager
def rsynced(folder: Path) -> Iterator[Away]:
    program("rsync")
    with nginx(folder / "there") as server:
        yield Away(f"rsync:{folder}/there", server.url, {}, server)


AWAY: tuple[Callable[[Path], object], ...] = (web, bucket, rsynced)
