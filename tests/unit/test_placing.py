from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from store_samples import sha

from opambin.errors import BadDataError, UnavailableError
from opambin.model import (
    PLACEHOLDER,
    ConeKey,
    Digest,
    Edit,
    FileEntry,
    FileType,
    Kind,
    Manifest,
    Occurrence,
    OutputId,
    Package,
)
from opambin.placement import placing
from opambin.placement.placing import Placement, Target, commit, conflicts, stage
from opambin.placement.recovery import Journal
from opambin.placement.undoing import undo
from opambin.relocate import engine
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "cache", create=True)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A switch with a few things in it that belong to others."""
    folder = tmp_path / "switch"
    (folder / ".opam-switch").mkdir(parents=True)
    (folder / "lib/ocaml").mkdir(parents=True)
    (folder / "lib/ocaml/ld.conf").write_text("/a\n/b")
    (folder / "lib/ocaml/ld.conf").chmod(0o640)
    os.utime(folder / "lib/ocaml/ld.conf", ns=(5, 1_000_000_007))
    (folder / "bin").mkdir()
    return folder


@pytest.fixture
def umask() -> Iterator[int]:
    old = os.umask(0o077)
    yield 0o077
    os.umask(old)


def file(store: Store, path: str, content: bytes = b"content", mode: int = 0o644, **more: Any) -> FileEntry:  # noqa: ANN401 - any field
    digest, size = store.objects.put_bytes(content, executable=bool(mode & 0o111))
    return FileEntry(path, FileType.FILE, mode, Digest(digest), size, **more)


def folder(path: str, mode: int = 0o755) -> FileEntry:
    return FileEntry(path, FileType.DIRECTORY, mode)


def link(path: str, target: str) -> FileEntry:
    return FileEntry(path, FileType.SYMLINK, target=target)


def snapshot(name: str, *files: FileEntry, edits: tuple[Edit, ...] = ()) -> Manifest:
    key, output = ConeKey(sha(f"key {name}")), OutputId(sha(f"output {name}"))
    entries = tuple(sorted(files, key=lambda entry: entry.path))
    return Manifest(key, output, Package.parse(f"{name}.1"), "", "", entries, edits)


def tree(top: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder but opam's records: kind and mode, content, time of files."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        status = path.lstat()
        if not name.startswith(".opam-switch"):
            regular = stat.S_ISREG(status.st_mode)
            content = path.read_bytes() if regular else str(path.readlink()) if path.is_symlink() else ""
            found[name] = (status.st_mode, content, status.st_mtime_ns if regular else 0)
    return found


def put(store: Store, prefix: Path, *manifests: Manifest) -> list[Placement]:
    target = Target(str(prefix))
    assert stage(store, manifests, target) == {}
    return [commit(manifest, target) for manifest in manifests]


# What is placed


def test_everything_a_snapshot_can_hold(store: Store, prefix: Path, umask: int) -> None:
    assert umask == 0o077
    text = b"#!/bin/sh\ncat " + PLACEHOLDER + b"/x\n"
    where = (Occurrence(Kind.TEXT, 14),)
    demo = snapshot(
        "demo",
        file(store, "bin/demo", text, 0o755, occurrences=where),
        folder("lib/demo"),
        folder("lib/demo/empty", 0o775),
        folder("lib/demo/private", 0o700),
        file(store, "lib/demo/a", mode=0o444),
        file(store, "lib/demo/b", mode=0o444, hardlink="lib/demo/a"),
        link("lib/demo/link", "a"),
        link("lib/demo/dangling", "/nowhere"),
        link("lib/demo/own", PLACEHOLDER.decode() + "/bin/demo"),
    )
    (placement,) = put(store, prefix, demo)
    modes = {path: oct(stat.S_IMODE((prefix / path).lstat().st_mode)) for path in placement.paths}
    assert (prefix / "bin/demo").read_bytes() == b"#!/bin/sh\ncat %s/x\n" % os.fsencode(prefix)
    assert (prefix / "lib/demo/link").read_bytes() == b"content"
    assert (prefix / "lib/demo/dangling").readlink() == Path("/nowhere")
    assert (prefix / "lib/demo/own").readlink() == prefix / "bin/demo"
    assert (prefix / "lib/demo/a").samefile(prefix / "lib/demo/b")
    assert list((prefix / "lib/demo/empty").iterdir()) == []
    wanted = {
        "bin/demo": "0o755",
        "lib/demo": "0o755",
        "lib/demo/empty": "0o775",
        "lib/demo/private": "0o700",
    }
    assert {path: modes[path] for path in wanted} == wanted
    assert modes["lib/demo/a"] == "0o444"
    assert sorted(placement.paths) == [entry.path for entry in demo.files]
    assert sorted(placement.roots) == ["bin/demo", "lib/demo"]


def test_folders_that_are_there_stay_as_they_are(store: Store, prefix: Path) -> None:
    (prefix / "lib").chmod(0o711)
    (placement,) = put(store, prefix, snapshot("demo", folder("lib", 0o755), file(store, "lib/x")))
    assert stat.S_IMODE((prefix / "lib").stat().st_mode) == 0o711
    assert placement.paths == ["lib/x"]


def test_an_edit_is_added_once(store: Store, prefix: Path) -> None:
    edit = Edit("lib/ocaml/ld.conf", ("/b", PLACEHOLDER.decode() + "/lib/stublibs"))
    first, second = put(store, prefix, snapshot("one", edits=(edit,)), snapshot("two", edits=(edit,)))
    assert (prefix / "lib/ocaml/ld.conf").read_text() == f"/a\n/b\n{prefix}/lib/stublibs\n"
    assert stat.S_IMODE((prefix / "lib/ocaml/ld.conf").stat().st_mode) == 0o640
    assert list(first.edited) == ["lib/ocaml/ld.conf"]
    assert second.edited == {}


# Undoing


def test_undo_gives_back_every_byte_mode_and_time(store: Store, prefix: Path) -> None:
    before = tree(prefix)
    edit = (Edit("lib/ocaml/ld.conf", ("/c",)),)
    one = snapshot("one", folder("lib/one"), file(store, "lib/one/x"), link("bin/one", "x"), edits=edit)
    two = snapshot("two", file(store, "lib/one/two"), edits=(Edit("lib/ocaml/ld.conf", ("/d",)),))
    placements = put(store, prefix, one, two)
    assert tree(prefix) != before
    for placement in reversed(placements):
        undo(str(prefix), placement)
        undo(str(prefix), placement)
    assert tree(prefix) == before


def test_folders_that_nobody_may_write_are_closed_when_they_are_in_place(store: Store, prefix: Path) -> None:
    """Who is not root can't rename them, nor take them out again: a restore failed, and left its files."""
    manifest = snapshot("p", folder("lib/p", 0o555), folder("lib/p/in", 0o500), file(store, "lib/p/in/x"))
    target = Target(str(prefix))
    assert stage(store, [manifest], target) == {}
    for path in "lib/p", "lib/p/in":
        assert stat.S_IMODE((target.staging / "p" / path).stat().st_mode) & 0o700 == 0o700
    placement = commit(manifest, target)
    assert [stat.S_IMODE((prefix / path).stat().st_mode) for path in ("lib/p", "lib/p/in")] == [0o555, 0o500]
    undo(str(prefix), placement)
    assert not (prefix / "lib/p").exists()


def test_a_commit_that_fails_leaves_nothing(store: Store, prefix: Path) -> None:
    before = tree(prefix)
    bad = snapshot("bad", file(store, "bin/bad"), edits=(Edit("lib/no/such", ("x",)),))
    target = Target(str(prefix))
    stage(store, [bad], target)
    with pytest.raises(UnavailableError, match="can't be written"):
        commit(bad, target)
    assert tree(prefix) == before


def test_something_in_the_way_is_never_overwritten(store: Store, prefix: Path) -> None:
    one = snapshot("one", file(store, "bin/a"), file(store, "bin/x"))
    target = Target(str(prefix))
    stage(store, [one], target)
    (prefix / "bin/x").write_text("the user's")
    before = tree(prefix)
    with pytest.raises(UnavailableError, match="is in the way"):
        commit(one, target)
    assert tree(prefix) == before


def test_ctrl_c_in_the_middle_of_a_commit(
    store: Store, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(prefix)
    one = snapshot("one", *(file(store, f"bin/{name}") for name in "abcdef"))
    target = Target(str(prefix))
    stage(store, [one], target)
    rename, calls = os.rename, iter(range(99))

    def interrupted(source: str, destination: str) -> None:
        rename(source, destination)
        if next(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    placement = Placement("one")
    with pytest.raises(KeyboardInterrupt):
        commit(one, target, placement)
    assert tree(prefix) == before


def test_what_cannot_be_undone_is_told_and_the_rest_is_undone(
    store: Store, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(prefix)
    edit = (Edit("lib/ocaml/ld.conf", ("/c",)),)
    (placement,) = put(store, prefix, snapshot("one", folder("lib/one"), file(store, "bin/one"), edits=edit))
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(PermissionError(13, "no", path)))
        with pytest.raises(UnavailableError, match=r"can't be put back: .*lib/one"):
            undo(str(prefix), placement)
    assert tree(prefix).keys() - before.keys() == {"lib/one"}
    assert (prefix / "lib/ocaml/ld.conf").read_text() == "/a\n/b"
    undo(str(prefix), placement)
    assert tree(prefix) == before


# Conflicts


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(folder("bin"), "", id="folder that is there"),
        pytest.param(folder("new"), "", id="nothing there"),
        pytest.param(folder("lib/ocaml/ld.conf"), "lib/ocaml/ld.conf", id="folder over a file"),
        pytest.param(link("bin", "x"), "bin", id="link over a folder"),
        pytest.param(link("lib/ocaml/ld.conf", "x"), "lib/ocaml/ld.conf", id="link over a file"),
        pytest.param(link("lib/ocaml/ld.conf/x", "x"), "lib/ocaml/ld.conf/x", id="below a file"),
        pytest.param(link("dangling", "x"), "dangling", id="dangling link"),
    ],
)
def test_conflicts(prefix: Path, entry: FileEntry, expected: str) -> None:
    (prefix / "dangling").symlink_to("nowhere")
    assert conflicts(str(prefix), snapshot("x", entry)) == expected


def test_a_link_to_a_folder_is_no_folder(prefix: Path) -> None:
    (prefix / "share").symlink_to("lib")
    assert conflicts(str(prefix), snapshot("x", folder("share"))) == "share"


# Hostile snapshots


@pytest.mark.parametrize(
    "target", ["{outside}", "../outside", ".opam-switch", "../switch/.opam-switch/packages"]
)
def test_no_snapshot_writes_through_the_link_of_another(
    store: Store, prefix: Path, tmp_path: Path, target: str
) -> None:
    """One brings lib/evil -> /etc, the other lib/evil/passwd."""
    (tmp_path / "outside").mkdir()
    (prefix / ".opam-switch/packages").mkdir()
    one = snapshot("one", link("evil", target.format(outside=tmp_path / "outside")))
    two = snapshot("two", file(store, "evil/passwd"))
    before = tree(tmp_path / "outside")
    with pytest.raises(UnavailableError, match="outside of what packages may write"):
        put(store, prefix, one, two)
    assert tree(tmp_path / "outside") == before
    assert list((prefix / ".opam-switch/packages").iterdir()) == []


def test_no_edit_goes_through_such_a_link(store: Store, prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.conf").write_text("x\n")
    edit = (Edit("evil/x.conf", ("y",)),)
    with pytest.raises(UnavailableError, match="outside of what packages may write"):
        put(store, prefix, snapshot("one", link("evil", "../outside")), snapshot("two", edits=edit))
    assert (tmp_path / "outside/x.conf").read_text() == "x\n"


def test_a_link_within_the_switch_is_followed(store: Store, prefix: Path) -> None:
    (prefix / "man").symlink_to("share")
    (prefix / "share").mkdir()
    put(store, prefix, snapshot("one", file(store, "man/x")))
    assert (prefix / "share/x").read_text() == "content"


# Staging


def test_names_that_are_one_here_take_out_their_package(
    store: Store, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that knows no case, a file could be written through a link of another spelling."""
    bad = snapshot("bad", link("LIB", "/etc"), file(store, "lib/passwd"))
    good = snapshot("good", file(store, "bin/good"))
    assert stage(store, [bad], Target(str(prefix))) == {}, "here they are two"
    shutil.rmtree(Target(str(prefix)).staging)
    monkeypatch.setattr(placing, "folds_names", lambda _: True)
    problems = stage(store, [bad, good], Target(str(prefix)))
    assert {name: it.message for name, it in problems.items()} == {"bad": "LIB and lib are one file here"}
    assert not (Target(str(prefix)).staging / "bad").exists()
    assert (Target(str(prefix)).staging / "good/bin/good").exists()


def test_a_damaged_object_takes_out_its_package_alone(store: Store, prefix: Path) -> None:
    bad, good = snapshot("bad", file(store, "bin/bad", b"bad")), snapshot("good", file(store, "bin/good"))
    entry = bad.files[0]
    assert entry.digest is not None
    path = store.objects.path(entry.digest, executable=False, size=3)
    path.chmod(0o644)
    path.write_bytes(b"worse")
    problems = stage(store, [bad, good], Target(str(prefix)))
    assert problems.keys() == {"bad"}
    assert problems["bad"].bad_data
    assert (Target(str(prefix)).staging / "good/bin/good").exists()


def test_a_file_without_digest_is_bad_data(store: Store, prefix: Path) -> None:
    problems = stage(store, [snapshot("x", FileEntry("bin/x", FileType.FILE, 0o644))], Target(str(prefix)))
    assert problems["x"].bad_data


def test_what_can_not_be_written_is_unavailable(store: Store, prefix: Path) -> None:
    (prefix / ".opam-switch" / placing.STAGING).write_text("no folder")
    with pytest.raises(UnavailableError, match="can't be written"):
        stage(store, [snapshot("x", folder("lib/x"))], Target(str(prefix)))


def test_the_first_failure_ends_all_threads(
    monkeypatch: pytest.MonkeyPatch, store: Store, prefix: Path
) -> None:
    made: list[str] = []

    def fails(*arguments: object) -> None:
        made.append(str(arguments[1]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine, "place", fails)
    many = snapshot("many", *(file(store, f"bin/{number}") for number in range(50)))
    with pytest.raises(UnavailableError, match="No space left"):
        stage(store, [many], Target(str(prefix), jobs=4))
    assert len(made) <= 4


# Killed


def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.json")


@pytest.mark.parametrize("after", range(7))
def test_a_killed_restore_is_cleaned_up(prefix: Path, tmp_path: Path, after: int) -> None:
    """The child kills itself before the rename number ``after``."""
    child = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        sys.path[:0] = {sys.path!r}
        import test_placing as t
        from opambin.placement import placing
        prefix, store = Path({str(prefix)!r}), t.Store.open(Path({str(tmp_path / "cache")!r}))
        a = t.snapshot("a", t.folder("lib/a"), t.file(store, "lib/a/x"), t.link("bin/a", "x"))
        empty = (t.folder("share/b"), t.folder("share/b/empty"))
        b = t.snapshot("b", t.file(store, "lib/a/b"), *empty, t.file(store, "bin/b"))
        target = placing.Target(str(prefix))
        placing.stage(store, [a, b], target)
        t.journal(Path({str(tmp_path)!r})).write([a, b], target.staging)
        rename, left = os.rename, iter(range({after}))
        def killing(source, destination):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(source, destination)
        os.rename = killing
        for manifest in (a, b):
            placing.commit(manifest, target)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    before = tree(prefix)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", child], check=False, env=environ, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert after == 0 or tree(prefix) != before
    assert journal(tmp_path).recover(str(prefix), [], lambda _: False) == ["a.1", "b.1"]
    left = {path: what for path, what in tree(prefix).items() if path != "share"}
    assert left == before
    assert not (prefix / ".opam-switch" / placing.STAGING).exists()
    assert not journal(tmp_path).path.exists()
    assert journal(tmp_path).recover(str(prefix), [], lambda _: False) == []


def killed(store: Store, prefix: Path, tmp_path: Path, manifest: Manifest) -> None:
    """Leave what a restore leaves that was killed after everything was in place."""
    target = Target(str(prefix))
    stage(store, [manifest], target)
    journal(tmp_path).write([manifest], target.staging)
    commit(manifest, target)


@pytest.mark.parametrize(
    ("installed", "owned"),
    [
        pytest.param(["x.1"], set[str](), id="registered before the kill"),
        pytest.param(["y.1"], {"bin/x"}, id="owned by another package"),
    ],
)
def test_what_opam_knows_stays(
    store: Store, prefix: Path, tmp_path: Path, installed: list[str], owned: set[str]
) -> None:
    killed(store, prefix, tmp_path, snapshot("x", file(store, "bin/x")))
    journal(tmp_path).recover(str(prefix), installed, owned.__contains__)
    assert (prefix / "bin/x").exists()
    assert not journal(tmp_path).path.exists()


def test_what_somebody_else_put_there_after_the_kill_stays(
    store: Store, prefix: Path, tmp_path: Path
) -> None:
    """The journal knows names only of what we put there, but names can be taken again."""
    killed(
        store, prefix, tmp_path, snapshot("x", file(store, "bin/x"), file(store, "bin/y"), folder("lib/x"))
    )
    (prefix / "bin/x").unlink()
    (prefix / "bin/x").write_text("the user's")
    (prefix / "lib/x/mine").write_text("the user's")
    assert journal(tmp_path).recover(str(prefix), [], lambda _: False) == ["x.1"]
    assert (prefix / "bin/x").read_text() == "the user's"
    assert (prefix / "lib/x/mine").exists()
    assert not (prefix / "bin/y").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a.1": ["x"]}', '{"a.1": 3}'])
def test_a_journal_that_can_not_be_read(prefix: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "journal.json"
    path.write_text(content)
    with pytest.raises(BadDataError, match="not a journal"):
        Journal(path).recover(str(prefix), [], lambda _: False)


def test_a_journal_that_can_not_be_written(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "journal.json").mkdir()
    with pytest.raises(UnavailableError, match="can't be written"):
        journal(tmp_path).write([], prefix)
