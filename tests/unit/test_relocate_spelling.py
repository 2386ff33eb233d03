from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opambin.errors import MisuseError
from opambin.model import PADDED_LENGTH
from opambin.relocate.spelling import Spelling, find, left_boundary, pad

PREFIX = b"/home/me/.opam/5.1"
SPELLING = Spelling.of(PREFIX)


def test_padding_puts_slashes_before_the_last_component() -> None:
    padded = pad(PREFIX)
    assert len(padded) == PADDED_LENGTH
    assert padded.startswith(b"/home/me/.opam//")
    assert padded.endswith(b"//5.1")
    assert padded.replace(b"/", b"") == PREFIX.replace(b"/", b"")


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        pytest.param(2, b"/a", id="as long: unchanged"),
        pytest.param(1, b"/a", id="longer: unchanged"),
        pytest.param(4, b"///a", id="in the root folder"),
    ],
)
def test_padding_of_a_short_prefix(length: int, expected: bytes) -> None:
    assert pad(b"/a", length) == expected


@pytest.mark.parametrize("prefix", [b"", b"/", b"a/b", b"/a/", b"/a\0b"])
def test_what_is_no_canonical_prefix_is_refused(prefix: bytes) -> None:
    with pytest.raises(MisuseError, match="not a canonical absolute path"):
        pad(prefix)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(b"%s", True, id="alone"),
        pytest.param(b"x=%s/lib", True, id="assignment"),
        pytest.param(b"a:%s:b", True, id="colon list"),
        pytest.param(b'"%s"', True, id="quoted"),
        pytest.param(b"%sb/lib", False, id="longer name"),
        pytest.param(b"%s.bak", False, id="dotted name"),
        pytest.param(b"%s-2", False, id="dashed name"),
        pytest.param(b"%s+x", False, id="name with plus"),
        pytest.param(b"%s~", False, id="backup"),
        pytest.param(b"/mnt%s/lib", False, id="tail of a longer path"),
        pytest.param(b"x/%s", False, id="after a slash"),
        pytest.param(b"x=/%s", True, id="two slashes"),
        pytest.param(b"///%s", True, id="more slashes"),
        pytest.param(b"-I/%s", True, id="two slashes after a flag"),
        pytest.param(b"file:/%s", False, id="host of a file"),
        pytest.param(b"http:/%s/x", False, id="host of an address"),
        pytest.param(b"/usr/lib:/%s", True, id="two slashes in a list"),
        pytest.param(b"-I%s/lib", True, id="-I"),
        pytest.param(b"a -L%s/lib", True, id="-L"),
        pytest.param(b"-Wl,-rpath,%s/lib", True, id="-rpath"),
        pytest.param(b"-isystem%s", True, id="-isystem"),
        pytest.param(b"x-lib%s", False, id="dash inside a name"),
        pytest.param(b"file://%s/doc", True, id="file address"),
        pytest.param(rb"\n%s", True, id="escape"),
        pytest.param(rb"\033%s", True, id="escape in numbers"),
        pytest.param(rb"\x22%s", True, id="escape in hexadecimal numbers"),
        pytest.param(rb"\u0022%s", True, id="escape of JSON"),
        pytest.param(b"u0022%s", False, id="no escape"),
        pytest.param(b"${X:-%s/lib}", True, id="default of a variable"),
        pytest.param(b"${OCAMLFIND_CONF-%s}", True, id="default of an unset variable"),
        pytest.param(b"${X:+%s/bin:}$PATH", True, id="in place of a variable"),
        pytest.param(b"rm $DESTDIR%s/bin/x", True, id="after a variable"),
        pytest.param(b"-%s", False, id="dash alone"),
        pytest.param(b"\xe9%s", True, id="byte that is not ASCII"),
        pytest.param("\u201c%s\u201d".encode(), True, id="typographic quotes"),
        pytest.param("caf\u00e9%s".encode(), False, id="tail of a path that is not ASCII"),
        pytest.param("%s\u00e9/lib".encode(), False, id="longer name that is not ASCII"),
        pytest.param("%s\U00010330".encode(), False, id="longer name in four bytes"),
        pytest.param(b"%s\xc3", True, id="half a character"),
        pytest.param(b"in %s.", True, id="end of a sentence"),
        pytest.param(b'"in %s."', True, id="quoted sentence"),
        pytest.param(b"%s./x", False, id="name that ends with a dot"),
        pytest.param(b"%s.*", False, id="pattern"),
    ],
)
def test_boundaries_of_the_canonical_spelling(text: bytes, found: bool) -> None:
    data = text % PREFIX
    assert [hit.offset for hit in SPELLING.hits(data)] == ([text.index(b"%s")] if found else [])


def test_the_padded_spelling_needs_no_left_boundary_but_a_right_one() -> None:
    data = b"abc" + SPELLING.padded + b"/x" + SPELLING.padded + b"x"
    (hit,) = SPELLING.hits(data)
    assert (hit.offset, hit.padded, hit.length, hit.end) == (3, True, 200, 203)


def test_a_prefix_in_the_root_folder_is_not_found_inside_its_own_padding() -> None:
    spelling = Spelling.of(b"/opt")
    assert [hit.padded for hit in spelling.hits(spelling.padded + b" /opt")] == [True, False]


def test_a_prefix_of_the_padded_length_is_found_once() -> None:
    spelling = Spelling.of(b"/" + b"x" * 199)
    assert len(list(spelling.hits(spelling.canonical))) == 1


@pytest.mark.parametrize(
    ("rest", "build"),
    [
        (b"/.opam-switch/build/re.1/x.ml", True),
        (b"/.opam-switch/sources/re", True),
        (b"/.opam-switch/packages", False),
        (b"/lib", False),
    ],
)
def test_build_directories_are_told_apart(rest: bytes, build: bool) -> None:
    (hit,) = SPELLING.hits(PREFIX + rest)
    assert hit.build is build


def test_hits_stay_inside_the_given_bounds() -> None:
    data = PREFIX + b" " + PREFIX + b" " + PREFIX
    middle = len(PREFIX) + 1
    assert [hit.offset for hit in SPELLING.hits(data, 1, len(data) - 1)] == [middle]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([PREFIX, SPELLING.padded, b" ", b"x", b"/", b"\0", b"-I", b"."]), max_size=12)
)
def test_hits_are_sorted_and_do_not_overlap(parts: list[bytes]) -> None:
    data = b"".join(parts)
    hits = list(SPELLING.hits(data))
    assert all(low.end <= high.offset for low, high in pairwise(hits))
    for hit in hits:
        assert data[hit.offset : hit.end] == (SPELLING.padded if hit.padded else PREFIX)


@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(min_size=1, max_size=2))
def test_find_yields_only_places_of_the_needle(data: bytes, needle: bytes) -> None:
    assert all(data.startswith(needle, at) for at in find(data, needle))
    assert isinstance(left_boundary(data, len(data)), bool)


@pytest.mark.parametrize("before", [b"", b"\x31", b"/", b"a"])
@pytest.mark.parametrize("after", [b"", b"A", b"\0", b"/x"])
def test_in_unknown_bytes_the_prefix_is_found_whatever_is_beside_it(before: bytes, after: bytes) -> None:
    for spelled in (SPELLING.canonical, SPELLING.padded):
        build = spelled + b"/.opam-switch/build/x\0"
        assert SPELLING.needed_anywhere(build + before + spelled + after) == [len(build) + len(before)]
