"""The expectations of the tables are what opam 2.3.0 and 2.6.1 gave, unless a comment says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError
from opambin.opam.formula import Dependency, atoms, holds, resolved, satisfied
from opambin.opam.parser import parse_value

if TYPE_CHECKING:
    from opambin.opam.filters import Value

SELECTED = {"pa": "1", "pb": "1", "pc": "1", "pd": "1", "pe": "2"}
KNOWN: dict[str, Value] = {
    "t": True,
    "f": False,
    "s": "text",
    "name": "q",
    "version": "1",
    "_:name": "q",
    "_:version": "1",
    "os": "linux",
    "with-test": False,
    "with-doc": False,
    "dev": False,
}


def env(name: str) -> Value:
    assert name not in {"build", "post"}, "these are settled inside"
    return KNOWN.get(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('"pa"', "pa", id="name"),
        pytest.param('"pa" {build}', "pa build", id="build"),
        pytest.param('"pa" {post}', "pa post", id="post"),
        pytest.param('"pa" {build & post}', "pa build post", id="build and post"),
        pytest.param('"pa" {build | post}', "pa", id="build or post"),
        pytest.param('"pa" {!post}', "pa build", id="not post"),
        pytest.param('"pa" {!build}', "", id="not build"),
        pytest.param('"pa" {with-test}', "", id="test"),
        pytest.param('"pa" {!with-test}', "pa", id="not test"),
        pytest.param('"pa" {with-test | with-doc | build}', "pa build", id="one of several"),
        pytest.param('"pa" {dev}', "", id="dev"),
        pytest.param('"pa" {u}', "", id="undefined"),
        pytest.param('"pa" {!u}', "", id="not undefined"),
        pytest.param('"pa" {?u}', "", id="test of undefined"),
        pytest.param('"pa" {!?u}', "pa", id="test of undefined, negated"),
        pytest.param('"pa" {?build}', "", id="variables of dependencies are undefined to a test"),
        pytest.param('"pa" {t & !(?build)}', "pa", id="such a test in a group"),
        pytest.param('"pa" {?s}', "pa", id="test of defined"),
        pytest.param('"pa" {s}', "", id="text"),
        pytest.param('"pa" {"true"}', "pa", id="the text true"),
        pytest.param('"pa" {}', "pa", id="empty braces"),
        pytest.param('"pa" {()}', "pa", id="empty group"),
        pytest.param('"pa" {os = "linux"}', "pa", id="system"),
        pytest.param('"pa" {os != "linux"}', "", id="other system"),
        pytest.param('"pe" {>= "1"}', "pe", id="version"),
        pytest.param('"pe" {< "2"}', "", id="other version"),
        pytest.param('"pa" {= version}', "pa", id="own version"),
        pytest.param('"pe" {= _:version}', "", id="not the own version"),
        pytest.param('"pa" {= "%{version}%"}', "pa", id="own version in a string"),
        pytest.param('"pa" {>= u}', "pa", id="constraint with an undefined version"),
        pytest.param('"pa" {!(>= u)}', "pa", id="negated constraint with an undefined version"),
        pytest.param('"pa" {~ "0.5"}', "pa", id="tilde"),
        pytest.param('"pa" {>= "2" | os = "linux"}', "pa", id="filter overrules version"),
        pytest.param('"pa" {>= "2" | os != "linux"}', "", id="filter leaves version"),
        pytest.param('"pa" {>= "2" & os != "linux"}', "", id="filter before version"),
        pytest.param('"pa" {>= "2" | build}', "pa build", id="version matters without build"),
        pytest.param('"pa" {with-doc | >= "1"}', "pa", id="version or doc"),
        pytest.param('"pa" {build >= "1"}', "pa", id="reads as a comparison"),
        pytest.param('"pa" {build t}', "pa build", id="two in the braces"),
        pytest.param('"pa" {!(>= "2")}', "pa", id="negated version"),
        pytest.param('"pa" {!(>= "1" & < "2")}', "", id="negated range"),
        pytest.param('"pa" {!(>= "2" | build)}', "", id="negated version and filter"),
        pytest.param('"pa" {(with-test & >= "2") | (build & >= "1")}', "pa build", id="groups"),
        # opam's variable "depends" has pe here, because it takes the two bounds one by one.
        pytest.param('"pe" {>= "3" & < "4"}', "", id="range that does not fit"),
        pytest.param('"pe" {>= "3"} | "pa"', "pa", id="one alternative"),
        pytest.param('"pa" | "pb" {= "2"} | "pc" {with-test}', "pa", id="alternatives that don't count"),
        pytest.param('"pc" | "pa"', "pc, pa", id="every alternative that is there"),
        pytest.param('("pa" | "pe" {< "2"}) & "pb"', "pa, pb", id="grouped"),
        pytest.param('"nope" | "pa"', "pa", id="alternative that is not there"),
        pytest.param('"pa" {build} "pa" {>= "1"}', "pa", id="named twice"),
        pytest.param("()", "", id="nothing"),
    ],
)
def test_resolved(text: str, expected: str) -> None:
    words = [item.split() for item in expected.split(", ") if item]
    wanted = [Dependency(item[0], build_only="build" in item, post="post" in item) for item in words]
    assert resolved(parse_value(f"[{text}]"), env, SELECTED) == wanted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('"pa" "pb"', True, id="both"),
        pytest.param('"pa" "nope"', False, id="one is missing"),
        pytest.param('"pa" "nope" {with-test}', True, id="filtered out"),
        pytest.param('"nope" {with-test} | "pa"', True, id="alternative filtered out"),
        pytest.param('"nope" | "pa" {with-test}', False, id="what is filtered out does not fulfil"),
        pytest.param('"nope" {with-test} | "pa" {with-test}', True, id="all filtered out"),
        pytest.param('"pe" {< "1" | > "3"}', False, id="wrong version"),
        pytest.param('"pe" {> version}', True, id="right version"),
        pytest.param('"nope" {build}', False, id="build is true"),
        pytest.param('("nope" | "pa") & ("pb" {= "1"})', True, id="groups"),
        pytest.param("", True, id="nothing"),
    ],
)
def test_satisfied(text: str, expected: bool) -> None:
    assert satisfied(parse_value(f"[{text}]"), env, SELECTED) is expected


def test_alternatives_of_a_list() -> None:
    conflicts = parse_value('["nope" "pe" {< "2"} "pa" {= "1"}]')
    assert satisfied(conflicts, env, SELECTED, alternatives=True)
    assert not satisfied(conflicts, env, {"pe": "2"}, alternatives=True)


def test_missing_fields() -> None:
    assert resolved(None, env, SELECTED) == []
    assert satisfied(None, env, {})
    assert atoms(None) == []


def test_atoms() -> None:
    value = parse_value('["a" ("b" {>= "1"} | "c" {build & x}) & "d" {}]')
    assert [(name, len(filters)) for name, filters in atoms(value)] == [
        ("a", 0),
        ("b", 1),
        ("c", 1),
        ("d", 0),
    ]


@pytest.mark.parametrize("text", ["a", "[a]", '!"a"', '["a" {b} {c}]', '"a" = "b"', "1"])
def test_what_is_no_formula(text: str) -> None:
    with pytest.raises(BadDataError, match="not a package"):
        resolved(parse_value(text), env, SELECTED)
    with pytest.raises(BadDataError, match="not a package"):
        satisfied(parse_value(text), env, SELECTED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [('>= "1"', True), ('>= "3"', False), ("with-test", None), ("t", True), ('with-test & >= "3"', None)],
)
def test_holds(text: str, expected: bool | None) -> None:
    assert holds((parse_value(text),), env, "2") is expected


def test_what_holds_no_condition() -> None:
    with pytest.raises(BadDataError, match="not a filter"):
        holds((parse_value("[a]"),), env, "2")
