"""What all kinds of statements ask for of their members; what each asks for besides is in its own tests."""

from __future__ import annotations

import pytest

from opambin.errors import BadDataError
from opambin.trust import document
from opambin.trust.envelope import Envelope
from opambin.trust.payload import Shape, row_problems

SHAPE = Shape(
    "media", "kind", 3, 500, counts=("size",), digests=("digest",), texts=("who",), others=("more",)
)
GOOD: dict[str, object] = {"size": 1, "digest": "ab" * 32, "who": "me", "more": None}


def read(body: bytes, *, media: str = "media") -> dict[str, object]:
    return SHAPE.read(Envelope(media, body, ()), "x", lambda it: ["more: bad"] if it["more"] else [])


def changed(**members: object) -> bytes:
    return document.write({"type": "kind", "version": 3, **GOOD, **members})


def test_there_and_back() -> None:
    assert read(SHAPE.write(GOOD)) == {"type": "kind", "version": 3, **GOOD}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(changed(type="other"), "of type 'other', version 3: not known", id="kind"),
        pytest.param(changed(version=2), "version 2: not known", id="version"),
        pytest.param(changed(version=True), "not known", id="a truth for a version"),
        pytest.param(changed(size=-1), "size: not a number that can be", id="below nothing"),
        pytest.param(changed(size=True), "size: not a number that can be", id="a truth for a number"),
        pytest.param(changed(digest="AB" * 32), "digest: not 64 hexadecimal digits", id="capitals"),
        pytest.param(changed(who="a\nb"), "who: not a line of text", id="two lines"),
        pytest.param(changed(more=1), "more: bad", id="its own rule"),
        pytest.param(changed(size="", more=1), "size: not a number.*; more: bad", id="all are told"),
        pytest.param(changed(extra=1), "unknown or lacking members: extra", id="one more"),
        pytest.param(document.write({"type": "kind"}), "unknown or lacking members", id="less"),
        pytest.param(changed(who="x" * 500), "too large", id="too long"),
    ],
)
def test_refused(body: bytes, says: str) -> None:
    with pytest.raises(BadDataError, match=says):
        read(body)


def test_another_envelope() -> None:
    with pytest.raises(BadDataError, match="another kind of statement"):
        read(SHAPE.write(GOOD), media="other")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        pytest.param([1, 2], "", id="rising"),
        pytest.param([], "", id="none"),
        pytest.param("12", "rows: not a list of numbers", id="no list"),
        pytest.param([1, "2"], "rows: not a list of numbers", id="one that does not fit"),
        pytest.param([2, 1], "rows: not sorted, or one twice", id="falling"),
        pytest.param([1, 1], "rows: not sorted, or one twice", id="twice"),
    ],
)
def test_rows(rows: object, problem: str) -> None:
    found = row_problems("rows", rows, lambda row: type(row) is int, "numbers", lambda row: row)
    assert "".join(found) == problem
