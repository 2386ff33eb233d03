from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from opambin.placement.parallel import in_parallel


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_every_job_is_done_once(count: int) -> None:
    done: list[int] = []
    in_parallel(count, iter(range(20)), done.append)
    assert sorted(done) == list(range(20))


def test_the_first_failure_ends_it_and_is_raised() -> None:
    done: list[int] = []

    def work(job: int) -> None:
        if job == 3:
            raise OSError("full")
        done.append(job)

    with pytest.raises(OSError, match="full"):
        in_parallel(1, iter(range(20)), work)
    assert done == [0, 1, 2]


@pytest.mark.parametrize("waiting", ["for a thread to start", "for its end"])
def test_an_interrupt_waits_for_the_other_threads(waiting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the main thread waited, it left a thread behind that wrote into a folder being removed."""
    main = threading.current_thread()
    begun, done = threading.Event(), threading.Event()
    before = set(threading.enumerate())

    def work(_: int) -> None:
        if threading.current_thread() is main:
            begun.wait()
            return
        begun.set()
        time.sleep(0.1 if waiting == "for its end" else 0)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        done.set()

    if waiting != "for its end":
        start = threading.Thread.start

        def slow(thread: threading.Thread) -> None:
            start(thread)
            time.sleep(0.1)

        monkeypatch.setattr(threading.Thread, "start", slow)
    with pytest.raises(KeyboardInterrupt):
        in_parallel(2, iter(range(2)), work)
    assert done.is_set()
    assert set(threading.enumerate()) <= before
