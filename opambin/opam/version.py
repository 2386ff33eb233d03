"""The order of opam's versions.

It is Debian's without the epoch: a version is what stands before its last ``-`` and, on equality, what
stands after it; each is compared by turns as text and as number. In text, ``~`` comes before everything,
the end included, letters come before the rest. ``1.0`` and ``1.00`` are equal, as are ``1`` and ``1-0``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Key: TypeAlias = tuple[tuple[tuple[int, ...], tuple[int, str]], ...]

_PAIR = re.compile(r"([^0-9]*)([0-9]*)")
_END = ((0,), (0, ""))

TESTS: Final[dict[str, Callable[[int], bool]]] = {
    "=": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
    "~": lambda order: order >= 0,  # opam's reading of this operator
}
"""What each relational operator asks of the result of :func:`compare`."""


def compare(left: str, right: str) -> int:
    """Return -1, 0 or 1 as ``left`` is before, equal to or after ``right``."""
    if left == right:
        return 0
    left_key, right_key = sort_key(left), sort_key(right)
    return (left_key > right_key) - (left_key < right_key)


def satisfies(version: str, op: str, bound: str) -> bool:
    """Say whether ``version op bound`` holds, for a relational operator of opam's syntax."""
    return TESTS[op](compare(version, bound))


@lru_cache(maxsize=4096)
def sort_key(version: str) -> tuple[Key, Key]:
    """Return what sorts versions in opam's order; equal keys are equal versions."""
    upstream, _, revision = version.rpartition("-") if "-" in version else (version, "", "")
    return _key(upstream), _key(revision)


def _key(part: str) -> Key:
    # The pair at the start is there even when empty, and the one at the end stands for the endless
    # sequence of ("", 0) that the shorter of two versions is compared as.
    pairs = [
        ((*map(_weight, text.encode("utf-8", "surrogateescape")), 0), _number(digits))
        for text, digits in _PAIR.findall(part)
        if text or digits
    ]
    if not pairs:
        pairs.insert(0, _END)
    return (*pairs, _END)


def _number(digits: str) -> tuple[int, str]:
    """Order numbers without converting them: Python refuses those of thousands of digits."""
    digits = digits.lstrip("0")
    return len(digits), digits


def _weight(byte: int) -> int:
    char = chr(byte)
    if char == "~":
        return -1
    return byte if char.isascii() and char.isalpha() else byte + 256
