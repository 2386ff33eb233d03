from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError, UnavailableError
from opambin.opam.changes import Change, ChangeKind, Changes, Difference, time_of, verify

if TYPE_CHECKING:
    from pathlib import Path

ONE = 'opam-version: "2.0"\nadded: "lib/one" {"F:S0T1795354923."}\n'
ODD = (
    'opam-version: "2.0"\nadded: [\n  "share" {"D"}\n  "share/back\\\\slash" {"F:S0T1.5"}\n'
    '  """\\\nshare/end\n""" {"F:S0T1.5"}\n  """\\\nshare/mid\n\\"\\"""x\\"""" {"F:S0T1.5"}\n'
    '  "share/q\'q" {"F:S0T1.5"}\n  "share/sym" {"""\\\nL:we"ird\nx\\\\"""}\n'
    '  "share/tri\\"\\"\\"x" {"F:S0T1.5"}\n]\n'
)
ALL_KINDS = (
    'opam-version: "2.0"\nadded: "share/one" {"F:S0T1795354747.7"}\nremoved: ["share/fifo" "share/q\'q"]\n'
    'contents-changed: [\n  "share/Z" {"F:S5T1795354747.7"}\n  "share/hard" {"F:S5T1795354747.7"}\n]\n'
    'perm-changed: "share/a b" {"F:S0T1795354747.68"}\nkind-changed: "share/sym" {"D"}\n'
)
LONG = (
    'opam-version: "2.0"\nadded: [\n'
    f'  "share/{"x" * 43}" {{"F:S0T1795354847.99"}}\n'
    f'  "share/{"y" * 46}"\n    {{"F:S0T1795354847.99"}}\n]\n'
)
LONG_ALONE = f'opam-version: "2.0"\nadded:\n  "share/{"k" * 40}" {{"F:S0T1795354923.09"}}\n'
LONG_BROKEN = f'opam-version: "2.0"\nadded:\n  "share/{"k" * 70}"\n    {{"F:S0T1795354923.16"}}\n'
REMOVED_77 = f'opam-version: "2.0"\nremoved: ["share/{"r" * 24}" "share/{"r" * 25}"]\n'
REMOVED_78 = f'opam-version: "2.0"\nremoved: [\n  "share/{"r" * 25}" "share/{"r" * 26}"\n]\n'
REMOVED_LONG = f'opam-version: "2.0"\nremoved: [\n  "share/{"r" * 29}"\n  "share/{"r" * 30}"\n]\n'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('opam-version: "2.0"\n', id="nothing"),
        pytest.param(ONE, id="one without brackets"),
        pytest.param(ODD, id="odd names"),
        pytest.param(ALL_KINDS, id="all kinds"),
        pytest.param(LONG, id="line at the limit and beyond"),
        pytest.param(LONG_ALONE, id="one long entry"),
        pytest.param(LONG_BROKEN, id="one very long entry"),
        pytest.param(REMOVED_77, id="plain list that fits"),
        pytest.param(REMOVED_78, id="plain list on a line of its own"),
        pytest.param(REMOVED_LONG, id="plain list, one per line"),
    ],
)
def test_what_opam_wrote_is_written_again(text: str) -> None:
    assert Changes.parse(text).render() == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (1_577_836_800_000_000_000, "1577836800."),
        (1_577_836_800_500_000_000, "1577836800.5"),
        (1_577_836_800_123_456_789, "1577836800.12"),
        (1_795_354_922_999_999_999, "1795354923."),
        (0, "0."),
        (-500_000_000, "-0.5"),
        (5_123_456_789, "5.123456789"),
    ],
)
def test_times_are_written_as_ocaml_does(nanoseconds: int, text: str) -> None:
    assert time_of(nanoseconds) == text


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    (tmp_path / "lib" / "empty").mkdir(parents=True)
    (tmp_path / "lib" / "file").write_text("abc")
    os.utime(tmp_path / "lib" / "file", ns=(0, 1_577_836_800_250_000_000))
    (tmp_path / "lib" / "dangling").symlink_to("no//where/")
    (tmp_path / "lib" / "dir").symlink_to("empty")
    return tmp_path


PATHS = ("lib/file", "lib", "lib/empty", "lib/dir", "lib/dangling")


def test_from_disk_describes_files_directories_and_symlinks(prefix: Path) -> None:
    assert Changes.from_disk(prefix, PATHS).entries == (
        Change("lib", "D"),
        Change("lib/dangling", "L:no//where/"),
        Change("lib/dir", "L:empty"),
        Change("lib/empty", "D"),
        Change("lib/file", "F:S3T1577836800.25"),
    )


def test_paths_are_sorted_by_bytes(prefix: Path) -> None:
    for name in ("a-b", "a", "B", "\udcff", "é"):
        (prefix / name).write_text("")
    found = Changes.from_disk(prefix, ["é", "\udcff", "a-b", "a", "B"])
    assert [entry.path for entry in found.entries] == ["B", "a", "a-b", "é", "\udcff"]
    assert Changes.parse(found.render()) == found


def test_from_disk_refuses_what_is_not_there(prefix: Path) -> None:
    with pytest.raises(UnavailableError, match="lib/none can't be described"):
        Changes.from_disk(prefix, ["lib/none"])


def test_verify_names_what_differs(prefix: Path) -> None:
    changes = Changes.from_disk(prefix, PATHS)
    assert verify(prefix, changes) == []
    (prefix / "lib" / "file").write_text("changed")
    os.utime(prefix / "lib" / "file", ns=(0, 1_577_836_800_250_000_000))
    (prefix / "lib" / "dir").unlink()
    assert verify(prefix, changes) == [
        Difference("lib/dir", "L:empty", ""),
        Difference("lib/file", "F:S3T1577836800.25", "F:S7T1577836800.25"),
    ]


def test_verify_compares_contents_when_opam_tracked_precisely(prefix: Path) -> None:
    good = Change("lib/file", "F:900150983cd24fb0d6963f7d28e17f72")
    assert verify(prefix, Changes((good,))) == []
    assert verify(prefix, Changes((Change("lib/file", "F:" + "0" * 32),))) == [
        Difference("lib/file", "F:" + "0" * 32, "F:900150983cd24fb0d6963f7d28e17f72")
    ]


def test_verify_does_not_ask_for_what_was_removed(prefix: Path) -> None:
    assert verify(prefix, Changes((Change("lib/gone", "", ChangeKind.REMOVED),))) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ODD[:-3], id="cut off in the list"),
        pytest.param(ODD[:60], id="cut off in a string"),
        pytest.param('added: ["a"]\n', id="no digest"),
        pytest.param('removed: ["a" {"D"}]\n', id="a digest for a removal"),
        pytest.param("added: [1]\n", id="a number"),
    ],
)
def test_broken_files_are_reported(text: str) -> None:
    with pytest.raises(BadDataError) as caught:
        Changes.parse(text, "x.changes")
    assert "x.changes" in str(caught.value)
