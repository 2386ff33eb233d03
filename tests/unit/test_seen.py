from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trust_samples import state

from opambin.errors import BadDataError, UnavailableError
from opambin.exchange import seen
from opambin.trust.remotestate import Seen

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://cache.example/x"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def test_what_was_seen_is_remembered_for_each_remote(environ: dict[str, str]) -> None:
    assert seen.load(environ, URL) is None
    seen.save(environ, URL, Seen.of(state(serial=4)))
    assert seen.load(environ, URL) == Seen.of(state(serial=4))
    assert seen.load(environ, f"{URL}/other") is None
    assert len(list(seen.path_of(environ, URL).parent.iterdir())) == 1


def test_an_older_state_does_not_replace_a_newer_one(environ: dict[str, str]) -> None:
    """Two sessions at once: the slower one must not take back what the other has seen."""
    seen.save(environ, URL, Seen.of(state(serial=4)))
    seen.save(environ, URL, Seen.of(state(serial=3)))
    assert seen.load(environ, URL) == Seen.of(state(serial=4))


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b"[1]", b'{"remote":1,"serial":1,"digest":""}'])
def test_a_damaged_file_is_no_way_to_roll_back(environ: dict[str, str], content: bytes) -> None:
    seen.save(environ, URL, Seen.of(state()))
    seen.path_of(environ, URL).write_bytes(content)
    with pytest.raises(BadDataError, match="damaged"):
        seen.load(environ, URL)
    with pytest.raises(BadDataError, match="damaged"):
        seen.save(environ, URL, Seen.of(state(serial=99)))


def test_a_state_that_can_not_be_kept_is_told(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(UnavailableError):
        seen.save(environ, URL, Seen.of(state()))


def test_the_folder_outlives_the_cache() -> None:
    path = seen.path_of({"HOME": "/home/me", "XDG_CACHE_HOME": "/cache"}, URL)
    assert path.parent.as_posix() == "/home/me/.local/state/opam-bin/remotes"
