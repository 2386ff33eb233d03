from __future__ import annotations

import hashlib
import io
import subprocess
from typing import TYPE_CHECKING

import pytest
from archive_samples import MANIFEST, honest, member, sha, sources
from hypothesis import given, settings
from hypothesis import strategies as st

from opambin.archive import frames as framing
from opambin.archive import tarform, writer
from opambin.archive.tarform import Member, unique
from opambin.archive.writer import Source, write_archive
from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.model import Digest

if TYPE_CHECKING:
    from pathlib import Path

SMALL = [b"one", b"", b"x" * 512, b"y" * 70_000]


def big(length: int, seed: int = 1) -> bytes:
    """Bytes that compress badly, so that frames are long."""
    return hashlib.shake_128(bytes([seed])).digest(length)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    archive = honest(tmp_path, *SMALL)
    assert list(archive.unpack().objects.values()) == SMALL


def test_bytes_do_not_depend_on_threads_or_the_time(tmp_path: Path) -> None:
    contents = [big(700_000, seed) for seed in range(6)] + [big(9_000_000, 9)]
    first = honest(tmp_path, *contents)
    for jobs in (1, 2, 4):
        assert honest(tmp_path, *contents, jobs=jobs) == first
    assert first.unpack().objects == {member(content): content for content in contents}


def test_what_is_said_of_an_archive_is_right(tmp_path: Path) -> None:
    archive = honest(tmp_path, *SMALL)
    assert archive.written.digest == sha(archive.data)
    assert archive.written.size == len(archive.data)
    assert archive.written.head_digest == sha(archive.data[: archive.written.head_size])


def test_tar_and_zstd_read_it(tmp_path: Path) -> None:
    sample = tmp_path / "objects-of-it"
    sample.mkdir()
    archive = honest(sample, *SMALL, big(9_000_000))
    (tmp_path / "a.tar.zst").write_bytes(archive.data)
    into = tmp_path / "into"
    into.mkdir()
    command = f"zstd -dcq '{tmp_path}/a.tar.zst' | tar x -C '{into}'"
    done = subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True)
    assert done.stderr == b""
    assert (into / "manifest.json").read_bytes() == MANIFEST
    assert {path.name for path in (into / "objects").iterdir()} == {item.digest for item in archive.members}
    for item in archive.members:
        assert sha((into / item.name).read_bytes()) == item.digest


def test_programs_are_members_of_their_own(tmp_path: Path) -> None:
    plain, program = sources(tmp_path, b"x"), sources(tmp_path, b"x", executable=True)
    into = io.BytesIO()
    write_archive(MANIFEST, plain + program, into)
    names = [source.member.name for source in plain + program]
    assert names == [f"objects/{sha(b'x')}", f"objects/{sha(b'x')}.x"]


def test_objects_are_named_once_and_in_order() -> None:
    one, two = Digest(sha(b"1")), Digest(sha(b"2"))
    objects = [(two, False, 1), (one, False, 1), (two, False, 1), (two, True, 1)]
    assert unique(objects) == (Member(two, False, 1), Member(one, False, 1), Member(two, True, 1))


def test_small_objects_share_frames_and_large_ones_are_cut() -> None:
    def of(size: int) -> Member:
        return Member(Digest("0" * 64), False, size)

    small, large = of(400_000), of(20_000_000)
    sizes = framing.cut([small, small, small, large, small])
    assert sizes == [
        2 * small.span,
        small.span,
        framing.PIECE_BYTES,
        framing.PIECE_BYTES,
        large.span - 2 * framing.PIECE_BYTES,
        small.span + len(tarform.END_MARK),
    ]


@given(st.lists(st.integers(0, 40_000_000), max_size=30))
def test_frames_add_up(sizes: list[int]) -> None:
    members = [Member(Digest("0" * 64), False, size) for size in sizes]
    cut = framing.cut(members)
    assert sum(cut) == sum(item.span for item in members) + len(tarform.END_MARK)
    assert all(0 < size <= framing.MAX_RAW_BYTES for size in cut)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=12, unique=True))
def test_any_contents_survive(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    archive = honest(tmp_path_factory.mktemp("a"), *contents)
    assert archive.unpack(step=100).objects == {member(content): content for content in contents}


def test_a_damaged_object_is_not_packed(tmp_path: Path) -> None:
    (source,) = sources(tmp_path, b"right")
    source.path.write_bytes(b"wrong")
    with pytest.raises(BadDataError, match="damaged object") as caught:
        write_archive(MANIFEST, [source], io.BytesIO())
    assert caught.value.expected == sha(b"right")
    assert caught.value.observed == sha(b"wrong")


def test_a_missing_object_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="can't be read"):
        write_archive(MANIFEST, [Source(member(b"x"), tmp_path / "gone")], io.BytesIO())


def test_what_is_too_large_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = io.BytesIO()
    huge = Source(Member(Digest("0" * 64), False, 1 << 40), tmp_path / "huge")
    with pytest.raises(MisuseError, match="do not fit"):
        write_archive(MANIFEST, [huge], into)
    monkeypatch.setattr(framing, "MAX_MANIFEST_BYTES", 10)
    with pytest.raises(MisuseError, match="does not fit"):
        write_archive(MANIFEST, [], into)
    assert into.getvalue() == b""


def test_frames_may_wait_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = honest(tmp_path, *SMALL)
    monkeypatch.setattr(writer, "MEMORY_BYTES", 100)
    assert honest(tmp_path, *SMALL) == expected
