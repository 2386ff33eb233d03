"""What a session or a command did, in a few lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opambin.session.folder import Result

_NAMED = 6
"""How many packages a line names before it counts the rest."""


def lines(results: Sequence[Result]) -> list[str]:
    """Sum up: restored, built and captured, not captured and why, what was saved; empty for no results."""
    restored = [result for result in results if result.what == "restored"]
    captured = [result for result in results if result.what == "captured"]
    skipped = [result for result in results if result.what == "skipped"]
    parts = []
    if restored:
        seconds = sum(result.seconds for result in restored)
        parts.append(f"{len(restored)} restored{_saved(seconds)}")
    if captured:
        seconds = sum(result.seconds for result in captured)
        size = sum(result.bytes for result in captured)
        parts.append(f"{len(captured)} built in {duration(seconds)} and captured ({data_size(size)})")
    if skipped:
        parts.append(f"{len(skipped)} built, not captured")
    found = [f"opam-bin: {', '.join(parts)}"] if parts else []
    found += [f"opam-bin: {result.package} was not captured: {result.reason}" for result in skipped]
    return found


def front_door(results: Iterable[Result]) -> str:
    """Say what the front door would have saved; empty when it would have saved nothing."""
    size = sum(result.source_bytes for result in results if result.what == "restored")
    if not size:
        return ""
    return f"opam-bin: 'opam-bin install' would have saved the download of up to {data_size(size)} of sources"


def _saved(seconds: float) -> str:
    return f" (saved {duration(seconds)} of building)" if seconds >= 0.5 else ""


def names(packages: Sequence[str]) -> str:
    """Name packages, the first few of them."""
    if len(packages) <= _NAMED:
        return ", ".join(packages)
    return f"{', '.join(packages[:_NAMED])} and {len(packages) - _NAMED} more"


def duration(seconds: float) -> str:
    """Write a duration: ``0.42 s``, ``17 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def data_size(size: float) -> str:
    """Write a number of bytes in decimal units: ``812 kB``, ``4.2 MB``."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.1f} MB" if unit == "MB" else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
