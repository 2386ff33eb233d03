from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError, UnavailableError
from opambin.model import Digest
from opambin.store import objects as module
from opambin.store.objects import FRESHEN_AFTER, SENTINEL_MTIME
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def rewrite(path: Path, data: bytes) -> None:
    """Write in place, as strip or ``cp`` over a hard link do."""
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("executable", "mode"), [pytest.param(False, 0o444, id="data"), pytest.param(True, 0o555, id="program")]
)
def test_put_bytes(store: Store, executable: bool, mode: int) -> None:
    digest, size = store.objects.put_bytes(b"hello", executable=executable)
    assert (digest, size) == (hashlib.sha256(b"hello").hexdigest(), 5)
    path = store.objects.path(digest, executable=executable, size=5)
    assert path.read_bytes() == b"hello"
    status = path.lstat()
    assert stat.S_IMODE(status.st_mode) == mode
    assert status.st_mtime_ns == SENTINEL_MTIME * 10**9
    assert status.st_nlink == 1
    assert path.name.endswith(".x") is executable


@pytest.mark.parametrize("size", [0, 1, 70_000, 3 << 20], ids=str)
@pytest.mark.parametrize("whole", [0, 1 << 30], ids=["streamed", "whole"])
def test_put_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, whole: int
) -> None:
    monkeypatch.setattr(module, "WHOLE_FILE_MAX", whole)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    digest, length = store.objects.put_file(source, executable=True)
    assert length == size
    assert store.objects.path(digest, executable=True, size=size).read_bytes() == source.read_bytes()
    assert list(store.layout.tmp.iterdir()) == []
    assert store.objects.put_file(source, executable=True) == (digest, size)


def test_put_file_shares_blocks_where_the_file_system_can(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(target: int, request: int, source: int) -> int:
        assert request == module.FICLONE
        os.pwrite(target, os.pread(source, 1000, 0), 0)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clone)
    source = tmp_path / "source"
    source.write_bytes(b"cloned")
    for _ in range(2):
        digest, size = store.objects.put_file(source, executable=False)
        assert store.objects.path(digest, executable=False, size=size).read_bytes() == b"cloned"


def test_a_clone_that_meets_a_full_disk_is_told_as_such(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fcntl, "ioctl", clone)
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(UnavailableError, match="free some space"):
        store.objects.put_file(tmp_path / "source", executable=False)


def test_an_object_is_written_once(store: Store) -> None:
    digest, _ = store.objects.put_bytes(b"same", executable=False)
    before = store.layout.object(digest, executable=False).stat()
    store.objects.put_bytes(b"same", executable=False)
    after = store.layout.object(digest, executable=False).stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)


def test_a_put_of_an_old_object_makes_it_young_for_gc(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, _ = store.objects.put_bytes(b"same", executable=False)
    path = store.layout.object(digest, executable=False)
    before = path.stat()
    monkeypatch.setattr(module, "_now", lambda: before.st_ctime + FRESHEN_AFTER + 1)
    store.objects.put_bytes(b"same", executable=False)
    assert path.stat().st_ctime_ns > before.st_ctime_ns
    assert path.stat().st_mtime == SENTINEL_MTIME


def test_a_touched_object_is_hashed_and_gets_its_sentinel_back(store: Store) -> None:
    digest, size = store.objects.put_bytes(b"fine", executable=False)
    path = store.layout.object(digest, executable=False)
    os.utime(path)
    path.chmod(0o600)
    assert store.objects.path(digest, executable=False, size=size) == path
    assert path.stat().st_mtime == SENTINEL_MTIME
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert store.problems == []


def test_an_object_written_in_place_goes_to_quarantine(store: Store) -> None:
    digest, size = store.objects.put_bytes(b"good bytes", executable=False)
    path = store.layout.object(digest, executable=False)
    rewrite(path, b"evil bytes")  # the same size
    with pytest.raises(BadDataError) as caught:
        store.objects.path(digest, executable=False, size=size)
    assert caught.value.expected == digest
    assert caught.value.observed == hashlib.sha256(b"evil bytes").hexdigest()
    assert digest[2:] in str(caught.value)
    assert not path.exists()
    assert [it.read_bytes() for it in store.layout.quarantine.iterdir()] == [b"evil bytes"]
    assert len(store.problems) == 1


def test_a_put_replaces_a_damaged_object(store: Store) -> None:
    digest, size = store.objects.put_bytes(b"good", executable=False)
    rewrite(store.layout.object(digest, executable=False), b"evil")
    store.layout.quarantine.rmdir()  # it is made again
    assert store.objects.put_bytes(b"good", executable=False) == (digest, size)
    assert store.objects.path(digest, executable=False, size=size).read_bytes() == b"good"
    assert "damaged object" in store.problems[0]


def test_missing_object(store: Store) -> None:
    with pytest.raises(BadDataError, match="missing object"):
        store.objects.path(Digest("a" * 64), executable=False, size=1)
    with pytest.raises(BadDataError, match="missing object"):
        store.objects.check(Digest("a" * 64), executable=False)


def test_the_executable_form_is_another_object(store: Store) -> None:
    digest, size = store.objects.put_bytes(b"x", executable=False)
    with pytest.raises(BadDataError, match="missing object"):
        store.objects.path(digest, executable=True, size=size)


def test_a_manifest_with_a_wrong_size_does_not_condemn_the_object(store: Store) -> None:
    digest, size = store.objects.put_bytes(b"four", executable=False)
    with pytest.raises(BadDataError, match="another size") as caught:
        store.objects.path(digest, executable=False, size=5)
    assert (caught.value.expected, caught.value.observed) == (5, 4)
    assert store.objects.path(digest, executable=False, size=size).exists()


def test_a_link_in_the_place_of_an_object_is_refused(store: Store, tmp_path: Path) -> None:
    digest, size = store.objects.put_bytes(b"secret", executable=False)
    path = store.layout.object(digest, executable=False)
    (tmp_path / "copy").write_bytes(b"secret")
    path.unlink()
    path.symlink_to(tmp_path / "copy")
    with pytest.raises(BadDataError, match="not a regular file"):
        store.objects.path(digest, executable=False, size=size)
    assert not path.is_symlink()


def test_a_digest_that_is_none_reaches_no_other_place(store: Store) -> None:
    with pytest.raises(BadDataError, match="64 lower-case"):
        store.objects.path(Digest("../../../etc/passwd"), executable=False, size=1)


@pytest.mark.parametrize("kind", ["missing", "directory", "link", "pipe"])
def test_only_regular_files_are_stored(store: Store, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    if kind == "directory":
        source.mkdir()
    elif kind == "link":
        source.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(source)
    with pytest.raises(UnavailableError, match="source"):
        store.objects.put_file(source, executable=False)


def test_without_hard_links_objects_are_renamed_into_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    digest, size = store.objects.put_bytes(b"x", executable=False)
    assert store.objects.path(digest, executable=False, size=size).read_bytes() == b"x"
    assert list(store.layout.tmp.iterdir()) == []


def test_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    Store.open(tmp_path / "a").objects.put_bytes(b"x", executable=False)
    assert synced == []
    Store.open(tmp_path / "b", fsync=True).objects.put_bytes(b"x", executable=False)
    assert len(synced) == 2, "the file and its directory"


def test_all(store: Store) -> None:
    digest, _ = store.objects.put_bytes(b"x", executable=True)
    (store.layout.objects / "stray").write_bytes(b"")
    (store.layout.objects / digest[:2] / "stray").write_bytes(b"")
    assert [(it.digest, it.executable, it.size) for it in store.objects.all()] == [(digest, True, 1)]
