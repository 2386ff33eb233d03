"""What every remote has to do: a test module subclasses the contract and brings the fixture ``remote``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

import pytest

from opambin.errors import BadDataError, MisuseError
from opambin.remote.protocol import Span

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.remote.protocol import Remote

KEY = "ab" * 32
SLOT = f"keys/ab/{KEY}/0"
DIGITS = bytes(range(256)) * 40  # 10,240 bytes


def drop(_: bytes) -> None:
    """Do nothing with it."""


class RemoteContract:
    lists: ClassVar[bool] = True
    one_winner: ClassVar[bool] = True

    def test_what_was_put_is_there(self, remote: Remote) -> None:
        assert remote.put(SLOT, b"statement")
        assert remote.get(SLOT, limit=100) == b"statement"

    def test_what_was_not_put_is_not_there(self, remote: Remote) -> None:
        assert remote.put(SLOT, b"statement")
        assert remote.get(f"keys/ab/{KEY}/1", limit=100) is None
        assert remote.get("keys/cd/x/0", limit=100) is None
        assert remote.fetch("archives/ab/cd.tar.zst", drop, size=5) is False

    def test_the_first_writer_wins(self, remote: Remote) -> None:
        assert remote.put(SLOT, b"first")
        assert not remote.put(SLOT, b"second")
        assert remote.get(SLOT, limit=100) == b"first"

    def test_replaced_when_asked(self, remote: Remote) -> None:
        remote.put(SLOT, b"first")
        assert remote.put(SLOT, b"second", replace=True)
        assert remote.get(SLOT, limit=100) == b"second"
        assert remote.put("snapshot.json", b"{}", replace=True)

    def test_a_file_is_put(self, remote: Remote, tmp_path: Path) -> None:
        (tmp_path / "archive").write_bytes(DIGITS)
        assert remote.put("archives/ab/cd.tar.zst", tmp_path / "archive")
        pieces: list[bytes] = []
        assert remote.fetch("archives/ab/cd.tar.zst", pieces.append, size=len(DIGITS))
        assert b"".join(pieces) == DIGITS

    def test_no_bytes_at_all(self, remote: Remote) -> None:
        assert remote.put(SLOT, b"")
        assert remote.get(SLOT, limit=0) == b""
        assert remote.fetch(SLOT, drop, size=0)

    @pytest.mark.parametrize(
        ("span", "expected"),
        [
            pytest.param(Span(0, 10), DIGITS[:10], id="beginning"),
            pytest.param(Span(5, 10), DIGITS[5:15], id="middle"),
            pytest.param(Span(len(DIGITS) - 3), DIGITS[-3:], id="end"),
            pytest.param(Span(len(DIGITS) - 3, 10), DIGITS[-3:], id="over the end"),
            pytest.param(Span(len(DIGITS) + 7, 10), b"", id="beyond the end"),
        ],
    )
    def test_a_part(self, remote: Remote, span: Span, expected: bytes) -> None:
        remote.put("archives/ab/cd.tar.zst", DIGITS)
        assert remote.get("archives/ab/cd.tar.zst", limit=10, span=span) == expected

    def test_no_more_than_the_limit(self, remote: Remote) -> None:
        remote.put(SLOT, b"0123456789")
        assert remote.get(SLOT, limit=10) == b"0123456789"
        with pytest.raises(BadDataError, match="too long"):
            remote.get(SLOT, limit=9)
        with pytest.raises(BadDataError, match="too long"):
            remote.get(SLOT, limit=3, span=Span(2))

    @pytest.mark.parametrize("size", [0, 9, 11])
    def test_the_length_has_to_be_right(self, remote: Remote, size: int) -> None:
        remote.put(SLOT, b"0123456789")
        with pytest.raises(BadDataError, match="wrong length"):
            remote.fetch(SLOT, drop, size=size)

    def test_many_at_once(self, remote: Remote) -> None:
        names = [f"keys/ab/{number}/0" for number in range(20)]
        for name in names[::2]:
            remote.put(name, name.encode())
        answers = remote.get_many(names, limit=100)
        assert dict(answers) == {
            name: name.encode() if at % 2 == 0 else None for at, name in enumerate(names)
        }
        assert not answers.faults
        assert dict(remote.get_many([], limit=10)) == {}

    def test_one_bad_answer_does_not_spoil_the_others(self, remote: Remote) -> None:
        names = [f"keys/ab/{number}/0" for number in range(6)]
        for name in names:
            remote.put(name, b"good" if name != names[3] else b"much too long")
        answers = remote.get_many(names, limit=4)
        assert [name for name, data in answers.items() if data is None] == [names[3]]
        assert list(answers.faults) == [names[3]]

    def test_removed(self, remote: Remote) -> None:
        remote.put(SLOT, b"x")
        remote.put(f"keys/ab/{KEY}/1", b"y")
        remote.remove(SLOT)
        remote.remove(SLOT)
        assert remote.get(SLOT, limit=9) is None
        assert remote.get(f"keys/ab/{KEY}/1", limit=9) == b"y"
        assert remote.put(SLOT, b"again")

    def test_listed(self, remote: Remote) -> None:
        if not self.lists:
            pytest.skip("this kind can't list")
        assert list(remote.entries("keys")) == []
        remote.put(SLOT, b"12345")
        remote.put("archives/ab/cd.tar.zst", b"1")
        remote.put("keys-not/x", b"1")
        found = list(remote.entries("keys"))
        assert [(entry.name, entry.size) for entry in found] == [(SLOT, 5)]
        assert {entry.name for entry in remote.entries("")} == {SLOT, "archives/ab/cd.tar.zst", "keys-not/x"}

    @pytest.mark.parametrize(
        "name", ["", "/x", "../x", "a/../b", "a//b", ".a", "a/.b", "a b", "a\nb", "ä", "-x"]
    )
    def test_what_is_no_name(self, remote: Remote, name: str) -> None:
        for call in (
            lambda: remote.get(name, limit=1),
            lambda: remote.put(name, b""),
            lambda: remote.remove(name),
            lambda: remote.fetch(name, drop, size=1),
            lambda: remote.get_many([name], limit=1),
        ):
            with pytest.raises(MisuseError):
                call()

    def test_of_many_writers_one_wins(self, remote: Remote) -> None:
        """Eight writers on one slot: one is told that it wrote, and its bytes are there."""
        if not self.one_winner:
            pytest.skip("this kind can't promise it")
        for turn in range(10):
            name = f"keys/ab/{turn}/0"
            start = threading.Barrier(8)
            won: list[bytes] = []

            def write(mine: bytes, name: str = name, start: threading.Barrier = start) -> None:
                start.wait()
                if remote.put(name, mine):
                    won.append(mine)  # noqa: B023 - the threads end within this turn

            threads = [threading.Thread(target=write, args=(b"%d" % number * 2000,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [remote.get(name, limit=20_000)] == won
