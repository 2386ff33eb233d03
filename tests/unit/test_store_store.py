from __future__ import annotations

import dataclasses
import gc
import os
import sys
from subprocess import run
from typing import TYPE_CHECKING, Any

import pytest
from store_samples import sha, stored_manifest

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.model import ConeKey, ExtraFile, OutputId, PackageName, Version
from opambin.store.gc import MIN_AGE, collect
from opambin.store.records import Event, InstalledRecord, Result
from opambin.store.store import Store
from opambin.store.verify import verify

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def test_open_makes_a_store_and_finds_it_again(tmp_path: Path) -> None:
    root = tmp_path / "a/b/store"
    Store.open(root)
    assert (root / "format").read_text() == "opam-bin store 1\n"
    assert sorted(path.name for path in root.iterdir()) == sorted(
        ["format", "locks", "logs", "manifests", "objects", "quarantine", "tmp"]
    )
    assert Store.open(root, create=False).layout.root == root


@pytest.mark.parametrize("options", [{"create": False}, {"readonly": True}], ids=str)
def test_open_without_making(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError, match="no store"):
        Store.open(tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(MisuseError, match=r"thesis\.tex"):
        Store.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_store_has_an_absolute_path(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="absolute"):
        Store.open((tmp_path / "x").relative_to("/"))


def test_an_interrupted_creation_is_finished(tmp_path: Path) -> None:
    (tmp_path / "store/tmp").mkdir(parents=True)
    assert Store.open(tmp_path / "store").layout.objects.is_dir()


def test_add_outputs_by_name(store: Store) -> None:
    manifest = stored_manifest(store)
    assert store.add(manifest)
    assert not store.add(manifest)
    assert store.outputs(manifest.key) == [manifest]
    assert store.outputs(ConeKey(sha("other"))) == []
    (record,) = store.by_name(PackageName("demo"))
    assert (record.key, record.output, record.version, record.uses) == (
        manifest.key,
        manifest.output,
        "1.0",
        0,
    )
    assert store.by_name(PackageName("other")) == []


def test_add_wants_the_objects(store: Store) -> None:
    manifest = stored_manifest(store)
    digest = manifest.files[0].digest
    assert digest
    store.layout.object(digest, executable=True).unlink()
    with pytest.raises(BadDataError, match="missing object"):
        store.add(manifest)
    assert store.outputs(manifest.key) == []


def test_touch(store: Store) -> None:
    manifest = stored_manifest(store)
    store.add(manifest)
    store.touch([(manifest.key, manifest.output), (ConeKey(sha("x")), OutputId(sha("y")))], 50)
    store.touch([(manifest.key, manifest.output)], 40)
    (record,) = store.by_name(PackageName("demo"))
    assert (record.last_used, record.uses) == (50, 2)


def test_installed(store: Store) -> None:
    def record(name: str, version: str = "1") -> InstalledRecord:
        key, output = ConeKey(sha(name)), OutputId(sha(version))
        return InstalledRecord(PackageName(name), Version(version), key, output, sha("changes"))

    store.record_installed("/a", [record("x"), record("y")])
    store.record_installed("/b", [record("x")])
    store.record_installed("/a", [record("x", "2")])
    store.forget_installed("/a", [PackageName("y"), PackageName("z")])
    store.close()
    assert store.installed("/a") == {"x": record("x", "2")}
    assert store.installed("/b") == {"x": record("x")}
    assert store.installed("/c") == {}


def test_events(store: Store) -> None:
    events = [
        Event(10, "/p", "a.1", sha("a"), Result.HIT, "", 0.5, 100, 50),
        Event(20, "/p", "b.1", "", Result.REFUSED, "bound to /x"),
    ]
    store.record_events(events)
    assert store.index.events() == events
    assert store.index.events(since=11) == events[1:]


def test_caches(store: Store) -> None:
    values = {f"k{number}": bytes([number % 256]) for number in range(1200)}
    store.index.cache("opam", values, 10)
    store.index.cache("opam", {"k0": b"new"}, 20)
    assert store.index.cached("opam", [*values, "none"]) == {**values, "k0": b"new"}
    assert store.index.cached("other", values) == {}
    store.index.trim_caches(15)
    assert store.index.cached("opam", values) == {"k0": b"new"}


def test_a_lost_index_is_made_from_the_manifests(store: Store) -> None:
    manifest = stored_manifest(store)
    store.add(manifest)
    store.close()
    for path in store.layout.root.glob("index.sqlite*"):
        path.unlink()
    assert [it.output for it in store.by_name(PackageName("demo"))] == [manifest.output]


@pytest.mark.parametrize("damage", ["garbage", "emptied", "torn"])
def test_a_damaged_index_is_moved_aside_and_made_again(store: Store, damage: str) -> None:
    manifest = stored_manifest(store)
    store.add(manifest)
    store.close()
    data = store.layout.index.read_bytes()
    if damage == "garbage":
        store.layout.index.write_bytes(b"this is no database" * 1000)
    elif damage == "emptied":
        store.layout.index.write_bytes(b"")
    else:
        store.layout.index.write_bytes(data[:4096] + os.urandom(len(data) - 4096))
    assert [it.output for it in store.by_name(PackageName("demo"))] == [manifest.output]
    assert "damaged index" in store.problems[0]
    assert any(path.name.startswith("index.sqlite-") for path in store.layout.quarantine.iterdir())


def test_an_index_of_a_newer_version_is_left_alone(store: Store) -> None:
    import sqlite3

    store.touch([(ConeKey(sha("x")), OutputId(sha("y")))], 1)
    store.close()
    connection = sqlite3.connect(store.layout.index)
    connection.execute("PRAGMA user_version = 7")
    connection.commit()
    connection.close()
    with pytest.raises(BadDataError, match="another version") as caught:
        store.installed("/a")
    assert caught.value.observed == 7


def test_a_store_that_nobody_closed_is_closed_when_nobody_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recorded(*args: Any, **named: Any) -> sqlite3.Connection:  # noqa: ANN401 - as connect takes them
        opened.append(connect(*args, **named))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", recorded)
    assert Store.open(tmp_path / "store").index.records() == []
    gc.collect()
    assert opened
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_rebuild_keeps_use_times_and_drops_what_is_gone(store: Store) -> None:
    kept, gone = stored_manifest(store, "kept"), stored_manifest(store, "gone")
    for manifest in (kept, gone):
        store.add(manifest)
        store.touch([(manifest.key, manifest.output)], 9)
    store.layout.manifest(gone.key, gone.output).unlink()
    assert store.index.rebuild() == 1
    assert [it.uses for it in store.by_name(PackageName("kept"))] == [1]
    assert store.by_name(PackageName("gone")) == []


def test_a_manifest_under_another_name_is_refused(store: Store) -> None:
    manifest = stored_manifest(store)
    store.add(manifest)
    path = store.layout.manifest(manifest.key, manifest.output)
    path.rename(path.with_name(f"{sha('wrong')}.json"))
    assert store.outputs(manifest.key) == []
    assert "another key or output" in store.problems[0]


def test_size(store: Store) -> None:
    store.add(stored_manifest(store, data=b"12345"))
    size = store.size()
    assert (size.snapshots, size.objects, size.object_bytes, size.quarantine_bytes) == (1, 2, 10, 0)
    assert size.manifest_bytes > 100


def test_verify_finds_nothing_wrong(store: Store) -> None:
    store.add(stored_manifest(store, data=b"12345"))
    store.objects.put_bytes(b"unnamed", executable=False)
    report = verify(store, full=True)
    assert report.sound
    assert (report.manifests, report.objects, report.unnamed, report.hashed_bytes) == (1, 3, 1, 17)
    assert verify(store, full=False).hashed_bytes == 0


def test_full_verify_sees_damage_that_left_no_trace(store: Store) -> None:
    manifest = stored_manifest(store, data=b"12345")
    store.add(manifest)
    digest = manifest.files[1].digest
    assert digest
    path = store.layout.object(digest, executable=False)
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"54321")
    path.chmod(0o444)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify(store, full=False).sound
    report = verify(store, full=True)
    assert any("damaged object" in problem for problem in report.problems)
    assert store.outputs(manifest.key) == [], "a snapshot that can't be restored is no hit"
    assert store.by_name(PackageName("demo")) == []


def test_verify_names_missing_objects(store: Store) -> None:
    manifest = stored_manifest(store)
    store.add(manifest)
    digest = manifest.files[1].digest
    assert digest
    store.layout.object(digest, executable=False).unlink()
    report = verify(store, full=False)
    assert report.missing == (digest,)
    assert not report.sound
    assert "can't be restored" in report.problems[0]


def test_gc_removes_old_unnamed_objects_and_leftovers_only(store: Store) -> None:
    manifest = stored_manifest(store)
    store.add(manifest)
    digest, size = store.objects.put_bytes(b"unnamed", executable=False)
    path = store.layout.object(digest, executable=False)
    now = path.stat().st_ctime
    (store.layout.tmp / "put-1-0-dead").write_bytes(b"half")
    (store.layout.tmp / "put-dir-1").mkdir()
    (store.layout.tmp / "download").write_bytes(b"")
    (store.layout.manifests / "ab" / f"ab{'0' * 62}").mkdir(parents=True)

    report = collect(store, now=now + 10)
    assert (report.objects, report.young, report.leftovers) == (0, 1, 2)
    assert [it.name for it in store.layout.tmp.iterdir()] == ["download"]
    assert not (store.layout.manifests / "ab" / f"ab{'0' * 62}").exists()

    report = collect(store, now=now + MIN_AGE + 5, dry_run=True)
    assert (report.objects, report.object_bytes, path.exists()) == (1, size, True)
    assert collect(store, now=now + MIN_AGE + 5).objects == 1
    assert not path.exists()
    assert verify(store, full=True).sound
    assert collect(store, now=now + 2 * 86400).leftovers == 1


def test_files_of_a_definition_are_objects_like_others(store: Store) -> None:
    digest, size = store.objects.put_bytes(b"a patch", executable=False)
    extra = (ExtraFile("fix.patch", digest, size),)
    manifest = dataclasses.replace(stored_manifest(store), extra_files=extra)
    store.add(manifest)
    path = store.layout.object(digest, executable=False)
    assert collect(store, now=path.stat().st_ctime + 2 * MIN_AGE).objects == 0
    path.unlink()
    assert verify(store, full=False).missing == (digest,)
    with pytest.raises(BadDataError, match="missing object"):
        store.add(manifest)


def test_drop(store: Store) -> None:
    manifest = stored_manifest(store)
    store.add(manifest)
    store.drop(manifest.key, manifest.output)
    store.drop(manifest.key, manifest.output)
    assert store.outputs(manifest.key) == []
    assert store.by_name(PackageName("demo")) == []
    assert verify(store, full=True).unnamed == 2


def test_gc_waits_for_writers(store: Store) -> None:
    other = Store.open(store.layout.root)
    with other.writing(), pytest.raises(UnavailableError, match="being written"):
        collect(store, now=0, timeout=0.05)
    collect(store, now=0, timeout=0.05)


def test_gc_makes_the_index_under_its_own_lock(store: Store) -> None:
    """The index takes a share of the lock that gc holds alone; that must not wait for itself."""
    with store.staging.lock.exclusive(1):
        assert store.by_name(PackageName("x")) == []


def test_gc_removes_nothing_when_a_manifest_cannot_be_read(store: Store) -> None:
    manifest = stored_manifest(store)
    store.add(manifest)
    path = store.layout.manifest(manifest.key, manifest.output)
    path.unlink()
    path.mkdir()  # reading it fails, for root too
    with pytest.raises(UnavailableError, match="can't be read"):
        collect(store, now=9e9)
    digest = manifest.files[1].digest
    assert digest
    assert store.layout.object(digest, executable=False).exists()


def test_opening_a_store_imports_nothing_heavy() -> None:
    code = "import sys, opambin.store.store; print(*sys.modules)"
    modules = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlite3", "filelock", "yaml", "tempfile", "asyncio", "lief", "click"} & set(modules)
