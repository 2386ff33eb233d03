"""Archives made to do harm, under digests that are right: what a publisher's stolen key could sign.

None of them gets a byte to the sink, so nothing of them reaches the store, let alone a prefix.
"""

from __future__ import annotations

import struct
import tarfile
import time
import tracemalloc
from typing import TYPE_CHECKING, Any, Literal

import pytest
import zstandard
from archive_samples import Kept, forged, frame, member, tar_member

from opambin.archive import frames as framing
from opambin.archive.tarform import END_MARK, padding
from opambin.errors import BadDataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opambin.archive.tarform import Member

CONTENT = b"#!/bin/sh\nexec true\n"
OBJECT = member(CONTENT)
TEN_GB = 10_000_000_000
RLE_BLOCK = 128 << 10  # the largest


def header(name: str = "", form: Literal[0, 1, 2] = tarfile.USTAR_FORMAT, **fields: Any) -> bytes:  # noqa: ANN401 - any field
    """Headers as tar writes them, of a member that is as ours but for what is given."""
    info = tarfile.TarInfo(name or OBJECT.name)
    info.size, info.mode = len(CONTENT), 0o644
    info.uid = info.gid = info.mtime = 0
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(form)


def refuse(frames: Sequence[bytes], problem: str, members: Sequence[Member] = (OBJECT,), **more: Any) -> None:  # noqa: ANN401 - any field
    kept = Kept()
    with pytest.raises(BadDataError) as caught:
        forged(frames, members, **more).unpack(kept=kept)
    assert problem in caught.value.problem
    assert kept.objects == {}


def with_header(block: bytes, content: bytes = CONTENT) -> list[bytes]:
    """A frame whose only member has another header; of the length that the manifest asks for."""
    wanted = OBJECT.span + len(END_MARK)
    raw = block + content + bytes(padding(len(content))) + END_MARK
    return [frame(raw[:wanted].ljust(wanted, b"\0"))]


def test_the_headers_of_this_test_are_as_ours_but_for_the_harm() -> None:
    kept = Kept()
    forged(with_header(OBJECT.header), [OBJECT]).unpack(kept=kept)
    assert kept.objects == {OBJECT: CONTENT}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"name": "/etc/cron.d/evil"}, "wrong name '/etc/cron.d/evil'", id="absolute name"),
        pytest.param({"name": "../../.bashrc"}, "wrong name '../../.bashrc'", id="dot dot"),
        pytest.param({"name": f"objects/../../{OBJECT.digest}"}, "wrong name", id="dot dot inside"),
        pytest.param({"name": f"./{OBJECT.name}"}, "wrong name", id="another spelling"),
        pytest.param({"name": OBJECT.name.upper()}, "wrong name", id="case"),
        pytest.param({"name": f"objects/{OBJECT.digest.upper()}"}, "wrong name", id="case of the digest"),
        pytest.param({"name": f"{OBJECT.name}\nx"}, "wrong name", id="newline"),
        pytest.param({"name": "objects/caf\u00e9"}, "wrong name", id="not ASCII"),
        pytest.param({"name": f"{OBJECT.name}.x"}, "wrong name", id="a program for a file"),
        pytest.param({"name": ".opam-switch/switch-state"}, "wrong name", id="opam's records"),
        pytest.param({"name": "lib/ocaml/stdlib.cma"}, "wrong name", id="a file of another package"),
        pytest.param({"type": tarfile.SYMTYPE, "linkname": "/etc"}, "a symbolic link", id="symbolic link"),
        pytest.param({"type": tarfile.SYMTYPE, "linkname": "../.."}, "a symbolic link", id="link outwards"),
        pytest.param({"type": tarfile.LNKTYPE, "linkname": "/etc/shadow"}, "a hard link", id="hard link"),
        pytest.param({"type": tarfile.LNKTYPE, "linkname": OBJECT.name}, "a hard link", id="link to itself"),
        pytest.param(
            {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "character device", id="character"
        ),
        pytest.param({"type": tarfile.BLKTYPE, "devmajor": 8}, "a block device", id="block device"),
        pytest.param({"type": tarfile.FIFOTYPE}, "a FIFO", id="FIFO"),
        pytest.param({"type": tarfile.DIRTYPE}, "a directory", id="directory"),
        pytest.param({"type": tarfile.CONTTYPE}, "a contiguous file", id="contiguous file"),
        pytest.param({"type": tarfile.AREGTYPE}, "not in our form", id="old type of a file"),
        pytest.param({"type": b"Z"}, "not in our form", id="unknown type"),
        pytest.param({"mode": 0o4755}, "wrong mode '0004755'", id="setuid"),
        pytest.param({"mode": 0o2755}, "wrong mode", id="setgid"),
        pytest.param({"mode": 0o755}, "wrong mode", id="executable"),
        pytest.param({"uid": 1000}, "not in our form", id="owner"),
        pytest.param({"uname": "root"}, "not in our form", id="name of the owner"),
        pytest.param({"mtime": 2**31}, "not in our form", id="time"),
        pytest.param({"linkname": "/etc/passwd"}, "not in our form", id="a file with a link's target"),
        pytest.param({"size": 5}, "wrong size", id="shorter"),
        pytest.param({"size": 8 << 30, "form": tarfile.GNU_FORMAT}, "wrong size", id="size beyond octal"),
        pytest.param({"name": "x" * 90 + "/" + "y" * 90}, "wrong name", id="name in two fields"),
        pytest.param({"name": "x" * 300, "form": tarfile.GNU_FORMAT}, "GNU long name", id="long name"),
        pytest.param(
            {"type": tarfile.SYMTYPE, "linkname": "x" * 300, "form": tarfile.GNU_FORMAT},
            "GNU long link name",
            id="long link",
        ),
        pytest.param({"name": "x" * 300, "form": tarfile.PAX_FORMAT}, "a pax header", id="pax name"),
        pytest.param(
            {"pax_headers": {"path": "/etc/passwd"}, "form": tarfile.PAX_FORMAT},
            "a pax header",
            id="pax path",
        ),
        pytest.param(
            {"pax_headers": {"GNU.sparse.realsize": str(TEN_GB)}, "form": tarfile.PAX_FORMAT},
            "a pax header",
            id="pax sparse",
        ),
        pytest.param(
            {"type": tarfile.GNUTYPE_SPARSE, "form": tarfile.GNU_FORMAT}, "a sparse file", id="sparse"
        ),
        pytest.param({"type": b"V"}, "a volume label", id="volume label"),
        pytest.param({"type": b"M"}, "a continuation", id="volume"),
        pytest.param({"type": b"g"}, "a global pax header", id="global pax"),
    ],
)
def test_members_that_are_not_the_manifests_are_refused(fields: dict[str, Any], problem: str) -> None:
    refuse(with_header(header(**fields)), problem)


def test_a_wrong_checksum_is_refused() -> None:
    refuse(with_header(OBJECT.header[:150] + b"7" + OBJECT.header[151:]), "not in our form")


def test_other_bytes_of_the_same_length_are_refused() -> None:
    refuse(with_header(OBJECT.header, CONTENT.replace(b"true", b"evil")), "wrong bytes")


def test_bytes_hidden_in_padding_or_after_the_end_are_refused() -> None:
    raw = OBJECT.header + CONTENT
    refuse([frame(raw + b"x" * padding(len(CONTENT)) + END_MARK)], "badly padded")
    refuse([frame(raw + bytes(padding(len(CONTENT))) + bytes(1023) + b"x")], "follows the last object")


def test_a_name_twice_is_refused() -> None:
    """The second one could be meant to replace the first after it was checked."""
    twice = tar_member(CONTENT) + tar_member(CONTENT) + END_MARK
    refuse([frame(twice)], "do not hold the manifest's objects")
    refuse([frame(twice)], "wrong name", members=[OBJECT, member(CONTENT[::-1])])


def test_a_member_more_or_less_is_refused() -> None:
    more = tar_member(b"more") + END_MARK
    refuse([frame(tar_member(CONTENT) + more)], "do not hold")
    refuse([frame(END_MARK)], "do not hold")


def test_objects_in_another_order_are_refused() -> None:
    one, two = b"1", b"2"
    raw = tar_member(two) + tar_member(one) + END_MARK
    refuse([frame(raw)], "wrong name", members=[member(one), member(two)])


def test_a_million_members_are_refused_at_once() -> None:
    raw = tar_member(b"") * 30_000
    frames = [frame(raw)] * 34
    start = time.process_time()
    refuse(frames, "do not hold the manifest's objects", raw_sizes=[len(raw)] * 34)
    assert time.process_time() - start < 5


# Decompression


def rle_frame(length: int, stated: int | None) -> bytes:
    """A zstd frame of ``length`` zeros in a few bytes for each 128 KiB, which states any size or none."""
    if stated is None:
        start = b"\x28\xb5\x2f\xfd" + bytes([0x00, 0x38])
    else:
        start = b"\x28\xb5\x2f\xfd" + bytes([0xC0, 0x38]) + struct.pack("<Q", stated)
    blocks, rest = divmod(length, RLE_BLOCK)
    full = struct.pack("<I", RLE_BLOCK << 3 | 1 << 1)[:3] + b"\0"
    return start + full * blocks + struct.pack("<I", rest << 3 | 1 << 1 | 1)[:3] + b"\0"


def test_the_bombs_of_this_test_are_good_zstd() -> None:
    data = rle_frame(1_000_000, 1_000_000)
    assert zstandard.ZstdDecompressor().decompress(data) == bytes(1_000_000)


@pytest.mark.parametrize(
    ("stated", "claimed", "problem"),
    [
        pytest.param(TEN_GB, OBJECT.span + 1024, "larger than it may be", id="stated"),
        pytest.param(None, OBJECT.span + 1024, "larger than it may be", id="no size stated"),
        pytest.param(OBJECT.span + 1024, OBJECT.span + 1024, "damaged", id="a small size stated"),
        pytest.param(OBJECT.span, OBJECT.span + 1024, "a frame of another size", id="another size stated"),
    ],
)
def test_ten_gigabytes_of_zeros_are_refused(stated: int | None, claimed: int, problem: str) -> None:
    bomb = rle_frame(TEN_GB, stated)
    assert len(bomb) < 400_000
    tracemalloc.start()
    start = time.process_time()
    refuse([bomb], problem, raw_sizes=[claimed])
    assert time.process_time() - start < 2
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("stated", [TEN_GB, None])
def test_ten_gigabytes_of_zeros_as_a_head_are_refused(stated: int | None) -> None:
    tracemalloc.start()
    refuse([frame(END_MARK)], "larger than it may be", members=[], head=rle_frame(TEN_GB, stated))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_a_table_that_promises_ten_gigabytes_is_refused() -> None:
    refuse([rle_frame(TEN_GB, TEN_GB)], "not a frame", raw_sizes=[TEN_GB])


def test_skippable_frames_are_refused() -> None:
    for number in (0x0, 0xF):
        skippable = struct.pack("<II", 0x184D2A50 + number, 4) + b"evil"
        refuse([skippable], "a skippable frame", raw_sizes=[OBJECT.span + 1024])


def test_two_frames_in_one_are_refused() -> None:
    good = tar_member(CONTENT) + END_MARK
    refuse([frame(good) + frame(b"more")], "damaged", raw_sizes=[len(good)])
    refuse([frame(good) + b"\0"], "damaged", raw_sizes=[len(good)])
    refuse([frame(good[:600]) + frame(good[600:])], "another size", raw_sizes=[len(good)])


def test_a_frame_with_a_dictionary_is_refused() -> None:
    samples: list[bytes | bytearray | memoryview[int]] = [
        b"a sample of what is often seen %d" % number * 20 for number in range(300)
    ]
    words = zstandard.train_dictionary(2000, samples)
    raw = tar_member(CONTENT) + END_MARK
    with_dictionary = zstandard.ZstdCompressor(dict_data=words, write_dict_id=True).compress(raw)
    refuse([with_dictionary], "compressed with a dictionary", raw_sizes=[len(raw)])
    hidden = zstandard.ZstdCompressor(dict_data=words, write_dict_id=False).compress(raw)
    kept = Kept()
    try:  # without its id a dictionary that was used damages the content, one that was not does nothing
        forged([hidden], [OBJECT], raw_sizes=[len(raw)]).unpack(kept=kept)
    except BadDataError:
        assert kept.objects == {}
    else:
        assert kept.objects == {OBJECT: CONTENT}


def test_a_truncated_frame_under_its_own_digest_is_refused() -> None:
    raw = tar_member(CONTENT) + END_MARK
    refuse([frame(raw)[:-3]], "damaged", raw_sizes=[len(raw)])


def test_other_formats_are_refused() -> None:
    for data in (b"\x1f\x8b\x08" + bytes(20), b"PK\x03\x04" + bytes(20), tar_member(CONTENT), b""):
        if data:
            refuse([data], "no zstd frame", raw_sizes=[OBJECT.span + 1024])


def test_a_later_bad_frame_leaves_only_objects_that_the_manifest_names() -> None:
    """What came before it was checked by digest; gc removes it, since no manifest gets into the store."""
    bad = header(name="/etc/passwd") + CONTENT + bytes(padding(len(CONTENT))) + END_MARK
    first = b"first" * 300_000
    kept = Kept()
    with pytest.raises(BadDataError, match="wrong name"):
        forged([frame(tar_member(first)), frame(bad)], [member(first), OBJECT]).unpack(kept=kept)
    assert kept.objects == {member(first): first}
    assert len(first) > framing.GROUP_BYTES
