"""The same work on many things, in a few threads: the kernel copies while Python prepares the next."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Job = TypeVar("Job")


def in_parallel(count: int, jobs: Iterator[Job], work: Callable[[Job], None]) -> None:
    """Run ``work`` for every job in ``count`` threads; the first exception ends it and is raised."""
    lock = threading.Lock()
    failures: list[BaseException] = []

    def run() -> None:
        while not failures:
            with lock:
                job = next(jobs, None)
            if job is None:
                return
            try:
                work(job)
            except BaseException as error:  # noqa: BLE001 - handed over to the caller's thread below
                failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(max(1, count) - 1)]
    for thread in threads:
        thread.start()
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - Ctrl-C between two jobs; raised below, after the threads
        failures.append(error)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
