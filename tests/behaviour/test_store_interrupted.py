from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from store_worker import fill_forever, snapshot

from opambin.store.gc import collect
from opambin.store.staging import Draft
from opambin.store.store import Store
from opambin.store.verify import verify

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("pause", [0.02, 0.05, 0.11], ids=str)
def test_a_killed_writer_leaves_nothing_half_written(tmp_path: Path, pause: float) -> None:
    root = tmp_path / "store"
    writer = multiprocessing.get_context("spawn").Process(target=fill_forever, args=(str(root),))
    writer.start()
    while not (root / "manifests").is_dir() or not any((root / "manifests").iterdir()):
        assert writer.is_alive()
        time.sleep(0.005)
    time.sleep(pause)
    assert writer.pid
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    with Store.open(root) as store:
        report = verify(store, full=True)
        assert report.sound
        assert report.manifests >= 1
        collect(store, now=time.time(), timeout=5)
        assert list(store.layout.tmp.iterdir()) == []
        assert store.add(snapshot(store, "after", range(5)))
        assert {record for record, _ in store.index.snapshots()} == {it.key for it in store.manifests.all()}


@pytest.mark.parametrize("where", ["write", "publish"])
def test_killed_in_the_middle_of_an_object(tmp_path: Path, where: str) -> None:
    """Die at the worst moments: half the bytes written, or the name given and the draft still there."""
    root = tmp_path / "store"
    Store.open(root)
    writer = multiprocessing.get_context("fork").Process(target=_die, args=(root, where))
    writer.start()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    with Store.open(root) as store:
        assert len(list(store.layout.tmp.iterdir())) == 1
        assert len(list(store.objects.all())) == (1 if where == "publish" else 0)
        assert verify(store, full=True).sound
        collect(store, now=time.time(), timeout=5)
        assert list(store.layout.tmp.iterdir()) == []
        digest, size = store.objects.put_bytes(b"x" * 1000, executable=False)
        assert store.objects.path(digest, executable=False, size=size).stat().st_nlink == 1


def _die(root: Path, where: str) -> None:
    def write(draft: Draft, data: bytes) -> None:
        os.write(draft.fd, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    def unlink(_: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if where == "write":
        Draft.write = write  # type: ignore[method-assign,assignment]
    else:
        os.unlink = unlink  # type: ignore[assignment]
    Store.open(root).objects.put_bytes(b"x" * 1000, executable=False)


def test_an_exception_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path / "store")

    def write(_: Draft, __: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Draft, "write", write)
    with pytest.raises(KeyboardInterrupt):
        store.objects.put_bytes(b"x", executable=False)
    assert list(store.layout.tmp.iterdir()) == []
    assert list(store.objects.all()) == []
    collect(store, now=0, timeout=0.05)  # the lock was given back
