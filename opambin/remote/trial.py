"""Tries out whether a remote can do what it is configured for."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, OpambinError, UnavailableError
from opambin.remote.protocol import FORMAT, FORMAT_NAME, MAX_FORMAT_BYTES

if TYPE_CHECKING:
    from opambin.remote.protocol import Remote

TRIAL_NAME = "opam-bin-check"
COUNT_SECONDS = 5.0
ROUNDS = 5


@dataclass(slots=True)
class Trial:
    """What was found out.

    Attributes:
        reads: Whether reading works.
        writes: Whether writing, reading back and removing works; None: not tried.
        first_ms: The first answer, with the connection, in milliseconds.
        answer_ms: The fastest of some more.
        empty: Whether nobody has written there yet.
        entries: How many names it holds; None: it can't list, or was not asked.
        all_counted: False when counting was given up after some seconds.
        problems: One sentence each; empty when all is well.
        notes: What is good to know, and no problem.
    """

    reads: bool = False
    writes: bool | None = None
    first_ms: float | None = None
    answer_ms: float | None = None
    empty: bool = False
    entries: int | None = None
    all_counted: bool = True
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def try_out(remote: Remote, *, write: bool) -> Trial:
    """Read from a remote, count what it holds, and write to it if it is for that.

    Args:
        remote: The remote.
        write: Whether to put, read back and remove a small name.
    """
    trial = Trial()
    _try(trial, lambda: _read(remote, trial))
    if trial.problems:
        return trial
    _try(trial, lambda: _count(remote, trial))
    if write:
        trial.writes = _try(trial, lambda: _write(remote, trial))
    return trial


def _try(trial: Trial, action) -> bool:  # type: ignore[no-untyped-def]  # noqa: ANN001
    try:
        action()
    except OpambinError as error:
        trial.problems.append(str(error))
        return False
    return True


def _read(remote: Remote, trial: Trial) -> None:
    start = time.perf_counter()
    found = remote.get(FORMAT_NAME, limit=MAX_FORMAT_BYTES)
    trial.first_ms = (time.perf_counter() - start) * 1000
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        remote.get(FORMAT_NAME, limit=MAX_FORMAT_BYTES)
        times.append((time.perf_counter() - start) * 1000)
    trial.answer_ms = min(times)
    trial.empty = found is None
    if found not in {None, FORMAT}:
        raise BadDataError(
            f"{remote.url}: {FORMAT_NAME}", "of a format that this version does not know", expected=FORMAT,
            observed=found,
        )  # fmt: skip
    trial.reads = True


def _count(remote: Remote, trial: Trial) -> None:
    end = time.monotonic() + COUNT_SECONDS
    number = 0
    try:
        for _ in remote.entries(""):
            number += 1
            if time.monotonic() > end:
                trial.all_counted = False
                break
    except UnavailableError as error:  # no fault: nothing but gc needs it
        trial.notes.append(str(error))
        return
    trial.entries = number


def _write(remote: Remote, trial: Trial) -> None:
    content = os.urandom(16).hex().encode()
    remote.put(TRIAL_NAME, content, replace=True)
    if remote.get(TRIAL_NAME, limit=100) != content:
        raise BadDataError(f"{remote.url}: {TRIAL_NAME}", "what was written is not what is read")
    if remote.put(TRIAL_NAME, b"another"):
        raise BadDataError(f"{remote.url}: {TRIAL_NAME}", "replaced without being asked")
    try:
        remote.remove(TRIAL_NAME)
    except UnavailableError as error:
        trial.notes.append(f"nothing can be removed there: {error}")
        return
    if remote.get(TRIAL_NAME, limit=100) is not None:
        trial.notes.append(f"{TRIAL_NAME} is still there after its removal")
