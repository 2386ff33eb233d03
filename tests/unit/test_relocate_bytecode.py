from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

import pytest
from caml_samples import (
    PADDED,
    PREFIX,
    SPELLING,
    TARGETS,
    Value,
    marshalled,
    marshalled_compressed,
    needs_ocaml,
    run,
    switch_at,
)
from hypothesis import given
from hypothesis import strategies as st

from opambin.errors import BadDataError
from opambin.model import PLACEHOLDER, Kind, Occurrence
from opambin.relocate import bytecode
from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from pathlib import Path


def debug(prefix: bytes) -> bytes:
    unit = marshalled([prefix + b"/x"]) + marshalled([prefix])
    return struct.pack(">II", 2, 0) + unit + struct.pack(">I", 77) + unit


def program(
    prefix: bytes, told: bytes | None = None, head: bytes | None = None, code: bytes = b"\1\0\0\0"
) -> bytes:
    """A program with its prefix in every section that may hold it; ``told`` is that of the debug data."""
    head = b"#!" + prefix + b"/bin/ocamlrun\n" if head is None else head
    parts = [
        (b"RNTM", prefix + b"/bin/ocamlrun\n"),
        (b"CODE", code),
        (b"DLPT", prefix + b"/lib/stublibs\0/usr/lib\0" + prefix + b"/lib/x\0"),
        (b"DLLS", b"-lunix\0"),
        (b"PRIM", b"caml_a\0caml_b\0"),
        (b"DATA", marshalled((5, prefix + b"/share", [prefix]))),
        (b"SYMB", marshalled((3, [b"Stdlib"]))),
        (b"CRCS", marshalled([])),
        (b"DBUG", debug(prefix if told is None else told)),
    ]
    return pack(head, parts)


def pack(head: bytes, parts: list[tuple[bytes, bytes]]) -> bytes:
    table = b"".join(struct.pack(">4sI", name, len(part)) for name, part in parts)
    body = b"".join(part for _, part in parts)
    return head + body + table + struct.pack(">I", len(parts)) + b"Caml1999X031"


SCRIPT = b"#!/bin/sh\nexec '" + PADDED + b'/bin/ocamlrun\' "$0" "$@"\n'


def test_every_section_is_brought_into_placeholder_form() -> None:
    located = bytecode.locate(program(PADDED), SPELLING, "bin/x")
    assert located.content == program(PLACEHOLDER)
    assert (located.leaks, located.bound) == (0, ())
    assert [(found.kind, found.where, found.functional) for found in located.occurrences] == [
        (Kind.TEXT, "launcher", True),
        (Kind.TEXT, "RNTM", True),
        (Kind.TEXT, "DLPT", True),
        (Kind.TEXT, "DLPT", True),
        (Kind.MARSHAL, "DATA", True),
        (Kind.MARSHAL, "DATA", True),
        (Kind.CSTRING, "DBUG", False),
        (Kind.CSTRING, "DBUG", False),
        (Kind.CSTRING, "DBUG", False),
        (Kind.CSTRING, "DBUG", False),
    ]


def test_what_was_built_with_the_canonical_spelling_can_grow() -> None:
    located = bytecode.locate(program(PREFIX), SPELLING, "bin/x")
    assert located.content == program(PLACEHOLDER, told=PREFIX)
    assert located.leaks == 4


@pytest.mark.parametrize("target", TARGETS)
def test_a_program_is_written_for_any_prefix(target: bytes) -> None:
    located = bytecode.locate(program(PADDED), SPELLING, "bin/x")
    told = pad(target) if len(target) <= 200 else PLACEHOLDER
    head = None
    if len(target) > 100:
        head = b"#!/bin/sh\nexec '" + target + b'/bin/ocamlrun\' "$0" "$@"\n'
    assert bytecode.render(located.content, located.occurrences, target) == program(target, told, head)


@pytest.mark.parametrize(
    ("target", "head"),
    [
        pytest.param(b"/a", b"#!/a/bin/ocamlrun\n", id="short"),
        pytest.param(b"/" + b"a" * 111, b"#!/" + b"a" * 111 + b"/bin/ocamlrun\n", id="127 bytes"),
        pytest.param(
            b"/" + b"a" * 112,
            b"#!/bin/sh\nexec '/" + b"a" * 112 + b'/bin/ocamlrun\' "$0" "$@"\n',
            id="128 bytes",
        ),
        pytest.param(b"/a b", b'#!/bin/sh\nexec \'/a b/bin/ocamlrun\' "$0" "$@"\n', id="space"),
        pytest.param(b"/a 'b", b"#!/bin/sh\nexec '/a '\\''b/bin/ocamlrun' \"$0\" \"$@\"\n", id="quote"),
    ],
)
def test_a_line_that_the_kernel_may_not_read_becomes_a_script(target: bytes, head: bytes) -> None:
    located = bytecode.locate(program(PADDED), SPELLING, "x")
    rendered = bytecode.render(located.content, located.occurrences, target)
    assert rendered.startswith(head + target + b"/bin/ocamlrun\n\1\0\0\0")


def test_a_launcher_without_the_prefix_is_never_rewritten() -> None:
    head = b"#!/" + b"x" * 300 + b"/ocamlrun\n"
    found = bytecode.locate(program(PADDED, head=head), SPELLING, "bin/x")
    assert bytecode.render(found.content, found.occurrences, b"/opt") == program(b"/opt", pad(b"/opt"), head)


def test_a_script_stays_a_script() -> None:
    located = bytecode.locate(program(PADDED, head=SCRIPT), SPELLING, "x")
    rendered = bytecode.render(located.content, located.occurrences, b"/o")
    assert rendered == program(b"/o", pad(b"/o"), SCRIPT.replace(PADDED, b"/o"))


def test_an_elf_file_before_it_is_left_to_others() -> None:
    head = b"\x7fELF" + bytes(12) + PADDED + bytes(9)
    located = bytecode.locate(program(PADDED, head=head), SPELLING, "x")
    assert located.content == program(PLACEHOLDER, head=head)
    rendered = bytecode.render(located.content, located.occurrences, b"/o")
    assert rendered == program(b"/o", pad(b"/o"), head)
    table = bytecode.sections(rendered)
    assert table is not None
    assert table.start == len(head)
    stray = Occurrence(Kind.TEXT, 16)
    placed = located.content.replace(PADDED, PLACEHOLDER)
    with pytest.raises(BadDataError, match="launcher"):
        bytecode.render(placed, (stray, *located.occurrences), b"/o")


def test_a_prefix_among_the_instructions_binds_the_program() -> None:
    located = bytecode.locate(program(b"/usr", code=b"\0" + PADDED + b"\0"), SPELLING, "bin/x")
    assert located.content == program(b"/usr", code=b"\0" + PADDED + b"\0")
    (bound,) = located.bound
    assert (bound.path, bound.max_prefix) == ("bin/x", None)
    assert "CODE" in bound.reason


@pytest.mark.parametrize(
    ("content", "bound"),
    [
        pytest.param(b"\x05" + PREFIX + b"A", True, id="a letter behind it"),
        pytest.param(b"A" + PREFIX, True, id="a letter before it"),
        pytest.param(b"\0" + marshalled_compressed([PADDED + b"/x", b"y" * 400]), True, id="compressed"),
        pytest.param(PREFIX + b"/.opam-switch/build/x.c\0", False, id="build directory"),
    ],
)
def test_a_prefix_in_a_section_of_unknown_form_binds_whatever_is_beside_it(
    content: bytes, bound: bool
) -> None:
    found = bytecode.locate(pack(b"#!/usr/bin/ocamlrun\n", [(b"ODDS", content)]), SPELLING, "bin/x")
    assert bool(found.bound) is bound


def test_compressed_debug_data_is_written_uncompressed() -> None:
    value: Value = [PADDED + b"/x", b"y" * 400]
    parts = [(b"CODE", b""), (b"DBUG", struct.pack(">II", 1, 0) + marshalled_compressed(value) * 2)]
    located = bytecode.locate(pack(b"", parts), SPELLING, "x")
    placed: Value = [PLACEHOLDER + b"/x", b"y" * 400]
    parts[1] = (b"DBUG", struct.pack(">II", 1, 0) + marshalled(placed) * 2)
    assert located.content == pack(b"", parts)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"Caml1999X031", id="magic number alone"),
        pytest.param(b"\0\0\0\0Caml1999X031", id="no sections"),
        pytest.param(b"\xff\xff\xff\xffCaml1999X031", id="too many sections"),
        pytest.param(b"DATA\0\0\0\5\0\0\0\1Caml1999X031", id="section larger than the file"),
        pytest.param(program(PADDED)[:-1], id="truncated"),
        pytest.param(program(PADDED)[:-3] + b"abc", id="no version"),
    ],
)
def test_other_files_are_not_programs(data: bytes) -> None:
    assert bytecode.sections(data) is None
    assert not bytecode.recognises(data)
    with pytest.raises(BadDataError):
        bytecode.locate(data, SPELLING, "x")
    with pytest.raises(BadDataError):
        bytecode.render(data, (), b"/o")


def test_damaged_constants_are_refused_with_the_path() -> None:
    data = pack(b"", [(b"DATA", marshalled((1, PADDED))[:-1])])
    with pytest.raises(BadDataError, match=r"bin/x: .*truncated"):
        bytecode.locate(data, SPELLING, "bin/x")


def test_an_occurrence_over_two_sections_is_refused() -> None:
    half = len(PLACEHOLDER) // 2
    data = pack(b"", [(b"RNTM", PLACEHOLDER[:half]), (b"DLPT", PLACEHOLDER[half:])])
    with pytest.raises(BadDataError, match="reaches over"):
        bytecode.render(data, (Occurrence(Kind.TEXT, 0),), b"/o")


@given(st.data())
def test_damage_raises_only_bad_data(data: st.DataObject) -> None:
    file = bytearray(program(PADDED))
    for _ in range(data.draw(st.integers(1, 3))):
        low = data.draw(st.sampled_from([0, len(file) - 100]))
        file[data.draw(st.integers(low, len(file) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadDataError):
        located = bytecode.locate(bytes(file), SPELLING, "x")
        assert bytecode.render(located.content, located.occurrences, PADDED) is not None
        bytecode.render(bytes(file), located.occurrences, b"/o")


SOURCE = """
let where = "{0}/share" and list = ["{0}"; "-I{0}/lib:{0}"; String.make 3 'x' ^ "{0}"]
let () = match Sys.argv with
  | [|_; "fail"|] -> failwith where
  | _ -> Marshal.to_channel stdout (where, list, where = List.hd list ^ "/share") []
"""


@pytest.fixture
def built(tmp_path: Path) -> tuple[Spelling, Path]:
    """A program that was built at the padded spelling, with its own run-time system there."""
    spelling = switch_at(tmp_path)
    padded = spelling.padded.decode()
    (tmp_path / "sw" / "bin").mkdir()
    ocamlrun = run(["sh", "-c", "command -v ocamlrun"], tmp_path).strip()
    (tmp_path / "sw" / "bin" / "ocamlrun").symlink_to(ocamlrun)
    (tmp_path / "x.ml").write_text(SOURCE.format(padded))
    runtime = f"{padded}/bin/ocamlrun"
    command = ["ocamlc", "-g", "-dllpath", f"{padded}/lib/stublibs", "-use-runtime", runtime]
    run([*command, "unix.cma", "x.ml", "-o", "x"], tmp_path)
    # What starts it is another program on Debian than with opam's compilers.
    data = (tmp_path / "x").read_bytes()
    table = bytecode.sections(data)
    assert table is not None
    script = f'#!/bin/sh\nexec \'{runtime}\' "$0" "$@"\n'.encode()
    (tmp_path / "x").write_bytes(script + data[table.start :])
    return spelling, tmp_path / "x"


@needs_ocaml
@pytest.mark.parametrize("name", ["o", "long" * 50], ids=["short", "over 200"])
def test_a_moved_program_runs(built: tuple[Spelling, Path], tmp_path: Path, name: str) -> None:
    spelling, file = built
    located = bytecode.locate(file.read_bytes(), spelling, "x")
    assert bytecode.render(located.content, located.occurrences, spelling.padded) == file.read_bytes()
    assert {found.where for found in located.occurrences} == {"launcher", "RNTM", "DLPT", "DATA"}
    there = tmp_path / name
    (tmp_path / "sw").rename(there)
    moved = there / "bin" / "moved"
    rendered = bytecode.render(located.content, located.occurrences, bytes(there))
    assert spelling.canonical not in rendered
    moved.write_bytes(rendered)
    moved.chmod(0o755)
    (tmp_path / "y.ml").write_text(SOURCE.format(there))
    run(["ocamlc", "y.ml", "-o", "y"], tmp_path)
    run(["sh", "-c", f"{moved} > one; ./y > two"], tmp_path)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    failing = run(["sh", "-c", f"OCAMLRUNPARAM=b {moved} fail 2>&1 || true"], tmp_path)
    assert f'Failure("{there}/share")' in failing and "x.ml" in failing


@needs_ocaml
def test_a_custom_program_runs_with_other_constants(tmp_path: Path) -> None:
    spelling = switch_at(tmp_path)
    padded = spelling.padded.decode()
    (tmp_path / "x.ml").write_text(f'let () = print_string "{padded}/share"')
    run(["ocamlc", "-g", "-custom", "x.ml", "-o", "x"], tmp_path)
    data = (tmp_path / "x").read_bytes()
    located = bytecode.locate(data, spelling, "x")
    table = bytecode.sections(data)
    assert table is not None
    assert data[: table.start] == located.content[: table.start]
    for target in (b"/o", b"/" + b"long" * 60):
        (tmp_path / "x").write_bytes(bytecode.render(located.content, located.occurrences, target))
        assert run(["./x"], tmp_path) == target.decode() + "/share"
