"""Marshalled values inside native code: the constants of a program linked with ``-output-complete-exe``.

Their strings can't be found by a search of the file at path boundaries: no byte ends a marshalled string, the
byte before it is its length, and both may be letters. Nor can their length change. So they are looked for as
values, before the rest of the file; a padded prefix is replaced in place, any other binds the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.model import Bound
from opambin.relocate import marshal
from opambin.relocate.located import Located
from opambin.relocate.marshalheader import MAGIC, Header, read_header
from opambin.relocate.pieces import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.relocate.spelling import Spelling

WHERE = "marshalled value in native code"


def may_hold_values(data: bytes) -> bool:
    """Tell quickly whether there may be values in a file."""
    return MAGIC in data


def locate(data: bytes, spelling: Spelling, path: str, end: int | None = None) -> Located:
    """Bring the values in ``data[:end]`` into placeholder form; all other bytes stay as they are."""
    stop = len(data) if end is None else end
    pieces, done = Pieces(), 0
    for header in _values(data, stop):
        pieces.raw(data[done : header.start])
        pieces.part(_locate_value(data, header, spelling, path))
        done = header.end
    pieces.raw(data[done:])
    return pieces.located()


def _values(data: bytes, end: int) -> Iterator[Header]:
    """Yield the headers of values; the magic number alone, in the code of a reader, say, is none."""
    at = data.find(MAGIC, 0, end)
    while at >= 0:
        try:
            header = read_header(data, at, end)
        except BadDataError:
            after = at + 1
        else:
            yield header
            after = header.end
        at = data.find(MAGIC, after, end)


def _locate_value(data: bytes, header: Header, spelling: Spelling, path: str) -> Located:
    content = data[header.start : header.end]
    if header.compressed:
        unmovable = marshal.compressed_hits(content, spelling)
        located = Located(content)
    else:
        located = marshal.locate_fixed(data, (header.start, header.end), spelling, WHERE, functional=True)
        unmovable = located.leaks
    reason = f"the unpadded prefix stands in a {WHERE}, which cannot grow (byte {header.start})"
    bound = (Bound(path, reason),) if unmovable else ()
    return Located(located.content, located.occurrences, bound)
