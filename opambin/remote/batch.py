"""Many small reads at once."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.remote.protocol import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
            try:
                answers[name] = read(name)
            except BadDataError as error:
                answers[name], answers.faults[name] = None, error
        return answers
    answers.update(dict.fromkeys(wanted))  # in their order, whatever comes first
    for name, data, fault in _side_by_side(read, wanted, workers):
        if isinstance(fault, BadDataError):
            answers.faults[name] = fault
        elif fault is not None:
            raise fault
        answers[name] = data
    return answers


def _side_by_side(
    read: Callable[[str], bytes | None], names: list[str], workers: int
) -> Iterator[tuple[str, bytes | None, BaseException | None]]:
    """Yield names with their content, or with what was raised in its place, as they come.

    The threads keep no process from ending: where a file system has gone away one may hang for ever, and who
    waits for the batch has left it behind long ago.
    """
    waiting: SimpleQueue[str] = SimpleQueue()
    read_ones: SimpleQueue[tuple[str, bytes | None, BaseException | None]] = SimpleQueue()
    ended = threading.Event()
    for name in names:
        waiting.put(name)

    def work() -> None:
        while not ended.is_set():
            try:
                name = waiting.get_nowait()
            except Empty:
                return
            try:
                read_ones.put((name, read(name), None))
            except BaseException as error:  # noqa: BLE001 - it is raised where the batch is waited for
                if not isinstance(error, BadDataError):
                    ended.set()  # nobody must take one more before the batch is called off
                read_ones.put((name, None, error))

    for _ in range(min(workers, len(names))):
        threading.Thread(target=work, name="remote", daemon=True).start()
    try:
        for _ in names:
            yield read_ones.get()
    finally:
        ended.set()
