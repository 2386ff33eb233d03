from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from elf_samples import string_block
from hypothesis import given, settings
from hypothesis import strategies as st
from macho_samples import Sample, Sect, fat, macho, wrong_pages
from test_relocate_analysis import bytecode_program

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PLACEHOLDER, Kind
from opambin.relocate import arfile, machofile, machomagic, machosign
from opambin.relocate.analysis import analyse
from opambin.relocate.engine import Placing, place
from opambin.relocate.identity import identity
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = b"/home/me/.opam/5.1"
SPELLING = Spelling.of(PREFIX)
Q = SPELLING.padded
TARGET = b"/opt/elsewhere"
ID, LOAD, RPATH = 0xD, 0xC, 0x8000001C
BUILD = b"/.opam-switch/build/x"
CSTRING = Sect("__cstring", b"a\0" + Q + b"/share\0", flags=2)
BLOCK = Sect("__data", string_block(Q + b"/lib"), "__DATA")
TEXT = Sect("__text", b"\x90" * 9000)


def moved(data: bytes, target: bytes = TARGET) -> bytes:
    found = analyse(data, SPELLING, "lib/x.so")
    assert found.bound == ()
    assert found.content is not None
    assert data.startswith(b"\xca\xfe") or wrong_pages(found.content) == []
    return render(found.content, found.occurrences, target)


@pytest.mark.parametrize("target", [TARGET, b"/o", b"/" + b"t" * 199], ids=len)
def test_everything_known_moves_in_place_and_the_signature_fits_again(target: bytes) -> None:
    data = macho(
        Sample(
            (TEXT, CSTRING, BLOCK), ((ID, Q + b"/lib/x.dylib"), (LOAD, b"/usr/lib/y"), (RPATH, Q)), ((3, 8),)
        )
    )
    found = analyse(data, SPELLING, "lib/x.so")
    kinds = [(item.kind, item.where, item.capacity) for item in found.occurrences]
    assert kinds == [
        (Kind.CSTRING, "LC_ID_DYLIB", 200),
        (Kind.CSTRING, "LC_RPATH", 200),
        (Kind.CSTRING, "__TEXT,__cstring", 200),
        (Kind.BLOCK, "__DATA,__data", 203),
    ]
    live = moved(data, target)
    assert len(live) == len(data)
    assert wrong_pages(live) == []
    assert PLACEHOLDER not in live
    assert pad(target) + b"/lib/x.dylib\0" in live
    assert pad(target) + b"/share\0" in live
    block = string_block(target + b"/lib")
    assert block in live
    again = analyse(live, Spelling.of(target), "lib/x.so")
    assert (again.content, again.occurrences) == (found.content, found.occurrences)


@pytest.mark.parametrize("wide", [False, True])
def test_each_slice_of_a_universal_file_moves_and_is_signed(wide: bool) -> None:
    slices = [macho(Sample((TEXT, CSTRING))), macho(Sample((CSTRING,), sign="none")), b"!<arch>\nother"]
    data = fat(*slices, wide=wide)
    assert moved(data) == fat(moved(slices[0]), moved_unsigned(slices[1]), slices[2], wide=wide)


def moved_unsigned(data: bytes) -> bytes:
    found = analyse(data, SPELLING, "x")
    return render(found.content or b"", found.occurrences, TARGET)


@pytest.mark.parametrize("sign", ["both", "one"])
def test_other_ad_hoc_signatures_fit_again(sign: str) -> None:
    data = macho(Sample((TEXT, CSTRING), sign=sign))
    live = moved(data)
    assert wrong_pages(live) == []
    assert live == macho(
        Sample((TEXT, Sect("__cstring", b"a\0" + pad(TARGET) + b"/share\0", flags=2)), sign=sign)
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(macho(Sample((CSTRING,), sign="certified")), "certificate", id="certificate"),
        pytest.param(macho(Sample((CSTRING,), sign="runtime")), "certificate", id="not ad-hoc"),
        pytest.param(
            macho(Sample((TEXT, CSTRING))).replace(b"\x90", b"\x91", 1),
            "does not fit",
            id="changed after signing",
        ),
        pytest.param(
            macho(Sample((Sect("__cstring", PREFIX + b"\0"),))), "unpadded", id="canonical C string"
        ),
        pytest.param(macho(Sample((), ((ID, PREFIX + b"/x"),))), "unpadded", id="canonical install name"),
        pytest.param(macho(Sample((), ((0xE, Q),))), "outside of all sections", id="another load command"),
        pytest.param(macho(Sample((Sect("__const", b"/" * 9),))), "slash run", id="canary"),
        pytest.param(macho(Sample((Sect("__const", b"A" + PREFIX),))), "inside of a word", id="glued"),
        pytest.param(macho(Sample((TEXT,))) + b"\0" + Q, "form is unknown", id="bytes after it"),
        pytest.param(fat(b"other" + PREFIX + b"A"), "form is unknown", id="slice of another form"),
        pytest.param(b"\xce\xfa\xed\xfe\0" + Q, "form is unknown", id="32 bits"),
        pytest.param(b"\xfe\xed\xfa\xcf\0" + Q, "form is unknown", id="big-endian"),
        pytest.param(b"\xca\xfe\xba\xbe\0\0\0\x34\0" + Q, "unknown format", id="Java class"),
    ],
)
def test_what_cannot_be_moved_is_left_and_bound(data: bytes, reason: str) -> None:
    found = analyse(data, SPELLING, "lib/x.so")
    assert found.content is None
    assert found.occurrences == ()
    assert [(item.path, reason in item.reason) for item in found.bound] == [("lib/x.so", True)]


@pytest.mark.parametrize("sign", ["adhoc", "certified"])
def test_debug_information_is_no_reason_to_bind(sign: str) -> None:
    dwarf = Sect("__debug_str", b"\0" + Q + b"\0", "__DWARF")
    names = b"\0" + Q + b"/x.o\0" + PREFIX + b"/x.c\0" + PREFIX + BUILD + b"\0"
    data = macho(Sample((TEXT, dwarf), names=names, sign=sign))
    found = analyse(data, SPELLING, "lib/x.so")
    assert found.bound == ()
    if sign == "certified":
        assert (found.content, found.occurrences, found.informational_leaks) == (None, (), 4)
        return
    assert [item.functional for item in found.occurrences] == [False, False]
    assert found.informational_leaks == 2
    assert wrong_pages(render(found.content or b"", found.occurrences, b"/" + b"x" * 250)) == []


def test_keeping_the_length_pads_blocks_too() -> None:
    data = macho(Sample((BLOCK,), symbols=((1, 8),)))
    found = analyse(data, SPELLING, "x", keep_length=True)
    assert [item.kind for item in found.occurrences] == [Kind.CSTRING]


def test_a_block_that_nothing_vouches_for_is_padded_with_slashes() -> None:
    data = macho(Sample((Sect("__data", b"odd data" + string_block(Q) + b"odd data", "__DATA"),)))
    assert [item.kind for item in analyse(data, SPELLING, "x").occurrences] == [Kind.CSTRING]


def test_a_symbol_of_another_section_vouches_for_nothing() -> None:
    file = machofile.parse(macho(Sample((TEXT, BLOCK), symbols=((2, 8),))))
    data = macho(Sample((TEXT, BLOCK), symbols=((2, 8),)))
    start = file.sections[1].offset
    assert file.has_symbol(data, start + 8)
    assert not file.has_symbol(data, start)
    assert not file.has_symbol(data, 0)
    wrong = data[: file.symbols[0] + 5] + b"\1" + data[file.symbols[0] + 6 :]
    assert not file.has_symbol(wrong, start + 8)


def test_sections_without_bytes_in_the_file_are_passed_over() -> None:
    data = macho(Sample((Sect("__bss", b"", "__DATA", flags=1, size=1 << 40), CSTRING)))
    assert wrong_pages(moved(data)) == []


def test_a_custom_program_moves_in_both_its_parts() -> None:
    head = macho(Sample((TEXT, CSTRING)))
    data = bytecode_program(head, DLPT=Q + b"/lib\0", CODE=b"\0")
    found = analyse(data, SPELLING, "bin/x")
    assert [item.kind for item in found.occurrences] == [Kind.CSTRING, Kind.TEXT]
    live = render(found.content or b"", found.occurrences, TARGET)
    assert live == bytecode_program(moved(head), DLPT=TARGET + b"/lib\0", CODE=b"\0")


def bsd_archive(name: bytes, content: bytes) -> bytes:
    member = name + content
    header = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (b"#1/%d" % len(name), 0, 0, 0, b"100644", len(member))
    return b"!<arch>\n" + header + member + b"\n" * (len(member) % 2)


@pytest.mark.parametrize("name", [b"a member with a long name.o\0\0\0\0\0", b"odd.o\0\0"])
def test_an_archive_of_macos_keeps_its_names_and_sizes(name: bytes) -> None:
    part = macho(Sample((TEXT, BLOCK), symbols=((2, 8),), sign="none"))
    data = bsd_archive(name, part) + bsd_archive(b"other.o\0", b"x")[8:]
    assert [member.name for member in arfile.members(data)] == [name.rstrip(b"\0"), b"other.o"]
    found = analyse(data, SPELLING, "lib/x.a")
    assert (found.bound, [item.kind for item in found.occurrences]) == ((), [Kind.BLOCK])
    live = render(found.content or b"", found.occurrences, TARGET)
    assert live == data.replace(part, moved_unsigned(part))


def test_placing_signs_what_it_writes(tmp_path: Path) -> None:
    data = macho(Sample((TEXT, CSTRING)))
    found = analyse(data, SPELLING, "x")
    (tmp_path / "object").write_bytes(found.content or b"")
    place(tmp_path / "object", tmp_path / "x", found.occurrences, TARGET, Placing(0o755))
    assert (tmp_path / "x").read_bytes() == moved(data)
    with pytest.raises(CannotRelocateError):
        place(tmp_path / "object", tmp_path / "y", found.occurrences, b"/" + b"x" * 200, Placing(0o755))
    assert not (tmp_path / "y").exists()


def test_build_identifiers_and_signatures_are_not_part_of_the_identity() -> None:
    first = macho(Sample((TEXT, CSTRING)))
    assert identity(first) == identity(macho(Sample((TEXT, CSTRING), uuid=b"u" * 16)))
    assert identity(first) != identity(macho(Sample((CSTRING, TEXT))))
    assert identity(fat(first)) == identity(fat(macho(Sample((TEXT, CSTRING), uuid=b"u" * 16))))


# --- damage

WHOLE = macho(Sample((Sect("__text", b"\x90" * 100), CSTRING, BLOCK), ((RPATH, Q),), ((3, 8),)))
SIGNATURE_AT = machofile.parse(WHOLE).signature


@pytest.mark.parametrize("length", range(0, len(WHOLE), 31))
def test_a_truncated_file_is_bound_or_left(length: int) -> None:
    found = analyse(WHOLE[:length], SPELLING, "x")
    assert found.content is None


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_damaged_file_raises_nothing_and_moves_only_with_a_fitting_signature(at: int, value: int) -> None:
    data = WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :]
    found = analyse(data, SPELLING, "x")
    if (
        found.content is not None
        and found.content.startswith(machomagic.MAGIC)
        and b"\xfa\xde\x0c\xc0" in data
    ):
        live = render(found.content, found.occurrences, PREFIX)
        assert len(live) == len(data)


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        pytest.param(0, 0, "not a list of blobs", id="magic number"),
        pytest.param(4, 1 << 20, "not a list of blobs", id="length"),
        pytest.param(8, 65, "not a list of blobs", id="number of blobs"),
        pytest.param(16, 1 << 20, "a blob lies outside", id="offset of a blob"),
        pytest.param(36 + 4, 1 << 20, "a blob lies outside", id="length of a blob"),
        pytest.param(36 + 4, 40, "cut off", id="short directory"),
        pytest.param(36, 0xFADE0C01, "no code directory", id="no directory"),
        pytest.param(36 + 16, 1 << 20, "does not fit its file", id="hashes outside"),
        pytest.param(36 + 28, 77, "does not fit its file", id="number of pages"),
        pytest.param(36 + 32, 1 << 20, "unknown form", id="limit"),
        pytest.param(36 + 36, 0x20090000, "unknown form", id="hash function"),
        pytest.param(36 + 36, 0x00090000, "unknown form", id="no hash at all"),
        pytest.param(36 + 44, 1, "scattered", id="scattered"),
        pytest.param(36 + 94 + 32, 1, "Info.plist", id="Info.plist"),
    ],
)  # fmt: skip
def test_signatures_that_cannot_be_read(at: int, value: int, problem: str) -> None:
    assert SIGNATURE_AT is not None
    start, size = SIGNATURE_AT
    assert struct.unpack_from(">I", WHOLE, start + 36) == (0xFADE0C02,)
    data = WHOLE[: start + at] + struct.pack(">I", value) + WHOLE[start + at + 4 :]
    with pytest.raises(BadDataError, match=problem):
        machosign.read(data, start, size)
    assert analyse(data, SPELLING, "x").content is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"\xcf\xfa\xed\xfe", "not 64-bit", id="magic number alone"),
        pytest.param(
            WHOLE[:16] + b"\xff\xff\xff\xff" + WHOLE[20:], "go beyond the end", id="too many commands"
        ),
        pytest.param(
            WHOLE[:20] + b"\xff\xff\xff\x00" + WHOLE[24:], "go beyond the end", id="too long commands"
        ),
        pytest.param(WHOLE[:36] + b"\0\0\0\0" + WHOLE[40:], "no load command", id="command without length"),
        pytest.param(WHOLE[:40] + b"\0\0\0\0" + WHOLE[44:], "the path of an LC_RPATH", id="path in its head"),
    ],
)
def test_files_that_cannot_be_read(data: bytes, problem: str) -> None:
    with pytest.raises(BadDataError, match=problem):
        machofile.parse(data)
    assert len(data) < 5 or analyse(data, SPELLING, "x").bound


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"\xca\xfe\xba\xbe" + struct.pack(">I", 2) + b"\0" * 30, "cut off", id="table"),
        pytest.param(fat(WHOLE)[:5000], "overlap", id="slice"),
    ],
)
def test_universal_files_that_cannot_be_read(data: bytes, problem: str) -> None:
    with pytest.raises(BadDataError, match=problem):
        machofile.finish(data)
