"""Ad-hoc code signatures of Mach-O files: whether one fits its file, and making it fit again; pure.

A signature is a *super blob* of big-endian blobs. Its code directories hold a hash of each page of the file
up to where the signature begins. The system refuses to run a page whose hash is another, so the hashes are
made again when strings before them have changed. Identifier, page size, flags and the other blobs stay:
nothing in them depends on the content, so the length of the signature does not change.

Only ad-hoc signatures can be made again; one with a certificate needs the key of its owner.
Source of the layout: Apple's ``Security`` project, ``cs_blobs.h`` and ``CodeDirectory``.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPER_BLOB = 0xFADE0CC0
CODE_DIRECTORY = 0xFADE0C02
CMS_WRAPPER = 0xFADE0B01
AD_HOC = 0x2  # flag of a code directory
_BLOB_HEAD = 8  # bytes: magic number, length
_DIRECTORY = struct.Struct(">9I4BI")
_LIMIT64 = 56  # offset of the 64-bit code limit
_VERSION_WITH_SCATTER, _VERSION_WITH_LIMIT64 = 0x20100, 0x20300
_MAX_BLOBS = 64
_MAX_PAGE_BITS = 24
_WHAT = "code signature"
_HASHES = {1: ("sha1", 20), 2: ("sha256", 32), 3: ("sha256", 20), 4: ("sha384", 48)}
_INFO_SLOT = 1  # hash of an Info.plist, which may be a section of the file


@dataclass(frozen=True, slots=True)
class Directory:
    """A code directory.

    Attributes:
        hashes: Offset of the hash of the first page, from the start of the file.
        count: Number of pages.
        limit: How much of the file is hashed, in bytes.
        page: Size of a page, in bytes; 0 when there is one page of any size.
        algorithm: Name of the hash function, as :mod:`hashlib` has it.
        size: Of a stored hash, in bytes.
        flags: ``CS_…``.
    """

    hashes: int
    count: int
    limit: int
    page: int
    algorithm: str
    size: int
    flags: int

    @property
    def ad_hoc(self) -> bool:
        """Whether it says that nobody signed it."""
        return bool(self.flags & AD_HOC)


@dataclass(frozen=True, slots=True)
class Signature:
    """What can be renewed of a signature.

    Attributes:
        directories: Its code directories; older systems have one each for two hash functions.
        certified: Whether a certificate vouches for it.
    """

    directories: tuple[Directory, ...]
    certified: bool

    @property
    def renewable(self) -> bool:
        """Whether it can be made again without a key."""
        return not self.certified and all(directory.ad_hoc for directory in self.directories)


def read(data: bytes, start: int, size: int) -> Signature:
    """Read the signature at ``data[start:start + size]``, of the file that is all of ``data``.

    Raises:
        BadDataError: It is none, or contradicts itself or the file.
    """
    end = start + size
    if not 0 <= start <= end <= len(data) or size < _BLOB_HEAD + 4:
        raise BadDataError(_WHAT, "outside of the file")
    magic, length, count = struct.unpack_from(">3I", data, start)
    if magic != SUPER_BLOB or length > size or count > _MAX_BLOBS or 12 + 8 * count > length:
        raise BadDataError(_WHAT, "not a list of blobs")
    directories = []
    certified = False
    for number in range(count):
        _, offset = struct.unpack_from(">2I", data, start + 12 + 8 * number)
        if offset + _BLOB_HEAD > length:
            raise BadDataError(_WHAT, "a blob lies outside of it")
        kind, blob_length = struct.unpack_from(">2I", data, start + offset)
        if blob_length < _BLOB_HEAD or offset + blob_length > length:
            raise BadDataError(_WHAT, "a blob lies outside of it")
        if kind == CODE_DIRECTORY:
            directories.append(_directory(data, start, start + offset, blob_length))
        elif kind == CMS_WRAPPER:
            certified = certified or blob_length > _BLOB_HEAD
    if not directories:
        raise BadDataError(_WHAT, "no code directory")
    return Signature(tuple(directories), certified)


def _directory(data: bytes, signature: int, at: int, length: int) -> Directory:
    if length < _DIRECTORY.size:
        raise BadDataError(_WHAT, "a code directory is cut off")
    fields = _DIRECTORY.unpack_from(data, at)
    _, _, version, flags, hashes, _, special, count, limit, size, kind, _, bits, _ = fields
    if version >= _VERSION_WITH_SCATTER and (length < 48 or data[at + 44 : at + 48] != b"\0" * 4):
        raise BadDataError(_WHAT, "its pages are scattered")
    if version >= _VERSION_WITH_LIMIT64:
        if length < _LIMIT64 + 8:
            raise BadDataError(_WHAT, "a code directory is cut off")
        limit = int.from_bytes(data[at + _LIMIT64 : at + _LIMIT64 + 8]) or limit
    algorithm, expected = _HASHES.get(kind, ("", 0))
    if not algorithm or size != expected or bits > _MAX_PAGE_BITS or limit > signature:
        raise BadDataError(_WHAT, "a code directory of unknown form")
    page = 1 << bits if bits else 0
    pages = -(-limit // page) if page else 1
    if count != pages or hashes < special * size or hashes + count * size > length:
        raise BadDataError(
            _WHAT, "a code directory that does not fit its file", expected=pages, observed=count
        )
    info = data[at + hashes - _INFO_SLOT * size : at + hashes]
    if special >= _INFO_SLOT and info.strip(b"\0"):
        raise BadDataError(_WHAT, "it vouches for an Info.plist")
    return Directory(at + hashes, count, limit, page, algorithm, size, flags)


def fits(data: bytes, signature: Signature) -> bool:
    """Tell whether every page of a file has the hash that its signature states."""
    return all(data.startswith(new, at) for at, new in _hashes(data, signature))


def renewed(data: bytes, signature: Signature) -> bytes:
    """Return a file with the hashes of its signature made again; the length stays."""
    result = bytearray(data)
    for at, new in _hashes(data, signature):
        result[at : at + len(new)] = new
    return bytes(result)


def _hashes(data: bytes, signature: Signature) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the value of the hash of each page."""
    view = memoryview(data)
    for directory in signature.directories:
        for number in range(directory.count):
            start = number * directory.page
            end = min(start + directory.page, directory.limit) if directory.page else directory.limit
            digest = hashlib.new(directory.algorithm, view[start:end], usedforsecurity=False).digest()
            yield directory.hashes + number * directory.size, digest[: directory.size]
