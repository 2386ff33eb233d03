from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opambin import cone
from opambin.cone import ConeInputs, canonical, differences, encode, key_of, reduced
from opambin.model import ConeKey, Package, PackageName, Version
from opambin.opam import ast
from opambin.opam.buildfields import BUILD_FIELDS
from opambin.opam.parser import parse, parse_value
from opambin.opam.printer import print_file
from opambin.surroundings import Keyed, Platform, Surroundings
from opambin.universe import Node, Universe

DOCUMENT = Path(__file__).parents[2] / "docs" / "formats" / "cone-key.md"

OPAM = '''
opam-version: "2.0"
name: "demo"
version: "1"
maintainer: "me@example.org"
authors: ["me" "you"]
synopsis: "A demo"
description: """
Long text."""
homepage: "https://example.org"
bug-reports: "https://example.org/bugs"
dev-repo: "git+https://example.org/demo.git"
license: "MIT"
tags: ["org:demo" "clib"]
flags: [compiler avoid-version]
build: [
  ["./configure" "--prefix" prefix "--enable-x" {x:installed}]
  [make "-j%{jobs}%"] {os != "win32"}
  [make "test"] {with-test}
]
install: [make "install"]
build-env: [[CFLAGS += "-g"] [LANG = "C"]]
patches: ["fix.patch" {os = "linux"} "other.patch"]
substs: ["config"]
depends: ["ocaml" {>= "4.08" & < "5.0~"} ("x" | "y") "t" {with-test}]
depopts: ["z" {!= "2"}]
conflicts: ["old" {< "2"}]
setenv: [[DEMO = "%{prefix}%/demo"]]
extra-files: [["a.patch" "md5=0123456789abcdef0123456789abcdef"]]
features: "-> true"
remove: [make "uninstall"]
messages: ["hello"]
post-messages: ["done" {success}]
available: os != "macos"
depexts: [["libx-dev"] {os-distribution = "debian"}]
x-something: "else"
url {
  src: "https://example.org/demo-1.tar.gz"
  mirrors: "https://mirror.example.org/demo-1.tar.gz"
  checksum: ["md5=0123456789abcdef0123456789abcdef"]
}
'''.replace('features: "-> true"\n', "")

IRRELEVANT = [
    "maintainer",
    "authors",
    "synopsis",
    "description",
    "homepage",
    "bug-reports",
    "dev-repo",
    "license",
    "messages",
    "post-messages",
    "remove",
    "available",
    "depexts",
    "x-something",
    "doc",
]


def opam_file() -> ast.OpamFile:
    return parse(OPAM, "demo.1/opam")


def inputs(**changes: Any) -> ConeInputs:  # noqa: ANN401 - every field has another type
    base = ConeInputs(
        package=Package.parse("demo.1"),
        opam=reduced(opam_file()),
        source="md5=0123456789abcdef0123456789abcdef",
        platform=Platform("x86_64", "linux", "debian", "12"),
        extra_sources={"extra": "md5=00000000000000000000000000000000"},
        recipe="ab" * 32,
        dependencies={PackageName("ocaml"): ConeKey("01" * 32)},
        flags={"with-test": False},
        variables={"x:installed": "true"},
        environment={"CC": "gcc"},
        system_files={"/usr/bin/ocamlc": "0" * 32},
    )
    return replace(base, **changes)


def key(file: ast.OpamFile | None = None, **changes: Any) -> ConeKey:  # noqa: ANN401 - as above
    if file is not None:
        changes["opam"] = reduced(file)
    return key_of(canonical(inputs(**changes)))


def with_field(name: str, value: str | None) -> ast.OpamFile:
    items = tuple(
        item for item in opam_file().items if not (isinstance(item, ast.Field) and item.name == name)
    )
    return ast.OpamFile("", items if value is None else (*items, ast.Field(name, parse_value(value))))


@given(st.permutations(opam_file().items), st.randoms(use_true_random=False))
def test_order_of_fields_layout_and_comments_never_change_the_key(items: list[ast.Item], random: Any) -> None:  # noqa: ANN401 - hypothesis has no public type for it
    blanks = [" ", "\n", "\t", "  # a comment\n", "(* another *)", "\r\n"]
    # Only between tokens that are no part of a string: after "[" and "]".
    text = print_file(ast.OpamFile("", tuple(items)))
    parts = re.split(r'("""(?:.|\n)*?"""|"(?:[^"\\]|\\.)*")', text)
    for at in range(0, len(parts), 2):
        parts[at] = re.sub(
            r"[\[\]{}]", lambda found: random.choice(blanks) + found[0] + random.choice(blanks), parts[at]
        )
    assert key(parse("".join(parts), "other name")) == key()


@given(
    st.dictionaries(st.sampled_from(IRRELEVANT), st.text(st.characters(codec="ascii"), max_size=20)),
    st.sets(st.sampled_from(IRRELEVANT)),
)
def test_what_only_people_or_the_solver_read_never_changes_the_key(
    texts: dict[str, str], dropped: set[str]
) -> None:
    items = [
        item
        for item in opam_file().items
        if not (isinstance(item, ast.Field) and item.name in dropped | texts.keys())
    ]
    items += [ast.Field(name, ast.String(text)) for name, text in texts.items()]
    assert key(parse(print_file(ast.OpamFile("", tuple(items))), "")) == key()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("https://example.org/demo-1.tar.gz", "https://else.example.org/x.tgz", id="url"),
        pytest.param("https://mirror.example.org", "https://third.example.org", id="mirror"),
        pytest.param(
            "flags: [compiler avoid-version]", "flags: [avoid-version compiler]", id="order of flags"
        ),
        pytest.param("flags: [compiler avoid-version]", "flags: compiler", id="flag of no effect"),
        pytest.param('"clib"', '"clib" "flags:compiler"', id="flag among the tags"),
        pytest.param("x-something", "x-anything", id="extension"),
    ],
)
def test_same_key(old: str, new: str) -> None:
    assert old in OPAM
    assert key(parse(OPAM.replace(old, new), "")) == key()


@pytest.mark.parametrize("name", [*BUILD_FIELDS])
def test_every_field_that_can_change_a_build_changes_the_key(name: str) -> None:
    changed, gone = with_field(name, '"something"'), with_field(name, None)
    assert key(changed) != key()
    assert key(changed) != key(gone)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('[make "test"] {with-test}', '[make "check"] {with-test}', id="a word"),
        pytest.param('{os != "win32"}', '{os = "win32"}', id="an operator"),
        pytest.param('{os != "win32"}', "", id="a filter"),
        pytest.param('[make "-j%{jobs}%"]', '["make" "-j%{jobs}%"]', id="identifier or string"),
        pytest.param('"x" | "y"', '"y" | "x"', id="order of alternatives"),
        pytest.param('"x" | "y"', '"x" & "y"', id="logic"),
        pytest.param('("x" | "y")', '"x" "y"', id="grouping"),
        pytest.param('CFLAGS += "-g"', 'CFLAGS := "-g"', id="environment operator"),
        pytest.param('{!= "2"}', '{!(= "2")}', id="negation"),
        pytest.param("{x:installed}", "{?x:installed}", id="test of defined"),
        pytest.param('"fix.patch" {os = "linux"} "other.patch"', '"other.patch" "fix.patch"', id="order"),
        pytest.param("[compiler avoid-version]", "[conf avoid-version]", id="conf"),
        pytest.param("[compiler avoid-version]", "[avoid-version]", id="no compiler"),
        pytest.param('"a.patch" "md5=0', '"a.patch" "md5=1', id="extra file"),
        pytest.param("url {", 'url {\nsubpath: "sub"', id="subpath"),
    ],
)
def test_other_key(old: str, new: str) -> None:
    assert old in OPAM
    assert key(parse(OPAM.replace(old, new), "")) != key()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"package": Package.parse("other.1")}, id="name"),
        pytest.param({"package": Package.parse("demo.1+1")}, id="version"),
        pytest.param({"source": "md5=1123456789abcdef0123456789abcdef"}, id="checksum"),
        pytest.param({"source": ""}, id="no source"),
        pytest.param({"source": "tree=" + "0" * 64}, id="pin"),
        pytest.param({"extra_sources": {"extra": "md5=" + "1" * 32}}, id="checksum of an extra source"),
        pytest.param({"extra_sources": {"other": "md5=" + "0" * 32}}, id="name of an extra source"),
        pytest.param({"extra_sources": {}}, id="no extra source"),
        pytest.param({"recipe": "cd" * 32}, id="recipe"),
        pytest.param({"recipe": ""}, id="no recipe"),
        pytest.param({"dependencies": {PackageName("ocaml"): ConeKey("02" * 32)}}, id="key of a dependency"),
        pytest.param({"dependencies": {PackageName("x"): ConeKey("01" * 32)}}, id="name of a dependency"),
        pytest.param({"dependencies": {}}, id="no dependency"),
        pytest.param({"platform": Platform("arm64", "linux", "debian", "12")}, id="arch"),
        pytest.param({"platform": Platform("x86_64", "macos", "debian", "12")}, id="os"),
        pytest.param({"platform": Platform("x86_64", "linux", "ubuntu", "12")}, id="distribution"),
        pytest.param({"platform": Platform("x86_64", "linux", "debian", "13")}, id="os version"),
        pytest.param({"flags": {"with-test": True}}, id="value of a flag"),
        pytest.param({"flags": {"with-doc": False}}, id="name of a flag"),
        pytest.param({"flags": {}}, id="no flag"),
        pytest.param({"variables": {"x:installed": "false"}}, id="value of a variable"),
        pytest.param({"variables": {"y:installed": "true"}}, id="name of a variable"),
        pytest.param({"variables": {}}, id="no variable"),
        pytest.param({"environment": {"CC": "clang"}}, id="value in the environment"),
        pytest.param({"environment": {"CXX": "gcc"}}, id="name in the environment"),
        pytest.param({"environment": {}}, id="empty environment"),
        pytest.param({"system_files": {"/usr/bin/ocamlc": "1" * 32}}, id="md5 of a system file"),
        pytest.param({"system_files": {"/opt/bin/ocamlc": "0" * 32}}, id="path of a system file"),
        pytest.param({"system_files": {}}, id="no system file"),
    ],
)
def test_every_input_changes_the_key(changes: dict[str, Any]) -> None:
    assert key(**changes) != key()
    assert differences(canonical(inputs()), canonical(inputs(**changes))) != []


def test_the_format_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    text = canonical(inputs())
    monkeypatch.setattr(cone, "FORMAT", "opam-bin cone key 2")
    assert key() != before
    assert differences(canonical(inputs()), text) == [
        "format: wanted opam-bin cone key 2, it has opam-bin cone key 1"
    ]
    assert differences(canonical(inputs()), "{}")[0].endswith("it has nothing")


def reordered(inputs: ConeInputs) -> ConeInputs:
    def turned(mapping: Any) -> Any:  # noqa: ANN401 - mappings of several types
        return dict(reversed(list(mapping.items())))

    return replace(
        inputs,
        opam=turned(inputs.opam),
        flags=turned(inputs.flags),
        dependencies=turned(inputs.dependencies),
        variables=turned(inputs.variables),
    )


def test_order_of_mappings_never_changes_the_key() -> None:
    several = inputs(
        flags={"dev": True, "with-test": False},
        variables={"a": "1", "b": "2"},
        dependencies={PackageName("a"): ConeKey("0" * 64), PackageName("b"): ConeKey("1" * 64)},
    )
    assert canonical(reordered(several)) == canonical(several)


def test_the_key_is_the_whole_sha256() -> None:
    text = canonical(inputs(source="sh\u00e4"))
    assert text.isascii()
    assert key_of(text) == hashlib.sha256(text.encode()).hexdigest()
    assert json.loads(text)["source"] == "sh\u00e4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('"a"', "a", id="string"),
        pytest.param("3", 3, id="integer"),
        pytest.param("true", True, id="boolean"),
        pytest.param("x:y", ["id", "x:y"], id="identifier"),
        pytest.param('["a" b]', ["list", "a", ["id", "b"]], id="list"),
        pytest.param('("a" "b")', ["group", "a", "b"], id="group"),
        pytest.param('"a" {x y}', ["option", "a", ["id", "x"], ["id", "y"]], id="option"),
        pytest.param('x = "a"', ["rel", "=", ["id", "x"], "a"], id="comparison"),
        pytest.param('X += "a"', ["rel", "+=", ["id", "X"], "a"], id="environment update"),
        pytest.param('"a" {>= "1"}', ["option", "a", ["constraint", ">=", "1"]], id="constraint"),
        pytest.param("a & b & c", ["logic", "&", ["id", "a"], ["id", "b"], ["id", "c"]], id="logic"),
        pytest.param("!a", ["not", ["id", "a"]], id="not"),
        pytest.param("?a", ["defined", ["id", "a"]], id="defined"),
    ],
)
def test_encoding(text: str, expected: object) -> None:
    assert encode(parse_value(text)) == expected


def test_an_unknown_shape_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="without an encoding"):
        encode(None)  # type: ignore[arg-type]


_names = st.from_regex(r"[a-z][a-z0-9-]{0,4}", fullmatch=True).filter(
    lambda name: name not in ("true", "false")
)
_atoms = st.one_of(
    st.text(max_size=5).map(ast.String),
    st.integers().map(ast.Int),
    st.booleans().map(ast.Bool),
    _names.map(ast.Ident),
)


def _grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, max_size=3).map(tuple)
    return st.one_of(
        several.map(ast.List),
        several.map(ast.Group),
        st.builds(ast.Option, inner, several),
        st.builds(ast.Not, inner),
        st.builds(ast.Defined, inner),
        st.builds(ast.Logop, st.sampled_from("&|"), st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(ast.Relop, st.sampled_from(["=", "<="]), _atoms, _atoms),
        st.builds(ast.PrefixRelop, st.sampled_from(["=", "<="]), _atoms),
    )


_values = st.recursive(_atoms, _grow, max_leaves=8)


@given(_values, _values)
def test_two_values_have_one_encoding_only_when_they_are_equal(one: ast.Value, other: ast.Value) -> None:
    same = json.dumps(encode(one)) == json.dumps(encode(other))
    assert same == (one == other and type(one) is type(other))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"source": "md5=" + "f" * 60}, ["source: wanted md5=01"], id="shortened"),
        pytest.param({"recipe": ""}, ["it has nothing"], id="empty"),
        pytest.param(
            {"dependencies": {PackageName("ocaml"): ConeKey("02" * 32)}},
            ["dependency ocaml differs"],
            id="dependency",
        ),
        pytest.param({"opam": {}}, ["field build: it was built without"], id="field"),
        pytest.param({"flags": {"with-test": True}}, ["with-test: wanted false, it has true"], id="flag"),
        pytest.param(
            {"environment": {"CC": "gcc", "LD": "lld"}},
            ["environment variable LD: it was built with lld"],
            id="more",
        ),
    ],
)
def test_differences_in_words(changes: dict[str, Any], expected: list[str]) -> None:
    found = differences(canonical(inputs()), canonical(inputs(**changes)))
    assert [part for part in expected if not any(part in word for word in found)] == []
    assert bool(found) == bool(expected)


def test_the_documented_example() -> None:
    """Whoever writes another program for these keys checks it with this example."""
    document = DOCUMENT.read_text("utf-8")
    opam, text, digest = _example(document)
    node = Node(Package.parse("demo.1.2"), opam, parse(opam, "demo.1.2/opam"))
    ocaml = Node(Package.parse("ocaml.4.14.2"), "", parse("", ""), known_key=ConeKey("1" * 64))
    universe = Universe(
        {PackageName("demo"): Version("1.2"), PackageName("ocaml"): Version("4.14.2")},
        lambda package: node if package.name == "demo" else ocaml,
        Surroundings(Platform("x86_64", "linux", "debian", "12"), {"make": "make", "jobs": "4"}),
    )
    assert universe.key(PackageName("demo")) == Keyed(ConeKey(digest), text)
    assert hashlib.sha256(text.encode("ascii")).hexdigest() == digest


def _example(document: str) -> tuple[str, str, str]:
    blocks = re.findall(
        r"(?:^    .*\n)(?:^(?:    .*)?\n)*", document.partition("## Example")[2], re.MULTILINE
    )
    opam, text, digest = (re.sub("^    ", "", block, flags=re.MULTILINE).strip() for block in blocks)
    return f"{opam}\n", text.replace("\n", ""), digest


def test_the_document_names_every_field_and_variable() -> None:
    document = DOCUMENT.read_text("utf-8")
    missing = [
        name for name in (*BUILD_FIELDS, *cone.KEY_FLAGS, *cone.ENVIRONMENT) if f"`{name}`" not in document
    ]
    missing += [name for name in json.loads(canonical(inputs())) if f"`{name}`" not in document]
    assert missing == []
    assert f'`"{cone.FORMAT}"`' in document
