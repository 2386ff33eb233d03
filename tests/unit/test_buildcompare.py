from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from elf_samples import Sec, archive, elf_file
from store_samples import sha, stored_manifest

from opambin import buildcompare
from opambin.buildcompare import Finding, Snapshot
from opambin.cli import selftest_relocation
from opambin.model import Edit, Manifest, OutputId
from opambin.selftest import Verdicts
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def snapshot(folder: Path, data: bytes = b"text", **more: object) -> Snapshot:
    """Store a package with one file of its own."""
    with Store.open(folder) as store:
        manifest: Manifest = stored_manifest(store, data=data)
    files = tuple(
        replace(entry, identity=sha(data)) if entry.digest is not None else entry for entry in manifest.files
    )
    return Snapshot(folder, replace(manifest, files=files, **more))  # type: ignore[arg-type]


def test_equal_outputs_hide_nothing_and_are_not_read(tmp_path: Path) -> None:
    mine = snapshot(tmp_path / "a")
    assert buildcompare.hidden(mine, replace(mine, cache=tmp_path / "missing")) == []


def test_files_are_compared_by_their_identity(tmp_path: Path) -> None:
    mine = snapshot(tmp_path / "a", b"dir=/x", output=OutputId(sha("1")))
    theirs = snapshot(tmp_path / "b", b"dir=/y", output=OutputId(sha("2")))
    found = buildcompare.hidden(mine, theirs)
    assert {one.kind for one in found} == {"hidden prefix"}
    assert any("differs from byte 5 on: b'dir=/x' and b'dir=/y'" in one.detail for one in found)


def test_files_of_one_build_alone_are_named(tmp_path: Path) -> None:
    mine = snapshot(tmp_path / "a", output=OutputId(sha("1")))
    theirs = replace(mine, manifest=replace(mine.manifest, files=(), output=OutputId(sha("2"))))
    paths = [entry.path for entry in mine.manifest.files]
    assert [one.path for one in buildcompare.hidden(mine, theirs)] == paths
    assert [one.path for one in buildcompare.hidden(theirs, mine)] == paths


@pytest.mark.parametrize(
    ("more", "path"),
    [
        pytest.param({"config": "opam-version: 2"}, "demo.config", id="config"),
        pytest.param({"install": "bin: []"}, "demo.install", id="install"),
        pytest.param({"edits": (Edit("lib/ld.conf", ("/x",)),)}, "lib/ld.conf", id="edit"),
    ],
)
def test_what_opam_has_on_record_counts(tmp_path: Path, more: dict[str, object], path: str) -> None:
    mine = snapshot(tmp_path / "a", output=OutputId(sha("1")), config=None, install=None, edits=())
    theirs = replace(mine, manifest=replace(mine.manifest, output=OutputId(sha("2")), **more))  # type: ignore[arg-type]
    assert [one.path for one in buildcompare.hidden(mine, theirs)] == [path]


CODE, OTHER_CODE = elf_file(Sec(".text", b"\x90")), elf_file(Sec(".text", b"\xcc"))


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        pytest.param(b"ab", b"ac", "differs from byte 1 on", id="text"),
        pytest.param(b"ab", b"abc", "one is longer", id="longer"),
        pytest.param(CODE, OTHER_CODE, "section .text differs", id="section"),
        pytest.param(CODE, CODE + b"x", "parts that are not loaded differ", id="behind it"),
        pytest.param(archive(a=CODE), archive(a=OTHER_CODE), "member a", id="archive"),
        pytest.param(archive(a=CODE), archive(a=CODE, b=CODE), "other members", id="members"),
    ],
)
def test_where_files_differ(one: bytes, other: bytes, said: str) -> None:
    assert said in buildcompare.where(one, other)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump")
def test_a_number_that_follows_from_a_length_is_found(tmp_path: Path) -> None:
    for name, prefix in (("a", "/x"), ("b", "/longer")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "text").write_text(prefix)
        source = "int f(void) { return sizeof(PREFIX); } const char *g(void) { return PREFIX; }\n"
        (folder / "x.c").write_text(source)
        command = ["cc", "-O2", "-c", f'-DPREFIX="{prefix}"', "-o", "x.o", "x.c"]
        subprocess.run(command, cwd=folder, check=True)
        subprocess.run(["ar", "rc", "x.a", "x.o"], cwd=folder, check=True)
    paths = ["x.o", "x.a", "text", "missing"]
    found = buildcompare.lengths("demo.1", paths, tmp_path / "a", tmp_path / "b")
    assert [(one.path, one.kind) for one in found] == [
        ("x.o", "compiled-in length"),
        ("x.a", "compiled-in length"),
    ]
    assert found[0].detail.startswith("f: ")
    assert buildcompare.lengths("demo.1", paths, tmp_path / "a", tmp_path / "a") == []


def test_the_table_names_what_is_clean_and_the_first_findings_of_the_rest() -> None:
    findings = [Finding("b.1", f"bin/{at}", "hidden prefix", "x|y" + "z" * 300) for at in range(5)]
    findings.append(Finding("c.1", "", "not built", "opam could not build it"))
    lines = list(selftest_relocation._table(Verdicts(("a.1", "b.1"), tuple(findings))))
    assert lines[2] == "| a.1 | nothing hidden |  |"
    assert lines[3].startswith("| b.1 | hidden prefix (5) | `bin/0`: x\\|y")
    assert lines[3].endswith("; and 2 more |")
    assert "…" in lines[3]
    assert lines[4] == "| c.1 | not built (1) | opam could not build it |"
