from __future__ import annotations

import struct

import pytest
from elf_samples import ALLOC, STRTAB, Sec, archive, elf_file, string_block
from hypothesis import given, settings
from hypothesis import strategies as st

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PLACEHOLDER, Kind
from opambin.relocate import arfile, blocks, elf, elfdata, text
from opambin.relocate.rendering import longest_prefix, render
from opambin.relocate.spelling import Spelling, pad

PREFIX = b"/home/me/.opam/5.1"
SPELLING = Spelling.of(PREFIX)
Q = SPELLING.padded
TARGET = b"/opt/other/switch"
paths = st.from_regex(rb"(/[a-z0-9._-]{1,12}){1,6}", fullmatch=True).filter(lambda p: b".." not in p)


def data_elf(*strings: bytes, symbols: bool = True, name: str = ".data") -> bytes:
    """Return an object file whose data are string blocks, each with a symbol."""
    content = b""
    at = []
    for value in strings:
        at.append((1, len(content) + 8))
        content += string_block(value)
    return elf_file(Sec(name, content), symbols=tuple(at) if symbols else ())


def blocks_in(data: bytes) -> list[bytes]:
    """Walk through the blocks of .data as the runtime system would; fillers are skipped."""
    (section,) = [section for section in elf.parse(data).sections if section.name == ".data"]
    at, found = section.offset, []
    while at < section.end:
        (word,) = struct.unpack_from("<Q", data, at)
        end = at + 8 + (word >> 10) * 8
        assert word & 0x300 == 0x300
        if word & 0xFF == blocks.STRING_TAG:
            found.append(data[at + 8 : end - 1 - data[end - 1]])
        else:
            assert word & 0xFF == blocks.ABSTRACT_TAG
            assert not any(data[at + 8 : end])
        at = end
    assert at == section.end
    return found


# --- blocks


@settings(deadline=None)
@given(st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"x")), st.integers(0, 6))
def test_an_encoded_block_is_read_back_with_its_room(value: bytes, spare: int) -> None:
    room = len(value) // 8 + 1 + spare
    data = blocks.encode(value, room)
    assert len(data) == 8 + 8 * room
    block = blocks.string_at(data, 0, len(data))
    assert block == blocks.Block(0, len(value), room)


@pytest.mark.parametrize("length", range(18))
def test_every_length_around_a_word_has_the_right_pad_byte(length: int) -> None:
    assert blocks.encode(b"x" * length, length // 8 + 1) == string_block(b"x" * length)


def test_a_string_that_needs_one_word_more_is_refused() -> None:
    assert blocks.encode(b"x" * 7, 1)
    with pytest.raises(BadDataError, match="no room"):
        blocks.encode(b"x" * 8, 1)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(struct.pack("<Q", 1 << 10 | 0xFC) + b"abcdefg\0", id="colour of the heap"),
        pytest.param(struct.pack("<Q", 1 << 10 | 0x3FB) + b"abcdefg\0", id="other tag"),
        pytest.param(struct.pack("<Q", 2 << 10 | 0x3FC) + b"abcdefg\0", id="longer than the section"),
        pytest.param(struct.pack("<Q", 1 << 10 | 0x3FC) + b"abcdefg\x08", id="pad byte too large"),
        pytest.param(struct.pack("<Q", 1 << 10 | 0x3FC) + b"abcdefg\x01", id="pad byte without zeros"),
        pytest.param(struct.pack("<Q", 0x3FC), id="no words"),
    ],
)
def test_what_is_no_block_is_not_taken_for_one(data: bytes) -> None:
    assert blocks.string_at(data, 0, len(data)) is None


# --- ELF: string blocks


@settings(deadline=None)
@given(paths, st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"-").replace(b"/", b"-")))
def test_a_block_goes_to_the_placeholder_and_to_any_prefix(target: bytes, tail: bytes) -> None:
    rest = b"/lib" + tail
    found = elfdata.locate(data_elf(b"before", Q + rest, b"after"), SPELLING, "f.o")
    assert [item.kind for item in found.occurrences] == [Kind.BLOCK]
    assert blocks_in(found.content) == [b"before", PLACEHOLDER + rest, b"after"]
    assert blocks_in(render(found.content, found.occurrences, target)) == [b"before", target + rest, b"after"]


def test_rendering_and_locating_again_gives_the_same_object() -> None:
    found = elfdata.locate(data_elf(Q + b"/lib", b"-I" + Q + b":" + Q), SPELLING, "f.o")
    live = render(found.content, found.occurrences, PREFIX)
    assert Q not in live
    again = elfdata.locate(live, SPELLING, "f.o")
    assert again == found


def test_a_shrunk_block_grows_back_no_further_than_its_filler() -> None:
    found = elfdata.locate(data_elf(Q + b"/lib"), SPELLING, "f.o")
    (item,) = found.occurrences
    assert item.capacity == 203  # 204 bytes need 26 words, which hold up to 207
    assert blocks_in(render(found.content, [item], b"/" + b"y" * 202)) == [b"/" + b"y" * 202 + b"/lib"]
    with pytest.raises(CannotRelocateError, match="204 bytes, there is room for 203"):
        render(found.content, [item], b"/" + b"y" * 203)


def test_an_unpadded_block_without_filler_is_bound() -> None:
    data = data_elf(PREFIX + b"/lib")
    found = elfdata.locate(data, SPELLING, "f.o")
    assert (found.content, found.occurrences) == (data, ())
    assert "without room to grow" in found.bound[0].reason
    assert found.bound[0].max_prefix is None


def test_keeping_the_length_pads_a_block_with_slashes() -> None:
    found = elfdata.locate(data_elf(Q + b"/lib"), SPELLING, "f.o", keep_length=True)
    assert [item.kind for item in found.occurrences] == [Kind.CSTRING]
    assert blocks_in(render(found.content, found.occurrences, TARGET)) == [pad(TARGET) + b"/lib"]


def test_without_symbols_the_neighbours_tell_a_block() -> None:
    found = elfdata.locate(data_elf(b"before", Q, b"after", symbols=False), SPELLING, "f")
    assert [item.kind for item in found.occurrences] == [Kind.BLOCK]


def test_what_looks_like_a_block_inside_a_longer_string_is_not_shrunk() -> None:
    inner = string_block(Q)
    outer = string_block(b"12345678" + inner + b"tail")
    found = elfdata.locate(elf_file(Sec(".data", outer), symbols=((1, 8),)), SPELLING, "f.o")
    live = render(found.content, found.occurrences, TARGET)
    assert all(item.kind is Kind.CSTRING for item in found.occurrences)
    assert blocks_in(live)[0].startswith(b"12345678" + inner[:8])


def test_two_readings_of_a_block_bind() -> None:
    inner = string_block(b"in") + string_block(Q) + string_block(b"in")
    outer = string_block(inner + b"tail")
    found = elfdata.locate(elf_file(Sec(".data", outer)), SPELLING, "f")
    assert ["two readings" in bound.reason for bound in found.bound] == [True]


def test_a_dune_site_field_in_a_block_keeps_its_length_and_counts_again() -> None:
    value = b"=%d:%s" % (len(Q) + 4, Q + b"/lib")
    found = elfdata.locate(data_elf(value.ljust(400)), SPELLING, "f")
    assert [item.kind for item in found.occurrences] == [Kind.DUNE_SITE]
    live = render(found.content, found.occurrences, TARGET)
    assert blocks_in(live) == [(b"=%d:%s/lib" % (len(TARGET) + 4, TARGET)).ljust(400)]


# --- ELF: C strings, debug sections, canary


def test_a_c_string_keeps_its_length_and_its_tail() -> None:
    rodata = b"x\0-I" + Q + b"/share\0y\0"
    found = elfdata.locate(elf_file(Sec(".rodata", rodata)), SPELLING, "f")
    assert [(item.kind, item.capacity, item.functional) for item in found.occurrences] == [
        (Kind.CSTRING, 200, True)
    ]
    live = render(found.content, found.occurrences, TARGET)
    assert b"x\0-I" + pad(TARGET) + b"/share\0y\0" in live


def test_a_run_path_is_padded_in_place() -> None:
    dynstr = b"\0libc.so\0$ORIGIN:" + Q + b"/lib:/usr/lib\0"
    found = elfdata.locate(elf_file(Sec(".dynstr", dynstr, ALLOC, STRTAB)), SPELLING, "f.so")
    live = render(found.content, found.occurrences, TARGET)
    assert b"$ORIGIN:" + pad(TARGET) + b"/lib:/usr/lib\0" in live


@pytest.mark.parametrize(
    ("section", "value", "occurrences", "bound", "leaks"),
    [
        pytest.param(Sec(".rodata", b"\0" + PREFIX + b"\0"), "unpadded", 0, 1, 0, id="C string"),
        pytest.param(Sec(".debug_str", PREFIX + b"\0", 0), "", 0, 0, 1, id="debug, unpadded"),
        pytest.param(Sec(".debug_str", Q + b"\0", 0), "", 1, 0, 0, id="debug, padded"),
        pytest.param(Sec(".comment", PREFIX + b"\0", 0), "", 0, 0, 1, id="comment"),
        pytest.param(Sec(".mystery", Q + b"\0", 0), "unknown", 0, 1, 0, id="unknown section"),
        pytest.param(Sec(".rodata", Q + b"/.opam-switch/build/x.1/a.c\0"), "", 0, 0, 1, id="build directory"),
        pytest.param(Sec(".text", b"\x90" + b"/" * 8 + b"\x90"), "slash run of 8", 0, 1, 0, id="canary"),
        pytest.param(Sec(".text", b"\x90" + b"/" * 7 + b"\x90"), "", 0, 0, 0, id="seven slashes"),
        pytest.param(
            Sec(".data", b"\x31" + PREFIX + b"\0"), "inside of a word", 0, 1, 0, id="after a length"
        ),
        pytest.param(Sec(".debug_str", b"1" + PREFIX, 0), "", 0, 0, 0, id="another path in debug"),
        pytest.param(Sec(".debug_str", b"/" * 90, 0), "", 0, 0, 0, id="slashes of people"),
        pytest.param(Sec(".rodata", Q + b"x\0"), "slash run", 0, 1, 0, id="padded, but of another folder"),
    ],
)
def test_sections(section: Sec, value: str, occurrences: int, bound: int, leaks: int) -> None:
    data = elf_file(section)
    found = elfdata.locate(data, SPELLING, "bin/f")
    assert (len(found.occurrences), len(found.bound), found.leaks) == (occurrences, bound, leaks)
    assert all(value in item.reason and item.path == "bin/f" for item in found.bound)
    assert len(found.content) == len(data)


def test_informational_places_keep_the_placeholder_when_the_prefix_is_too_long() -> None:
    found = elfdata.locate(elf_file(Sec(".debug_str", Q + b"\0", 0)), SPELLING, "f")
    assert render(found.content, found.occurrences, b"/" + b"x" * 300) == found.content


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"\x7fELF", "no ELF header", id="cut in the header"),
        pytest.param(b"\x7fELF\x01\x01\x01" + b"\0" * 80, "not 64-bit little-endian", id="32 bits"),
        pytest.param(b"\x7fELF\x02\x02\x01" + b"\0" * 80, "not 64-bit little-endian", id="big-endian"),
        pytest.param(b"\x7fELF\x02\x01\x01" + b"\0" * 80, "no section table", id="no sections"),
        pytest.param(elf_file(Sec(".data", b"x" * 50))[:-1], "beyond the end", id="cut in the table"),
    ],
)
def test_elf_files_that_cannot_be_read(data: bytes, problem: str) -> None:
    with pytest.raises(BadDataError, match=problem):
        elf.parse(data)


SAMPLE = elf_file(Sec(".data", string_block(Q) * 2), Sec(".rodata", Q + b"\0"), symbols=((1, 8),))


@settings(deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255))
def test_damaged_elf_files_raise_only_our_error(at: int, value: int) -> None:
    damaged = SAMPLE[:at] + bytes([value]) + SAMPLE[at + 1 :]
    for data in (damaged, SAMPLE[:at], archive(x=damaged), archive(x=SAMPLE)[:at]):
        for module in (elfdata, arfile):
            try:
                found = module.locate(data, SPELLING, "f")
            except BadDataError:
                continue
            assert len(found.content) == len(data)
            render(found.content, found.occurrences, TARGET)


# --- archives


def test_only_members_that_hold_the_prefix_change() -> None:
    first, second = data_elf(b"nothing"), data_elf(Q + b"/lib")
    data = archive(a=first, b=second)
    found = arfile.locate(data, SPELLING, "lib/x.a")
    live = render(found.content, found.occurrences, TARGET)
    assert len(live) == len(data)
    one, two = arfile.members(live)
    assert live[one.offset : one.end] == first
    assert blocks_in(live[two.offset : two.end]) == [TARGET + b"/lib"]
    assert found.occurrences[0].where == "b .data"


def test_a_member_that_is_no_elf_file_binds() -> None:
    found = arfile.locate(archive(a=b"\0" + Q), SPELLING, "x.a")
    assert "no object file" in found.bound[0].reason


def test_long_names_of_members_are_looked_up() -> None:
    name = b"a_very_long_name_of_a_member.o"
    header = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n"
    data = b"!<arch>\n" + header % (b"//", 0, 0, 0, b"0", len(name) + 2) + name + b"/\n"
    data += header % (b"/0", 0, 0, 0, b"644", 2) + b"xy"
    assert [member.name for member in arfile.members(data)] == [b"//", name]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"!<thin>\n", "no archive", id="thin"),
        pytest.param(archive(a=b"abc")[:-3], "cut off", id="cut in a member"),
        pytest.param(archive(a=b"abc")[:30], "no member header", id="cut in a header"),
        pytest.param(archive(a=b"a").replace(b"a/ ", b"/7 "), "has no name", id="name outside of the table"),
        pytest.param(archive(a=b"a").replace(b"a/   ", b"#1/20"), "has no name", id="BSD, name cut off"),
    ],
)
def test_archives_that_cannot_be_read(data: bytes, problem: str) -> None:
    with pytest.raises(BadDataError, match=problem):
        arfile.members(data)


# --- text


@settings(deadline=None)
@given(paths, st.lists(st.sampled_from([Q, PREFIX, b" ", b"\n", b"=", b"x", b":", b"-I"]), max_size=12))
def test_text_moves_there_and_back(target: bytes, parts: list[bytes]) -> None:
    data = b"# " + b"".join(parts)
    found = text.locate(data, SPELLING)
    live = render(found.content, found.occurrences, target)
    hits = list(SPELLING.hits(data))
    assert len(live) == len(data) + sum(len(target) - hit.length for hit in hits)
    assert found.content.count(PLACEHOLDER) == len(found.occurrences) == len(hits)


@pytest.mark.parametrize(
    ("line", "capacities"),
    [
        pytest.param(b"#!%s/bin/ocamlrun\n%s", [255 - 2 - 13, None], id="interpreter"),
        pytest.param(b"#! %s/bin/ocamlrun -I %s\n", [(255 - 20) // 2, (255 - 20) // 2], id="twice"),
        pytest.param(b"#!/bin/sh\nexec %s/bin/x", [None], id="fallback"),
        pytest.param(b"#!%s/bin/" + b"x" * 250 + b"\n", [None], id="too long where it stands already"),
        pytest.param(b"#!%s/bin/x", [255 - 2 - 6], id="no line end"),
    ],
)
def test_the_kernel_limits_the_first_line_of_a_script(line: bytes, capacities: list[int | None]) -> None:
    found = text.locate(line.replace(b"%s", Q), SPELLING)
    assert [item.capacity for item in found.occurrences] == capacities


def test_white_space_in_a_first_line_is_refused() -> None:
    found = text.locate(b"#!" + Q + b"/bin/x\n", SPELLING)
    with pytest.raises(CannotRelocateError, match="white space"):
        render(found.content, found.occurrences, b"/my switch")


def test_the_longest_prefix_is_that_of_the_smallest_functional_place() -> None:
    from opambin.model import Occurrence

    found = [Occurrence(Kind.TEXT, 0), Occurrence(Kind.CSTRING, 300, 200), Occurrence(Kind.BLOCK, 600, 203)]
    assert longest_prefix(found) == 200
    assert longest_prefix(found[:1]) is None
    assert longest_prefix([Occurrence(Kind.CSTRING, 0, 20, functional=False)]) is None


def test_build_directories_in_text_are_left_and_counted() -> None:
    data = Q + b"/.opam-switch/build/x " + PREFIX
    found = text.locate(data, SPELLING)
    assert found.content == Q + b"/.opam-switch/build/x " + PLACEHOLDER
    assert found.leaks == 1


# --- rendering refuses what does not fit its manifest


@pytest.mark.parametrize("kind", list(Kind))
def test_an_occurrence_without_a_placeholder_is_refused(kind: Kind) -> None:
    from opambin.model import Occurrence

    with pytest.raises(BadDataError):
        render(b"x" * 500, [Occurrence(kind, 100, anchor=(16, 30))], TARGET)
    with pytest.raises(BadDataError):
        render(b"x" * 500, [Occurrence(kind, 100)], TARGET)


def test_a_block_with_another_room_than_recorded_is_refused() -> None:
    found = elfdata.locate(data_elf(Q), SPELLING, "f.o")
    damaged = found.content.replace(struct.pack("<Q", 26 << 10 | 0x3FC), struct.pack("<Q", 25 << 10 | 0x3FC))
    assert damaged != found.content
    with pytest.raises(BadDataError, match="no string block of 26 words"):
        render(damaged, found.occurrences, TARGET)
