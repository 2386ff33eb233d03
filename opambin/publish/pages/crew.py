"""Renders and writes many pages, with a process for each processor where there are enough of them."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from typing import TYPE_CHECKING

from opambin.publish.pages import files, rendering

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opambin.publish.pages.contents import Page

FEW = 400
"""Pages that one process makes before another has started."""
PORTION = 50  # pages that a process takes at a time

_work: tuple[Path, Sequence[Page]] | None = None
"""What the processes do; they are forked, so that nothing has to be written out and read for them."""


def carry_out(root: Path, due: Sequence[Page], processes: int | None = None) -> int:
    """Render pages and write them; return how many files changed.

    Args:
        root: Of the repository.
        due: The pages.
        processes: How many work at once; by default what suits the machine and the number of pages.

    Raises:
        OSError: One can't be written; others may have been.
    """
    global _work  # noqa: PLW0603 - forked processes find it here
    count = processes or _processes(len(due))
    _work = root, due
    try:
        portions = range(0, len(due), PORTION)
        if count <= 1:
            return sum(map(_portion, portions))
        rendering.environment()  # made once, before the processes part
        with multiprocessing.get_context("fork").Pool(count) as pool:
            return sum(pool.imap_unordered(_portion, portions))
    finally:
        _work = None


def _processes(pages: int) -> int:
    """Choose how many processes work; one where forking is not safe."""
    if pages <= FEW or not sys.platform.startswith("linux") or threading.active_count() > 1:
        return 1
    return min(len(os.sched_getaffinity(0)), -(-pages // FEW))


def _portion(start: int) -> int:
    if _work is None:
        return 0
    root, due = _work
    return sum(files.put(root, page.path, page.render()) for page in due[start : start + PORTION])
