"""How far a snapshot can be moved: what its manifest records, summed up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opambin.model import Bound, Manifest


@dataclass(frozen=True, slots=True)
class Relocation:
    """How far a snapshot can be moved.

    Attributes:
        kinds: Kind of occurrence to how many there are, by falling number.
        files: How many files hold the prefix.
        stale: How many occurrences stay as they are because nothing reads them.
        bound: Why it can't be moved freely.
        longest: The longest prefix that it can be moved to, in bytes; None when any will do, 0 when it
            belongs to the prefix it was built at.
        prefix: That prefix, when it belongs to it.
    """

    kinds: tuple[tuple[str, int], ...]
    files: int
    stale: int
    bound: tuple[Bound, ...]
    longest: int | None
    prefix: str

    @property
    def movable(self) -> str:
        """Say it in words."""
        if self.longest is None:
            return "anywhere"
        if self.longest:
            return f"to prefixes up to {self.longest} bytes"
        return f"no further: it belongs to {self.prefix or 'the prefix it was built at'}"


def relocation(manifest: Manifest) -> Relocation:
    """Sum up what a manifest says of relocation."""
    found = [(entry, occurrence) for entry in manifest.files for occurrence in entry.occurrences]
    kinds = Counter(str(occurrence.kind) for _, occurrence in found)
    limits = [
        occurrence.capacity
        for _, occurrence in found
        if occurrence.functional and occurrence.capacity is not None
    ]
    limits += [bound.max_prefix or 0 for bound in manifest.bound]
    return Relocation(
        kinds=tuple(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        files=len({entry.path for entry, _ in found}),
        stale=sum(not occurrence.functional for _, occurrence in found),
        bound=manifest.bound,
        longest=min(limits, default=None),
        prefix=manifest.prefix,
    )
