from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opambin.opam.version import compare, satisfies, sort_key

VERSIONS = st.text("019aZ~.+-_v é", max_size=8)

# As opam 2.1.2, 2.3.0 and 2.6.1 order them.
ASCENDING = [
    "~~", "~", "0~", "0", "0.9~beta1", "0.9~rc.1", "0.9", "0.10", "1~",
    "1", "1-1", "1-2~", "1-2", "1-10", "1a", "1+a", "1.0~~", "1.0~beta",
    "1.0", "1.0-1", "1.0a", "1.0+dune", "2.0.0", "9", "10", "99999999999999999999", "100000000000000000000",
    "A", "a", "v0.9", "v0.10", "v0.16~preview", "+", "-1.-",
]  # fmt: skip


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param("1.0", "1.00", id="zeros before a number"),
        pytest.param("1", "1-0", id="revision zero"),
        pytest.param("1", "1-", id="empty revision"),
        pytest.param("a", "a0", id="zero at the end"),
        pytest.param("", "0", id="empty"),
    ],
)
def test_equal(left: str, right: str) -> None:
    assert compare(left, right) == compare(right, left) == 0
    assert sort_key(left) == sort_key(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param("1~", "1", id="tilde before the end"),
        pytest.param("1~~", "1~", id="two tildes before one"),
        pytest.param("0.9", "0.10", id="numbers by value"),
        pytest.param("1.0", "1.0a", id="end before letters"),
        pytest.param("1a", "1.", id="letters before the rest"),
        pytest.param("1Z", "1a", id="letters by code"),
        pytest.param("1.0a", "1.0+", id="letters before plus"),
        pytest.param("1", "1-1", id="revision"),
        pytest.param("1-2", "1-10", id="revision by value"),
        pytest.param("1-9", "1.1-1", id="revision last"),
        pytest.param("1-3", "1-2-3", id="only the last dash separates"),
        pytest.param("0~", "", id="tilde after a zero"),
        pytest.param("5.2.0~alpha1", "5.2.0", id="alpha"),
        pytest.param("5.2.0", "5.2.0+options", id="options"),
        pytest.param("v0.9", "v0.16.1", id="Jane Street"),
        pytest.param("9" * 5000, "1" + "0" * 5000, id="very long numbers"),
    ],
)
def test_before(left: str, right: str) -> None:
    assert compare(left, right) == -1
    assert compare(right, left) == 1
    assert sort_key(left) < sort_key(right)


def test_a_known_order() -> None:
    assert sorted(sorted(ASCENDING), key=sort_key) == ASCENDING
    assert [compare(left, right) for left, right in pairwise(ASCENDING)] == [-1] * (len(ASCENDING) - 1)


@settings(max_examples=200, deadline=None)
@given(VERSIONS, VERSIONS, VERSIONS)
def test_it_is_a_total_order(a: str, b: str, c: str) -> None:
    assert compare(a, a) == 0
    assert compare(a, b) == -compare(b, a)
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0


@settings(max_examples=200, deadline=None)
@given(VERSIONS, VERSIONS)
def test_the_key_agrees_with_comparing_step_by_step(a: str, b: str) -> None:
    assert compare(a, b) == _stepwise(a, b)


def _stepwise(a: str, b: str) -> int:
    """Compare as opam describes it: by turns the longest text, then the longest number."""
    (up_a, _, rev_a), (up_b, _, rev_b) = (
        text.rpartition("-") if "-" in text else (text, "", "") for text in (a, b)
    )
    return _part(up_a, up_b) or _part(rev_a, rev_b)


def _part(a: str, b: str) -> int:
    while a or b:
        while (a and not _digit(a[0])) or (b and not _digit(b[0])):
            left, right = (_rank(text[0]) if text and not _digit(text[0]) else 0 for text in (a, b))
            if left != right:
                return 1 if left > right else -1
            a, b = a[1:], b[1:]
        numbers = []
        for text in (a, b):
            digits = text[: len(text) - len(text.lstrip("0123456789"))]
            numbers.append((int(digits or "0"), text[len(digits) :]))
        (left, a), (right, b) = numbers
        if left != right:
            return 1 if left > right else -1
    return 0


def _digit(char: str) -> bool:
    return char in "0123456789"


def _rank(char: str) -> int:
    if char == "~":
        return -1
    return ord(char) if char.isascii() and char.isalpha() else ord(char) + 256


@pytest.mark.parametrize(
    ("op", "holds"),
    [("=", "e"), ("!=", "ba"), ("<", "b"), ("<=", "be"), (">", "a"), (">=", "ae"), ("~", "ae")],
)
def test_operators(op: str, holds: str) -> None:
    found = {"b": satisfies("1", op, "2"), "e": satisfies("02", op, "2"), "a": satisfies("3", op, "2")}
    assert {key for key, value in found.items() if value} == set(holds)
