r"""OCaml 5's ``runtime-launch-info``: how the linker of byte code is to start the programs it makes.

``<kind>\n<folder of the run-time systems>\0\n<launcher, an executable>``, where kind is ``sh``, ``exe`` or
the path of a shell (``read_runtime_launch_info`` in bytelink.ml). Both texts may have any length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.model import PLACEHOLDER, Bound, Kind, Occurrence
from opambin.relocate import elf, elfdata
from opambin.relocate.located import Located
from opambin.relocate.pieces import Pieces

if TYPE_CHECKING:
    from opambin.relocate.spelling import Spelling

_MAX_PATH = 4096  # bytes
_HEAD = re.compile(rb"(?:sh|exe|/[^\0\n]{0,%d})\n[^\0\n]{0,%d}(?=\0\n)" % (_MAX_PATH, _MAX_PATH))


def recognises(data: bytes) -> bool:
    """Tell whether a file is a ``runtime-launch-info``."""
    return _HEAD.match(data) is not None


def locate(data: bytes, spelling: Spelling, path: str) -> Located:
    """Bring a ``runtime-launch-info`` into placeholder form.

    Raises:
        BadDataError: It is none, or its launcher is damaged.
    """
    head = _HEAD.match(data)
    if head is None:
        raise BadDataError(path, "not a runtime-launch-info")
    pieces, done = Pieces(), 0
    # A copy: where the text ends is a boundary.
    for hit in spelling.hits(head[0]):
        if not hit.build:
            pieces.raw(data[done : hit.offset])
            pieces.part(Located(PLACEHOLDER, (Occurrence(Kind.TEXT, 0, where="launch information"),)))
            done = hit.end
    start = head.end() + 2
    pieces.raw(data[done:start])
    pieces.part(_locate_launcher(data[start:], spelling, path))
    return pieces.located()


def _locate_launcher(launcher: bytes, spelling: Spelling, path: str) -> Located:
    if not spelling.touches(launcher):
        return Located(launcher)
    if launcher.startswith(elf.MAGIC):
        return elfdata.locate(launcher, spelling, path)
    needed = spelling.needed_anywhere(launcher)
    bound = (Bound(path, "the prefix stands in a launcher of unknown form"),) if needed else ()
    return Located(launcher, bound=bound, leaks=sum(hit.build for hit in spelling.hits(launcher)))
