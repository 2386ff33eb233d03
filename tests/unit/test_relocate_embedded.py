from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from caml_samples import (
    PADDED,
    PREFIX,
    SPELLING,
    Value,
    marshalled,
    marshalled_big,
    marshalled_compressed,
    needs_ocaml,
    run,
    switch_at,
)

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PLACEHOLDER, Kind, Occurrence
from opambin.relocate import embedded
from opambin.relocate.rendering import render
from opambin.relocate.spelling import pad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LETTER_A = 1  # the small integer 1 is the byte "A", which would continue a path


def value(prefix: bytes) -> Value:
    return (prefix, LETTER_A, b"-I" + prefix + b"/lib", [prefix], 33)


def around(data: bytes) -> bytes:
    return b"\x7fELF\0\x84\x95\xa6 code " + data + b"/home" + data + b"\x84\x95\xa6\xbe\0\0"


@pytest.mark.parametrize("write", [marshalled, marshalled_big], ids=["small", "big"])
def test_padded_strings_are_replaced_in_place(write: Callable[[Value], bytes]) -> None:
    data = around(write(value(PADDED)))
    located = embedded.locate(data, SPELLING, "bin/x")
    assert located.content == data.replace(PADDED, PLACEHOLDER)
    assert (located.bound, located.leaks) == ((), 0)
    assert [(found.kind, found.functional, found.capacity) for found in located.occurrences] == [
        (Kind.CSTRING, True, 200)
    ] * 6
    rendered = render(located.content, located.occurrences, b"/a/b")
    assert rendered == data.replace(PADDED, pad(b"/a/b"))
    with pytest.raises(CannotRelocateError, match="marshalled value in native code"):
        render(located.content, located.occurrences, b"/" + b"x" * 200)


@pytest.mark.parametrize("write", [marshalled, marshalled_compressed])
def test_a_canonical_prefix_binds_the_file(write: Callable[[Value], bytes]) -> None:
    data = b"\x7fELF" + write((PREFIX, LETTER_A))
    located = embedded.locate(data, SPELLING, "bin/x")
    assert (located.content, located.occurrences) == (data, ())
    (bound,) = located.bound
    assert (bound.path, bound.max_prefix) == ("bin/x", None)
    assert "unpadded" in bound.reason


def test_what_is_in_no_value_is_left_to_others() -> None:
    data = b"\x7fELF" + PADDED + marshalled((1, b"/usr")) + PREFIX
    located = embedded.locate(data, SPELLING, "bin/x")
    assert (located.content, located.occurrences, located.bound) == (data, (), ())
    assert embedded.may_hold_values(data)
    assert not embedded.may_hold_values(PADDED)


def test_values_behind_the_end_are_left_to_others() -> None:
    data = b"\x7fELF" + marshalled((PADDED, 1))
    for end in (4, 10, len(data) - 1):
        assert embedded.locate(data, SPELLING, "bin/x", end).occurrences == ()


def test_damaged_occurrences_are_refused() -> None:
    for occurrence in (Occurrence(Kind.CSTRING, 3), Occurrence(Kind.TEXT, 4), Occurrence(Kind.CSTRING, -1)):
        with pytest.raises(BadDataError):
            render(b"\x7fELF" + PLACEHOLDER + b"x", (occurrence,), b"/o")


@needs_ocaml
def test_a_moved_program_runs(tmp_path: Path) -> None:
    spelling = switch_at(tmp_path)
    padded = spelling.padded.decode()
    (tmp_path / "x.ml").write_text(
        f'let v = ("{padded}", 33, "{padded}/lib", ["{padded}"])\n'
        'let () = match v with (a, 33, b, [c]) when a = c && b = a ^ "/lib" -> print_string b | _ -> exit 1\n'
    )
    run(["ocamlc", "-output-complete-exe", "x.ml", "-o", "x"], tmp_path)
    located = embedded.locate((tmp_path / "x").read_bytes(), spelling, "x")
    assert (len(located.occurrences), located.bound) == (3, ())
    (tmp_path / "x").write_bytes(render(located.content, located.occurrences, b"/a/b"))
    assert run(["./x"], tmp_path) == pad(b"/a/b").decode() + "/lib"
