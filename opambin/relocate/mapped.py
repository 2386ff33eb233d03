"""A file as bytes without reading it: what is looked at comes from the kernel's cache, page by page.

Reading a large file into memory costs more than copying it in the kernel: the memory has to be cleared first.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Mapped(mmap.mmap):
    """As much of the interface of ``bytes`` as the formats use to render a file."""

    def startswith(self, wanted: bytes | tuple[bytes, ...], start: int = 0) -> bool:
        """Tell whether one of ``wanted`` stands at ``start``."""
        several = wanted if isinstance(wanted, tuple) else (wanted,)
        return any(self[start : start + len(one)] == one for one in several)


@contextmanager
def mapped(descriptor: int, size: int) -> Iterator[bytes]:
    """Give the ``size`` bytes of an open file for the block.

    The file must keep its length meanwhile, as objects of a store do: reading behind the end of what was cut
    off ends the process.
    """
    if size == 0:
        yield b""
        return
    with _Mapped(descriptor, size, access=mmap.ACCESS_READ) as content:
        yield cast("bytes", content)
