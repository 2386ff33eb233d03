from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING

from store_worker import fill

from opambin.model import PackageName
from opambin.store.gc import collect
from opambin.store.store import Store
from opambin.store.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

WORKERS = 4
ROUNDS = 15


def test_processes_write_the_same_snapshots_at_once(tmp_path: Path) -> None:
    root = tmp_path / "store"  # not even created: they race for that too
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        jobs = [pool.apply_async(fill, (str(root), who, ROUNDS)) for who in range(WORKERS)]
        problems = [problem for job in jobs for problem in job.get(timeout=100)]
    assert problems == []
    with Store.open(root, create=False) as store:
        assert len(list(store.manifests.paths())) == ROUNDS
        for turn in range(ROUNDS):
            (record,) = store.by_name(PackageName(f"p{turn}"))
            assert record.uses == WORKERS
        for who in range(WORKERS):
            assert len(store.installed(f"/switch{who}")) == ROUNDS
        assert list(store.layout.tmp.iterdir()) == []
        assert verify(store, full=True).sound


def test_gc_among_writers_takes_nothing_that_is_needed(tmp_path: Path) -> None:
    """Every object counts as old, so only the lock and the manifests protect them."""
    root = tmp_path / "store"
    Store.open(root)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = [pool.apply_async(fill, (str(root), who, ROUNDS)) for who in range(2)]
        with Store.open(root) as store:
            sweeps = 0
            while not all(job.ready() for job in jobs):
                collect(store, now=time.time() + 1e6, timeout=60)
                sweeps += 1
        problems = [problem for job in jobs for problem in job.get(timeout=100)]
    assert problems == []
    assert sweeps
    with Store.open(root) as store:
        report = verify(store, full=True)
    assert report.sound
    assert report.manifests == ROUNDS
