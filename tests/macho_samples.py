"""Small Mach-O files out of literal bytes, and a check of signatures that shares no code with opambin."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

PAGE = 4096


@dataclass(frozen=True)
class Sect:
    name: str
    content: bytes
    segment: str = "__TEXT"
    flags: int = 0
    size: int | None = None


@dataclass(frozen=True)
class Sample:
    """What a file is made of; ``symbols`` are pairs of section number (from 1) and offset in it."""

    sections: tuple[Sect, ...] = ()
    paths: tuple[tuple[int, bytes], ...] = ()
    symbols: tuple[tuple[int, int], ...] = ()
    names: bytes = b"\0_sym\0"
    uuid: bytes = bytes(range(16))
    sign: str = "adhoc"
    extra: dict[str, int] = field(default_factory=dict)


def aligned(data: bytes, size: int = 8) -> bytes:
    return data + b"\0" * (-len(data) % size)


def path_command(kind: int, path: bytes) -> bytes:
    start = 12 if kind == 0x8000001C else 24
    body = aligned(b"\0" * (start - 12) + path + b"\0")
    body += b"\0" * (-(12 + len(body)) % 8)
    return struct.pack("<III", kind, 12 + len(body), start) + body


def macho(sample: Sample) -> bytes:
    """Lay out header, commands, sections, symbols, names and signature, in this order."""
    commands = [path_command(kind, path) for kind, path in sample.paths]
    commands.append(struct.pack("<II", 0x1B, 24) + sample.uuid)
    signed = sample.sign != "none"
    count = len(sample.sections)
    fixed = 32 + sum(map(len, commands)) + 72 + 80 * count + 24 + 16 * signed
    at = -(-fixed // 16) * 16
    body, headers, starts = b"", b"", []
    for section in sample.sections:
        body = aligned(body, 16)
        offset = at + len(body)
        starts.append(0x100000 + offset)
        headers += struct.pack(
            "<16s16sQQIIIIIIII",
            section.name.encode(),
            section.segment.encode(),
            0x100000 + offset,
            len(section.content) if section.size is None else section.size,
            offset, 3, 0, 0, section.flags, 0, 0, 0,
        )  # fmt: skip
        body += section.content
    body = aligned(body, 16)
    symbols = b"".join(
        struct.pack("<IBBHQ", 1, 0x0F, number, 0, starts[number - 1] + offset)
        for number, offset in sample.symbols
    )
    symbols_at = at + len(body)
    names_at = symbols_at + len(symbols)
    code_end = -(-(names_at + len(sample.names)) // 16) * 16
    segment = struct.pack(
        "<II16sQQQQIIII", 0x19, 72 + 80 * count, b"", 0x100000, code_end, 0, names_at, 7, 7, count, 0
    )
    commands.append(segment + headers)
    commands.append(struct.pack("<6I", 2, 24, symbols_at, len(sample.symbols), names_at, len(sample.names)))
    if signed:
        size = len(signature(b"\0" * code_end, sample.sign))
        commands.append(struct.pack("<4I", 0x1D, 16, code_end, size))
    text = b"".join(commands)
    head = b"\xcf\xfa\xed\xfe" + struct.pack("<7I", 0x0100000C, 0, 6, len(commands), len(text), 0x85, 0)
    code = aligned(aligned(head + text, 16) + body + symbols + sample.names, 16)
    assert len(code) == code_end
    return code + (signature(code, sample.sign) if signed else b"")


def signature(code: bytes, kind: str) -> bytes:
    """Sign ``code``: adhoc, both (SHA-1 and SHA-256), certified, runtime (a signer's flags), one (page)."""
    directories = [(0, _directory(code, kind, 2, "sha256", 32))]
    if kind == "both":
        directories = [
            (0, _directory(code, kind, 1, "sha1", 20)),
            (0x1000, _directory(code, kind, 2, "sha256", 32)),
        ]
    blobs = [*directories, (2, struct.pack(">III", 0xFADE0C01, 12, 0))]
    cms = b"certificate" if kind == "certified" else b""
    blobs.append((0x10000, struct.pack(">II", 0xFADE0B01, 8 + len(cms)) + cms))
    at = 12 + 8 * len(blobs)
    index = payload = b""
    for slot, blob in blobs:
        index += struct.pack(">II", slot, at + len(payload))
        payload += blob
    return struct.pack(">III", 0xFADE0CC0, at + len(payload), len(blobs)) + index + payload


def _directory(code: bytes, kind: str, hash_type: int, algorithm: str, size: int) -> bytes:
    bits = 0 if kind == "one" else 12
    step = len(code) if kind == "one" else PAGE
    pages = [code[at : at + step] for at in range(0, len(code), step)]
    special = b"\0" * size * 2
    identifier = b"a.out\0"
    start = 88 + len(identifier) + len(special)
    hashes = b"".join(hashlib.new(algorithm, page).digest() for page in pages)
    flags = 0x10000 if kind == "runtime" else 0x20002
    head = struct.pack(
        ">9I4BIIIIQQQQ",
        0xFADE0C02, start + len(hashes), 0x20400, flags, start, 88, 2, len(pages), len(code),
        size, hash_type, 0, bits, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip
    assert len(head) == 88
    return head + identifier + special + hashes


def fat(*slices: bytes, wide: bool = False) -> bytes:
    """Join files for several machines."""
    at, table, body = 4096, b"", b""
    for number, data in enumerate(slices):
        body += b"\0" * (-len(body) % 4096)
        layout = ">IIQQII" if wide else ">IIIII"
        entry = (number, 0, at + len(body), len(data), 12)
        table += struct.pack(layout, *entry, 0) if wide else struct.pack(layout, *entry)
        body += data
    magic = b"\xca\xfe\xba\xbf" if wide else b"\xca\xfe\xba\xbe"
    return (magic + struct.pack(">I", len(slices)) + table).ljust(4096, b"\0") + body


def wrong_pages(data: bytes) -> list[int]:
    """Return the pages of a thin file whose SHA-256 is not the one that its signature states.

    Raises:
        ValueError: There is no signature.
    """
    count, at = struct.unpack_from("<I", data, 16)[0], 32
    for _ in range(count):
        kind, size = struct.unpack_from("<II", data, at)
        if kind == 0x1D:
            (start,) = struct.unpack_from("<I", data, at + 8)
            break
        at += size
    else:
        raise ValueError("no signature")
    wrong = []
    (blobs,) = struct.unpack_from(">I", data, start + 8)
    for number in range(blobs):
        (offset,) = struct.unpack_from(">I", data, start + 16 + 8 * number)
        at = start + offset
        if data[at : at + 4] != b"\xfa\xde\x0c\x02" or data[at + 37] != 2:
            continue
        hashes, _, _, pages, limit = struct.unpack_from(">5I", data, at + 16)
        step = 1 << data[at + 39] if data[at + 39] else limit
        for page in range(pages):
            stated = data[at + hashes + 32 * page : at + hashes + 32 * page + 32]
            content = data[page * step : min(limit, (page + 1) * step)]
            if hashlib.sha256(content).digest() != stated:
                wrong.append(page)
    return wrong
