"""What the fields of an opam file say that we need, in Python's types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.opam.ast import Ident, List, Option, Section, String
from opambin.opam.printer import print_value

if TYPE_CHECKING:
    from opambin.opam.ast import OpamFile, Value

_HASH_LENGTHS = {"sha512": 128, "sha256": 64, "md5": 32}  # hexadecimal digits; the strongest first
_HEX = re.compile("[0-9a-f]+")
_URL_FIELDS = ("src", "archive", "http", "git", "hg", "darcs", "local")


def name(file: OpamFile) -> str | None:
    """Return the package name that a file gives, or None."""
    return _string(file, file.get("name"))


def version(file: OpamFile) -> str | None:
    """Return the version that a file gives, or None."""
    return _string(file, file.get("version"))


def flags(file: OpamFile) -> frozenset[str]:
    """Return the flags of a package: of ``flags``, and of ``tags`` that start with ``flags:``."""
    named = {item.name for item in _items(file.get("flags")) if isinstance(item, Ident)}
    tags = (item.value for item in _items(file.get("tags")) if isinstance(item, String))
    return frozenset(named | {tag.removeprefix("flags:") for tag in tags if tag.startswith("flags:")})


def url(file: OpamFile) -> str | None:
    """Return where the source of a package is, or None if it has none."""
    return next((_source(file, section) for section in file.sections("url")), None)


def checksums(file: OpamFile) -> str | None:
    """Return the strongest checksum of the source as ``kind=hex``, or None.

    Raises:
        BadDataError: A checksum is malformed.
    """
    return next((_strongest(file, section.get("checksum")) for section in file.sections("url")), None)


def extra_sources(file: OpamFile) -> list[tuple[str, str | None, str | None]]:
    """Return file name, URL and strongest checksum of each ``extra-source`` section, in file order.

    Raises:
        BadDataError: A section has no label, or a checksum is malformed.
    """
    found = []
    for section in file.sections("extra-source"):
        if section.label is None:
            raise BadDataError(file.filename or "opam file", "an extra-source without a file name")
        found.append((section.label, _source(file, section), _strongest(file, section.get("checksum"))))
    return found


def extra_files(file: OpamFile) -> list[tuple[str, str]]:
    """Return name and checksum of each file of ``extra-files``: of ``["a" "md5=.."]`` or a list of such.

    Raises:
        BadDataError: The field has another form, or a checksum is malformed.
    """
    items = _items(file.get("extra-files"))
    pairs = (List(items),) if items and isinstance(items[0], String) else items
    found = []
    for pair in pairs:
        if not isinstance(pair, List) or len(pair.items) != 2:
            raise BadDataError(file.filename or "opam file", f"extra-files: not a pair: {print_value(pair)}")
        path, checksum = (_string(file, item) or "" for item in pair.items)
        found.append((path, _checksum(file, checksum)))
    return found


def _source(file: OpamFile, section: Section) -> str | None:
    value = next((value for field in _URL_FIELDS if (value := section.get(field)) is not None), None)
    return _string(file, value)


def _strongest(file: OpamFile, value: Value | None) -> str | None:
    found = [_checksum(file, _string(file, item) or "") for item in _items(value)]
    order = list(_HASH_LENGTHS)
    return min(found, key=lambda checksum: order.index(checksum.partition("=")[0]), default=None)


def _checksum(file: OpamFile, text: str) -> str:
    """Normalise a checksum; without a kind it is an md5."""
    lowered = text.lower()
    kind, _, digits = lowered.partition("=") if "=" in lowered else ("md5", "=", lowered)
    if len(digits) != _HASH_LENGTHS.get(kind) or not _HEX.fullmatch(digits):
        raise BadDataError(file.filename or "opam file", f"not a checksum: {text!r}")
    return f"{kind}={digits}"


def _string(file: OpamFile, value: Value | None) -> str | None:
    if value is None or isinstance(value, String):
        return value.value if value else None
    if isinstance(value, List) and len(value.items) == 1:
        return _string(file, value.items[0])
    raise BadDataError(file.filename or "opam file", f"not a string: {print_value(value)}")


def _items(value: Value | None) -> tuple[Value, ...]:
    """Return what a field lists; a single item needs no brackets."""
    if isinstance(value, Option):
        value = value.value
    if isinstance(value, List):
        return value.items
    return (value,) if value is not None else ()
