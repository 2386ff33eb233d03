from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import zstandard
from archive_samples import MANIFEST, Kept, forged, frame, honest, member, sha, tar_member
from hypothesis import given, settings
from hypothesis import strategies as st

from opambin.archive import frames as framing
from opambin.archive import reader, tarform
from opambin.archive.reader import Contents, Unpacker, read_head
from opambin.archive.tarform import END_MARK, Member
from opambin.errors import BadDataError, MisuseError
from opambin.model import Digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from archive_samples import Archive

ONE = b"the only object"


def noise(length: int, seed: int = 1) -> bytes:
    """Bytes that do not compress."""
    return hashlib.shake_128(bytes([seed])).digest(length)


def contents_of(archive: Archive) -> Contents:
    head = read_head(archive.data[: archive.written.head_size], digest=archive.written.head_digest)
    return Contents.of(head, archive.members, size=archive.written.size)


def some_frames(archive: Archive, wanted: Sequence[Member]) -> Kept:
    """Read only the frames that hold what is wanted, as a client with a partial store does."""
    contents = contents_of(archive)
    frames = contents.frames_with(set(wanted))
    kept = Kept()
    unpacker = Unpacker(contents, kept, frames)
    for found in frames:
        at = archive.written.head_size + found.offset
        unpacker.feed(archive.data[at : at + found.size])
    unpacker.finish()
    return kept


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
def test_pieces_may_have_any_size(tmp_path: Path, step: int) -> None:
    archive = honest(tmp_path, ONE, b"", noise(3000))
    assert list(archive.unpack(step).objects.values()) == [ONE, b"", noise(3000)]


def test_an_archive_without_objects(tmp_path: Path) -> None:
    archive = honest(tmp_path)
    assert archive.unpack().objects == {}
    assert some_frames(archive, []).objects == {}


def test_the_head_gives_the_manifest(tmp_path: Path) -> None:
    archive = honest(tmp_path, ONE)
    head = read_head(archive.data[: archive.written.head_size], digest=archive.written.head_digest)
    assert head.manifest == MANIFEST
    assert head.size + sum(found.size for found in head.frames) == len(archive.data)


def test_single_frames_can_be_read(tmp_path: Path) -> None:
    objects = [noise(600_000, seed) for seed in range(5)]
    archive = honest(tmp_path, *objects)
    assert len(contents_of(archive).frames) == 5
    wanted = [member(objects[1]), member(objects[4])]
    assert some_frames(archive, wanted).objects == {member(it): it for it in (objects[1], objects[4])}


def test_all_frames_of_a_large_object_are_read(tmp_path: Path) -> None:
    large = noise(2 * framing.PIECE_BYTES + 300_000, 7)
    archive = honest(tmp_path, noise(700_000, 1), large, noise(700_000, 2))
    assert some_frames(archive, [member(large)]).objects == {member(large): large}


def test_a_large_object_waits_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MEMORY_BYTES", 1000)
    archive = honest(tmp_path, ONE, noise(50_000))
    assert list(archive.unpack().objects.values()) == [ONE, noise(50_000)]


def test_a_part_of_a_large_object_alone_is_misuse(tmp_path: Path) -> None:
    large = noise(2 * framing.PIECE_BYTES, 7)
    archive = honest(tmp_path, large)
    contents = contents_of(archive)
    first, second, third = contents.frames[:3]

    def read(*frames: framing.Frame) -> None:
        unpacker = Unpacker(contents, Kept(), frames)
        for found in frames:
            at = archive.written.head_size + found.offset
            unpacker.feed(archive.data[at : at + found.size])

    with pytest.raises(MisuseError, match="left out"):
        read(second)
    with pytest.raises(MisuseError, match="left out"):
        read(first, third)


# Bytes that are not what was signed


def test_every_changed_byte_is_found_before_anything_is_handed_on(tmp_path: Path) -> None:
    archive = honest(tmp_path, ONE, noise(500))
    for at in range(0, len(archive.data), 3):
        data = bytearray(archive.data)
        data[at] ^= 0x10
        kept = Kept()
        with pytest.raises(BadDataError, match="wrong digest"):
            changed(archive, bytes(data)).unpack(kept=kept)
        assert kept.objects == {}


def changed(archive: Archive, data: bytes) -> Archive:
    """Another archive under the statement of this one: what a lying cache serves."""
    return type(archive)(data, archive.written, archive.members)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    archive = honest(tmp_path, ONE)
    for lacking in (1, 100):
        kept = Kept()
        with pytest.raises(BadDataError, match=r"cut off|wrong digest"):
            changed(archive, archive.data[:-lacking]).unpack(kept=kept)
        assert kept.objects == {}


def test_trailing_data_is_refused(tmp_path: Path) -> None:
    archive = honest(tmp_path, ONE)
    for more in (b"\0", frame(b"more"), END_MARK):
        with pytest.raises(BadDataError, match="more bytes than the archive has"):
            changed(archive, archive.data + more).unpack()


def test_frames_out_of_order_are_refused(tmp_path: Path) -> None:
    archive = honest(tmp_path, noise(900_000, 1), noise(900_000, 2))
    at = archive.written.head_size
    first, second = contents_of(archive).frames
    swapped = archive.data[at + first.size :] + archive.data[at : at + first.size]
    assert len(swapped) == first.size + second.size
    kept = Kept()
    with pytest.raises(BadDataError, match="wrong digest"):
        changed(archive, archive.data[:at] + swapped).unpack(kept=kept)
    assert kept.objects == {}


def test_a_head_of_another_archive_is_refused(tmp_path: Path) -> None:
    one, other = honest(tmp_path, ONE), honest(tmp_path, b"else")
    with pytest.raises(BadDataError, match="wrong digest") as caught:
        read_head(other.data[: other.written.head_size], digest=one.written.head_digest, what="a/b")
    assert "a/b" in caught.value.what


def test_nothing_is_decompressed_before_its_digest_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = honest(tmp_path, ONE)

    def never(*_: object, **__: object) -> bytes:
        raise AssertionError("decompressed")

    contents = contents_of(archive)
    monkeypatch.setattr(framing, "decompress", never)
    with pytest.raises(BadDataError, match="wrong digest"):
        read_head(archive.data[: archive.written.head_size], digest="0" * 64)
    with pytest.raises(BadDataError, match="wrong digest"):
        Unpacker(contents, Kept()).feed(bytes(contents.frames[0].size))


# Sizes and tables that do not fit, rightly signed


def test_another_size_than_stated_is_refused(tmp_path: Path) -> None:
    archive = honest(tmp_path, ONE)
    head = read_head(archive.data[: archive.written.head_size], digest=archive.written.head_digest)
    with pytest.raises(BadDataError, match="another size than stated"):
        Contents.of(head, archive.members, size=archive.written.size + 1)


@pytest.mark.parametrize("said", [[], [member(ONE), member(b"2")], [member(ONE + b"x" * 512)]])
def test_other_objects_than_the_manifests_are_refused(tmp_path: Path, said: list[Member]) -> None:
    archive = honest(tmp_path, ONE)
    with pytest.raises(BadDataError, match="do not hold the manifest's objects"):
        type(archive)(archive.data, archive.written, tuple(said)).unpack()


def test_objects_beyond_what_tar_can_say_are_refused(tmp_path: Path) -> None:
    archive = honest(tmp_path, ONE)
    huge = Member(Digest("0" * 64), False, 1 << 40)
    with pytest.raises(BadDataError, match="can't be in an archive"):
        type(archive)(archive.data, archive.written, (huge,)).unpack()


def row(size: object = 10, raw: object = 1024, digest: object = "0" * 64) -> list[object]:
    return [size, raw, digest]


def table(*rows: object, version: object = 1) -> bytes:
    import json

    return json.dumps({"frames": rows, "opam-bin-frames": version}, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"", "no JSON", id="empty"),
        pytest.param(b"\xff", "no JSON", id="binary"),
        pytest.param(b"[" * 100_000, "no JSON", id="deep"),
        pytest.param(b"[]", "no table", id="list"),
        pytest.param(table(), "no table", id="no frames"),
        pytest.param(table(row(), version=2), "another version", id="version"),
        pytest.param(table(row())[:-1], "canonical", id="no line feed"),
        pytest.param(table(row()).replace(b",", b", "), "canonical", id="spaces"),
        pytest.param(table(row(size=0)), "not a frame", id="empty frame"),
        pytest.param(table(row(size=-5)), "not a frame", id="negative"),
        pytest.param(table(row(size=True)), "not a frame", id="boolean"),
        pytest.param(table(row(raw=10_000_000_000)), "not a frame", id="10 GB"),
        pytest.param(table(row(size=10_000_000_000)), "not a frame", id="10 GB compressed"),
        pytest.param(table(row(digest="../../x")), "not a frame", id="digest"),
        pytest.param(table([1, 2]), "not a frame", id="short row"),
        pytest.param(table("x"), "not a frame", id="text"),
    ],
)
def test_bad_tables_are_refused(data: bytes, problem: str) -> None:
    archive = forged([], [], table=data)
    with pytest.raises(BadDataError) as caught:
        archive.unpack()
    assert problem in caught.value.problem


def test_a_table_of_a_million_frames_is_refused() -> None:
    with pytest.raises(BadDataError, match="too large"):
        forged([], [], table=table(*[row()] * 1_000_000)).unpack()


def test_frames_that_cut_through_objects_are_refused() -> None:
    """Reading one of them alone would begin in the middle of an object."""
    raw = tar_member(ONE) + tar_member(b"2") + END_MARK
    for at in (100, 600, 1500, len(raw) - 1000):
        kept = Kept()
        with pytest.raises(BadDataError, match="cuts through objects"):
            forged([frame(raw[:at]), frame(raw[at:])], [member(ONE), member(b"2")]).unpack(kept=kept)
        assert kept.objects == {}


def test_an_object_in_frames_of_its_own_may_be_cut_anywhere() -> None:
    raw = tar_member(ONE)
    for at in range(1, len(raw), 50):
        archive = forged([frame(raw[:at]), frame(raw[at:]), frame(END_MARK)], [member(ONE)])
        assert archive.unpack().objects == {member(ONE): ONE}


def head_of(*members: tuple[str, bytes]) -> bytes:
    return frame(b"".join(tar_member(data, tarform.header(name, len(data))) for name, data in members))


TABLE = table(row(len(frame(END_MARK)), 1024, sha(frame(END_MARK))))


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        pytest.param(frame(b""), "no manifest.json", id="empty"),
        pytest.param(frame(bytes(1024)), "ends early", id="zeros"),
        pytest.param(head_of(("frames.json", TABLE), ("manifest.json", MANIFEST)), "wrong name", id="order"),
        pytest.param(head_of(("manifest.json", MANIFEST)), "no frames.json", id="no table"),
        pytest.param(head_of(("../manifest.json", MANIFEST)), "wrong name", id="dot dot"),
        pytest.param(
            head_of(("manifest.json", MANIFEST), ("manifest.json", MANIFEST)),
            "wrong name",
            id="manifest twice",
        ),
        pytest.param(
            head_of(("manifest.json", MANIFEST), ("frames.json", TABLE), ("more", b"")),
            "bytes too many",
            id="more members",
        ),
        pytest.param(
            frame(tarform.header("manifest.json", 5000) + MANIFEST), "cut off or badly padded", id="short"
        ),
        pytest.param(
            frame(tarform.header("manifest.json", 1) + b"x" * 512), "badly padded", id="hidden in the padding"
        ),
    ],
)
def test_bad_heads_are_refused(head: bytes, problem: str) -> None:
    with pytest.raises(BadDataError) as caught:
        forged([frame(END_MARK)], [], head=head).unpack()
    assert problem in caught.value.problem


def test_an_honest_forgery_is_accepted() -> None:
    """The tests above fail for the reason that they name."""
    head = head_of(("manifest.json", MANIFEST), ("frames.json", TABLE))
    assert forged([frame(END_MARK)], [], head=head).unpack().objects == {}
    assert forged([frame(tar_member(ONE) + END_MARK)], [member(ONE)]).unpack().objects == {member(ONE): ONE}


@pytest.mark.parametrize("limit", ["MAX_MANIFEST_BYTES", "MAX_TABLE_BYTES"])
def test_a_large_manifest_or_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    archive = honest(tmp_path, ONE)
    monkeypatch.setattr(framing, limit, 10)
    with pytest.raises(BadDataError, match="too large"):
        archive.unpack()


# Property tests


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_malicious_signer_gets_our_errors_only(data: st.DataObject) -> None:
    """Any damage to the tar stream, under right digests: it is read as it should be, or refused."""
    objects = [ONE, b"", noise(700)]
    raw = bytearray(b"".join(tar_member(it) for it in objects) + END_MARK)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    kept = Kept()
    with suppress(BadDataError):
        forged([frame(bytes(raw))], [member(it) for it in objects]).unpack(kept=kept)
    assert all(sha(content) == found.digest for found, content in kept.objects.items())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_as_a_frame_are_our_error(junk: bytes, framed: bool) -> None:
    data = zstandard.ZstdCompressor().compress(b"x" * 1000)[: len(junk)] + junk if framed else junk
    for size in (None, 1000):
        with suppress(BadDataError):
            framing.decompress(data, 10_000, "f", size=size)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=1500))
def test_any_bytes_as_a_head_are_our_error(junk: bytes) -> None:
    data = frame(junk)
    with pytest.raises(BadDataError):
        read_head(data, digest=sha(data))
