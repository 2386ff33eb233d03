"""Many small reads at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.remote.protocol import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

FEW = 4  # names; so many are read one after the other


def in_batch(read: Callable[[str], bytes | None], names: Iterable[str], workers: int) -> Answers:
    """Read many names in several threads.

    Args:
        read: Reads one; may be called in several threads at once.
        names: What to read.
        workers: How many at once.

    Raises:
        OpambinError: The first one other than bad data; nothing new is begun after it.
    """
    wanted = list(dict.fromkeys(names))
    answers = Answers()
    if len(wanted) <= FEW or workers <= 1:
        for name in wanted:
            _take(answers, name, lambda name=name: read(name))  # type: ignore[misc]  # the default binds the name
        return answers
    from concurrent.futures import ThreadPoolExecutor

    failed = threading.Event()

    def unless_failed(name: str) -> bytes | None:
        if failed.is_set():  # a worker must not take one more before the batch is called off
            return None
        try:
            return read(name)
        except BadDataError:
            raise
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(min(workers, len(wanted)), thread_name_prefix="remote") as pool:
        waiting: dict[str, Future[bytes | None]] = {name: pool.submit(unless_failed, name) for name in wanted}
        try:
            for name, future in waiting.items():
                _take(answers, name, future.result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return answers


def _take(answers: Answers, name: str, result: Callable[[], bytes | None]) -> None:
    try:
        answers[name] = result()
    except BadDataError as error:
        answers[name] = None
        answers.faults[name] = error
