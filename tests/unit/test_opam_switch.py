from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError, UnavailableError
from opambin.model import Package, PackageName
from opambin.opam.ast import List
from opambin.opam.root import Root
from opambin.opam.switch import Switch
from opambin.opam.switchfiles import PackageConfig, SwitchState

if TYPE_CHECKING:
    from pathlib import Path

ROOT_CONFIG = """opam-version: "2.0"
opam-root-version: "2.1"
repositories: ["company" "default"]
installed-switches: ["{folder}" "five" "four"]
switch: "five"
eval-variables: [
  [sys-ocaml-version ["ocamlc" "-vnum"] "version"]
  [sys-plain "uname" "words"]
]
global-variables: [
  [corporate true "set by us"]
  ["mirrors" ["a" "b"] ""]
]
wrap-build-commands: [["sandbox.sh" "build"] {os = "linux"}]
"""
STATE = """opam-version: "2.0"
compiler: ["ocaml-base-compiler.5.1.0"]
roots: ["dune.3.15.0" "ocaml-base-compiler.5.1.0"]
installed: [
  "base-unix.base"
  "dune.3.15.0"
  "ocaml-base-compiler.5.1.0"
  "mine.~dev"
]
pinned: "mine.~dev"
"""
CONFIG = """opam-version: "2.0"
synopsis: "five"
opam-root: "/r"
invariant: ["ocaml-base-compiler" {= "5.1.0"}]
depext-bypass: ["libgmp-dev"]
paths {

}
variables {
  user: "me"
  flag: false
}
"""
NAME = PackageName


@pytest.fixture
def root(tmp_path: Path) -> Root:
    path = tmp_path / "root"
    for name in ("five", "four"):
        meta = path / name / ".opam-switch"
        meta.mkdir(parents=True)
        (meta / "switch-config").write_text(CONFIG)
    (path / "five" / ".opam-switch" / "switch-state").write_text(STATE)
    local = tmp_path / "project" / "_opam" / ".opam-switch"
    local.mkdir(parents=True)
    (local / "switch-config").write_text(CONFIG)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "_opam").symlink_to(path / "four")
    (tmp_path / "relinked" / "sub").mkdir(parents=True)
    (tmp_path / "relinked" / "_opam").symlink_to(tmp_path / "project" / "_opam")
    scratch = tmp_path / "disk" / "sw" / ".opam-switch"
    scratch.mkdir(parents=True)
    (scratch / "switch-config").write_text(CONFIG)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "_opam").symlink_to(tmp_path / "disk" / "sw")
    (path / "config").write_text(ROOT_CONFIG.replace("{folder}", str(tmp_path / "project")))
    return Root.open(path)


@pytest.fixture
def five(root: Root) -> Switch:
    return Switch.open(root, "five", {})


def test_root_configuration(root: Root, tmp_path: Path) -> None:
    assert root.format == (2, 1)
    assert root.current_switch == "five"
    assert root.switches == (str(tmp_path / "project"), "five", "four")
    assert isinstance(root.hooks("wrap-build-commands"), List)
    assert root.hooks("pre-session-commands") is None


def test_root_is_found_by_the_environment(root: Root, tmp_path: Path) -> None:
    assert Root.find({"OPAMROOT": str(root.path)}).path == root.path
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".opam").symlink_to(root.path)
    assert Root.find({"HOME": str(tmp_path / "home")}).path == root.path


def test_no_root_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="opam init"):
        Root.find({"OPAMROOT": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        pytest.param("", UnavailableError, "opam 2.0", id="root of 2.0"),
        pytest.param('opam-root-version: "x"', BadDataError, "opam-root-version", id="no number"),
        pytest.param('opam-root-version: ["2.1"', BadDataError, "config", id="cut off"),
    ],
)
def test_bad_roots(tmp_path: Path, line: str, error: type[Exception], words: str) -> None:
    (tmp_path / "config").write_text(f'opam-version: "2.0"\n{line}\n')
    with pytest.raises(error, match=words):
        Root.open(tmp_path)


@pytest.mark.parametrize(
    ("version", "opam", "words"),
    [
        pytest.param("2.1", (2, 1, 2), None, id="same"),
        pytest.param("2.2", (2, 5, 2), None, id="2.5 keeps the format of 2.2"),
        pytest.param("2.6", (2, 7, 0), None, id="unknown later opam"),
        pytest.param("2.6", (2, 3, 0), "use opam 2.6", id="root too new"),
        pytest.param("2.2", (2, 1, 2), "use opam 2.2", id="root too new for 2.1"),
        pytest.param("2.1", (2, 6, 1), "upgrade for good", id="would be upgraded"),
    ],
)
def test_opam_and_format(tmp_path: Path, version: str, opam: tuple[int, ...], words: str | None) -> None:
    (tmp_path / "config").write_text(f'opam-version: "2.0"\nopam-root-version: "{version}"\n')
    root = Root.open(tmp_path)
    if words is None:
        root.check_opam(opam)
        return
    with pytest.raises(UnavailableError, match=words):
        root.check_opam(opam)


@pytest.mark.parametrize(
    ("name", "environ", "cwd", "found"),
    [
        pytest.param("four", {"OPAMSWITCH": "five"}, ".", ("four", "root/four"), id="named"),
        pytest.param(None, {"OPAMSWITCH": "four"}, "project", ("four", "root/four"), id="environment first"),
        pytest.param(None, {}, "project", ("{}/project", "project/_opam"), id="local"),
        pytest.param(
            None, {}, "relinked/sub", ("{}/project", "project/_opam"), id="link to a local one, above"
        ),
        pytest.param(None, {}, "linked", ("four", "root/four"), id="link to a global one"),
        pytest.param(None, {}, "scratch", ("{}/scratch", "disk/sw"), id="link to any folder"),
        pytest.param(".", {}, "project", ("{}/project", "project/_opam"), id="dot"),
        pytest.param("./project/", {}, ".", ("{}/project", "project/_opam"), id="folder"),
        pytest.param(None, {"OPAMSWITCH": ""}, ".", ("five", "root/five"), id="global"),
    ],
)
def test_finding_a_switch(
    root: Root, name: str | None, environ: dict[str, str], cwd: str, found: tuple[str, str]
) -> None:
    top = root.path.parent
    switch = Switch.open(root, name, environ, top / cwd)
    assert switch.name == found[0].format(top)
    assert switch.prefix == top / found[1]
    assert switch.is_global == (found[0] == "five")


def test_unknown_switch_lists_the_known_ones(root: Root) -> None:
    with pytest.raises(UnavailableError, match=r"no switch six.*five, four"):
        Switch.open(root, "six", {})


def test_a_path_that_is_not_utf8_is_left_to_opam(root: Root, tmp_path: Path) -> None:
    """It ended in an internal error at the first look into the store."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    (folder / "_opam/.opam-switch").mkdir(parents=True)
    (folder / "_opam/.opam-switch/switch-config").write_text("")
    with pytest.raises(UnavailableError, match="is not UTF-8; opam alone"):
        Switch.open(root, str(folder), {})


def test_state_and_config(five: Switch) -> None:
    state = five.state()
    assert state.installed[NAME("mine")] == "~dev"
    assert state.roots == {Package.parse("dune.3.15.0"), Package.parse("ocaml-base-compiler.5.1.0")}
    assert state.compiler == {Package.parse("ocaml-base-compiler.5.1.0")}
    assert state.pinned == {"mine": "~dev"}
    config = five.config()
    assert config.variables == {"user": "me", "flag": False}
    assert config.depext_bypass == ("libgmp-dev",)
    assert config.repositories is None
    assert config.invariant is not None


def test_a_switch_without_state_is_empty(root: Root) -> None:
    assert Switch.open(root, "four", {}).state() == SwitchState({}, frozenset(), frozenset(), {})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(STATE[:120], id="cut off"),
        pytest.param('opam-version: "2.0"\ninstalled: ["dune"]\n', id="no version"),
        pytest.param('opam-version: "2.0"\ninstalled: [dune]\n', id="no string"),
        pytest.param('opam-version: "2.0"\npinned: [1]\n', id="bad pin"),
    ],
)
def test_broken_state_is_reported(five: Switch, text: str) -> None:
    (five.meta / "switch-state").write_text(text)
    with pytest.raises(BadDataError) as caught:
        five.state()
    assert "switch-state" in str(caught.value)


def test_pins_of_older_opams_have_targets() -> None:
    text = 'opam-version: "2.0"\npinned: ["a.1" {"git+file:///a"} "b.2"]\n'
    assert SwitchState.parse(text, "x").pinned == {"a": "1", "b": "2"}


def test_records_of_a_package(five: Switch) -> None:
    package = Package.parse("dune.3.15.0")
    with pytest.raises(UnavailableError, match="opam is missing"):
        five.installed_opam(package)
    folder = five.package_dir(package)
    (folder / "files" / "deep").mkdir(parents=True)
    (folder / "opam").write_bytes(b'opam-version: "2.0"\nsynopsis: "\xff"\n')
    (folder / "files" / "deep" / "x").write_bytes(b"1")
    assert five.installed_opam(package).endswith('"\udcff"\n')
    assert five.installed_files(package) == {"deep/x": b"1"}
    assert five.changes(package.name) is None
    assert five.package_config(package.name) == PackageConfig()
    assert five.sources_dir(package.name) == five.prefix / ".opam-switch/sources/dune"
    assert five.build_dir(package) == five.prefix / ".opam-switch/build/dune.3.15.0"


@pytest.mark.parametrize(
    ("field", "found"),
    [
        pytest.param(
            '[["/usr/bin/ocamlc" "md5=1"] ["/x" "2"]]', {"/usr/bin/ocamlc": "md5=1", "/x": "2"}, id="two"
        ),
        pytest.param('["/usr/bin/ocamlc" "md5=1"]', {"/usr/bin/ocamlc": "md5=1"}, id="one, flat"),
        pytest.param('[["/usr/bin/ocamlc" "md5=1"]]', {"/usr/bin/ocamlc": "md5=1"}, id="one"),
    ],
)
def test_package_config(field: str, found: dict[str, str]) -> None:
    text = (
        f'opam-version: "2.0"\nfile-depends: {field}\nvariables {{ native: true words: ["a" "b"] x: "y" }}\n'
    )
    config = PackageConfig.parse(text, "ocaml.config")
    assert config.file_depends == found
    assert config.variables == {"native": True, "words": ("a", "b"), "x": "y"}


def test_bad_package_config() -> None:
    with pytest.raises(BadDataError, match="file-depends"):
        PackageConfig.parse('file-depends: [["/x"]]\n', "c")
    with pytest.raises(BadDataError, match="variable"):
        PackageConfig.parse("variables { x: 1 }\n", "c")


def test_fingerprint_sees_what_a_plan_depends_on(five: Switch) -> None:
    first = five.fingerprint()
    assert five.fingerprint() == first
    (five.meta / "reinstall").write_text("dune\t3.15.0\n")
    second = five.fingerprint()
    assert second != first
    assert five.reinstall() == {Package.parse("dune.3.15.0")}
    (five.meta / "reinstall").write_text("dune\n")
    with pytest.raises(BadDataError, match="name and version"):
        five.reinstall()
    (five.meta / "reinstall").unlink()
    assert five.fingerprint() == first
    (five.meta / "switch-config").write_text(CONFIG + "\n")
    assert five.fingerprint() != first


def test_missing_configuration(five: Switch) -> None:
    (five.meta / "switch-config").unlink()
    with pytest.raises(UnavailableError, match="switch-config is missing"):
        five.config()


def test_unreadable_is_not_missing(five: Switch) -> None:
    (five.meta / "switch-state").unlink()
    (five.meta / "switch-state").mkdir()
    with pytest.raises(UnavailableError, match="can't be read"):
        five.state()
