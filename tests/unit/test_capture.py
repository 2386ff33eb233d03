"""Edits and output ids; the whole of a capture is tested with a real opam."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import sha

from opambin.capture import build_record
from opambin.looking import added_lines
from opambin.model import Digest, Edit, FileEntry, FileType, OutputId
from opambin.outputs import output_id
from opambin.relocate.spelling import LONGEST_PADDED, Spelling

if TYPE_CHECKING:
    from opambin.context import Context

FILES = [
    FileEntry("bin", FileType.DIRECTORY, 0o755),
    FileEntry("bin/x", FileType.FILE, 0o755, Digest(sha("1")), 1, identity=sha("i1")),
    FileEntry("bin/y", FileType.SYMLINK, target="x"),
    FileEntry("lib/a", FileType.FILE, 0o644, Digest(sha("2")), 1, identity=sha("i2")),
    FileEntry("lib/b", FileType.FILE, 0o644, Digest(sha("2")), 1, identity=sha("i2"), hardlink="lib/a"),
]
EDITS = (Edit("lib/ld.conf", ("/x",)), Edit("lib/findlib.conf", ("y",)))


def identify(files: list[FileEntry] | None = None, edits: tuple[Edit, ...] = EDITS) -> OutputId:
    return output_id(FILES if files is None else files, edits, "config", "install")


def changed(path: str, /, **changes: object) -> list[FileEntry]:
    return [
        dataclasses.replace(entry, **changes) if entry.path == path else entry  # type: ignore[arg-type]
        for entry in FILES
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(b"", b"", [], id="nothing"),
        pytest.param(b"", b"a\n", [b"a"], id="first line"),
        pytest.param(b"a\n", b"a\nb\n", [b"b"], id="at the end"),
        pytest.param(b"a\n", b"b\na\n", [b"b"], id="at the start"),
        pytest.param(b"a\nc\n", b"a\nb\nc\n", [b"b"], id="between"),
        pytest.param(b"a", b"a\nb", [b"b"], id="no line end"),
        pytest.param(b"a\n", b"a\na\n", [b"a"], id="twice the same"),
        pytest.param(b"a\nb\n", b"a\n", None, id="lost"),
        pytest.param(b"a\nb\n", b"b\na\n", None, id="reordered"),
        pytest.param(b"a\n", b"ab\n", None, id="changed"),
        pytest.param(b"a\n", b"", None, id="emptied"),
    ],
)
def test_added_lines(old: bytes, new: bytes, expected: list[bytes] | None) -> None:
    assert added_lines(old, new) == expected


@pytest.mark.parametrize(
    ("length", "adopted", "padded"),
    [(LONGEST_PADDED, False, True), (LONGEST_PADDED + 1, False, False), (20, True, False)],
)
def test_what_was_built_under_the_padded_spelling(length: int, adopted: bool, padded: bool) -> None:
    """At 199 bytes nothing is padded by the wrappers, but it was on record as padded."""
    context = SimpleNamespace(spelling=Spelling.of(b"/" + b"x" * (length - 1)))
    record = build_record(cast("Context", context), started=None, source_bytes=0, adopted=adopted)
    assert (record.prefix_length, record.padded) == (length, padded)


_line_lists = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=6)


@given(_line_lists, _line_lists, st.randoms(use_true_random=False))
def test_lines_that_were_mixed_in_are_found(old: list[bytes], more: list[bytes], random: object) -> None:
    new = list(old)
    for line in more:
        new.insert(random.randrange(len(new) + 1), line)  # type: ignore[attr-defined]
    found = added_lines(b"".join(line + b"\n" for line in old), b"".join(line + b"\n" for line in new))
    assert found is not None
    assert sorted(found) == sorted(more)


@given(st.permutations(FILES), st.permutations(EDITS))
def test_the_order_of_files_and_edits_does_not_count(files: list[FileEntry], edits: list[Edit]) -> None:
    assert identify(files, tuple(edits)) == identify()


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(changed("bin/x", mode=0o700), id="umask of a program"),
        pytest.param(changed("lib/a", mode=0o600), id="umask of a file"),
        pytest.param(changed("bin", mode=0o700), id="umask of a folder"),
        pytest.param(changed("bin/x", digest=Digest(sha("9")), size=9), id="debug sections"),
    ],
)
def test_what_does_not_count(files: list[FileEntry]) -> None:
    assert identify(files) == identify()


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(changed("bin/x", mode=0o644), id="executable"),
        pytest.param(changed("bin/x", identity=sha("i9")), id="content"),
        pytest.param(changed("bin/x", path="bin/z"), id="name"),
        pytest.param(changed("bin/y", target="z"), id="target"),
        pytest.param(changed("lib/b", hardlink=""), id="hard link"),
        pytest.param(changed("bin", path="sbin"), id="folder"),
        pytest.param(FILES[1:], id="without the folder"),
    ],
)
def test_what_counts(files: list[FileEntry]) -> None:
    assert identify(files) != identify()


def test_edits_config_and_install_count() -> None:
    ids = {
        identify(),
        identify(edits=()),
        identify(edits=(Edit("lib/ld.conf", ("/x", "y")),)),
        output_id(FILES, EDITS, None, "install"),
        output_id(FILES, EDITS, "config", None),
        output_id(FILES, EDITS, "install", "config"),
        output_id(FILES, EDITS, "", ""),
    }
    assert len(ids) == 7
