"""``ar`` archives (libraries for static linking): their members, and prefixes inside them.

GNU and BSD (macOS) differ in where names longer than 15 bytes stand; members are ELF or Mach-O files.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.model import Bound
from opambin.relocate import elf, elfdata, machomagic
from opambin.relocate.located import Located
from opambin.relocate.pieces import Change, apply

if TYPE_CHECKING:
    from opambin.model import Occurrence
    from opambin.relocate.spelling import Spelling

MAGIC = b"!<arch>\n"
HEADER_SIZE = 60
INDEX_NAMES = frozenset({b"/", b"/SYM64/", b"__.SYMDEF", b"__.SYMDEF SORTED", b"__.SYMDEF_64"})
LONG_NAMES = b"//"
_NATIVE = (elf.MAGIC, machomagic.MAGIC)
_WHAT = "ar archive"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive.

    Attributes:
        name: As stored; long names are looked up.
        header: Offset of its header.
        offset: Of its content.
        size: Of its content, in bytes.
    """

    name: bytes
    header: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Offset of the first byte after its content."""
        return self.offset + self.size


def members(data: bytes) -> list[Member]:
    """List the members of an archive, its symbol index and name table among them.

    Raises:
        BadDataError: It is no archive, or a member is cut off.
    """
    if not data.startswith(MAGIC):
        raise BadDataError(_WHAT, "no archive")
    found: list[Member] = []
    names = b""
    at = len(MAGIC)
    while at < len(data):
        header = data[at : at + HEADER_SIZE]
        if len(header) < HEADER_SIZE or not header.endswith(b"`\n") or not header[48:58].strip().isdigit():
            raise BadDataError(_WHAT, f"no member header at byte {at}")
        member = _member(data, at, names)
        if member.end > len(data):
            raise BadDataError(_WHAT, f"the member at byte {at} is cut off")
        if member.name == LONG_NAMES:
            names = data[member.offset : member.end]
        found.append(member)
        at = member.end + (member.end - at) % 2
    return found


def _member(data: bytes, at: int, names: bytes) -> Member:
    header = data[at : at + HEADER_SIZE]
    name = header[:16].rstrip()
    size = int(header[48:58])
    offset = at + HEADER_SIZE
    if name[:1] == b"/" and name[1:].isdigit():
        start = int(name[1:])
        end = names.find(b"/\n", start)
        if end < 0:
            raise BadDataError(_WHAT, f"the member at byte {at} has no name")
        name = names[start:end]
    elif name[:3] == b"#1/" and name[3:].isdigit():
        length = int(name[3:])
        if length > size:
            raise BadDataError(_WHAT, f"the member at byte {at} has no name")
        name = data[offset : offset + length].rstrip(b"\0")
        return Member(name, at, offset + length, size - length)
    elif name not in INDEX_NAMES and name != LONG_NAMES:
        name = name.removesuffix(b"/")
    return Member(name, at, offset, size)


def locate(data: bytes, spelling: Spelling, path: str, *, keep_length: bool = False) -> Located:
    """Bring an archive into placeholder form; only object files among its members may hold the prefix.

    Raises:
        BadDataError: It is no archive, or a member that matters is not an object file that can be read.
    """
    touched, bound, leaks = _touched(data, spelling, path)
    changes = []
    occurrences: list[Occurrence] = []
    for member in touched:
        name = f"{path}({member.name.decode('ascii', 'backslashreplace')})"
        part = _locate(data[member.offset : member.end], spelling, name, keep_length=keep_length)
        changes.append(Change(member.offset, member.end, part.content))
        occurrences += (_shifted(found, member) for found in part.occurrences)
        bound += (replace(found, path=path, reason=f"{name}: {found.reason}") for found in part.bound)
        leaks += part.leaks
    return Located(apply(data, changes), tuple(occurrences), tuple(bound), leaks)


def _locate(data: bytes, spelling: Spelling, name: str, *, keep_length: bool) -> Located:
    """Bring an object file into placeholder form."""
    if not data.startswith(machomagic.MAGIC):
        return elfdata.locate(data, spelling, name, keep_length=keep_length)
    from opambin.relocate import machofile

    return machofile.locate(data, spelling, name, keep_length=keep_length)


def _touched(data: bytes, spelling: Spelling, path: str) -> tuple[list[Member], list[Bound], int]:
    """Return the members that must be looked into, and what stands where no prefix is expected.

    Members that name nothing but build directories are left alone: that is most of them.
    """
    every = members(data)
    starts = [member.header for member in every]
    chosen: dict[int, Member] = {}
    bound = []
    hits = list(spelling.hits(data))
    places = [(hit.offset, True) for hit in hits if not hit.build]
    places += ((offset, True) for offset in spelling.glued(data))
    places += ((start, False) for start, _ in elfdata.stray_runs(data, hits))
    for offset, needed in places:
        number = bisect_right(starts, offset) - 1
        member = every[number] if number >= 0 else None
        if member and member.offset <= offset and data.startswith(_NATIVE, member.offset):
            chosen[number] = member
        elif needed:
            bound.append(Bound(path, f"prefix at byte {offset} in an archive member that is no object file"))
    inside = [chosen[number] for number in sorted(chosen)]
    leaks = sum(
        hit.build and not any(member.offset <= hit.offset < member.end for member in inside) for hit in hits
    )
    return inside, bound, leaks


def _shifted(found: Occurrence, member: Member) -> Occurrence:
    where = f"{member.name.decode('ascii', 'backslashreplace')} {found.where}"
    return replace(found, offset=found.offset + member.offset, where=where)
