from __future__ import annotations

import errno
import os
import resource
import subprocess
from typing import TYPE_CHECKING

import pytest
from store_worker import content, snapshot

from opambin.errors import UnavailableError
from opambin.store.store import Store
from opambin.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK_BYTES = 2 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(mount)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs takes root and a kernel that lets it")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_is_told_and_leaves_the_store_sound(small_disk: Path) -> None:
    root = small_disk / "store"
    with Store.open(root) as store:
        kept = snapshot(store, "kept", range(5))
        store.add(kept)
        with pytest.raises(UnavailableError) as caught:
            store.objects.put_bytes(os.urandom(DISK_BYTES), executable=False)
        assert str(root) in str(caught.value)
        assert "No space left" in str(caught.value)
        assert "OPAMBIN_CACHE" in str(caught.value)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert list(store.layout.tmp.iterdir()) == []
        assert store.outputs(kept.key) == [kept]
        assert verify(store, full=True).sound


def test_filling_the_disk_with_snapshots(small_disk: Path) -> None:
    """Every snapshot is there as a whole or not at all, and those that are there can be used."""
    with Store.open(small_disk / "store") as store:
        added = []
        with pytest.raises(UnavailableError, match="space"):
            for turn in range(1000):
                manifest = snapshot(store, f"p{turn}", range(turn * 10, turn * 10 + 10))
                store.add(manifest)
                added.append(manifest)
        assert added
        assert list(store.layout.tmp.iterdir()) == []
        for manifest in added:
            assert store.outputs(manifest.key) == [manifest]
            for entry in manifest.files:
                assert entry.digest
                store.objects.path(entry.digest, executable=bool(entry.mode & 1), size=entry.size)
        assert store.problems == []


def test_a_disk_too_full_for_a_store(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (DISK_BYTES - 4096))
    with pytest.raises(UnavailableError, match="free some space"):
        Store.open(small_disk / "store").objects.put_bytes(content(5000) * 100, executable=False)


def test_a_limit_on_file_sizes(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(UnavailableError, match="ulimit -f"):
            store.objects.put_bytes(b"x" * 20_000, executable=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(store.layout.tmp.iterdir()) == []
    assert list(store.objects.all()) == []
