"""From a live file to its placeholder form: which format it has, and what stands in it; pure.

Almost all files hold no prefix: they cost one search per spelling. The others go to the module of their
format. What no format explains is *opaque*: it is never changed, and when it is needed the snapshot is
bound to the prefix it was built at.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.model import PADDED_LENGTH, PLACEHOLDER, Bound, Occurrence
from opambin.relocate import (
    arfile,
    bytecode,
    camlobj,
    elf,
    elfdata,
    embedded,
    launchinfo,
    machomagic,
    marshal,
    marshalheader,
    text,
)
from opambin.relocate.identity import identity
from opambin.relocate.located import Located
from opambin.relocate.spelling import BUILD_DIRECTORY_MARKER, Spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, Spelling, str], Located]], ...] = (
    (bytecode.recognises, bytecode.locate),
    (camlobj.recognises, camlobj.locate),
    (launchinfo.recognises, launchinfo.locate),
    (marshal.recognises, marshal.locate),
)
INFORMATIONAL_SUFFIXES = frozenset({".cmt", ".cmti", ".annot"})
_DOCUMENTATION_FOLDERS = ("doc", "man", "share/doc", "share/man", "share/info", "share/licenses")
_DOCUMENTATION_SUFFIXES = frozenset({".html", ".odoc", ".odocl", ".pdf", ".gz", ".png", ".svg"})


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is stored for one file.

    Attributes:
        content: Its placeholder form; None when the live bytes are that already.
        occurrences: Where the placeholder stands in it, by rising offset.
        bound: Why it can't be moved freely.
        identity: sha256 of what equal builds have in common.
        informational_leaks: How many informational occurrences of the live prefix stay in it.
    """

    content: bytes | None
    occurrences: tuple[Occurrence, ...]
    bound: tuple[Bound, ...]
    identity: str
    informational_leaks: int


def analyse(
    data: bytes,
    spelling: Spelling,
    path: str,
    build_dir_marker: bytes = BUILD_DIRECTORY_MARKER,
    *,
    keep_length: bool = False,
) -> Analysis:
    """Bring a file into placeholder form.

    Args:
        data: The live bytes.
        spelling: Of the prefix they are under.
        path: Relative to that prefix.
        build_dir_marker: What follows the prefix in the paths of build directories.
        keep_length: Never shrink a string of native code: the program has lengths compiled in.
    """
    if spelling.marker != build_dir_marker:
        spelling = replace(spelling, marker=build_dir_marker)
    if not _suspicious(data, spelling):
        return Analysis(None, (), (), identity(data), 0)
    found = _checked(data, _located(data, spelling, path, keep_length=keep_length), path)
    if not found.bound:
        found = replace(found, bound=tuple(_respelled(data, spelling, path)))
    content = found.content if found.content != data else None
    return Analysis(content, found.occurrences, found.bound, identity(found.content), found.leaks)


def _suspicious(data: bytes, spelling: Spelling) -> bool:
    """Tell whether a file may hold the prefix, openly, compressed, or in pieces."""
    if spelling.touches(data) or marshalheader.may_be_compressed(data):
        return True
    return _is_native(data) and elfdata.SLASHES in data


def _is_native(data: bytes) -> bool:
    return data.startswith((elf.MAGIC, arfile.MAGIC)) or machomagic.recognises(data)


def _located(data: bytes, spelling: Spelling, path: str, *, keep_length: bool) -> Located:
    leaks = _build_directories_only(data, spelling)
    if leaks is not None:
        return Located(data, leaks=leaks)
    try:
        if _is_native(data):
            return _native(data, spelling, path, keep_length=keep_length)
        locate = _format_of(data)
        if locate is not None:
            return locate(data, spelling, path)
    except BadDataError as error:
        return _opaque(data, spelling, path, str(error))
    if text.is_text(data):
        return text.locate(data, spelling, functional=not informational(path))
    return _opaque(data, spelling, path, "a file of unknown format")


def _format_of(data: bytes) -> Callable[[bytes, Spelling, str], Located] | None:
    """Return what handles the format of a file, None when it is text or unknown."""
    return next((locate for recognises, locate in _FORMATS if recognises(data)), None)


def _build_directories_only(data: bytes, spelling: Spelling) -> int | None:
    """Return how often a file names build directories, None when it may hold more than these.

    That is most of what holds the prefix at all (debug information, typed trees), and needs no reading.
    """
    # In marshalled values a letter may follow the prefix, so that it is no hit; in what is unknown as well.
    if embedded.may_hold_values(data):
        return None
    hits = list(spelling.hits(data))
    if not all(hit.build for hit in hits) or next(spelling.glued(data), None) is not None:
        return None
    native = _is_native(data)
    if native and next(elfdata.stray_runs(data, hits), None):
        return None
    plain = not native and text.is_text(data) and _format_of(data) is None
    return len(hits) if plain or not spelling.needed_anywhere(data) else None


def _native(data: bytes, spelling: Spelling, path: str, *, keep_length: bool) -> Located:
    if data.startswith(arfile.MAGIC):
        return arfile.locate(data, spelling, path, keep_length=keep_length)
    if bytecode.recognises(data):
        return _custom(data, spelling, path, keep_length=keep_length)
    if machomagic.recognises(data):
        from opambin.relocate import machofile

        return machofile.locate(data, spelling, path, keep_length=keep_length)
    return _elf(data, spelling, path, keep_length=keep_length)


def _elf(data: bytes, spelling: Spelling, path: str, *, keep_length: bool) -> Located:
    found = elfdata.locate(data, spelling, path, keep_length=keep_length)
    end = elf.parse(data).end
    behind = _opaque(data[end:], spelling, path, "bytes after the end of an ELF file")
    return replace(found, bound=found.bound + behind.bound, leaks=found.leaks + behind.leaks)


def _custom(data: bytes, spelling: Spelling, path: str, *, keep_length: bool) -> Located:
    """Handle a bytecode program behind its own run-time system (linked with ``-custom``)."""
    table = bytecode.sections(data)
    if table is None:
        raise BadDataError(path, "not a bytecode program")
    locate = _elf
    if machomagic.recognises(data):
        from opambin.relocate import machofile

        locate = machofile.locate
    head = locate(data[: table.start], spelling, path, keep_length=keep_length)
    body = bytecode.locate(head.content + data[table.start :], spelling, path)
    occurrences = sorted((*head.occurrences, *body.occurrences), key=lambda found: found.offset)
    return Located(body.content, tuple(occurrences), head.bound + body.bound, head.leaks + body.leaks)


def informational(path: str) -> bool:
    """Tell from its path whether nothing breaks when a file names a stale prefix."""
    pure = PurePosixPath(path)
    documented = pure.suffix in _DOCUMENTATION_SUFFIXES or any(
        pure.is_relative_to(folder) for folder in _DOCUMENTATION_FOLDERS
    )
    return documented or pure.suffix in INFORMATIONAL_SUFFIXES


def _opaque(data: bytes, spelling: Spelling, path: str, problem: str) -> Located:
    """Leave a file as it is, and say so when something in it is needed.

    Nothing is known about what may stand beside the prefix, so boundaries of paths are not asked for.
    """
    needed = spelling.needed_anywhere(data)
    hidden = _compressed_hits(data, spelling)
    build = sum(hit.build for hit in spelling.hits(data))
    if informational(path) or not (needed or hidden):
        return Located(data, leaks=len(needed) + build + hidden)
    where = f" at byte {needed[0]}" if needed else " in a compressed value"
    reason = Bound(path, f"prefix{where}: {problem}")
    return Located(data, (), (reason,), build)


def _compressed_hits(data: bytes, spelling: Spelling) -> int:
    """Count the spellings inside compressed marshalled values, which a search of the bytes does not see."""
    count = 0
    at = data.find(marshal.COMPRESSED_MAGIC)
    while at >= 0:
        after = at + 1
        try:
            header = marshalheader.read_header(data, at)
            tokens = marshalheader.decompress(data, header)
        except BadDataError:
            # Four bytes that are there by chance begin no value and hide nothing.
            tokens = b""
        else:
            after = header.end
        count += tokens.count(spelling.padded) + tokens.count(spelling.canonical)
        at = data.find(marshal.COMPRESSED_MAGIC, after)
    return count


def _respelled(data: bytes, spelling: Spelling, path: str) -> Iterator[Bound]:
    """Refuse the prefix with slashes that neither of its spellings has, where it is needed."""
    if informational(path):
        return
    for at in spelling.respelled(data):
        if _loaded(data, at):
            yield Bound(path, f"the prefix at byte {at} is spelled with other slashes")
            return


def _loaded(data: bytes, at: int) -> bool:
    """Tell whether the byte at ``at`` is not in a section that is there for debuggers alone."""
    if not data.startswith(elf.MAGIC):
        return True
    try:
        section = elf.parse(data).index().at(at)
    except BadDataError:
        return True
    return section is None or section.allocated


def _checked(data: bytes, found: Located, path: str) -> Located:
    """Refuse a placeholder form that does not account for every placeholder in it."""
    offsets = [item.offset for item in found.occurrences]
    standing = all(found.content.startswith(PLACEHOLDER, offset) for offset in offsets)
    rising = all(low + PADDED_LENGTH <= high for low, high in pairwise(offsets))
    if standing and rising and found.content.count(PLACEHOLDER) == len(offsets):
        return found
    reason = Bound(path, "the placeholders in it are not those that were written")
    return Located(data, (), (*found.bound, reason), found.leaks)
