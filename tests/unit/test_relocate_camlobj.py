from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from caml_samples import (
    PADDED,
    PREFIX,
    SPELLING,
    marshalled,
    marshalled_compressed,
    needs_ocaml,
    run,
    switch_at,
)
from hypothesis import given
from hypothesis import strategies as st

from opambin.errors import BadDataError
from opambin.model import PLACEHOLDER, Kind
from opambin.relocate import camlobj
from opambin.relocate.rendering import render
from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CRC = bytes(range(16))


def cma(prefix: bytes, debug: bytes = b"") -> bytes:
    debug = b"\0\1\0\0code" + debug
    descriptor = marshalled(([], 0, [b"-lz"], [b"-L" + prefix + b"/lib"], []))
    return b"Caml1999A031" + struct.pack(">I", 16 + len(debug)) + debug + descriptor


def cmx(prefix: bytes) -> bytes:
    return b"Caml1999Y031" + marshalled((b"M", b"camlM", [b"M"], [], [], prefix)) + CRC


def cmt(prefix: bytes) -> bytes:
    crcs = marshalled([(b"M", (CRC,))])
    cmi = b"Caml1999I031" + marshalled((b"M", prefix + b"/m.ml")) + crcs + marshalled([])
    return cmi + b"Caml1999T031" + marshalled((b"M", [prefix + b"/lib", prefix]))


FUNCTIONAL = [pytest.param(cma, id="cma"), pytest.param(cmx, id="cmx")]


@pytest.mark.parametrize("make", FUNCTIONAL)
@pytest.mark.parametrize("spelled", [PREFIX, PADDED], ids=["canonical", "padded"])
def test_what_a_link_reads_may_grow_and_shrink(make: Callable[[bytes], bytes], spelled: bytes) -> None:
    located = camlobj.locate(make(spelled), SPELLING, "x")
    assert located.content == make(PLACEHOLDER)
    assert [(found.kind, found.functional, found.capacity) for found in located.occurrences] == [
        (Kind.MARSHAL, True, None)
    ]
    for target in (b"/o", PREFIX, b"/" + b"x" * 300):
        assert render(located.content, located.occurrences, target) == make(target)


def test_typed_trees_keep_their_length() -> None:
    located = camlobj.locate(cmt(PADDED), SPELLING, "m.cmt")
    assert located.content == cmt(PLACEHOLDER)
    assert [(found.kind, found.functional, found.capacity) for found in located.occurrences] == [
        (Kind.CSTRING, False, 200)
    ] * 3
    assert render(located.content, located.occurrences, b"/o/p") == cmt(pad(b"/o/p"))
    assert render(located.content, located.occurrences, b"/" + b"x" * 300) == cmt(PLACEHOLDER)


def test_canonical_spellings_in_typed_trees_are_counted_and_left() -> None:
    located = camlobj.locate(cmt(PREFIX), SPELLING, "m.cmt")
    assert (located.content, located.occurrences, located.leaks) == (cmt(PREFIX), (), 3)


def test_compressed_typed_trees_are_written_uncompressed_only_when_they_change() -> None:
    for text in (PADDED, b"/other"):
        data = b"Caml1999T035" + marshalled_compressed((b"M" * 300, text))
        located = camlobj.locate(data, SPELLING, "m.cmt")
        written = b"Caml1999T035" + marshalled((b"M" * 300, PLACEHOLDER))
        assert located.content == (written if text is PADDED else data)


def test_debug_data_keeps_its_length() -> None:
    data = cma(PADDED, marshalled([PADDED + b"/src", PREFIX + b"/src"]))
    located = camlobj.locate(data, SPELLING, "x.cma")
    assert located.content == cma(PLACEHOLDER, marshalled([PLACEHOLDER + b"/src", PREFIX + b"/src"]))
    assert [found.kind for found in located.occurrences] == [Kind.CSTRING, Kind.MARSHAL]
    assert located.leaks == 1
    rendered = render(located.content, located.occurrences, b"/o/p")
    assert rendered == cma(b"/o/p", marshalled([pad(b"/o/p") + b"/src", PREFIX + b"/src"]))


def test_compressed_debug_data_is_left_and_counted() -> None:
    debug = b"\x84\x95\xa6\xbd junk " + marshalled_compressed([PADDED, PREFIX, b"x"])
    located = camlobj.locate(cma(b"/usr", debug), SPELLING, "x.cma")
    assert (located.content, located.leaks) == (cma(b"/usr", debug), 2)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"Caml1999", id="no letter"),
        pytest.param(b"Caml1999X031" + bytes(20), id="executable"),
        pytest.param(b"Caml1999A031\0\0\0\x0f" + bytes(20), id="descriptor in the header"),
        pytest.param(b"Caml1999A031\x7f\0\0\0" + bytes(20), id="descriptor outside"),
        pytest.param(b"Caml1999O031", id="no descriptor"),
        pytest.param(cma(PADDED)[:-1], id="truncated library"),
        pytest.param(cmt(PADDED)[:-1], id="truncated tree"),
    ],
)
def test_damaged_files_are_refused(data: bytes) -> None:
    with pytest.raises(BadDataError, match=r"some/file\.cma"):
        camlobj.locate(data, SPELLING, "some/file.cma")


@given(st.data())
def test_damage_raises_only_bad_data(data: st.DataObject) -> None:
    file = bytearray(
        data.draw(st.sampled_from([cma(PADDED, marshalled_compressed([PADDED])), cmx(PADDED), cmt(PADDED)]))
    )
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(file[: data.draw(st.integers(len(file) - 40, len(file)))])
    try:
        located = camlobj.locate(damaged, SPELLING, "x")
        assert render(located.content, located.occurrences, PADDED) is not None
    except BadDataError:
        pass


def move(folder: Path, spelling: Spelling, target: Path) -> None:
    """Place every file of a folder elsewhere, as a restore does."""
    target.mkdir(parents=True)
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        if camlobj.recognises(data):
            located = camlobj.locate(data, spelling, file.name)
            assert (located.leaks, located.bound) == (0, ())
            assert render(located.content, located.occurrences, spelling.padded) == data
            data = render(located.content, located.occurrences, bytes(target.parent))
            assert spelling.canonical not in data and spelling.padded not in data
        (target / file.name).write_bytes(data)


@pytest.fixture
def library(tmp_path: Path) -> tuple[Spelling, Path]:
    """A library whose every file knows the padded spelling."""
    spelling = switch_at(tmp_path)
    padded = spelling.padded.decode()
    build = tmp_path / "build"
    build.mkdir()
    (build / "m.ml").write_text(
        f'let where = "{padded}/share"\n'
        f'let list = [where; "{padded}"; "-I{padded}/lib"; "{"x" * 300}:{padded}"]\n'
        "let fail () = if Array.length Sys.argv > 1 then failwith where\n"
    )
    flags = ["-g", "-bin-annot", "-I", f"{padded}/lib"]
    link = ["-ccopt", f"-L{padded}/lib", "-cclib", "-lm"]
    run(["ocamlc", *flags, "-c", "m.ml"], build)
    run(["ocamlopt", *flags, "-c", "m.ml"], build)
    run(["ocamlc", "-g", "-a", *link, "m.cmo", "-o", "m.cma"], build)
    run(["ocamlopt", "-g", "-a", *link, "m.cmx", "-o", "m.cmxa"], build)
    lib = tmp_path / "sw" / "lib"
    for file in build.glob("m.*"):
        file.rename(lib / file.name)
    return spelling, lib


@needs_ocaml
@pytest.mark.parametrize("name", ["o", "a-much-longer-name-" + "x" * 200], ids=["short", "over 200"])
def test_a_moved_library_links_and_runs(library: tuple[Spelling, Path], tmp_path: Path, name: str) -> None:
    spelling, lib = library
    there = tmp_path / name / "lib"
    move(lib, spelling, there)
    lib.rename(tmp_path / "gone")
    (tmp_path / "main.ml").write_text(
        'let () = M.fail (); print_string (String.concat "\\n" M.list);\n'
        '  assert (List.hd M.list = M.where && String.length M.where = int_of_string (Sys.getenv "LEN"))\n'
    )
    prefix = str(there.parent)
    told = run(["ocamlc", "-g", "-custom", "-I", there, "m.cma", "main.ml", "-o", "main"], tmp_path)
    assert told == ""
    shown = run(["ocamlobjinfo", there / "m.cma"], tmp_path)
    assert f"-L{prefix}/lib" in shown and "///" not in shown
    assert f"-L{prefix}/lib" in run(["ocamlobjinfo", there / "m.cmxa"], tmp_path)
    command = ["env", f"LEN={len(prefix) + 6}", "./main"]
    wanted = [f"{prefix}/share", prefix, f"-I{prefix}/lib", "x" * 300 + ":" + prefix]
    assert run([*command], tmp_path).split("\n") == wanted
    # Native: the literals of m are in m.o, but types and approximations are read and their CRCs compared.
    run(["ocamlopt", "-c", "-I", there, "main.ml"], tmp_path)


@needs_ocaml
def test_the_compiler_reads_moved_trees(library: tuple[Spelling, Path], tmp_path: Path) -> None:
    spelling, lib = library
    there = tmp_path / "o" / "lib"
    move(lib, spelling, there)
    assert "M" in run(["ocamlobjinfo", there / "m.cmt"], tmp_path)
    assert (there / "m.cmt").stat().st_size == (lib / "m.cmt").stat().st_size
