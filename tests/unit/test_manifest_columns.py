from __future__ import annotations

from typing import Any

import pytest

from opambin.store.manifest_columns import COUNT_MAX, are_sound, are_texts, is_sound_tree
from opambin.store.manifest_rows import files_of

DIGEST = "0f" * 32


def row(path: str = "lib/a/b.cmx") -> list[Any]:
    return ["f", path, 0o644, 900, DIGEST, "=", "", []]


def rows(**members: object) -> list[Any]:
    """Many good rows; ``m1="../x"`` and the like replace a member of the one in the middle."""
    made: list[Any] = [
        ["d", "lib", 0o755],
        *(row(f"lib/{number:03}") for number in range(9)),
        ["l", "z", "lib"],
    ]
    for name, value in members.items():
        made[5][int(name[1:])] = value
    return made


def problems(given: list[Any]) -> list[str]:
    told: list[str] = []
    files_of(given, told.append)
    return told


def test_good_rows_are_sound() -> None:
    assert are_sound([])
    assert are_sound([["d", "lib", 0o755]])
    assert are_sound(rows())
    assert are_sound(rows(m5="", m3=COUNT_MAX, m2=0))
    assert not problems(rows())


@pytest.mark.parametrize(
    ("number", "value"),
    [
        pytest.param(1, "", id="empty path"),
        pytest.param(1, "/lib/004", id="absolute path"),
        pytest.param(1, "lib/../x", id="path with two dots"),
        pytest.param(1, "..", id="path of two dots"),
        pytest.param(1, "lib/./x", id="path with a dot"),
        pytest.param(1, "lib//x", id="path with an empty part"),
        pytest.param(1, "lib/x/", id="path with a slash at its end"),
        pytest.param(1, "lib/\0x", id="path with a NUL"),
        pytest.param(1, 7, id="path that is a number"),
        pytest.param(2, 0o4755, id="setuid"),
        pytest.param(2, True, id="mode that is a truth"),
        pytest.param(2, -1, id="negative mode"),
        pytest.param(3, -1, id="negative size"),
        pytest.param(3, 1.0, id="size that is a fraction"),
        pytest.param(3, COUNT_MAX + 1, id="size that is too large"),
        pytest.param(4, "0F" * 32, id="digest in capitals"),
        pytest.param(4, "0f" * 31, id="digest that is too short"),
        pytest.param(4, "0f" * 31 + "\udcff0", id="digest with a byte that is no text"),
        pytest.param(4, "0f" * 31 + "g0", id="digest with another letter"),
        pytest.param(4, None, id="no digest"),
        pytest.param(5, "0g" * 32, id="identity with another letter"),
        pytest.param(5, [], id="identity that is a list"),
        pytest.param(6, None, id="hard link to nothing"),
    ],
)
def test_one_bad_row_is_seen_and_explained(number: int, value: object) -> None:
    given = rows(**{f"m{number}": value})
    assert not are_sound(given)
    assert problems(given)


@pytest.mark.parametrize("odd", [[], {}, "f", None, ["f"], ["f", "x"], [[]], ["x", "y", 1]])
def test_rows_of_another_shape_are_refused(odd: object) -> None:
    given = [*rows(), odd]
    assert problems(given)


def test_what_is_seldom_is_left_to_a_closer_look() -> None:
    given = rows(m1="lib/003/.private")
    assert not are_sound(given)
    assert problems(given) == ["files: 'lib/003' is a file, yet other paths are inside it"]


@pytest.mark.parametrize(
    ("paths", "sound"),
    [
        pytest.param(["a", "a/b", "c"], True, id="folder before its content"),
        pytest.param(["a/b/c/d"], True, id="folders that are not named"),
        pytest.param(["b", "a"], False, id="not sorted"),
        pytest.param(["b", "b"], False, id="twice"),
    ],
)
def test_the_order_of_a_tree(paths: list[str], *, sound: bool) -> None:
    entries = files_of([["d", path, 0o755] for path in paths], lambda _: None)
    assert is_sound_tree(entries) == sound


def test_nothing_lies_inside_of_a_file() -> None:
    entries = files_of([row("a"), row("a/b/c/d")], lambda _: None)
    assert not is_sound_tree(entries)


def test_hard_links_are_left_to_a_closer_look() -> None:
    linked = [*row("b")[:6], "a", []]
    assert not is_sound_tree(files_of([row("a"), linked], lambda _: None))
    assert not problems([row("a"), linked])
    assert problems([row("a"), [*row("b")[:6], "c", []]])


@pytest.mark.parametrize(
    ("given", "sound"),
    [([], True), ([["a", "b"]], True), ([["a", 1]], False), ([["a"]], False), ([("a", "b")], False)],
)
def test_rows_of_texts(given: list[Any], *, sound: bool) -> None:
    assert are_texts(given, 2) == sound
