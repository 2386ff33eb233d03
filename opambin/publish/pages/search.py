"""The search index: two text files, a package a line, for the script of the front page.

``names.txt``: a digit (base 36) that says how many letters of the name before go on, the rest of the name,
and after tabs the newest version, how many packages depend on it (base 36, nothing for none) and the file of
its page, nothing where it is the name. ``words.txt``: what the package of the same line is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.publish.pages.wording import file_of, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_SHARED = 35  # one digit of base 36
MOST_WORDS = 160  # letters of a summary
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def names(rows: Iterable[tuple[str, str, int]]) -> bytes:
    """Write the first file.

    Args:
        rows: Name, newest version and number of dependents, sorted by name.
    """
    lines = []
    before = ""
    for name, version, users in rows:
        seen = visible(name)
        shared = _shared(before, seen)
        page = file_of(name)
        columns = [
            _DIGITS[shared] + seen[shared:],
            visible(version),
            _base36(users) if users else "",
            page if page != seen else "",
        ]
        lines.append("\t".join(columns).rstrip("\t") + "\n")
        before = seen
    return "".join(lines).encode("utf-8", "replace")


def words(texts: Sequence[str]) -> bytes:
    """Write the second file, in the order of the first."""
    return "".join(visible(text, MOST_WORDS) + "\n" for text in texts).encode("utf-8", "replace")


def _shared(one: str, other: str) -> int:
    """Count the letters that two names begin with together; only ASCII, where the script counts alike."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right or not left.isascii() or count == MOST_SHARED:
            break
        count += 1
    return count


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"
