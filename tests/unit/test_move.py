from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError, CannotRelocateError, UnavailableError
from opambin.model import PLACEHOLDER
from opambin.move.content import Rewriting
from opambin.move.journal import Entry, MoveJournal, beside, remove_tree
from opambin.move.survey import CannotMoveError, Refusal, Route
from opambin.move.tree import Kind, moved_link, walk
from opambin.relocate.spelling import Spelling, pad

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "/opt/old", "/srv/somewhere/new"
REWRITING = Rewriting(Spelling.of(OLD.encode()), NEW.encode())


@pytest.mark.parametrize(
    ("target", "path", "expected"),
    [
        pytest.param("/opt/old/lib/x", "bin/x", "/srv/somewhere/new/lib/x", id="into the prefix"),
        pytest.param("/opt/old", "self", "/srv/somewhere/new", id="the prefix"),
        pytest.param("/opt//////old/lib", "l", "/srv/somewhere/new/lib", id="padded"),
        pytest.param("/opt/older/lib", "l", "/opt/older/lib", id="a longer name"),
        pytest.param("/usr//lib/", "l", "/usr//lib/", id="elsewhere"),
        pytest.param("../lib/x", "bin/x", "../lib/x", id="relative inside"),
        pytest.param("nowhere", "lib/x", "nowhere", id="dangling"),
        pytest.param("../src", "x", "../../../opt/src", id="relative outside"),
        pytest.param("../../src", "lib/x", "../../../../opt/src", id="relative outside, deeper"),
        pytest.param("../../old/lib", "bin/x", "../../old/lib", id="out and in again"),
    ],
)
def test_symlinks(target: str, path: str, expected: str) -> None:
    assert moved_link(target, path, OLD, NEW) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"x = /opt/old/lib\n", b"x = /srv/somewhere/new/lib\n", id="text"),
        pytest.param(pad(b"/opt/old") + b"/bin\n", b"/srv/somewhere/new/bin\n", id="padded text"),
        pytest.param(b"/opt/older\n", None, id="a longer name"),
        pytest.param(b"nothing\n", None, id="nothing"),
    ],
)
def test_files(data: bytes, expected: bytes | None) -> None:
    found = REWRITING.file(data, "etc/x")
    assert (found.content, found.reasons) == (expected, ())


def test_build_directories_stay_in_files_but_not_in_opams_records() -> None:
    data = b"/opt/old/.opam-switch/build/x.1\n"
    kept = REWRITING.file(data, "etc/x")
    assert (kept.content, kept.stale) == (None, 1)
    assert REWRITING.record(data, ".opam-switch/overlay/x/opam").content == (
        b"/srv/somewhere/new/.opam-switch/build/x.1\n"
    )


def test_a_file_of_unknown_form_cannot_move() -> None:
    found = REWRITING.file(b"\0\1/opt/old/lib\0", "lib/x")
    assert found.content is None
    assert "unknown format" in found.reasons[0]


def test_a_shebang_that_gets_too_long() -> None:
    long = Rewriting(Spelling.of(b"/opt/old"), b"/" + b"n" * 300)
    found = long.file(b"#!/opt/old/bin/ocaml\n", "bin/x")
    assert found.content is None
    assert "301 bytes" in found.reasons[0]


def test_an_informational_file_of_unknown_form_stays() -> None:
    found = REWRITING.file(b"\0\1/opt/old/lib\0", "doc/x/x.pdf")
    assert (found.content, found.reasons, found.stale) == (None, (), 1)


@pytest.mark.parametrize(
    ("data", "record", "said"),
    [
        pytest.param(b"/srv/somewhere/new/lib\n", False, "", id="moved"),
        pytest.param(b"/opt/old/lib\n", False, "byte 0", id="left"),
        pytest.param(b"/srv/somewhere/new /opt/old\n", False, "still needed", id="half"),
        pytest.param(b"\0\1 /opt/old\0", False, "unknown format", id="unknown form"),
        pytest.param(b"/opt/old/.opam-switch/build/x\n", False, "", id="a build directory"),
        pytest.param(b"/opt/old/.opam-switch/build/x\n", True, "byte 0", id="one in a record"),
        pytest.param(b"\0" + pad(b"/srv/somewhere/new") + b"\0", False, "", id="the new one, padded"),
    ],
)
def test_what_is_left_of_the_old_prefix(data: bytes, record: bool, said: str) -> None:
    found = REWRITING.named_in(data, "lib/x", record=record)
    assert said in found
    assert bool(found) == bool(said)


def test_native_code_that_hides_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opambin.relocate.immediates.taken_apart", lambda *_: ".text")
    assert REWRITING.file(b"\x7fELF", "bin/x").reasons == (
        "the prefix was taken apart into the code of .text",
    )


def test_files_that_hold_a_placeholder_are_not_taken_for_ours() -> None:
    assert REWRITING.file(b"/opt/old " + PLACEHOLDER, "etc/x").reasons


def test_refusals_are_all_in_the_error() -> None:
    refusals = tuple(Refusal(f"lib/{at}", "no room", "p.1") for at in range(30))
    error = CannotMoveError(refusals)
    assert isinstance(error, CannotRelocateError)
    assert (error.exit_code, error.refusals, error.path) == (5, refusals, "lib/0")
    assert "30 files can't be moved" in str(error)
    assert "lib/0 (p.1): no room" in str(error)
    assert "and 10 more" in str(error)


def test_files_that_may_be_left() -> None:
    route = Route(OLD, NEW, ("share/*.bin", "x"))
    assert [path for path in ("share/a/b.bin", "x", "y/x") if route.leaves(path)] == ["share/a/b.bin", "x"]


def test_a_walk_leaves_out_what_opam_makes_anew(tmp_path: Path) -> None:
    meta = tmp_path / ".opam-switch"
    for name in ("lock", "environment", "switch-state", "packages/cache", "packages/a.1/opam", "build/a.1/x"):
        (meta / name).parent.mkdir(parents=True, exist_ok=True)
        (meta / name).write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = {item.path: item.kind for item in walk(str(tmp_path))}
    assert found == {
        "": Kind.FOLDER,
        ".opam-switch": Kind.FOLDER,
        ".opam-switch/build": Kind.FOLDER,
        ".opam-switch/packages": Kind.FOLDER,
        ".opam-switch/packages/a.1": Kind.FOLDER,
        ".opam-switch/packages/a.1/opam": Kind.FILE,
        ".opam-switch/switch-state": Kind.FILE,
        "link": Kind.LINK,
        "pipe": Kind.OTHER,
    }
    assert next(iter(found)) == ""


def test_walk_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="can't be read"):
        list(walk(str(tmp_path / "gone")))


def entry(tmp_path: Path) -> Entry:
    return Entry("a", "b", str(tmp_path / "a"), str(tmp_path / "b"), True)


def test_journal(tmp_path: Path) -> None:
    journal = MoveJournal(tmp_path)
    with journal.alone():
        assert journal.read() is None
        first = entry(tmp_path)
        journal.write(first)
        assert journal.read() == first
        assert not first.is_copy(tmp_path)
        status = tmp_path.stat()
        second = Entry("a", "b", "/x/a", "/x/b", False, (status.st_dev, status.st_ino), "/l")
        journal.write(second)
        assert journal.read() == second
        assert second.is_copy(tmp_path)
        assert not second.is_copy(tmp_path / "gone")
        journal.clear()
        assert journal.read() is None


def test_two_moves_in_one_root(tmp_path: Path) -> None:
    with (
        MoveJournal(tmp_path).alone(),
        pytest.raises(UnavailableError, match="works in this root"),
        MoveJournal(tmp_path).alone(),
    ):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"copy": 3}', '{"copy": null, "x": 1}', "\xff"])
def test_broken_journal(tmp_path: Path, text: str) -> None:
    journal = MoveJournal(tmp_path)
    with journal.alone():
        journal.write(entry(tmp_path))
        path = tmp_path / "plugins/opam-bin/move.json"
        json.loads(path.read_text())
        path.write_text(text)
        with pytest.raises(BadDataError, match="journal"):
            journal.read()


def test_staging_is_beside_the_prefix() -> None:
    assert str(beside("/srv/p/_opam", "opam-bin-copy")) == "/srv/p/._opam.opam-bin-copy"


def test_folders_that_deny_writing_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "inner").mkdir(parents=True)
    (top / "inner/file").touch()
    (top / "link").symlink_to(tmp_path)
    (top / "inner").chmod(0o500)
    top.chmod(0o500)
    remove_tree(top)
    assert not top.exists()
    assert tmp_path.exists()
    remove_tree(top)
