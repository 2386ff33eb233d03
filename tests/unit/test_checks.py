from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from opambin.errors import BadDataError
from opambin.machine.checks import BuildEnvironment, apply_updates, parse_config, run_check, wrapper
from opambin.model import Package, PackageName
from opambin.opam.parser import parse, parse_value
from opambin.opam.switch import Switch
from opambin.surroundings import Platform, Surroundings
from opambin.universe import Node, Universe

if TYPE_CHECKING:
    from opambin.context import Context
    from opambin.opam.interpolation import Value
    from opambin.opam.switchfiles import PackageConfig


def known(name: str) -> Value:
    values: dict[str, Value] = {"prefix": "/p", "t": True, "f": False}
    return values.get(name)


# What opam 2.1.2 made of each, told by a build command; A is unset, C is empty.
@pytest.mark.parametrize(
    ("op", "unset", "empty", "one", "two"),
    [
        pytest.param("=", "x", "x", "x", "x", id="="),
        pytest.param("+=", "x", "x", "x:a", "x:a::b", id="+="),
        pytest.param("=+", "x", "x", "a:x", "a::b:x", id="=+"),
        pytest.param(":=", "x:", "x:", "x:a", "x:a::b", id=":="),
        pytest.param("=:", ":x", ":x", "a:x", "a::b:x", id="=:"),
        pytest.param("=+=", "x", "x", "x:a", "x:a::b", id="=+="),
    ],
)
def test_updates_of_the_environment(op: str, unset: str, empty: str, one: str, two: str) -> None:
    environ = {"C": "", "B": "a", "D": "a::b"}
    value = parse_value(f'[[A {op} "x"] [C {op} "x"] [B {op} "x"] [D {op} "x"]]')
    apply_updates(environ, value, known)
    assert environ == {"A": unset, "C": empty, "B": one, "D": two}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('A = "%{prefix}%/x"', "/p/x", id="one update without brackets"),
        pytest.param('[A = "1"] ', "1", id="one pair of brackets"),
        pytest.param('[[A = "1"] {t}]', "1", id="filter that holds"),
        pytest.param('[[A = "1"] {f}]', "old", id="filter that does not"),
        pytest.param("[[A = prefix]]", "/p", id="identifier"),
        pytest.param("[[A = nope]]", "", id="undefined"),
        pytest.param('[[A = "1"] [A += "2"]]', "2:1", id="one after the other"),
        pytest.param('[[A += "new"] [A += "new"]]', "new:old", id="twice the same"),
    ],
)
def test_forms_of_updates(text: str, expected: str) -> None:
    environ = {"A": "old"}
    apply_updates(environ, parse_value(text), known)
    assert environ["A"] == expected


def test_no_updates() -> None:
    environ = {"A": "old"}
    apply_updates(environ, None, known)
    assert environ == {"A": "old"}


def test_what_is_no_update() -> None:
    with pytest.raises(BadDataError, match="not understood"):
        apply_updates({}, parse_value('["x" "y"]'), known)


# Running


class FakeSwitch:
    """A switch of folders; nothing is registered."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.meta = prefix / ".opam-switch"
        self.name = "s"

    def build_dir(self, package: Package) -> Path:
        return self.meta / "build" / str(package)

    def package_config(self, name: PackageName) -> PackageConfig:
        return Switch.package_config(cast("Switch", self), name)

    def config_file(self, name: PackageName) -> Path:
        return self.meta / "config" / f"{name}.config"


def environment(
    tmp_path: Path, texts: dict[str, str], root_config: str = "", **environ: str
) -> BuildEnvironment:
    (tmp_path / ".opam-switch/build").mkdir(parents=True, exist_ok=True)
    context = SimpleNamespace(
        prefix=str(tmp_path),
        switch=FakeSwitch(tmp_path),
        root=SimpleNamespace(path=Path("/root"), config=parse(root_config, "config")),
        environ={"PATH": "/usr/bin:/bin"} | environ,
    )
    packages = {package.name: package for package in map(Package.parse, texts)}
    universe = Universe(
        {name: package.version for name, package in packages.items()},
        lambda package: Node(package, texts[str(package)], parse(texts[str(package)], "")),
        Surroundings(Platform("x86_64", "linux", "debian", "12"), {"os": "linux", "make": "make"}),
    )
    return BuildEnvironment(cast("Context", context), universe, {})


def check(tmp_path: Path, text: str, files: dict[str, bytes] | None = None, **more: Any) -> Any:  # noqa: ANN401 - short
    there = environment(tmp_path, {"conf-x.1": text, **more.pop("others", {})}, **more)
    return run_check(there, there.universe.node(PackageName("conf-x")), files or {})


def sh(script: str) -> str:
    return f'build: ["sh" "-c" """{script}"""]'


def test_a_check_that_passes(tmp_path: Path) -> None:
    result = check(tmp_path, sh("exit 0"))
    assert (result.problem, result.config) == ("", None)
    assert list((tmp_path / ".opam-switch/build").iterdir()) == []


def test_nothing_to_run(tmp_path: Path) -> None:
    assert check(tmp_path, "flags: conf").problem == ""
    assert check(tmp_path, 'build: ["false"] {os = "macos"}').problem == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(sh("echo no such library; exit 3"), "exited with 3: no such library", id="failing"),
        pytest.param(sh("echo on stderr >&2; false"), "exited with 1: on stderr", id="stderr is shown"),
        pytest.param('build: [["true"] ["sh" "-c" "exit 4"] ["false"]]', "exited with 4", id="first"),
        pytest.param('build: ["/no/such/program"]', "/no/such/program can't be run", id="no program"),
        pytest.param(sh("touch conf-x.install"), "its check installs files", id="installs"),
        pytest.param(sh("echo 'variables {' > conf-x.config"), "conf-x.config", id="broken .config"),
        pytest.param('build: ["true"] substs: ["nope"]', "nope.in", id="no file to fill in"),
    ],
)
def test_a_check_that_fails(tmp_path: Path, text: str, problem: str) -> None:
    result = check(tmp_path, text)
    assert problem in result.problem
    assert result.config is None
    assert list((tmp_path / ".opam-switch/build").iterdir()) == []


def test_a_check_writes_variables(tmp_path: Path) -> None:
    result = check(tmp_path, sh("echo 'variables { x: true }' > conf-x.config"))
    assert result.problem == ""
    assert parse_config(result.config, "conf-x").variables == {"x": True}


def test_files_and_substitutions(tmp_path: Path) -> None:
    files = {"sub/test.c": b"int x;", "run.in": b"echo %{name}% %{prefix}%\n"}
    result = check(tmp_path, 'substs: ["run"] ' + sh("cat sub/test.c; sh run; exit 1"), files)
    assert result.problem.endswith(f"int x;conf-x {tmp_path}")


def test_a_file_that_is_no_utf8_is_filled_in(tmp_path: Path) -> None:
    """It ended the restore as an internal error."""
    files = {"run.in": b"echo '\xe9' %{name}%\n"}
    result = check(tmp_path, 'substs: ["run"] ' + sh("sh run; exit 1"), files)
    assert result.problem.endswith("conf-x")


def test_what_a_failed_check_left_does_not_disturb_the_next(tmp_path: Path) -> None:
    folder = tmp_path / ".opam-switch/build/conf-x.1"
    folder.mkdir(parents=True)
    (folder / "conf-x.install").write_text("")
    assert check(tmp_path, sh("true")).problem == ""


def test_the_environment_of_a_check(tmp_path: Path) -> None:
    names = "$A $B $OPAM_SWITCH_PREFIX $OPAM_PACKAGE_NAME $OPAMSWITCH $MAKEFLAGS"
    text = sh(f"echo {names}; exit 1") + ' build-env: [A += "own"] depends: ["below"]'
    others = {"below.1": 'setenv: [[A = "below"]]'}
    result = check(tmp_path, text, others=others, A="user's", B="user", MAKEFLAGS="-j8")
    assert result.problem.endswith(f"exited with 1: own:below user {tmp_path} conf-x s")


def test_programs_of_the_switch_come_first(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pkg-config").write_text(f"#!{sys.executable}\nraise SystemExit(7)\n")
    (tmp_path / "bin/pkg-config").chmod(0o755)
    assert "exited with 7" in check(tmp_path, sh("pkg-config --version")).problem


def test_variables_of_paths_and_of_packages(tmp_path: Path) -> None:
    (tmp_path / ".opam-switch/config").mkdir(parents=True)
    (tmp_path / ".opam-switch/config/below.config").write_text('variables { native: true p: "/x" }')
    there = environment(tmp_path, {"conf-x.1": "", "below.2": "", "fresh.1": ""})
    there = dataclasses.replace(there, configs={"fresh": parse_config('variables { y: "1" }', "fresh")})
    find = there.lookup(there.universe.node(PackageName("conf-x")))
    expected = {
        "prefix": f"{tmp_path}",
        "lib": f"{tmp_path}/lib",
        "stublibs": f"{tmp_path}/lib/stublibs",
        "_:lib": f"{tmp_path}/lib/conf-x",
        "below:share": f"{tmp_path}/share/below",
        "below:bin": f"{tmp_path}/bin",
        "root": "/root",
        "switch": "s",
        "hooks": "/root/opam-init/hooks",
        "os": "linux",
        "name": "conf-x",
        "below:version": "2",
        "below:native": True,
        "below:p": "/x",
        "below:nope": None,
        "fresh:y": "1",
        "nope": None,
    }
    assert {name: find(name) for name in expected} == expected


# The wrapper

SANDBOXED = ["/root/opam-init/hooks/sandbox.sh", "build"]
OURS = '["%{root}%/plugins/opam-bin/hooks/wrap-build"]'
SANDBOX = '["%{hooks}%/sandbox.sh" "build"] {os = "linux" | os = "macos"}'


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param("", [], id="none"),
        pytest.param(f"wrap-build-commands: [{SANDBOX}]", SANDBOXED, id="sandbox"),
        pytest.param(
            f"wrap-build-commands: [{OURS} {SANDBOX}]",
            SANDBOXED,
            id="without ours",
        ),
        pytest.param(f"wrap-build-commands: [{OURS}]", [], id="only ours"),
        pytest.param('wrap-build-commands: [["nice"] ["a" "b"]]', ["nice", "a", "b"], id="several"),
        pytest.param('wrap-build-commands: [["a"] {os = "macos"}]', [], id="of another system"),
        pytest.param('wrap-build-commands: ["nice" "-n5"]', ["nice", "-n5"], id="without brackets"),
    ],
)
def test_wrapper(tmp_path: Path, config: str, expected: list[str]) -> None:
    there = environment(tmp_path, {"conf-x.1": ""}, config)
    assert wrapper(there, there.universe.node(PackageName("conf-x"))) == expected


def test_the_wrapper_runs_the_commands(tmp_path: Path) -> None:
    config = 'wrap-build-commands: ["sh" "-c" "echo wrapped $@; exit 9" "-"]'
    result = check(tmp_path, 'build: ["true" "x"]', root_config=config)
    assert "exited with 9: wrapped true x" in result.problem
