"""How long an answer may be, and how long it has to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError

if TYPE_CHECKING:
    from opambin.remote.protocol import Span


def checked_limit(what: str, size: int, *, limit: int, span: Span | None) -> int:
    """Return how many bytes a read gives, of something with ``size`` bytes.

    Raises:
        BadDataError: More than ``limit``.
    """
    wanted = size
    if span is not None:
        wanted = max(0, size - span.start)
        if span.length is not None:
            wanted = min(wanted, span.length)
    if wanted > limit:
        raise too_long(what, limit, wanted)
    return wanted


def too_long(what: str, limit: int, observed: object = "more") -> BadDataError:
    """Return the error for an answer with more bytes than ``limit``."""
    return BadDataError(what, "too long", expected=f"<= {limit} bytes", observed=observed)


def wrong_length(what: str, expected: int, observed: object) -> BadDataError:
    """Return the error for something that has not the length it has to have, in bytes."""
    return BadDataError(what, "wrong length", expected=f"{expected} bytes", observed=observed)
