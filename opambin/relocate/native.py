"""What files of native code have in common, whatever their format: regions with names, and symbols."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Region(Protocol):
    """A part of a file."""

    @property
    def name(self) -> str:
        """As the format has it, for people."""

    @property
    def offset(self) -> int:
        """Of its first byte."""

    @property
    def end(self) -> int:
        """Offset of the first byte after it."""

    @property
    def allocated(self) -> bool:
        """Whether it is there when the program runs."""

    @property
    def debug(self) -> bool:
        """Whether it is there for people and debuggers alone."""


class NativeFile(Protocol):
    """A file of native code whose headers have been read."""

    @property
    def end(self) -> int:
        """Offset of the first byte that belongs to no part of it."""

    def index(self) -> RegionIndex:
        """Return a quick way from an offset to its region."""

    def has_symbol(self, data: bytes, offset: int) -> bool:
        """Tell whether a symbol stands for the byte at ``offset`` of the file."""


class RegionIndex:
    """Finds the region that holds an offset of the file.

    Args:
        regions: They do not overlap.
    """

    def __init__(self, regions: Iterable[Region]) -> None:
        self._held = sorted(
            (region for region in regions if region.end > region.offset), key=lambda region: region.offset
        )
        self._starts = [region.offset for region in self._held]

    def at(self, offset: int) -> Region | None:
        """Return the region that holds the byte at ``offset``."""
        number = bisect_right(self._starts, offset) - 1
        if number < 0 or offset >= self._held[number].end:
            return None
        return self._held[number]
