"""Programs of the compilers of this machine, moved and run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from elf_samples import requires_gcc, requires_ocamlopt, run

from opambin.model import PLACEHOLDER, Kind
from opambin.relocate.analysis import analyse
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = b"/home/me/.opam/5.1"
SPELLING = Spelling.of(PREFIX)
Q = SPELLING.padded
TARGET = b"/opt/elsewhere"

C_PROGRAM = """
#include <stdio.h>
#include <string.h>
static const char *where = PREFIX "/share/tool";
int main(void) { printf("%s\\n%s\\n%zu\\n", where, "/share/tool", strlen(where)); return 0; }
"""
HIDING_C_PROGRAM = """
#include <stdio.h>
int main(int n, char **v) { char b[300]; __builtin_strcpy(b, PREFIX); b[n] = 'x'; puts(b); return 0; }
"""
OCAML_LIBRARY = 'let prefix = "@Q@"\nlet lib = "@Q@/lib"\nlet both = "@Q@:@Q@"\n'
OCAML_PROGRAM = """
let same = function "@T@/lib" -> true | _ -> false
let () =
  Gc.compact ();
  print_endline Where.prefix; print_endline Where.lib; print_endline Where.both;
  Printf.printf "%d %b %b %b" (String.length (Sys.opaque_identity Where.lib)) (same Where.lib)
    (Where.prefix = Sys.argv.(1)) (Hashtbl.hash Where.prefix = Hashtbl.hash Sys.argv.(1))
"""


def moved(data: bytes, path: str, target: bytes) -> bytes:
    found = analyse(data, SPELLING, path)
    assert found.bound == ()
    content = found.content
    assert content is not None
    assert Q not in content
    return render(content, found.occurrences, target)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o755)
    return path


@requires_gcc
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_a_c_program_names_its_new_folder_and_shared_tails_stay(tmp_path: Path, level: str) -> None:
    (tmp_path / "a.c").write_text(C_PROGRAM)
    flags = [level, "-g", f'-DPREFIX="{Q.decode()}"', f"-Wl,-rpath,{Q.decode()}/lib"]
    run("gcc", *flags, "-o", "a", "a.c", cwd=tmp_path)
    program = written(tmp_path / "b", moved((tmp_path / "a").read_bytes(), "bin/a", TARGET))
    assert run(program).split() == [f"{pad(TARGET).decode()}/share/tool", "/share/tool", "211"]
    assert pad(TARGET) + b"/lib\0" in program.read_bytes()


@requires_gcc
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_a_prefix_that_the_compiler_copied_through_registers_binds(tmp_path: Path, level: str) -> None:
    (tmp_path / "a.c").write_text(HIDING_C_PROGRAM)
    run("gcc", level, f'-DPREFIX="{Q.decode()}"', "-o", "a", "a.c", cwd=tmp_path)
    data = (tmp_path / "a").read_bytes()
    found = analyse(data, SPELLING, "bin/a")
    if Q in data:
        assert render(found.content or data, found.occurrences, PREFIX) == data
    else:
        assert ["slash run" in bound.reason for bound in found.bound] == [True]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ocaml")
    (folder / "where.ml").write_text(OCAML_LIBRARY.replace("@Q@", Q.decode()))
    (folder / "main.ml").write_text(OCAML_PROGRAM.replace("@T@", TARGET.decode()))
    run("ocamlopt", "-g", "-a", "-o", "where.cmxa", "where.ml", cwd=folder)
    return folder


def expected(target: bytes) -> list[str]:
    text, here = target.decode(), target == TARGET
    size = len(text) + 4
    return [text, f"{text}/lib", f"{text}:{text}", f"{size} {str(here).lower()} true true"]


@requires_ocamlopt
@pytest.mark.parametrize("target", [PREFIX, TARGET, b"/t", b"/" + b"long" * 40 + b"/x"])
def test_a_native_program_sees_equal_strings_of_the_new_length(library: Path, target: bytes) -> None:
    run("ocamlopt", "-g", "-o", "main", "where.cmxa", "main.ml", cwd=library)
    data = (library / "main").read_bytes()
    found = analyse(data, SPELLING, "bin/main")
    assert [item.kind for item in found.occurrences if item.functional] == [Kind.BLOCK] * 4
    program = written(library / "moved", moved(data, "bin/main", target))
    assert run(program, target.decode()).splitlines() == expected(target)


@requires_ocamlopt
def test_a_program_that_is_linked_from_a_shrunk_library_can_grow(library: Path, tmp_path: Path) -> None:
    for name in ("where.cmi", "where.cmx", "where.cmxa", "main.ml"):
        (tmp_path / name).write_bytes((library / name).read_bytes())
    live = moved((library / "where.a").read_bytes(), "lib/where.a", PREFIX)
    (tmp_path / "where.a").write_bytes(live)
    run("ocamlopt", "-g", "-o", "main", "where.cmxa", "main.ml", cwd=tmp_path)
    data = (tmp_path / "main").read_bytes()
    assert Q not in data
    target = b"/" + b"long" * 40 + b"/x"
    program = written(tmp_path / "moved", moved(data, "bin/main", target))
    assert run(program, target.decode()).splitlines() == expected(target)


@requires_ocamlopt
def test_a_length_that_is_compiled_in_holds_with_keep_length(library: Path) -> None:
    (library / "length.ml").write_text("let () = print_int (String.length Where.lib); print_string Where.lib")
    run("ocamlopt", "-o", "length", "where.cmxa", "length.ml", cwd=library)
    data = (library / "length").read_bytes()
    assert (
        run(written(library / "shrunk", moved(data, "bin/length", TARGET)))
        == "204" + f"{TARGET.decode()}/lib"
    )
    found = analyse(data, SPELLING, "bin/length", keep_length=True)
    kept = render(found.content or b"", found.occurrences, TARGET)
    assert run(written(library / "kept", kept)) == "204" + f"{pad(TARGET).decode()}/lib"


@requires_ocamlopt
def test_there_and_back_is_the_identity(library: Path) -> None:
    data = (library / "where.a").read_bytes()
    first = analyse(data, SPELLING, "lib/where.a")
    assert first.content is not None
    for target in (PREFIX, b"/home/other/.opam/switch-2", b"/t"):
        live = render(first.content, first.occurrences, target)
        again = analyse(live, Spelling.of(target), "lib/where.a")
        assert (again.content, again.occurrences) == (first.content, first.occurrences)
        assert again.identity == first.identity
        assert PLACEHOLDER not in live


@requires_ocamlopt
def test_a_stripped_program_is_moved_too(library: Path) -> None:
    run("ocamlopt", "-o", "main", "where.cmxa", "main.ml", cwd=library)
    run("strip", "main", cwd=library)
    program = written(library / "moved", moved((library / "main").read_bytes(), "bin/main", TARGET))
    lines = run(program, TARGET.decode()).splitlines()
    assert lines == expected(TARGET)
