from __future__ import annotations

import struct
from pathlib import Path

import pytest

from opambin import request
from opambin.cli import door
from opambin.cli.console import Console
from opambin.door import listing, projects, wishes
from opambin.errors import BadDataError, UnavailableError
from opambin.machine import libraries, systempackages
from opambin.relocate import symbolversions


@pytest.mark.parametrize(
    ("line", "rest", "json", "dry"),
    [
        pytest.param("a -y", "a -y", False, False, id="nothing of ours"),
        pytest.param("--json-summary a", "a", True, False, id="summary"),
        pytest.param("a --dry-run --json", "a", True, True, id="dry run as JSON"),
        pytest.param("a --dry-run --json=f", "a --json=f", False, True, id="opam's JSON"),
        pytest.param("a --json f", "a --json f", False, False, id="opam's JSON without ours"),
        pytest.param("-- --dry-run", "-- --dry-run", False, False, id="behind the end of options"),
    ],
)
def test_our_options_are_taken_out(line: str, rest: str, *, json: bool, dry: bool) -> None:
    assert door.Words.of("install", line.split()) == door.Words("install", tuple(rest.split()), json, dry)


def test_nothing_is_reinstalled_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPAMYES", raising=False)
    words = door.Words("reinstall", ("--switch", "s", "a", "b.1", "-j", "4"), json=False, dry_run=False)
    assert list(door.rest_of(words, {"b.1": "why"})) == ["--switch", "s", "b.1", "-j", "4"]
    upgrade = door.Words("upgrade", ("a", "b"), json=False, dry_run=False)
    assert list(door.rest_of(upgrade, {"b.1": "why"})) == ["a", "b"]


@pytest.mark.parametrize("text", ["x", "Installing new switch packages", "y" * 90])
def test_headings(text: str) -> None:
    line = Console().heading(text)
    assert line.startswith(f"<><> {text} ")
    assert len(line) == max(80, len(text) + 6)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("create s a.1", wishes.Wish("s", "a.1"), id="plain"),
        pytest.param("create a.1", wishes.Wish("a.1", "a.1"), id="named by its compiler"),
        pytest.param("-y create s a", wishes.Wish("s", "a", yes=True, options=("-y",)), id="yes"),
        pytest.param("create s a --no-switch", wishes.Wish("s", "a", select=False), id="not selected"),
        pytest.param("create s a --description=x", wishes.Wish("s", "a", "x"), id="described"),
        pytest.param("create s a --description x", wishes.Wish("s", "a", "x"), id="described apart"),
        pytest.param("create s a -j 2", wishes.Wish("s", "a", options=("-j", "2")), id="jobs"),
        pytest.param("create ./s a", wishes.Wish("./s", "a", select=False), id="local"),
        pytest.param("create s --empty", None, id="empty"),
        pytest.param("create s a --packages b", None, id="packages"),
        pytest.param("create s a,b", None, id="several"),
        pytest.param("create s a>=1", None, id="constraint"),
        pytest.param("create ./s", None, id="local without compiler"),
        pytest.param("create", None, id="nothing"),
        pytest.param("set s", None, id="another command"),
        pytest.param("create s a --description", None, id="value missing"),
    ],
)
def test_wishes_for_switches(line: str, expected: wishes.Wish | None) -> None:
    assert wishes.parse(line.split(), {}) == expected


def test_a_local_switch_with_definitions_is_opams(tmp_path: Path) -> None:
    (tmp_path / "a.opam").touch()
    assert wishes.parse(["create", str(tmp_path), "a.1"], {}) is None


HEAD = 'opam-version: "2.0"\n'


def _nothing(_: str) -> None:
    return None


def test_a_lock_file() -> None:
    text = HEAD + 'depends: ["a" {= "1"} "b" {= "2" & with-test} "c" {build & = "3"}]\n'
    found = listing.read(text, "f", lambda name: True if name == "build" else None)
    assert found.packages == {"a": "1", "c": "3"}
    assert sorted(found.roots) == ["a", "c"]
    assert not found.export
    assert not found.beyond
    assert listing.read(text + 'pin-depends: ["a.1" "git+x"]\n', "f", _nothing).beyond


def test_an_export() -> None:
    text = HEAD + 'compiler: ["c.1"]\nroots: ["a.1"]\ninstalled: ["a.1" "c.1"]\n'
    found = listing.read(text, "f", _nothing)
    assert found.packages == {"a": "1", "c": "1"}
    assert sorted(found.roots) == ["a"]
    assert found.export
    assert not found.beyond
    assert "pins" in listing.read(text + 'pinned: ["a.1"]\n', "f", _nothing).beyond


@pytest.mark.parametrize("text", [HEAD, HEAD + 'depends: ["a"]\n', HEAD + 'depends: ["a" {>= "1"}]\n', "["])
def test_what_is_no_listing(text: str) -> None:
    with pytest.raises(BadDataError, match="f"):
        listing.read(text, "f", _nothing)


def test_projects(tmp_path: Path) -> None:
    (tmp_path / "a.opam").write_text(HEAD)
    (tmp_path / "a.opam.locked").write_text(HEAD + 'depends: ["x"]\n')
    (tmp_path / "b.opam").write_text(HEAD + 'name: "other"\n')
    plain = projects.find(request.parse(["."], {}), {}, tmp_path)
    assert [project.name for project in plain] == ["a", "other"]
    assert plain[0].path == tmp_path / "a.opam"
    locked = projects.find(request.parse([".", "--locked"], {}), {}, tmp_path)
    assert locked[0].path == tmp_path / "a.opam.locked"
    (one,) = projects.find(request.parse(["./a.opam"], {}), {}, tmp_path)
    assert one.name == "a"


@pytest.mark.parametrize("words", [["./nowhere"], [".", "--recursive"]])
def test_folders_that_only_opam_understands(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "a.opam").write_text(HEAD)
    with pytest.raises(UnavailableError):
        projects.find(request.parse(words, {}), {}, tmp_path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("x/a.opam", "a"),
        ("a.opam/opam", "a"),
        ("a/opam", "a"),
        ("a/opam/opam", "a"),
        ("x/a.opam.locked", "a"),
    ],
)
def test_names_from_places(path: str, name: str) -> None:
    assert projects.name_of(Path(path)) == name


def test_installed_system_packages() -> None:
    rows = ["a\tamd64\tii \t", "b\tamd64\trc \t", "c\tall\tii \td (= 1), e", "broken", ""]
    found = systempackages.debian_installed(rows)
    assert {"a", "a:amd64", "c", "d", "e"} <= found
    assert "b" not in found


def test_the_highest_version_of_each_family() -> None:
    versions = frozenset(("GLIBC_2.9", "GLIBC_2.34", "GLIBC_2.2.5", "GCC_3.0", "GLIBC_PRIVATE", "x"))
    assert symbolversions.highest(versions) == ("GCC_3.0", "GLIBC_2.34", "GLIBC_PRIVATE", "x")


@pytest.mark.skipif(not Path("/bin/sh").exists(), reason="no program to look at")
def test_what_a_program_of_this_machine_wants_is_here() -> None:
    data = Path("/bin/sh").read_bytes()
    for name, versions in symbolversions.wanted(data).items():
        assert libraries.has(name, " ".join(versions))
        assert not libraries.has(name, "OPAM_BIN_99")
    assert not libraries.has("libopam-bin-test.so.9", "")


def test_a_cache_of_the_loader(tmp_path: Path) -> None:
    strings = b"liba.so.1\0/x/liba.so.1\0"
    start = 48 + 24
    entry = struct.pack("<iIIIQ", 1, start, start + 10, 0, 0)
    path = tmp_path / "cache"
    head = libraries.CACHE_MAGIC + struct.pack("<II", 1, len(strings)) + bytes(20)
    path.write_bytes(head + entry + strings)
    assert libraries.cached(str(path)) == {"liba.so.1": ("/x/liba.so.1",)}
    path.write_bytes(b"something else")
    libraries.cached.cache_clear()
    assert libraries.cached(str(path)) == {}
    libraries.cached.cache_clear()


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF"])
def test_no_versions_in_other_files(data: bytes) -> None:
    assert symbolversions.wanted(data) == {}
    assert symbolversions.offered(data) == frozenset()
