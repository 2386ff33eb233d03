"""The object files of the OCaml compilers: ``.cmo .cma .cmx .cmxa .cmi .cmt .cmti`` and saved syntax trees.

* ``.cmo``, ``.cma``: magic number, BE32 offset of the descriptor, code and debug data, descriptor. The
  descriptor holds offsets into what stands before it, so that part keeps its length; itself it may grow.
* ``.cmx``: magic number, one value, CRC. ``.cmxa``: magic number, one value.
* ``.cmi``: magic number, name and signature, CRCs, flags. ``.cmt``, ``.cmti``: the ``.cmi``, if there is one,
  then another magic number and one value.

Descriptors and ``.cmx`` values are needed by later links. Signatures, typed trees and debug data hold the
prefix for people and tools only. The CRCs in all of them are compared, never computed again from the bytes:
they stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.relocate import marshal
from opambin.relocate.located import Located
from opambin.relocate.marshalheader import compressed_values
from opambin.relocate.pieces import Pieces

if TYPE_CHECKING:
    from opambin.relocate.spelling import Spelling

MAGIC = b"Caml1999"
MAGIC_LENGTH = 12  # bytes: MAGIC, a letter for the type, three digits for the version
_LINKED = b"OA"  # .cmo, .cma
_NATIVE = b"YZyz"  # .cmx, .cmxa; lower case when flambda wrote them
_INFORMATIONAL = b"ITMN"  # .cmi, .cmt and .cmti, saved implementation, saved interface
_CODE_START = 16  # bytes: magic number, offset of the descriptor


def recognises(data: bytes) -> bool:
    """Tell from its first bytes whether a file belongs to this module."""
    return _has_magic(data, 0) and data[8] in _LINKED + _NATIVE + _INFORMATIONAL


def is_informational(data: bytes) -> bool:
    """Tell from its first bytes whether a file holds the prefix for people and tools only."""
    return recognises(data) and data[8] in _INFORMATIONAL


def _has_magic(data: bytes, at: int) -> bool:
    return data.startswith(MAGIC, at) and data[at + 9 : at + MAGIC_LENGTH].isdigit()


def locate(data: bytes, spelling: Spelling, path: str) -> Located:
    """Bring an object file into placeholder form.

    Raises:
        BadDataError: It is none, or damaged.
    """
    if not recognises(data) or len(data) < MAGIC_LENGTH:
        raise BadDataError(path, "not an OCaml object file")
    try:
        if data[8] in _LINKED:
            return _locate_linked(data, spelling, path)
        return _locate_values(data, spelling, path, functional=data[8] in _NATIVE)
    except BadDataError as error:
        raise BadDataError(path, str(error)) from error


def descriptor_offset(data: bytes) -> int:
    """Return where the descriptor of a ``.cmo`` or ``.cma`` begins.

    Raises:
        BadDataError: Outside of the file.
    """
    offset = int.from_bytes(data[MAGIC_LENGTH:_CODE_START])
    if not _CODE_START <= offset < len(data):
        raise BadDataError("offset of the descriptor", "outside of the file", observed=offset)
    return offset


def _locate_linked(data: bytes, spelling: Spelling, path: str) -> Located:
    offset = descriptor_offset(data)
    pieces = Pieces()
    pieces.raw(data[:_CODE_START])
    at = _CODE_START
    for header, tokens in compressed_values(data, _CODE_START, offset):
        pieces.part(marshal.locate_fixed(data, (at, header.start), spelling, "debug data"))
        # It has to keep its length, so it is left. Its frame may hold a path as plain bytes that are copied
        # from elsewhere in it: changing those would change other strings too.
        pieces.part(Located(data[header.start : header.end], leaks=marshal.count_hits(tokens, spelling)))
        at = header.end
    pieces.part(marshal.locate_fixed(data, (at, offset), spelling, "debug data"))
    descriptor, end = marshal.locate_value(data, offset, spelling, path, "descriptor")
    pieces.part(descriptor)
    pieces.raw(data[end:])
    return pieces.located()


def _locate_values(data: bytes, spelling: Spelling, path: str, *, functional: bool) -> Located:
    """Go through magic numbers and values in any order; what follows the last of them is kept."""
    pieces, at = Pieces(), 0
    while at < len(data):
        if _has_magic(data, at):
            pieces.raw(data[at : at + MAGIC_LENGTH])
            at += MAGIC_LENGTH
        elif marshal.begins_value(data, at):
            located, at = (
                marshal.locate_value(data, at, spelling, path, "value")
                if functional
                else marshal.locate_informational(data, at, spelling, "value")
            )
            pieces.part(located)
        else:
            pieces.raw(data[at:])
            break
    return pieces.located()
