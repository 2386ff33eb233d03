"""The same work on many things, in a few threads: the kernel copies while Python prepares the next."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from opambin.interrupts import held_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Job = TypeVar("Job")


def in_parallel(count: int, jobs: Iterator[Job], work: Callable[[Job], None]) -> None:
    """Run ``work`` for every job in ``count`` threads; the first exception ends it and is raised.

    A signal ends it when the jobs that were begun are done: no thread goes on behind the caller's back.
    """
    lock = threading.Lock()
    failures: list[BaseException] = []

    def run(signals: list[int]) -> None:
        while not failures and not signals:
            try:
                with lock:
                    job = next(jobs, None)
                if job is None:
                    return
                work(job)
            except BaseException as error:  # noqa: BLE001 - handed over to the caller's thread below
                failures.append(error)

    with held_back() as signals:
        threads = [threading.Thread(target=run, args=(signals,)) for _ in range(max(1, count) - 1)]
        for thread in threads:
            thread.start()
        run(signals)
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
