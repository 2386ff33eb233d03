from __future__ import annotations

import pytest

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PLACEHOLDER, Bound, Kind, Occurrence
from opambin.relocate.located import Located
from opambin.relocate.pieces import Change, Pieces, apply, fixed_changes, refuse_others, text_changes
from opambin.relocate.spelling import pad


def test_what_was_located_in_a_part_is_shifted() -> None:
    pieces = Pieces()
    pieces.raw(b"abc")
    pieces.part(Located(b"defg", (Occurrence(Kind.TEXT, 1, where="x"),), (Bound("p", "r"),), 2))
    pieces.part(Located(b"hi", (Occurrence(Kind.CSTRING, 0, 200, anchor=(7,)),), (), 1))
    assert pieces.length == 9
    assert pieces.located() == Located(
        b"abcdefghi",
        (Occurrence(Kind.TEXT, 4, where="x"), Occurrence(Kind.CSTRING, 7, 200, anchor=(7,))),
        (Bound("p", "r"),),
        3,
    )


def test_changes_are_made_in_any_order() -> None:
    assert apply(b"abcdef", [Change(4, 6, b""), Change(0, 1, b"xyz"), Change(2, 2, b"-")]) == b"xyzb-cd"
    assert apply(b"abc", []) == b"abc"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([Change(0, 2, b""), Change(1, 3, b"")], id="overlap"),
        pytest.param([Change(2, 9, b"")], id="behind the end"),
        pytest.param([Change(-1, 1, b"")], id="before the start"),
        pytest.param([Change(2, 1, b"")], id="backwards"),
    ],
)
def test_changes_that_do_not_fit_are_refused(changes: list[Change]) -> None:
    with pytest.raises(BadDataError, match="overlapping or outside"):
        apply(b"abcdef", changes)


def test_placeholders_of_fixed_length_take_the_padded_prefix() -> None:
    found = [Occurrence(Kind.CSTRING, 1, 200, functional=True, where="here")]
    content = b"x" + PLACEHOLDER + b"x"
    assert apply(content, fixed_changes(content, found, b"/a/b")) == b"x" + pad(b"/a/b") + b"x"
    exact = b"/" + b"y" * 199
    assert apply(content, fixed_changes(content, found, exact)) == b"x" + exact + b"x"
    with pytest.raises(CannotRelocateError, match="here"):
        fixed_changes(content, found, exact + b"y")
    assert fixed_changes(content, [Occurrence(Kind.CSTRING, 1, 200, functional=False)], exact + b"y") == []


@pytest.mark.parametrize("offset", [-201, -1, 0, 2, 10_000])
def test_a_place_without_the_placeholder_is_refused(offset: int) -> None:
    content = b"x" + PLACEHOLDER
    for make in (text_changes, fixed_changes):
        with pytest.raises(BadDataError, match="no placeholder"):
            make(content, [Occurrence(Kind.TEXT, offset)], b"/o")


def test_kinds_of_other_formats_are_refused() -> None:
    refuse_others([Occurrence(Kind.TEXT, 0)], Kind.TEXT, Kind.CSTRING)
    with pytest.raises(BadDataError, match="unexpected kind block"):
        refuse_others([Occurrence(Kind.TEXT, 0), Occurrence(Kind.BLOCK, 0)], Kind.TEXT)
