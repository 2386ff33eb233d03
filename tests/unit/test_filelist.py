from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError
from opambin.filelist import FileList, from_comparison, from_install_file
from opambin.opam.prefixindex import PrefixIndex

if TYPE_CHECKING:
    from pathlib import Path

INSTALL = 'lib: ["a" "?b" "c" {"sub/c"}] bin: ["x"]'


def make(prefix: Path, *paths: str) -> None:
    for path in paths:
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_text(path)


def test_from_an_install_file_with_the_folders_that_are_new(tmp_path: Path) -> None:
    make(tmp_path, "bin/other")
    before = PrefixIndex.walk(tmp_path)
    make(tmp_path, "lib/demo/a", "lib/demo/sub/c", "bin/x")
    expected = ("bin/x", "lib", "lib/demo", "lib/demo/a", "lib/demo/sub", "lib/demo/sub/c")
    assert from_install_file(tmp_path, INSTALL, "demo", before) == FileList(expected)


def test_without_an_index_well_known_folders_belong_to_nobody(tmp_path: Path) -> None:
    make(tmp_path, "lib/demo/a", "lib/demo/b", "lib/demo/sub/c", "bin/x")
    found = from_install_file(tmp_path, INSTALL, "demo", None)
    assert set(found.added) == {
        "bin/x",
        "lib/demo",
        "lib/demo/a",
        "lib/demo/b",
        "lib/demo/sub",
        "lib/demo/sub/c",
    }


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    make(tmp_path, "lib/demo/a", "bin/x")
    with pytest.raises(BadDataError, match="lib/demo/sub/c is not in the switch"):
        from_install_file(tmp_path, INSTALL, "demo", None)


def test_nothing_installed(tmp_path: Path) -> None:
    assert from_install_file(tmp_path, "", "demo", None) == FileList(())


def test_from_a_comparison(tmp_path: Path) -> None:
    make(tmp_path, "lib/ocaml/ld.conf", "lib/mine/old", "lib/ocaml/gone")
    (tmp_path / ".opam-switch").mkdir()
    before = PrefixIndex.walk(tmp_path)
    make(tmp_path, "lib/new/x", ".opam-switch/config/x")
    (tmp_path / "lib/ocaml/ld.conf").write_text("edited")
    (tmp_path / "lib/mine/old").write_text("written again")
    (tmp_path / "lib/ocaml/gone").unlink()
    (tmp_path / "lib/ocaml").chmod(0o700)
    owners = {"lib/ocaml": "ocaml", "lib/ocaml/ld.conf": "ocaml"}
    found, after = from_comparison(tmp_path, before, owners.get)
    assert found == FileList(("lib/mine/old", "lib/new", "lib/new/x"), ("lib/ocaml/ld.conf",))
    assert after == PrefixIndex.walk(tmp_path)
