"""The expectations of the tables are what opam 2.1.2, 2.3.0 and 2.6.1 gave for the same filters."""

from __future__ import annotations

import pytest

from opambin.errors import BadDataError
from opambin.opam.filters import (
    Value,
    commands,
    condition,
    evaluate,
    interpolate,
    strings,
    to_bool,
    variables,
)
from opambin.opam.parser import parse_value

KNOWN: dict[str, Value] = {
    "t": True,
    "f": False,
    "s": "text",
    "s2": "%{t}%",
    "n": "12",
    "yes": "true",
    "one": ("true",),
    "several": ("a", "b c"),
    "version": "1",
    "_:version": "1",
    "_:installed": False,
    "ocaml:native": True,
    "ocaml:installed": True,
    "ocaml:version": "4.13.1",
    "ocaml-config:installed": True,
    "nope:installed": False,
}


def env(name: str) -> Value:
    assert "+" not in name, "several packages are resolved one by one"
    return KNOWN.get(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("t", True, id="boolean"),
        pytest.param("u", None, id="undefined"),
        pytest.param("s", "text", id="text"),
        pytest.param("several", "a b c", id="list"),
        pytest.param("s2", "true", id="values are expanded again"),
        pytest.param('"%{s}%-%{u}%"', "text-", id="string"),
        pytest.param("-7", "-7", id="number"),
        pytest.param("u & false", False, id="undefined and false"),
        pytest.param("false & u", False, id="false and undefined"),
        pytest.param("u & true", None, id="undefined and true"),
        pytest.param('u & "false"', None, id="text does not absorb"),
        pytest.param("u | true", True, id="undefined or true"),
        pytest.param("u | false", None, id="undefined or false"),
        pytest.param("u | yes", None, id="undefined or the text true"),
        pytest.param("yes & t", True, id="text is read as a boolean"),
        pytest.param("yes | f", True, id="text in or"),
        pytest.param("f | f", False, id="false or false"),
        pytest.param("s & t", None, id="text that is no boolean"),
        pytest.param("s & t | true", True, id="undefined in a chain"),
        pytest.param("u | f | true", True, id="chain"),
        pytest.param("!u", None, id="not undefined"),
        pytest.param("!s", None, id="not text"),
        pytest.param('!"false"', True, id="not the text false"),
        pytest.param("!(!t)", True, id="not not"),
        pytest.param("?u", False, id="test of undefined"),
        pytest.param("?f", True, id="test of defined"),
        pytest.param("!?u", True, id="test negated"),
        pytest.param("?(u & t)", False, id="test of an undefined operation"),
        pytest.param("?(u | t)", True, id="test of a defined operation"),
        pytest.param('?"%{u}%"', True, id="strings are never undefined"),
        pytest.param('u = ""', None, id="comparison with undefined"),
        pytest.param('n < "9"', False, id="comparison of versions"),
        pytest.param('"1.0~rc" < "1.0"', True, id="tilde"),
        pytest.param('"2" ~ "1"', True, id="operator tilde"),
        pytest.param('t = "true"', True, id="boolean compared as text"),
        pytest.param("1 < 2", True, id="numbers"),
        pytest.param("version = _:version", True, id="own version"),
        pytest.param("ocaml+ocaml-config:installed", True, id="several packages"),
        pytest.param("ocaml+nope:installed", False, id="one is missing"),
        pytest.param("ocaml+nope:native", None, id="undefined for one"),
        pytest.param("nope+ocaml:native", None, id="undefined for the first"),
        pytest.param("ocaml:enable", "enable", id="enable"),
        pytest.param("ocaml+nope:enable", "disable", id="disable"),
    ],
)
def test_evaluate(text: str, expected: Value) -> None:
    value = evaluate(parse_value(text), env)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("text", ["[a]", "(a b)", "()", 'a += "x"', '>= "1"', "a {b}"])
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(BadDataError, match="not a filter"):
        evaluate(parse_value(text), env)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(True, (True, True), id="true"),
        pytest.param("false", (False, False), id="text"),
        pytest.param(("true",), (True, True), id="list"),
        pytest.param(None, (True, False), id="undefined"),
        pytest.param("x", (True, False), id="no boolean"),
    ],
)
def test_to_bool(value: Value, expected: tuple[bool, bool]) -> None:
    assert (to_bool(value, default=True), to_bool(value, default=False)) == expected


def test_condition() -> None:
    assert condition((), env)
    assert condition((parse_value("t"),), env)
    assert not condition((parse_value("u"),), env)
    with pytest.raises(BadDataError, match="not a filter"):
        condition((parse_value("t"), parse_value("t")), env)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("%{s}%", "text", id="variable"),
        pytest.param("a%{t}%b%{n}%", "atrueb12", id="several"),
        pytest.param("%{u}%", "", id="undefined"),
        pytest.param("%{several}%", "a b c", id="list"),
        pytest.param("x%{s2}%y", "x%{t}%y", id="values are not expanded"),
        pytest.param("%{t?y:n}%%{f?y:n}%%{u?y:n}%%{s?y:n}%", "ynnn", id="choice"),
        pytest.param("%{one?y:n}%%{several?y:n}%%{yes?y:n}%", "yny", id="choice by list and text"),
        pytest.param("%{t?a:}%%{f?a:}%%{f?:b}%", "ab", id="empty choice"),
        pytest.param("%{t?a:b:c}%", "a:b", id="colon in a choice"),
        pytest.param("%{ocaml:native?y:n}%", "y", id="choice by a package's variable"),
        pytest.param("%{ocaml+nope:installed?y:n}%", "n", id="choice by several packages"),
        pytest.param("%{?ocaml:version:}%", "4.13.1", id="package name with a plus, from 2.2 on"),
        pytest.param("%{?:}%%{}%%{?}%%{t?a}%", "", id="malformed"),
        pytest.param("%%", "%", id="percent"),
        pytest.param("%", "%", id="percent alone"),
        pytest.param("%%%", "%%", id="three percents"),
        pytest.param("%%{t}%", "%{t}%", id="percent before a brace"),
        pytest.param("%%%{t}%", "%true", id="percent before a variable"),
        pytest.param("%{t}%%", "true%", id="percent after a variable"),
        pytest.param("%{t", "%{t", id="not closed"),
        pytest.param("%{t}", "%{t}", id="half closed"),
        pytest.param("%{t%{t}%", "", id="closed later"),
        pytest.param("%{t}}%", "", id="two braces"),
        pytest.param("a%{t}}% b %{s}%", "a", id="two braces, closed later"),
        pytest.param("%{t\nx}%", "%{t\nx}%", id="not closed on its line"),
        pytest.param("%{ t}%", "", id="blank in a name"),
        pytest.param("100 %{", "100 %{", id="at the end"),
    ],
)
def test_interpolate(text: str, expected: str) -> None:
    assert interpolate(text, env) == expected


def test_interpolation_takes_linear_time() -> None:
    text = "%{" + "}" * 200_001
    assert interpolate(text, env) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('[["a" "b"] ["c"]]', [["a", "b"], ["c"]], id="commands"),
        pytest.param('["a" s]', [["a", "text"]], id="one command"),
        pytest.param('"a"', [["a"]], id="one word"),
        pytest.param('["a"] {f}', [], id="filter on the only command"),
        pytest.param('[["a"] {f} ["b"] {t} ["c"] {u}]', [["b"]], id="filters on commands"),
        pytest.param('["a" {f} "b" {t} "c" {u} s {f}]', [["b"]], id="filters on arguments"),
        pytest.param('["a" {}]', [["a"]], id="empty filter"),
        pytest.param('["a" several u t]', [["a", "a", "b c", "", "true"]], id="identifiers"),
        pytest.param('["a" "%{several}%" "%{u}%"]', [["a", "a b c", ""]], id="strings"),
        pytest.param('["a" s2]', [["a", "%{t}%"]], id="values are not expanded"),
        pytest.param('["a" ocaml:enable ocaml+nope:enable]', [["a", "enable", "disable"]], id="enable"),
        pytest.param('[["a" {f}] [] ["b"]]', [["b"]], id="empty commands"),
        pytest.param("[]", [], id="nothing"),
        pytest.param("[[]]", [], id="nothing in a command"),
    ],
)
def test_commands(text: str, expected: list[list[str]]) -> None:
    assert commands(parse_value(text), env) == expected


def test_commands_of_a_missing_field() -> None:
    assert commands(None, env) == []


@pytest.mark.parametrize("text", ['[["a"] "b"]', '[[["a"]]]', "[1]", '("a")', '["a" {t} {t}]'])
def test_what_are_no_commands(text: str) -> None:
    with pytest.raises(BadDataError):
        commands(parse_value(text), env)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('"a"', ["a"], id="one"),
        pytest.param('["a" "b" {f} "c" {t}]', ["a", "c"], id="patches"),
        pytest.param('[["a" "b"] {t} ["c"] {os = "x"}]', ["a", "b"], id="depexts"),
        pytest.param('["%{s}%"]', ["%{s}%"], id="not expanded"),
        pytest.param('[["a"] {f}] {t}', [], id="nested"),
    ],
)
def test_strings(text: str, expected: list[str]) -> None:
    assert strings(parse_value(text), env) == expected
    assert strings(None, env) == []


def test_what_are_no_strings() -> None:
    with pytest.raises(BadDataError, match="not a string: a"):
        strings(parse_value("[a]"), env)


def test_variables() -> None:
    value = parse_value(
        '[["%{a}% %%{x}% %{b:c?y:n}%" {d & !e = "%{f}%" | ?g} h+i:j "%{k+l:m?y:n}%"] {o >= 1} (p {= q})'
        ' [PATH += "%{r}%"] [S = "x"]]'
    )
    assert variables(value) == set("adefgopqr") | {"b:c", "h+i:j", "k+l:m", "S"}
    assert variables(None) == frozenset()
