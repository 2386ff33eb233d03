from __future__ import annotations

import dataclasses
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from store_worker import sha, snapshot

from opambin.errors import BadDataError, UnavailableError
from opambin.model import OutputId, PackageName
from opambin.store.store import Store
from opambin.store.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opambin.model import Manifest


@pytest.fixture(params=["clean", "writer alive", "no index"])
def frozen(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, Manifest]]:
    """A store with one snapshot that can't be written: a read-only mount for root, else no permission."""
    root = tmp_path / "store"
    store = Store.open(root)
    manifest = snapshot(store, "kept", range(5))
    if request.param == "no index":
        store.manifests.put(manifest)
    else:
        store.add(manifest)
    if request.param == "clean":
        store.close()
    if os.geteuid() == 0:
        bind = ["mount", "--bind", str(root), str(root)]
        if subprocess.run(bind, capture_output=True, check=False).returncode:
            pytest.skip("a read-only mount takes a kernel that lets root make one")
        subprocess.run(["mount", "-o", "remount,ro,bind", str(root)], check=True)
    else:
        subprocess.run(["chmod", "-R", "a-w", str(root)], check=True)
    yield root, manifest
    if os.geteuid() == 0:
        subprocess.run(["umount", "-l", str(root)], check=True)
    else:
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)
    store.close()


@pytest.mark.parametrize("readonly", [True, False], ids=["opened read-only", "opened for writing"])
def test_everything_can_be_read(frozen: tuple[Path, Manifest], readonly: bool) -> None:
    root, manifest = frozen
    with Store.open(root, readonly=readonly) as store:
        assert store.outputs(manifest.key) == [manifest]
        assert [it.output for it in store.by_name(PackageName("kept"))] == [manifest.output]
        assert store.installed("/a") == {}
        for entry in manifest.files:
            assert entry.digest
            assert store.objects.path(entry.digest, executable=bool(entry.mode & 1), size=entry.size).exists()
        assert store.problems == []


@pytest.mark.parametrize("readonly", [True, False], ids=["opened read-only", "opened for writing"])
def test_every_write_is_refused_with_the_remedy(frozen: tuple[Path, Manifest], readonly: bool) -> None:
    root, manifest = frozen
    with Store.open(root, readonly=readonly) as store:
        for write in (
            lambda: store.objects.put_bytes(b"new", executable=False),
            lambda: store.add(manifest),
            lambda: store.manifests.put(dataclasses.replace(manifest, output=OutputId(sha("new")))),
            lambda: store.touch([(manifest.key, manifest.output)], 1),
        ):
            with pytest.raises(UnavailableError) as caught:
                write()
            assert str(root) in str(caught.value)
            assert "read-only" in str(caught.value).lower() or "OPAMBIN_CACHE" in str(caught.value)
        assert [it.uses for it in store.by_name(PackageName("kept"))] == [0]


def test_a_store_opened_read_only_is_not_changed_though_it_could_be(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with Store.open(root) as store:
        manifest = snapshot(store, "kept", range(5))
        store.add(manifest)
    digest = manifest.files[0].digest
    assert digest
    path = store.layout.object(digest, executable=False)
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    before = _listing(root)
    with Store.open(root, readonly=True) as store:
        with pytest.raises(BadDataError, match="damaged object"):
            store.objects.path(digest, executable=False, size=manifest.files[0].size)
        assert not verify(store, full=True).sound
    assert _listing(root) == before


def _listing(root: Path) -> list[tuple[str, int, int]]:
    found = [path for path in sorted(root.rglob("*")) if not path.name.endswith(("-wal", "-shm"))]
    return [(str(path), path.stat().st_mode, path.stat().st_mtime_ns) for path in found if path.is_file()]
