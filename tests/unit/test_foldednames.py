from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opambin.foldednames import collision, folded, folds_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("lib/Foo.ml", "lib/foo.ml", id="case"),
        pytest.param("caf\u00e9", "cafe\u0301", id="composition"),
        pytest.param("stra\u00dfe", "STRASSE", id="full folding"),
        pytest.param(".opam-switch", ".opam\u200c-switch", id="zero width"),
        pytest.param(".opam-switch", ".opam-\u017fwitch", id="compatibility"),
        pytest.param("\u212a", "k", id="kelvin"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert folded(one) == folded(other)


def test_whether_names_are_folded_is_seen_from_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "some-folder"
    assert not folds_names(folder)
    folder.mkdir()
    assert not folds_names(folder), "tests run on a file system that knows case"
    (tmp_path / "SOME-FOLDER").symlink_to("some-folder")
    assert folds_names(folder)


def test_other_names_stay_apart() -> None:
    assert folded("a-b") != folded("a_b")
    assert folded("caf\u00e9") != folded("cafe")


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(["bin", "bin/a", "lib/b"], None, id="none"),
        pytest.param(["bin/a", "bin/A"], ("bin/a", "bin/A"), id="files"),
        pytest.param(["LIB", "lib/passwd"], ("LIB", "lib"), id="a link and the folder of a file"),
        pytest.param(["a/b/c", "a/B/d"], ("a/b", "a/B"), id="folders that are only implied"),
        pytest.param(["a/b/c", "A/x"], ("a", "A"), id="far above"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_collisions(paths: list[str], expected: tuple[str, str] | None) -> None:
    assert collision(paths) == expected


@given(
    st.lists(st.text(alphabet="aAb/", min_size=1, max_size=6).filter(lambda p: p.strip("/") == p), max_size=6)
)
def test_collisions_are_what_a_slow_search_says(paths: list[str]) -> None:
    every = {"/".join(path.split("/")[:n]) for path in paths for n in range(1, path.count("/") + 2)}
    assert (collision(paths) is None) == (len({folded(path) for path in every}) == len(every))
