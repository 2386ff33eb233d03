from __future__ import annotations

import json
from typing import Any

import pytest

from opambin import recipes
from opambin.model import ConeKey, Package, PackageName, Version
from opambin.opam.buildfields import mentioned_variables
from opambin.opam.parser import parse
from opambin.recipes import Recipe
from opambin.surroundings import Keyed, Platform, Surroundings
from opambin.universe import Node, Universe, as_value, is_dev, is_system_compiler

PLATFORM = Platform("x86_64", "linux", "debian", "12")
SHA = 'checksum: "sha256=' + "ab" * 32 + '"'
COMMIT = "0123456789abcdef0123456789abcdef01234567"
KNOWN = ConeKey("7" * 64)


def universe(
    texts: dict[str, str],
    *,
    nodes: dict[str, dict[str, Any]] | None = None,
    variables: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
    system_files: dict[str, str] | None = None,
) -> Universe:
    """A universe of opam files by ``name.version``; ``nodes`` holds further fields of nodes by name."""
    packages = {package.name: package for package in map(Package.parse, texts)}

    def load(package: Package) -> Node:
        text = texts[str(package)]
        more = (nodes or {}).get(package.name, {})
        return Node(package, text, parse(text, f"{package}/opam"), **more)

    around = Surroundings(PLATFORM, variables or {}, environment or {}, system_files or {})
    return Universe({name: package.version for name, package in packages.items()}, load, around)


def inputs(found: Keyed) -> dict[str, Any]:
    assert found.key is not None, found.reason
    read: dict[str, Any] = json.loads(found.inputs)
    return read


def keyed(text: str, **more: Any) -> Keyed:  # noqa: ANN401 - handed over
    return universe({"x.1": text}, **more).key(PackageName("x"))


def dependencies(texts: dict[str, str], name: str = "x", **more: Any) -> set[str]:  # noqa: ANN401 - handed over
    return {dependency.name for dependency in universe(texts, **more).dependencies(PackageName(name))}


# Dependencies


@pytest.mark.parametrize(
    ("fields", "in_key", "at_run_time"),
    [
        pytest.param('depends: ["a"]', True, True, id="plain"),
        pytest.param('depends: ["a" {build}]', True, False, id="build"),
        pytest.param('depends: ["a" {post}]', False, False, id="post"),
        pytest.param('depends: ["a" {with-test}]', False, False, id="test, not wanted"),
        pytest.param('depends: ["a" {>= "2"}]', False, False, id="version that is not selected"),
        pytest.param('depends: ["a" | "b"]', True, True, id="alternative"),
        pytest.param('depopts: ["a"]', True, True, id="depopt"),
        pytest.param('depopts: ["a" {= "2"}]', False, False, id="depopt of another version"),
        pytest.param('depends: ["a" {os = "linux"}]', True, True, id="filter that holds"),
        pytest.param('depends: ["a" {os = "macos"}]', False, False, id="filter that does not"),
        pytest.param('depends: ["a" {= version}]', True, True, id="own version"),
        pytest.param('depends: ["a" {b:installed}]', False, False, id="another package that is not there"),
    ],
)
def test_what_counts_as_dependency(fields: str, *, in_key: bool, at_run_time: bool) -> None:
    there = universe({"x.1": fields, "a.1": ""}, variables={"os": "linux"})
    assert ("a" in inputs(there.key(PackageName("x")))["dependencies"]) == in_key
    assert there.runtime_dependencies(PackageName("x")) == (["a"] if at_run_time else [])


def test_wanted_tests_bring_their_dependencies() -> None:
    texts = {"x.1": 'depends: ["a" {with-test}]', "a.1": ""}
    assert dependencies(texts) == set()
    assert dependencies(texts, nodes={"x": {"flags": {"with-test": True}}}) == {"a"}


def test_a_package_does_not_depend_on_itself() -> None:
    assert dependencies({"x.1": 'depopts: ["x"]'}) == set()


def test_runtime_closure_goes_through_and_leaves_out_build_dependencies() -> None:
    texts = {
        "x.1": 'depends: ["a" "t" {build}]',
        "a.1": 'depends: ["b"]',
        "b.1": "",
        "t.1": 'depends: ["u"]',
        "u.1": "",
    }
    assert universe(texts).runtime_closure(PackageName("x")) == ["a", "b"]


def test_the_closure_names_what_is_reached_twice_once() -> None:
    texts = {"x.1": 'depends: ["a" "b"]', "a.1": 'depends: ["b"]', "b.1": ""}
    assert universe(texts).runtime_closure(PackageName("x")) == ["a", "b"]


def test_each_node_is_loaded_once() -> None:
    there = universe({"x.1": 'depends: ["a"]', "a.1": ""})
    there.key(PackageName("x"))
    assert there.node(PackageName("a")) is there.node(PackageName("a"))
    assert there.dependencies(PackageName("x")) is there.dependencies(PackageName("x"))


# Keys


def test_the_key_holds_the_key_of_each_dependency() -> None:
    texts = {"x.1": 'depends: ["a"]', "a.1": 'depends: ["b" {build}]', "b.1": ""}
    before = universe(texts).key(PackageName("x")).key
    after = universe({**texts, "b.1": 'build: "make"'}).key(PackageName("x")).key
    assert before != after


def test_post_dependencies_don_t_enter_the_key() -> None:
    texts = {"x.1": 'depends: ["a" {post}]', "a.1": 'depends: ["x"]'}
    there = universe(texts)
    assert there.key(PackageName("x")) == universe({"x.1": texts["x.1"]}).key(PackageName("x"))
    assert there.key(PackageName("a")).key is not None


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_cycle_has_no_key(name: str) -> None:
    texts = {"a.1": 'depends: ["b"]', "b.1": 'depends: ["a"]', "c.1": 'depends: ["a"]'}
    found = universe(texts).key(PackageName(name))
    assert found.key is None
    assert "form a cycle" in found.reason


def test_a_key_on_record_is_taken_as_it_is() -> None:
    there = universe({"x.1": 'depends: ["a"]', "a.1": ""}, nodes={"a": {"known_key": KNOWN}})
    assert there.key(PackageName("a")) == Keyed(KNOWN)
    assert inputs(there.key(PackageName("x")))["dependencies"] == {"a": KNOWN}
    assert there.inputs(PackageName("a")).key not in (None, KNOWN)


def test_no_key_below_means_no_key_above_and_names_the_cause_once() -> None:
    texts = {"x.1": 'depends: ["y"]', "y.1": 'depends: ["z"]', "z.1": 'url { src: "http://example.org/z" }'}
    there = universe(texts)
    assert there.key(PackageName("x")) == Keyed(None, reason="depends on z: its source has no checksum")
    assert there.key(PackageName("z")) == Keyed(None, reason="its source has no checksum")


# Sources


@pytest.mark.parametrize(
    ("fields", "pinned", "pin", "expected"),
    [
        pytest.param("", False, None, "", id="no source"),
        pytest.param(
            f'url {{ src: "https://e/x" {SHA} }}', False, None, "sha256=" + "ab" * 32, id="checksum"
        ),
        pytest.param(
            f'url {{ src: "u" checksum: ["md5={"0" * 32}" "sha512={"1" * 128}" "sha256={"2" * 64}"] }}',
            False,
            None,
            "sha512=" + "1" * 128,
            id="strongest checksum",
        ),
        pytest.param(
            f'url {{ src: "git+https://e/x.git#{COMMIT}" }}', False, None, f"git={COMMIT}", id="commit"
        ),
        pytest.param(f'url {{ src: "hg+https://e/x#{COMMIT}" }}', False, None, f"hg={COMMIT}", id="hg"),
        pytest.param('url { src: "git+file:///x#master" }', True, "12", "tree=12", id="pin"),
        pytest.param(f'url {{ src: "git+file:///x#{COMMIT}" }}', True, "12", "tree=12", id="pinned commit"),
        pytest.param(
            f'url {{ src: "file:///x" {SHA} }}', True, "12", "tree=12", id="pinned folder with checksum"
        ),
        pytest.param(
            f'url {{ src: "https://e/x" {SHA} }}', True, None, "sha256=" + "ab" * 32, id="pinned version"
        ),
        pytest.param("", True, None, "", id="pinned without source"),
    ],
)
def test_what_identifies_the_source(fields: str, pin: str | None, expected: str, *, pinned: bool) -> None:
    found = keyed(fields, nodes={"x": {"flags": {"pinned": pinned}, "pin": pin}})
    assert inputs(found)["source"] == expected


@pytest.mark.parametrize(
    ("fields", "pinned", "reason"),
    [
        pytest.param('url { src: "https://e/x" }', False, "its source has no checksum", id="no checksum"),
        pytest.param('url { src: "git+https://e/x#main" }', False, "its source has no checksum", id="branch"),
        pytest.param(
            f'url {{ src: "git+https://e/x#{COMMIT[:12]}" }}', False, "no checksum", id="short commit"
        ),
        pytest.param(
            f'url {{ src: "https://e/x#{COMMIT}" }}', False, "no checksum", id="fragment of an archive"
        ),
        pytest.param('url { src: "git+file:///x" }', True, "it is pinned", id="pin that isn't fetched"),
        pytest.param(f'url {{ src: "/folder" {SHA} }}', True, "it is pinned", id="pinned folder"),
        pytest.param(
            'url { src: "https://e/x" }', True, "it is pinned", id="pinned archive without checksum"
        ),
        pytest.param(
            f'url {{ src: "https://e/x" {SHA} }} extra-source "e" {{ src: "https://e/e" }}',
            False,
            "its extra source e has no checksum",
            id="extra source",
        ),
    ],
)
def test_an_unknown_source_gives_no_key_and_the_reason(fields: str, reason: str, *, pinned: bool) -> None:
    found = keyed(fields, nodes={"x": {"flags": {"pinned": pinned}}})
    assert found.key is None
    assert found.inputs == ""
    assert reason in found.reason


def test_extra_sources_are_in_the_key() -> None:
    found = keyed(f'extra-source "e" {{ src: "https://e/e" {SHA} }}')
    assert inputs(found)["extra-sources"] == {"e": "sha256=" + "ab" * 32}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param("", False, id="no source"),
        pytest.param(f'url {{ src: "https://e/x" {SHA} }}', False, id="checksum"),
        pytest.param('url { src: "https://e/x" }', True, id="no checksum"),
        pytest.param(f'url {{ src: "git+https://e/x#{COMMIT}" }}', True, id="git"),
        pytest.param(f'url {{ src: "git://e/x" {SHA} }}', True, id="git with checksum"),
    ],
)
def test_dev_follows_the_source(fields: str, *, expected: bool) -> None:
    """opam 2.1.2 says dev=false for a pin to a released version, and true for any source without checksum."""
    assert is_dev(parse(fields, "")) == expected


# Variables, flags, environment


@pytest.mark.parametrize(
    ("fields", "variables", "expected"),
    [
        pytest.param('build: [make "x"]', {"make": "gmake"}, {"make": "gmake"}, id="defined"),
        pytest.param('build: [make "x"]', {}, {}, id="undefined"),
        pytest.param('build: ["x" {?nope}]', {"other": "1"}, {}, id="not mentioned"),
        pytest.param(
            'build: "%{os-family}%"', {"os-family": "debian"}, {"os-family": "debian"}, id="in a string"
        ),
        pytest.param('build: "%{x?yes:no}%"', {"x": "true"}, {"x": "true"}, id="choice"),
        pytest.param('build: "%{user}%"', {"user": "me"}, {"user": "me"}, id="user"),
        pytest.param('build: "%{switch}%"', {"switch": "s"}, {"switch": "s"}, id="switch"),
        pytest.param(
            'build: "%{jobs}% %{prefix}% %{_:lib}%"', {"jobs": "4", "prefix": "/p"}, {}, id="places"
        ),
        pytest.param('build: "%{arch}% %{os}%"', {"arch": "x", "os": "y"}, {}, id="platform"),
        pytest.param('build: "%{a:installed}%"', {}, {"a:installed": "true"}, id="flavour that is there"),
        pytest.param('build: "%{b:installed}%"', {}, {"b:installed": "false"}, id="flavour that is not"),
        pytest.param('build: "%{a+b:installed}%"', {}, {"a+b:installed": "false"}, id="several packages"),
        pytest.param('build: "%{a:enable}%"', {}, {"a:enable": "enable"}, id="enable"),
        pytest.param('build: "%{b:enable}%"', {}, {"b:enable": "disable"}, id="disable"),
        pytest.param('build: "%{a:version}% %{b:version}%"', {}, {"a:version": "3"}, id="version"),
        pytest.param('build: "%{a:name}% %{b:name}%"', {}, {"a:name": "a"}, id="name"),
        pytest.param('build: "%{a:native}% %{a:lib}%"', {}, {}, id="from a .config, compared at restore"),
        pytest.param('remove: "%{user}%"', {"user": "me"}, {}, id="in a field that builds nothing"),
    ],
)
def test_variables_that_are_read(fields: str, variables: dict[str, str], expected: dict[str, str]) -> None:
    found = universe({"x.1": fields, "a.3": ""}, variables=variables).key(PackageName("x"))
    assert inputs(found)["variables"] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param('build: ["x" {with-test}]', {"with-test": True}, id="test"),
        pytest.param('depends: ["nope" {with-doc}]', {"with-doc": False}, id="documentation"),
        pytest.param(
            'build: ["dune" "subst"] {dev & !pinned}', {"dev": True, "pinned": False}, id="dev and pinned"
        ),
        pytest.param('run-test: ["make" "test"]', {"with-test": True}, id="run-test"),
        pytest.param('build-test: ["make" "test"]', {"with-test": True}, id="build-test"),
        pytest.param('build-doc: ["make" "doc"]', {"with-doc": False}, id="build-doc"),
        pytest.param('build: "%{_:with-test}%"', {"with-test": True}, id="with its own name"),
        pytest.param('build: "make"', {}, id="none"),
    ],
)
def test_flags_enter_where_they_are_mentioned(fields: str, expected: dict[str, bool]) -> None:
    found = keyed(fields, nodes={"x": {"flags": {"with-test": True, "dev": True}}})
    assert inputs(found)["flags"] == expected


@pytest.mark.parametrize(
    ("fields", "environment", "expected"),
    [
        pytest.param('build: "make"', {"CC": "clang", "HOME": "/x"}, {"CC": "clang"}, id="build"),
        pytest.param('install: "make"', {"CFLAGS": "-O3", "CC": ""}, {"CFLAGS": "-O3"}, id="install"),
        pytest.param("", {"CC": "clang"}, {}, id="no commands"),
    ],
)
def test_the_environment_that_builds_read(
    fields: str, environment: dict[str, str], expected: dict[str, str]
) -> None:
    assert inputs(keyed(fields, environment=environment))["environment"] == expected


def test_system_files_are_for_the_compiler_outside_of_opam_alone() -> None:
    system = 'flags: compiler available: sys-ocaml-version = "4.13.1"'
    files = {"/usr/bin/ocamlc": "0" * 32}
    assert inputs(keyed(system, system_files=files))["system-files"] == files
    assert inputs(keyed("flags: compiler", system_files=files))["system-files"] == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param('flags: compiler available: sys-ocaml-version = "1"', True, id="system compiler"),
        pytest.param('available: sys-ocaml-version = "1"', False, id="no compiler"),
        pytest.param('flags: compiler available: os != "win32"', False, id="built by opam"),
        pytest.param("flags: compiler", False, id="always available"),
    ],
)
def test_is_system_compiler(fields: str, *, expected: bool) -> None:
    assert is_system_compiler(parse(fields, "")) == expected


def test_the_recipe_enters_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = keyed("")
    monkeypatch.setattr(recipes, "load", lambda *_: Recipe("because", pad=False))
    with_recipe = keyed("")
    assert inputs(with_recipe)["recipe"] == Recipe("of something else", pad=False).digest()
    assert with_recipe.key != plain.key


def test_what_the_variables_of_a_package_mean() -> None:
    there = universe({"x.1": "", "a.3": ""}, variables={"os": "linux", "bytes-only": "true"})
    env = there.env(Node(Package.parse("x.1"), "", parse("", ""), {"with-test": True}))
    asked = [
        "name",
        "_:version",
        "x:version",
        "with-test",
        "_:with-doc",
        "os",
        "bytes-only",
        "a:version",
        "nope",
    ]
    assert [env(name) for name in asked] == ["x", "1", "1", True, False, "linux", True, "3", None]


def test_the_flags_of_a_node() -> None:
    node = Node(Package.parse("x.1"), "", parse('flags: [conf] tags: ["flags:plugin"]', ""))
    assert node.package_flags == {"conf", "plugin"}


def test_mentioned_variables() -> None:
    text = 'build: ["x" prefix {a & !(?b:c)} "%{d+e:f}%"] depends: ["x" {>= _:version}] messages: "%{n}%" {m}'
    assert mentioned_variables(parse(text, "")) == {"prefix", "a", "b:c", "d+e:f", "version"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("true", True, id="true"),
        pytest.param("false", False, id="false"),
        pytest.param("yes", "yes", id="text"),
        pytest.param("", "", id="empty"),
        pytest.param(None, None, id="undefined"),
    ],
)
def test_values_of_variables(text: str | None, *, expected: object) -> None:
    assert as_value(text) is expected or as_value(text) == expected


def test_the_selection_is_what_was_given() -> None:
    assert universe({"x.1": ""}).selected == {PackageName("x"): Version("1")}
