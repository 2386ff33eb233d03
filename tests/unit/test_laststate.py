from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trust_samples import state

from opambin.errors import BadDataError, UnavailableError
from opambin.exchange.laststate import LastSeen, default_folder
from opambin.trust.remotestate import Seen

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://cache.example/x"


@pytest.fixture
def last(tmp_path: Path) -> LastSeen:
    return LastSeen(tmp_path / "state" / "remotes")


def test_what_was_seen_is_remembered_for_each_remote(last: LastSeen) -> None:
    assert last.get(URL) is None
    last.put(URL, Seen.of(state(serial=4)))
    assert last.get(URL) == Seen.of(state(serial=4))
    assert last.get(f"{URL}/other") is None


def test_an_older_state_does_not_replace_a_newer_one(last: LastSeen) -> None:
    """Two sessions at once: the slower one must not take back what the other has seen."""
    last.put(URL, Seen.of(state(serial=4)))
    last.put(URL, Seen.of(state(serial=3)))
    assert last.get(URL) == Seen.of(state(serial=4))


def test_a_remote_can_be_forgotten(last: LastSeen) -> None:
    last.put(URL, Seen.of(state()))
    last.forget(URL)
    last.forget(URL)
    assert last.get(URL) is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"opam-bin last seen 2 x\n", b"0" * 5000])
def test_a_damaged_file_is_no_way_to_roll_back(last: LastSeen, tmp_path: Path, content: bytes) -> None:
    last.put(URL, Seen.of(state()))
    (path,) = (tmp_path / "state" / "remotes").iterdir()
    path.write_bytes(content)
    with pytest.raises(BadDataError, match="damaged"):
        last.get(URL)
    with pytest.raises(BadDataError, match="damaged"):
        last.put(URL, Seen.of(state(serial=99)))


def test_nothing_is_left_when_it_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    last = LastSeen(tmp_path / "state" / "remotes")
    with pytest.raises(UnavailableError):
        last.put(URL, Seen.of(state()))


def test_the_folder_outlives_the_cache(tmp_path: Path) -> None:
    assert default_folder({"HOME": "/home/me"}).as_posix() == "/home/me/.local/state/opam-bin/remotes"
    found = default_folder({"XDG_STATE_HOME": str(tmp_path), "HOME": "/home/me"})
    assert found == tmp_path / "opam-bin" / "remotes"
