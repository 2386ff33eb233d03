from __future__ import annotations

import hashlib
import shutil
import struct
from typing import TYPE_CHECKING

import pytest
from elf_samples import Sec, archive, elf_file, requires_gcc, requires_ocamlopt, run, string_block
from hypothesis import given, settings
from hypothesis import strategies as st

from opambin.model import PLACEHOLDER, Kind
from opambin.relocate import elf
from opambin.relocate.analysis import analyse, informational
from opambin.relocate.identity import identity
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = b"/home/me/.opam/5.1"
SPELLING = Spelling.of(PREFIX)
Q = SPELLING.padded
TARGET = b"/opt/elsewhere"
BUILD = b"/.opam-switch/build/x"
CANARY = elf_file(Sec(".text", b"/" * 9))
IN_ARCHIVE = archive(a=elf_file(Sec(".rodata", Q + BUILD)))
FOLLOWED = elf_file(Sec(".rodata", Q)) + b"more " + Q
BROKEN = b"Caml1999O030\xff\xff\xff\xff"
MIXED = b"\0" + PREFIX + BUILD + b"\0" + PREFIX + b"A"
LAUNCH_INFO = b"sh\n" + Q + b"/bin\0\n\x7fELF"


def bytecode_program(launcher: bytes, **sections: bytes) -> bytes:
    table = b"".join(struct.pack(">4sI", name.encode(), len(data)) for name, data in sections.items())
    return launcher + b"".join(sections.values()) + table + struct.pack(">I", len(sections)) + b"Caml1999X030"


@pytest.mark.parametrize(
    ("data", "path", "kinds", "bound", "leaks"),
    [
        pytest.param(b"a\0b", "bin/x", [], "", 0, id="nothing in it"),
        pytest.param(b"p=" + Q, "lib/x", [Kind.TEXT], "", 0, id="text"),
        pytest.param(b"p=" + PREFIX, "lib/x", [Kind.TEXT], "", 0, id="unpadded text"),
        pytest.param(b"p=" + PREFIX + b"2", "lib/x", [], "", 0, id="another folder"),
        pytest.param(b"\0" + Q, "lib/x.bin", [], "unknown format", 0, id="opaque"),
        pytest.param(b"\0\x31" + PREFIX, "lib/x.bin", [], "unknown format", 0, id="opaque, after a length"),
        pytest.param(b"\0" + PREFIX + b"A\0", "lib/x.bin", [], "unknown", 0, id="opaque, letter"),
        pytest.param(b"\0/" + PREFIX + b"2", "lib/x.bin", [], "at byte 2", 0, id="opaque, no boundary"),
        pytest.param(BROKEN + PREFIX + b"A", "lib/x.cmo", [], "at byte 16", 0, id="broken .cmo, letter"),
        pytest.param(b"\0" + PREFIX + b"A", "doc/x.odoc", [], "", 1, id="documentation, letter"),
        pytest.param(MIXED, "lib/x.bin", [], "unknown format", 1, id="opaque build directory, and more"),
        pytest.param(archive(a=elf_file(Sec(".data", b"1" + PREFIX))), "x.a", [], "word", 0, id="glued"),
        pytest.param(b"\0" + Q, "doc/x/x.odoc", [], "", 1, id="opaque documentation"),
        pytest.param(b"\0" + PREFIX, "share/doc/x", [], "", 1, id="folder of documentation"),
        pytest.param(b"\0" + PREFIX + BUILD, "lib/x", [], "", 1, id="opaque build directory"),
        pytest.param(b"\x7fELF\x01\x01" + b"\0" * 90 + Q, "bin/x", [], "64-bit", 0, id="ELF for 32 bits"),
        pytest.param(b"!<thin>\n\0" + Q, "lib/x.a", [], "unknown format", 0, id="thin archive"),
        pytest.param(b"!<thin>\n//  " + Q, "lib/x.a", [], "unknown format", 0, id="thin, no index"),
        pytest.param(b"!<arch>\n\0" + Q, "lib/x.a", [], "no member header", 0, id="broken archive"),
        pytest.param(BROKEN + Q, "lib/x.cmo", [], "descriptor", 0, id="broken .cmo"),
        pytest.param(b"\xcf\xfa\xed\xfe\0" + Q, "bin/x", [], "Mach-O", 0, id="Mach-O"),
        pytest.param(LAUNCH_INFO, "lib/ocaml/runtime-launch-info", [Kind.TEXT], "", 0, id="launch info"),
        pytest.param(FOLLOWED, "bin/x", [Kind.CSTRING], "after the end", 0, id="bytes after an ELF file"),
        pytest.param(elf_file(Sec(".rodata", Q + BUILD)), "bin/x", [], "", 1, id="ELF, build directory"),
        pytest.param(IN_ARCHIVE, "lib/x.a", [], "", 1, id="archive, build directory"),
        pytest.param(CANARY, "bin/x", [], "slash run", 0, id="canary"),
        pytest.param(archive(a=CANARY), "lib/x.a", [], "slash run", 0, id="canary in an archive"),
        pytest.param(b"// " + b"/" * 80 + b"\n", "lib/x.h", [], "", 0, id="slashes in text"),
        pytest.param(PLACEHOLDER + b" " + Q, "lib/x", [], "placeholders", 0, id="placeholder in a live file"),
        pytest.param(b"x" + PLACEHOLDER, "lib/x", [], "", 0, id="placeholder alone"),
    ],
)  # fmt: skip
def test_kinds_of_files(data: bytes, path: str, kinds: list[Kind], bound: str, leaks: int) -> None:
    found = analyse(data, SPELLING, path)
    assert [item.kind for item in found.occurrences] == kinds
    assert found.informational_leaks == leaks
    assert bool(found.bound) is bool(bound)
    assert all(bound in item.reason and item.path == path for item in found.bound)
    assert (found.content is None) is (not kinds)
    assert found.identity == identity(data if found.content is None else found.content)


def test_a_bytecode_program_moves_with_its_table() -> None:
    data = bytecode_program(b"#!" + Q + b"/bin/ocamlrun\n", RNTM=Q + b"/bin/ocamlrun\n", CODE=b"\0\1")
    found = analyse(data, SPELLING, "bin/x")
    expected = bytecode_program(
        b"#!" + TARGET + b"/bin/ocamlrun\n", RNTM=TARGET + b"/bin/ocamlrun\n", CODE=b"\0\1"
    )
    assert render(found.content or b"", found.occurrences, TARGET) == expected


def test_a_custom_program_moves_in_both_its_parts() -> None:
    head = elf_file(Sec(".data", string_block(Q)), Sec(".rodata", Q + b"\0"), symbols=((1, 8),))
    data = bytecode_program(head, DLPT=Q + b"/lib\0", CODE=b"\0")
    found = analyse(data, SPELLING, "bin/x")
    assert [item.kind for item in found.occurrences] == [Kind.BLOCK, Kind.CSTRING, Kind.TEXT]
    live = render(found.content or b"", found.occurrences, TARGET)
    assert live.endswith(bytecode_program(b"", DLPT=TARGET + b"/lib\0", CODE=b"\0"))
    again = analyse(live, Spelling.of(TARGET), "bin/x")
    assert (again.content, again.occurrences) == (found.content, found.occurrences)


def test_another_marker_of_build_directories() -> None:
    data = PREFIX + b"/tmp/build/x"
    assert analyse(data, SPELLING, "x").occurrences
    assert analyse(data, SPELLING, "x", b"/tmp/").informational_leaks == 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lib/x/x.cmt", True),
        ("lib/x/x.cmti", True),
        ("lib/x/x.annot", True),
        ("doc/x/README", True),
        ("share/man/man1/x.1", True),
        ("lib/x/x.cma", False),
        ("lib/x/x.cmi", False),
        ("bin/doc", False),
        ("share/x/doc.txt", False),
    ],
)
def test_what_a_path_says_about_need(path: str, expected: bool) -> None:
    assert informational(path) is expected


# A path that is glued to what stands before it is no path in its short spelling: hence the separators.
PARTS = [b" " + Q, b":" + PREFIX, b"\0", b"\n", b"#!", b"\x7fELF", b"!<arch>\n", b"Caml1999A030"]
PARTS += [b"\x84\x95\xa6\xbd", b"/" * 8]


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PARTS), st.binary(max_size=30)), max_size=10))
def test_whatever_the_bytes_the_placeholder_form_is_consistent(parts: list[bytes]) -> None:
    data = b"".join(parts)
    found = analyse(data, SPELLING, "lib/x")
    content = data if found.content is None else found.content
    live = render(content, found.occurrences, PREFIX)
    again = analyse(live, SPELLING, "lib/x")
    if not found.bound:
        assert render(again.content or live, again.occurrences, TARGET) == render(
            content, found.occurrences, TARGET
        )


def test_what_only_begins_like_a_mach_o_file_is_left_as_it_is() -> None:
    # Rendering read it as one, and refused.
    data = b"\xcf\xfa\xed\xfe"
    found = analyse(data, SPELLING, "lib/x")
    assert (found.bound, found.occurrences) == ((), ())
    assert render(data, found.occurrences, TARGET) == data


# --- identity


def test_a_file_without_a_format_is_identified_by_its_bytes() -> None:
    assert identity(b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert identity(b"\x7fELF broken") == hashlib.sha256(b"\x7fELF broken").hexdigest()


@pytest.mark.parametrize(
    ("section", "same"),
    [
        pytest.param(Sec(".debug_info", b"other and longer", 0), True, id="debug information"),
        pytest.param(Sec(".note.gnu.build-id", b"other"), True, id="build-id"),
        pytest.param(Sec(".comment", b"other", 0), True, id="comment"),
        pytest.param(Sec(".text", b"other"), False, id="code"),
        pytest.param(Sec(".rodata", b"x", 6), False, id="flags"),
    ],
)
def test_only_what_runs_counts_of_an_elf_file(section: Sec, same: bool) -> None:
    rest = Sec(".data", b"data")
    first = elf_file(rest, Sec(section.name, b"x", section.flags & 2))
    second = elf_file(rest, section)
    assert (identity(first) == identity(second)) is same
    assert (identity(archive(a=first)) == identity(archive(a=second))) is same


@pytest.mark.parametrize(
    ("name", "debug"),
    [
        (".debug_info", True),
        (".rela.debug_info", True),
        (".rel.debug_line", True),
        (".zdebug_info", True),
        (".gnu.debuglto_.x", True),
        (".gnu_debuglink", True),
        (".stabstr", True),
        (".comment", True),
        (".comments", False),
        (".symtab_shndx", False),
        (".rela.text", False),
        ("x.debug", False),
    ],
)
@pytest.mark.parametrize("flags", [0, 2])
def test_a_debug_section_has_the_name_of_one_and_is_not_loaded(name: str, debug: bool, flags: int) -> None:
    data = elf_file(Sec(".data", b"d"), Sec(name, b"x", flags))
    other = elf_file(Sec(".data", b"d"), Sec(name, b"y", flags))
    counts = not debug or flags == 2
    assert elf.parse(data).sections[2].debug is not counts
    assert (identity(data) != identity(other)) is counts


def test_dates_of_members_do_not_count_but_their_names_do() -> None:
    data = archive(a=b"x")
    assert identity(data) == identity(data[:24] + b"1700000000" + data[34:])
    assert identity(data) != identity(archive(b=b"x"))


def test_debug_data_of_bytecode_does_not_count() -> None:
    assert identity(bytecode_program(b"#!x\n", CODE=b"1", DBUG=b"a")) == identity(
        bytecode_program(b"#!x\n", CODE=b"1", DBUG=b"bcd")
    )
    assert identity(bytecode_program(b"#!x\n", CODE=b"1")) != identity(bytecode_program(b"#!x\n", CODE=b"2"))


@requires_gcc
def test_a_global_name_counts_and_a_local_one_does_not(tmp_path: Path) -> None:
    def compiled(source: str) -> bytes:
        (tmp_path / "a.c").write_text(source)
        run("gcc", "-c", "-g", "-O1", "-fno-inline", "a.c", cwd=tmp_path)
        return (tmp_path / "a.o").read_bytes()

    first = compiled("static int v = 3; int *f(void) { return &v; }")
    assert identity(compiled("static int w_longer = 3; int *f(void) { return &w_longer; }")) == identity(
        first
    )
    assert identity(compiled("static int v = 3; int *g(void) { return &v; }")) != identity(first)


@requires_ocamlopt
def test_equal_builds_in_two_folders_have_one_identity(tmp_path: Path) -> None:
    found = []
    for name in ("a", "a_much_longer_name"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "m.ml").write_text('let f x = if x > 3 then failwith "too large" else x + 1\n')
        run("ocamlopt", "-g", "-bin-annot", "-a", "-o", "m.cmxa", "m.ml", cwd=folder)
        if shutil.which("ocamlc"):
            run("ocamlc", "-g", "-a", "-o", "m.cma", "m.ml", cwd=folder)
        found.append({path.suffix: path for path in folder.iterdir() if path.suffix != ".ml"})
    first, second = found
    assert first.keys() == second.keys() > {".a", ".cmxa", ".cmt", ".cmi"}
    assert first[".a"].read_bytes() != second[".a"].read_bytes()
    for suffix in first.keys() & {".a", ".o", ".cma", ".cmo", ".cmt", ".cmxa", ".cmx"}:
        assert identity(first[suffix].read_bytes()) == identity(second[suffix].read_bytes()), suffix
