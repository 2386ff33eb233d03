"""Progress of transfers: bars with rates on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opambin.exchange.meter import Meter, Silent

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """Shows one transfer as a bar on standard error."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, what: str, count: int, size: int) -> None:
        """Show the bar."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            f"opam-bin: {what} {count}",
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(what, total=size)
        self._progress.start()

    def advance(self, size: int) -> None:
        """Move the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, size)

    def finish(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def meter(*, quiet: bool = False) -> Meter:
    """Return what shows progress here; ``quiet`` shows nothing even on a terminal."""
    return Bar() if sys.stderr.isatty() and not quiet else Silent()
