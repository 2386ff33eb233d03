"""What Mach-O files begin with: looked for in every file, while hardly any is one and loads what reads it."""

from __future__ import annotations

MAGIC = b"\xcf\xfa\xed\xfe"  # 64 bits, little-endian
UNIVERSAL, UNIVERSAL64 = b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"
MAX_SLICES = 30  # Java classes begin with the same magic number; there a version from 45 on follows
_OTHER_MAGICS = (b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf")  # 32 bits, big-endian


def recognises(data: bytes) -> bool:
    """Tell from its first bytes whether a file is a Mach-O file, for one machine or for several."""
    if data.startswith((UNIVERSAL, UNIVERSAL64)):
        return 0 < int.from_bytes(data[4:8]) <= MAX_SLICES
    return data.startswith((MAGIC, *_OTHER_MAGICS))
