"""Canonical CRCs of what the OCaml of this machine compiles at two prefixes of different lengths."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from caml_samples import needs_ocaml, run
from elf_samples import requires_ocamlopt

from opambin import canonicalcrcs
from opambin.errors import IncompleteError
from opambin.hooks import MUST_FAIL
from opambin.looking import Look, Seen
from opambin.model import Symbol
from opambin.provided import file_symbols
from opambin.relocate.analysis import analyse
from opambin.relocate.engine import canonicalise
from opambin.relocate.spelling import Spelling, pad
from opambin.session.folder import Session

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = {
    "where": 'let prefix = "@PREFIX@"\n',
    "top": 'let lib = Where.prefix ^ "/lib"\nlet where () = Where.prefix\n',
    "plain": "let three = 3\n",
    "plugin": "let () = print_endline (Top.where ())\n",
    "main": "let () = print_endline Top.lib; if Plain.three = 3 then Dynlink.loadfile Sys.argv.(1)\n",
}


@dataclass(frozen=True)
class Tree:
    """A package as it was built at a prefix."""

    prefix: Path

    @property
    def spelling(self) -> Spelling:
        return Spelling(bytes(self.prefix), pad(bytes(self.prefix)))

    def build(self) -> Tree:
        self.prefix.mkdir(parents=True)
        for name, source in SOURCES.items():
            text = source.replace("@PREFIX@", self.spelling.padded.decode())
            (self.prefix / f"{name}.ml").write_text(text)
            self.ocamlopt("-c", f"{name}.ml")
            (self.prefix / f"{name}.ml").unlink()
        self.ocamlopt("-a", "-o", "lib.cmxa", "where.cmx", "top.cmx", "plain.cmx")
        self.ocamlopt("-shared", "-o", "plugin.cmxs", "plugin.cmx")
        self.ocamlopt("-linkall", "-o", "main", "dynlink.cmxa", "lib.cmxa", "main.cmx")
        return self

    def ocamlopt(self, *args: str, code: int = 0) -> str:
        command = ["ocamlopt", "-I", "+dynlink", *args]
        done = subprocess.run(command, cwd=self.prefix, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stderr

    def look(self) -> Look:
        look = Look()
        for path in sorted(found.name for found in self.prefix.iterdir()):
            data = (self.prefix / path).read_bytes()
            found = analyse(data, self.spelling, path)
            look.seen.append(Seen(path, (self.prefix / path).lstat(), found))
            provided, imported = file_symbols(self.prefix, path, data)
            look.provides |= provided
            look.imports |= imported
        return look

    def canonicalise(self, look: Look) -> None:
        for seen in look.seen:
            assert seen.analysis is not None
            canonicalise(self.prefix / seen.path, seen.analysis, self.spelling)

    def load(self, plugin: Path) -> str:
        command = [str(self.prefix / "main"), str(plugin)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Tree, Tree]:
    return Tree(tmp_path / "a").build(), Tree(tmp_path / "another-and-longer").build()


def contents(tree: Tree, look: Look) -> dict[str, bytes]:
    return {
        seen.path: (tree.prefix / seen.path).read_bytes()
        if seen.analysis is None or seen.analysis.content is None
        else seen.analysis.content
        for seen in look.seen
    }


def identities(look: Look) -> dict[str, str]:
    return {seen.path: seen.analysis.identity for seen in look.seen if seen.analysis}


@needs_ocaml
@requires_ocamlopt
def test_builds_at_two_prefixes_are_equal_and_fit_to_each_other(trees: tuple[Tree, Tree]) -> None:
    looks = [tree.look() for tree in trees]
    crcs = [{symbol.name: symbol.value for symbol in look.provides if symbol.kind == "cmx"} for look in looks]
    assert {name for name, crc in crcs[0].items() if crc != crcs[1][name]} == {
        "Where",
        "Top",
        "Plugin",
        "Main",
    }
    assert identities(looks[0]) != identities(looks[1])
    for tree, look in zip(trees, looks, strict=True):
        canonicalcrcs.rename(str(tree.prefix), look)
        assert look.renamed
    assert looks[0].provides == looks[1].provides
    assert looks[0].imports == looks[1].imports
    assert identities(looks[0]) == identities(looks[1])


@needs_ocaml
@requires_ocamlopt
@pytest.mark.parametrize("compiler", [True, False])
def test_a_program_of_a_compiler_may_be_linked_from_a_unit_that_is_not_installed(
    trees: tuple[Tree, Tree], compiler: bool
) -> None:
    looks = []
    for tree in trees:
        (tree.prefix / "main.cmx").unlink()
        look = tree.look()
        look.provides |= {Symbol("cmx", "Stdlib", "00" * 16)} if compiler else set()
        canonicalcrcs.rename(str(tree.prefix), look)
        looks.append(identities(look))
    assert {path for path, digest in looks[0].items() if digest != looks[1][path]} == (
        set() if compiler else {"main"}
    )


@needs_ocaml
@requires_ocamlopt
def test_what_was_built_at_one_prefix_links_and_loads_with_the_other(trees: tuple[Tree, Tree]) -> None:
    here, there = trees
    assert "mplementation" in here.load(there.prefix / "plugin.cmxs")  # the test can fail
    for tree in trees:
        look = tree.look()
        canonicalcrcs.rename(str(tree.prefix), look)
        tree.canonicalise(look)
    for tree in trees:
        for other in trees:
            lines = tree.load(other.prefix / "plugin.cmxs").split()
            assert lines == [f"{tree.prefix}/lib", str(tree.prefix)]
    user = here.prefix.parent / "user.ml"
    user.write_text("let () = print_endline Top.lib; print_int Plain.three\n")
    here.ocamlopt("-c", "-I", str(here.prefix), "-o", "user.cmx", str(user))
    here.ocamlopt("-o", "user", str(there.prefix / "lib.cmxa"), "user.cmx")
    assert run([here.prefix / "user"], here.prefix) == f"{there.prefix}/lib\n3"


@needs_ocaml
@requires_ocamlopt
def test_a_unit_that_cannot_be_read_leaves_every_crc_alone(trees: tuple[Tree, Tree]) -> None:
    tree = trees[0]
    path = tree.prefix / "plain.cmx"
    look = tree.look()
    path.write_bytes(path.read_bytes() + b"x")
    before = contents(tree, look), set(look.provides), set(look.imports)
    canonicalcrcs.rename(str(tree.prefix), look)
    assert not look.renamed
    assert (contents(tree, look), look.provides, look.imports) == before


def test_a_package_without_the_prefix_in_its_units_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "x.cmx").write_bytes(b"no unit at all")
    look = Look(
        [Seen("x.cmx", tmp_path.lstat(), analyse(b"no unit at all", Spelling.of(b"/opt/x"), "x.cmx"))]
    )
    canonicalcrcs.rename("/nonexistent", look)
    assert not look.renamed


def test_the_session_is_marked_until_all_live_files_are_written(tmp_path: Path) -> None:
    session = Session.of(tmp_path, tmp_path / "sw")
    context: Any = SimpleNamespace(session=session)
    with canonicalcrcs.all_or_none(context):
        pass  # outside of a session nothing is marked
    session.create()
    marker = session.folder / canonicalcrcs.MARKER
    with canonicalcrcs.all_or_none(context):
        assert marker.exists()
    assert not marker.exists()
    with pytest.raises(IncompleteError, match="KeyboardInterrupt"), canonicalcrcs.all_or_none(context):
        raise KeyboardInterrupt
    assert IncompleteError.exit_code == MUST_FAIL
    assert marker.exists()
