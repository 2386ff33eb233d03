"""JSON in one canonical form only, for everything that is signed.

ASCII, members sorted, no space outside strings, no member twice, no fraction. What is read is written again
and compared: so there is one text for one meaning, and no parser can see another meaning in it.
"""

from __future__ import annotations

import json
from typing import Any

from opambin.errors import BadDataError

MAX_BYTES = 1_000_000


def write(content: dict[str, object]) -> bytes:
    """Return the canonical form."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def read(data: bytes, what: object, members: frozenset[str], *, limit: int = MAX_BYTES) -> dict[str, Any]:
    """Read an object with exactly these members.

    Args:
        data: Its bytes.
        what: Its name, for the error.
        members: What it has to hold.
        limit: How long it may be, in bytes.

    Raises:
        BadDataError: It is not in canonical form, or has other members.
    """
    if len(data) > limit:
        raise BadDataError(what, "too large", expected=f"<= {limit} bytes", observed=len(data))
    try:
        content = json.loads(data.decode("ascii"))
        same = isinstance(content, dict) and write(content) == data
    except (ValueError, RecursionError) as error:
        raise BadDataError(what, f"no JSON: {error}") from error
    if not same:
        raise BadDataError(what, "not an object in canonical JSON")
    if content.keys() != members:
        odd = ", ".join(sorted(content.keys() ^ members))
        raise BadDataError(what, f"unknown or lacking members: {odd:.200}")
    assert isinstance(content, dict)  # noqa: S101 - seen above
    return content


def is_hex64(text: object) -> bool:
    """Say whether ``text`` is a sha256 as we write it."""
    return type(text) is str and len(text) == 64 and not text.strip("0123456789abcdef")


def is_count(number: object) -> bool:
    """Say whether ``number`` can be a size in bytes, a time in seconds or a counter."""
    return type(number) is int and 0 <= number < 1 << 48


def is_text(text: object, longest: int = 500) -> bool:
    """Say whether ``text`` is one printable line."""
    return type(text) is str and len(text) <= longest and text.isprintable()
