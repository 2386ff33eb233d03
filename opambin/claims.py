"""Files that two snapshots of one plan bring: whose they are can't be known, so neither snapshot is taken."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from opambin.frozen import dataclass
from opambin.model import FileType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opambin.model import ConeKey, Manifest, OutputId


class Outputs(Protocol):
    """Gives the snapshots of keys."""

    def outputs(self, key: ConeKey) -> Sequence[Manifest]:
        """Return the snapshots of a key, the preferred one first."""


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """A shelf without some of its snapshots.

    Attributes:
        shelf: All of them.
        disputed: Key and output of those that are left out, with the reason.
    """

    shelf: Outputs
    disputed: dict[tuple[ConeKey, OutputId], str] = field(default_factory=dict)

    def outputs(self, key: ConeKey) -> Sequence[Manifest]:
        """Return the snapshots of a key that are not disputed."""
        found = self.shelf.outputs(key)
        if not self.disputed:
            return found
        return [manifest for manifest in found if (key, manifest.output) not in self.disputed]

    def reason(self, key: ConeKey) -> str:
        """Say why a snapshot of a key was left out; empty when none was."""
        return next((reason for (of, _), reason in self.disputed.items() if of == key), "")


def disputes(chosen: Iterable[tuple[ConeKey, Manifest]]) -> dict[tuple[ConeKey, OutputId], str]:
    """Return those of the chosen snapshots that bring a file which another one brings, too, with the reason.

    Args:
        chosen: Snapshots, each with the key it was asked for.
    """
    owners: dict[str, tuple[ConeKey, Manifest]] = {}
    found: dict[tuple[ConeKey, OutputId], str] = {}
    for mine in chosen:
        for entry in mine[1].files:
            if entry.type is FileType.DIRECTORY:
                continue
            theirs = owners.setdefault(entry.path, mine)
            if theirs is not mine:
                for (key, manifest), (_, other) in ((mine, theirs), (theirs, mine)):
                    reason = f"{entry.path} comes with {other.package.name}, too"
                    found.setdefault((key, manifest.output), reason)
    return found
