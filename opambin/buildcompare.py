"""Comparing builds of one package that differ in the prefix, or in how long its padded spelling is.

In placeholder form two builds at different prefixes must be equal: what differs is a prefix that left no
searchable bytes, or a build that can't be repeated. Between builds under padded spellings of different
lengths the machine code must be equal: a number that differs is a length that was compiled in.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.model import FileType
from opambin.relocate import arfile, codediff, elf
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from opambin.model import FileEntry, Manifest

_SHF_EXECINSTR = 4
_SAMPLE = 40  # bytes of either side that a finding shows


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that relocation can't see.

    Attributes:
        package: ``NAME.VERSION``.
        path: The file, relative to the prefix.
        kind: ``hidden prefix``, ``compiled-in length``, ``code``, ``not built`` or ``not captured``.
        detail: Where and what, in words.
    """

    package: str
    path: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A manifest and the store that has its objects."""

    cache: Path
    manifest: Manifest

    def content(self, entry: FileEntry) -> bytes:
        """Return a file in placeholder form."""
        if entry.digest is None:
            return b""
        with Store.open(self.cache, readonly=True) as store:
            path = store.objects.path(entry.digest, executable=bool(entry.mode & 0o111), size=entry.size)
            return path.read_bytes()


def hidden(mine: Snapshot, theirs: Snapshot) -> list[Finding]:
    """Compare two builds at different prefixes in placeholder form."""
    package = str(mine.manifest.package)
    if mine.manifest.output == theirs.manifest.output:
        return []
    others = {entry.path: entry for entry in theirs.manifest.files}
    findings = []
    for entry in mine.manifest.files:
        other = others.pop(entry.path, None)
        if other is None:
            findings.append(Finding(package, entry.path, "hidden prefix", "only in one of the builds"))
        elif entry.type is FileType.FILE and entry.identity != other.identity:
            detail = where(mine.content(entry), theirs.content(other))
            findings.append(Finding(package, entry.path, "hidden prefix", detail))
    findings += [Finding(package, path, "hidden prefix", "only in one of the builds") for path in others]
    return findings + _hidden_texts(mine.manifest, theirs.manifest)


def _hidden_texts(mine: Manifest, theirs: Manifest) -> list[Finding]:
    """Compare what belongs to a package without being one of its files."""
    texts = (
        (f"{mine.package.name}.config", mine.config, theirs.config),
        (f"{mine.package.name}.install", mine.install, theirs.install),
    )
    found = [
        Finding(str(mine.package), name, "hidden prefix", "opam's record differs")
        for name, one, other in texts
        if (one or "").split() != (other or "").split()
    ]
    if mine.edits != theirs.edits:
        path = (mine.edits or theirs.edits)[0].path
        found.append(Finding(str(mine.package), path, "hidden prefix", "the lines added to it differ"))
    return found


def where(one: bytes, other: bytes) -> str:
    """Say in which member and section, or at which byte, two files differ first."""
    if one.startswith(elf.MAGIC) and other.startswith(elf.MAGIC):
        return _where_elf(one, other)
    if one.startswith(arfile.MAGIC) and other.startswith(arfile.MAGIC):
        return _where_archive(one, other)
    at = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    if at is None:
        return "one is longer"
    low = max(0, at - _SAMPLE // 2)
    return f"differs from byte {at} on: {one[low : at + _SAMPLE]!r} and {other[low : at + _SAMPLE]!r}"


def _where_elf(one: bytes, other: bytes) -> str:
    sections = {section.name: section for section in elf.parse(other).sections}
    for section in elf.parse(one).sections:
        twin = sections.get(section.name)
        if section.allocated and (
            twin is None or one[section.offset : section.end] != other[twin.offset : twin.end]
        ):
            return f"section {section.name} differs"
    return "parts that are not loaded differ"


def _where_archive(one: bytes, other: bytes) -> str:
    for left, right in zip(arfile.members(one), arfile.members(other), strict=False):
        mine, theirs = one[left.offset : left.end], other[right.offset : right.end]
        if left.name not in arfile.INDEX_NAMES and mine != theirs:
            return f"member {left.name.decode(errors='replace').strip()}: {where(mine, theirs)}"
    return "it has other members"


def lengths(package: str, paths: Sequence[str], first: Path, second: Path) -> list[Finding]:
    """Compare the machine code of live files of two builds whose padded prefixes differ in length.

    Args:
        package: ``NAME.VERSION``.
        paths: Its files, relative to the prefixes.
        first: The one prefix.
        second: The other.
    """
    findings = []
    for path in paths:
        live, other = first / path, second / path
        if not (live.is_file() and other.is_file() and _has_code(live)) or _same_code(live, other):
            continue
        for found in codediff.differences(_disassembly(live), _disassembly(other)):
            kind = "compiled-in length" if found.number else "code"
            detail = f"{found.function}: `{found.left}` and `{found.right}`"
            findings.append(Finding(package, path, kind, detail))
    return findings


def _has_code(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(8)
    return head.startswith(elf.MAGIC) or head == arfile.MAGIC


def _same_code(one: Path, other: Path) -> bool:
    """Tell quickly whether two files have the same bytes of code; else addresses may."""
    try:
        return list(_code(one.read_bytes())) == list(_code(other.read_bytes()))
    except BadDataError:
        return False


def _code(data: bytes) -> Iterator[bytes]:
    if data.startswith(arfile.MAGIC):
        for member in arfile.members(data):
            part = data[member.offset : member.end]
            if part.startswith(elf.MAGIC):
                yield from _code(part)
        return
    file = elf.read(data)
    for row in file.rows:
        # of a section header: name, type, flags, address, offset, size
        if row[2] & _SHF_EXECINSTR and row[1] != elf.SHT_NOBITS:
            yield data[row[4] : row[4] + row[5]]


def _disassembly(path: Path) -> str:
    done = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(path)],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stdout
