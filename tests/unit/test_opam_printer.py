from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opambin.opam.ast import (
    Bool,
    Defined,
    EnvBinding,
    Field,
    Group,
    Ident,
    Int,
    List,
    Logop,
    Not,
    OpamFile,
    Option,
    PrefixRelop,
    Relop,
    Section,
    String,
    Value,
)
from opambin.opam.parser import parse, parse_value
from opambin.opam.printer import print_file, print_value

A, B = Ident("a"), Ident("b")
RELOPS = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"])
WORDS = st.from_regex(r"[a-z0-9_-]{0,3}[A-Za-z][A-Za-z0-9_-]{0,5}", fullmatch=True).filter(
    lambda word: word not in {"true", "false"}
)
STRINGS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\n\r %{}'), max_size=12)
ATOMS = st.one_of(
    st.builds(String, STRINGS),
    st.builds(Int, st.integers(-(2**62), 2**62 - 1)),
    st.builds(Bool, st.booleans()),
    st.builds(Ident, WORDS),
    st.builds(lambda package, name: Ident(f"{package}:{name}"), WORDS | st.just("_"), WORDS),
    st.builds(lambda a, b, name: Ident(f"{a}+{b}:{name}"), WORDS, WORDS, WORDS),
)


def _extend(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    several = st.lists(values, max_size=4).map(tuple)
    operands = st.lists(values, min_size=2, max_size=4).map(tuple)
    return st.one_of(
        st.builds(List, several),
        st.builds(Group, several),
        st.builds(Option, values, several),
        st.builds(Logop, st.sampled_from("&|"), operands),
        st.builds(Not, values),
        st.builds(Defined, values),
    )


LEAVES = st.one_of(
    ATOMS,
    st.builds(PrefixRelop, RELOPS, ATOMS),
    st.builds(Relop, RELOPS, ATOMS, ATOMS),
    st.builds(EnvBinding, ATOMS, st.sampled_from(["+=", "=+", ":=", "=:", "=+="]), ATOMS),
)
VALUES: st.SearchStrategy[Value] = st.recursive(LEAVES, _extend, max_leaves=12)
FIELDS = st.builds(Field, WORDS, VALUES)
SECTIONS = st.builds(Section, WORDS, st.none() | STRINGS, st.lists(FIELDS, max_size=3).map(tuple))
FILES = st.builds(OpamFile, st.just("f"), st.lists(FIELDS | SECTIONS, max_size=4).map(tuple))


def _bare(value: Value) -> Value:
    """Take away groups of one item and nested chains, which the printer adds where an AST needs them."""
    if isinstance(value, Group) and len(value.items) == 1:
        return _bare(value.items[0])
    if isinstance(value, List | Group):
        return type(value)(tuple(map(_bare, value.items)))
    if isinstance(value, Option):
        return Option(_bare(value.value), tuple(map(_bare, value.filters)))
    if isinstance(value, Logop):
        return Logop(value.op, tuple(map(_bare, value.operands)))
    if isinstance(value, Not | Defined):
        return type(value)(_bare(value.value))
    return value


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_printing_keeps_the_meaning(value: Value) -> None:
    assert _bare(parse_value(print_value(value))) == _bare(value)


@settings(max_examples=60, deadline=None)
@given(FILES)
def test_what_was_parsed_survives_printing(file: OpamFile) -> None:
    once = parse(print_file(file), "f")
    assert parse(print_file(once), "f") == once


@settings(max_examples=100, deadline=None)
@given(STRINGS, st.booleans())
def test_every_string_survives(text: str, alone: bool) -> None:
    value: Value = String(text) if alone else List((String(text),))
    file = OpamFile("f", (Field("x", value), Section("s", text, (Field("y", value),))))
    assert parse(print_file(file), "f") == file


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Not(PrefixRelop("=", A)), "! = a", id="not before equals"),
        pytest.param(Not(Logop("&", (A, B))), "!(a & b)", id="not of a chain"),
        pytest.param(Option(Not(A), (B,)), "(!a) {b}", id="option of not"),
        pytest.param(Option(Logop("|", (A, B)), ()), "(a | b) {}", id="option of a chain"),
        pytest.param(Logop("&", (Logop("|", (A, B)), A)), "(a | b) & a", id="or in and"),
        pytest.param(Logop("|", (Logop("&", (A, B)), A)), "a & b | a", id="and in or"),
        pytest.param(List((A, PrefixRelop(">", B))), "[a (> b)]", id="would read as a comparison"),
        pytest.param(List((Not(A), Option(PrefixRelop(">", B), ()))), "[!a (> b {})]", id="deeper"),
        pytest.param(String('a"\\\n\r'), '"a\\"\\\\\\n\\r"', id="escapes"),
        pytest.param(EnvBinding(A, "+=", String("x")), 'a += "x"', id="update"),
    ],
)
def test_values(value: Value, expected: str) -> None:
    assert print_value(value) == expected


def test_layout() -> None:
    file = parse('a:[b "c"{>="1"}] d:"""x\n"y"\n""" e:" \nz" s "l" {f:1} t{}')
    assert print_file(file) == (
        'a: [\n  b\n  "c" {>= "1"}\n]\nd: """\\\nx\n"y"\n"""\ne: """ \nz"""\ns "l" {\nf: 1\n}\nt {\n}\n'
    )


def test_bytes_that_are_no_text_survive() -> None:
    text = b'x: "\xff\xc3\xa9"'.decode("utf-8", "surrogateescape")
    assert print_file(parse(text)).encode("utf-8", "surrogateescape") == b'x: "\xff\xc3\xa9"\n'
