"""How transfers tell where they are. What is shown, and whether, is the command line's business."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Is told of a transfer of several things; may be called from several threads."""

    def begin(self, what: str, count: int, size: int) -> None:
        """Note that a transfer begins.

        Args:
            what: In a word or two, for people.
            count: How many things.
            size: Of all of them, in bytes.
        """

    def advance(self, size: int) -> None:
        """Note that so many bytes more are done."""

    def finish(self) -> None:
        """Note that the transfer has ended, well or not."""


class Silent:
    """Shows nothing."""

    def begin(self, what: str, count: int, size: int) -> None:
        """Do nothing."""

    def advance(self, size: int) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
