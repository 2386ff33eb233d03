"""What holds for the whole engine: there and back is the identity, boundaries, lengths at every edge."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from caml_samples import marshalled, marshalled_big
from elf_samples import Sec, archive, elf_file, string_block
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from macho_samples import Sample, Sect, macho
from test_relocate_analysis import bytecode_program

from opambin.errors import CannotRelocateError
from opambin.relocate.analysis import analyse
from opambin.relocate.rendering import longest_prefix, render
from opambin.relocate.spelling import PATH_BYTES, Spelling, pad
from opambin.relocate.unmarshal import read_value

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[list[bytes]], bytes]

NAME = st.text("ab+.-_7", min_size=1, max_size=12).filter(lambda name: name.strip(".") != "")
PREFIXES = st.lists(NAME, min_size=1, max_size=12).map(lambda names: ("/" + "/".join(names)).encode())
BEFORE = st.sampled_from([b"", b"x=", b"a:", b'"', b"-I", b"file://", b"\xc3\xa9 ", b"-L/usr/lib:"])
AFTER = st.sampled_from([b"", b"/lib", b"/bin/ocamlrun", b":/b", b'"', b"/" + b"d" * 60, b" "])
STRINGS = st.lists(st.tuples(BEFORE, AFTER), min_size=1, max_size=4)


def block_section(strings: list[bytes]) -> bytes:
    content, symbols = b"", []
    for text in strings:
        symbols.append((1, len(content) + 8))
        content += string_block(text)
    return elf_file(Sec(".data", content), symbols=tuple(symbols))


def cma(value: bytes) -> bytes:
    return b"Caml1999A030" + struct.pack(">I", 20) + b"code" + value


def nested(strings: list[bytes]) -> bytes:
    return marshalled((7, list(strings), (strings[0], b"", 70_000)))


MAKERS: dict[str, Make] = {
    "text": lambda strings: b"\n".join(strings) + b"\n",
    "C strings": lambda strings: elf_file(Sec(".rodata", b"\0".join(strings) + b"\0")),
    "blocks": block_section,
    "archive": lambda strings: archive(a=block_section(strings), b=b"no ELF", c=elf_file(Sec(".text", b"x"))),
    "Mach-O": lambda strings: macho(Sample((Sect("__cstring", b"\0".join(strings) + b"\0"),))),
    "value": nested,
    "big value": lambda strings: marshalled_big((list(strings), 1)),
    ".cma": lambda strings: cma(nested(strings)),
    ".cmx": lambda strings: b"Caml1999Y030" + nested(strings) + b"0123456789abcdef",
    ".cmt": lambda strings: b"Caml1999T030" + nested(strings),
    "bytecode": lambda strings: bytecode_program(
        b"#!/bin/x\n", RNTM=strings[0] + b"\n", DATA=nested(strings)
    ),
    "-custom": lambda strings: bytecode_program(block_section(strings), CODE=b"\0\1", DATA=nested(strings)),
}
GROWING = {"text", "value", "big value", ".cma", ".cmx", "bytecode"}
"""Formats in which the canonical spelling can be found again without the padded one."""


@pytest.mark.parametrize("name", MAKERS)
@settings(deadline=None, max_examples=60)
@given(here=PREFIXES, there=PREFIXES, strings=STRINGS)
@example(here=b"/opt/foo", there=b"/opt/foo/bar", strings=[(b"", b"")])
@example(here=b"/opt/foo", there=b"/o", strings=[(b"a:", b":/b"), (b"", b"/lib")])
@example(here=b"/7", there=b"/_", strings=[(b"file://", b"")])
def test_there_and_back_again(
    name: str, here: bytes, there: bytes, strings: list[tuple[bytes, bytes]]
) -> None:
    old, new = Spelling.of(here), Spelling.of(there)
    texts = [before + old.padded + after for before, after in strings]
    data = MAKERS[name](texts)
    assume(there not in data and here not in data.replace(old.padded, b""))
    built = analyse(data, old, "lib/x")
    content = data if built.content is None else built.content
    assert built.bound == ()
    assert len(built.occurrences) >= len(strings)
    longest = longest_prefix(built.occurrences)
    assert longest is None or longest >= 200
    home = render(content, built.occurrences, here)
    away = render(content, built.occurrences, there)
    settled = analyse(away, new, "lib/x")
    assert settled.bound == ()
    assert render(away if settled.content is None else settled.content, settled.occurrences, here) == home
    again = analyse(home, old, "lib/x")
    assert again.bound == ()
    assert render(home if again.content is None else again.content, again.occurrences, there) == away


@pytest.mark.parametrize("name", sorted(GROWING))
@settings(deadline=None, max_examples=40)
@given(here=PREFIXES, there=PREFIXES, strings=STRINGS)
def test_files_that_may_grow_move_from_any_length_to_any_other(
    name: str, here: bytes, there: bytes, strings: list[tuple[bytes, bytes]]
) -> None:
    def made(prefix: bytes) -> bytes:
        return MAKERS[name]([before + prefix + after for before, after in strings])

    data = made(here)
    assume(here not in MAKERS[name]([before + b"*" + after for before, after in strings]))
    found = analyse(data, Spelling.of(here), "lib/x")
    assert found.bound == ()
    assert render(found.content or data, found.occurrences, there) == made(there)


@pytest.mark.parametrize("name", [*MAKERS])
@settings(deadline=None, max_examples=30)
@given(
    prefix=PREFIXES, more=st.sampled_from(sorted(PATH_BYTES)), folder=st.sampled_from([b"", b"/mnt", b"x"])
)
@example(prefix=b"/opt/foo", more=ord("b"), folder=b"")
def test_another_path_that_looks_like_the_prefix_is_left_alone(
    name: str, prefix: bytes, more: int, folder: bytes
) -> None:
    text = folder + prefix + bytes([more]) + b"ar/lib"
    data = MAKERS[name]([text, b"y"])
    assume(data.count(prefix) == data.count(text))
    found = analyse(data, Spelling.of(prefix), "lib/x")
    assert found.content is None
    assert found.occurrences == ()
    if name in GROWING or not folder:
        assert found.bound == ()


# --- lengths at every edge

EDGES = sorted({edge + off for edge in (0x20, 0x100) for off in (-2, -1, 0, 1, 2)})


@pytest.mark.parametrize("length", EDGES)
@pytest.mark.parametrize("start", [2, 31, 32, 200, 255, 256, 70_000])
@pytest.mark.parametrize("make", [marshalled, marshalled_big], ids=["small", "big"])
def test_a_marshalled_string_changes_its_form_at_every_length(
    length: int, start: int, make: Callable[[object], bytes]
) -> None:
    here, there = b"/" + b"h" * (start - 1), b"/" + b"t" * (length - 6)
    data = make((b"first", here + b"/tail", b"last"))
    found = analyse(data, Spelling.of(here), "x")
    live = render(found.content or b"", found.occurrences, there)
    assert live == make((b"first", there + b"/tail", b"last"))
    assert read_value(live, 0)[0] == [b"first", there + b"/tail", b"last"]


def test_a_long_string_of_a_value_needs_four_bytes_for_its_length() -> None:
    tail = b"/" + b"d" * 70_000
    data = marshalled((b"/opt/foo" + tail, b"/opt/foo"))
    found = analyse(data, Spelling.of(b"/opt/foo"), "x")
    assert render(found.content or b"", found.occurrences, b"/o") == marshalled((b"/o" + tail, b"/o"))


@pytest.mark.parametrize("rest", range(17))
@pytest.mark.parametrize("length", [*range(2, 20), 192, 199, 200])
def test_a_block_has_the_right_words_and_pad_byte_at_every_length(rest: int, length: int) -> None:
    old = Spelling.of(b"/opt/foo")
    target, tail = b"/" + b"t" * (length - 1), b"/" + b"r" * rest
    data = block_section([old.padded + tail, b"next"])
    found = analyse(data, old, "x")
    live = render(found.content or b"", found.occurrences, target)
    block, following = string_block(target + tail), string_block(b"next")
    at = live.index(block)
    room = len(string_block(old.padded + tail)) - len(block)
    filler = live[at + len(block) : at + len(block) + room]
    assert live[at + len(block) + room :].startswith(following)
    if room:
        (header,) = struct.unpack_from("<Q", filler)
        assert (header & 0x3FF, header >> 10) == (0x3FB, room // 8 - 1)
        assert not filler[8:].strip(b"\0")
    assert len(live) == len(data)
    with pytest.raises(CannotRelocateError, match="there is room for"):
        render(
            found.content or b"", found.occurrences, b"/" + b"t" * (longest_prefix(found.occurrences) or 0)
        )


@pytest.mark.parametrize("length", [1, 2, 126, 127, 198, 199, 200, 201, 300])
def test_a_prefix_of_any_length_is_found_in_text_and_in_fixed_strings(length: int) -> None:
    here = b"/" + b"h" * (length - 1) if length > 1 else b"/h"
    old = Spelling.of(here)
    assert len(pad(here)) == max(200, len(here))
    text = analyse(b"p=" + old.padded + b"\n", old, "x")
    assert render(text.content or b"", text.occurrences, b"/o") == b"p=/o\n"
    fixed = analyse(elf_file(Sec(".rodata", old.padded + b"\0")), old, "x")
    assert bool(fixed.bound) is (len(here) > 200)
