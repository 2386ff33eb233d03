from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from opambin.errors import UnavailableError
from opambin.opam import switchlist

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'opam-version: "2.0"\nrepositories: "default"\n'
TAIL = 'download-jobs: 3\neval-variables: [\n  [switch ["a" "b"] "installed-switches: x"]\n]\n'


def config(switches: str, current: str = "") -> str:
    return HEAD + switches + current + TAIL


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('installed-switches: "a"\n', 'installed-switches: ["n" "a"]\n', id="one"),
        pytest.param('installed-switches: ["a" "b"]\n', 'installed-switches: ["n" "a" "b"]\n', id="two"),
        pytest.param("installed-switches: []\n", 'installed-switches: "n"\n', id="none"),
        pytest.param(
            "installed-switches: [\n  " + '"' + "a" * 60 + '"\n]\n',
            'installed-switches: [\n  "n" "' + "a" * 60 + '"\n]\n',
            id="long",
        ),
        pytest.param('installed-switches: ["n" "a"]\n', 'installed-switches: ["n" "a"]\n', id="there"),
    ],
)
def test_add(before: str, after: str) -> None:
    assert switchlist.added(config(before), "n") == config(after)


def test_add_where_there_is_no_list() -> None:
    assert switchlist.added(HEAD.rstrip("\n"), "n") == HEAD + 'installed-switches: "n"\n'


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        pytest.param('switch: "a"\n', 'switch: "n"\n', id="current"),
        pytest.param('switch: "b"\n', 'switch: "b"\n', id="another is current"),
        pytest.param("", "", id="none is current"),
    ],
)
def test_rename_keeps_the_place_in_the_list(current: str, expected: str) -> None:
    before = config('installed-switches: ["b" "a"]\n', current)
    assert switchlist.renamed(before, "a", "n") == config('installed-switches: ["b" "n"]\n', expected)


def test_a_local_switch_is_never_the_current_one() -> None:
    before = config('installed-switches: ["b" "a"]\n', 'switch: "a"\n')
    after = switchlist.renamed(before, "a", "/home/me/a")
    assert after == config('installed-switches: ["b" "/home/me/a"]\n')
    back = switchlist.renamed(after, "/home/me/a", "a", current=True)
    assert switchlist.known(back) == ("b", "a")
    assert 'switch: "a"\n' in back


def test_rename_of_a_switch_that_is_in_no_list() -> None:
    assert switchlist.known(switchlist.renamed(config('installed-switches: "b"\n'), "a", "n")) == ("n", "b")


def test_remove() -> None:
    assert switchlist.removed(config('installed-switches: ["b" "a"]\n'), "a") == config(
        'installed-switches: "b"\n'
    )


def test_names_with_quotes() -> None:
    name = '/home/a "b" \\c'
    assert switchlist.known(switchlist.added(config('installed-switches: "b"\n'), name)) == (name, "b")


def test_edit_begins_again_when_the_file_was_changed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(config('installed-switches: "b"\n'))
    calls: list[str] = []

    def change(text: str) -> str:
        if not calls:
            path.write_text(switchlist.added(text, "c"))
        calls.append(text)
        return switchlist.added(text, "n")

    switchlist.edit(tmp_path, change)
    assert switchlist.known(path.read_text()) == ("n", "c", "b")
    assert len(calls) == 2


def test_edit_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(HEAD)

    def change(text: str) -> str:
        path.write_text(f"# {len(text)}\n{text}")
        return switchlist.added(text, "n")

    with pytest.raises(UnavailableError, match="all the time"):
        switchlist.edit(tmp_path, change)
