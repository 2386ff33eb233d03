"""What the module of one format answers about one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.frozen import dataclass

if TYPE_CHECKING:
    from opambin.model import Bound, Occurrence


@dataclass(frozen=True, slots=True)
class Located:
    """A file in placeholder form.

    Attributes:
        content: Its bytes, with every recognised spelling of the prefix replaced by the placeholder.
        occurrences: Where the placeholder stands in ``content``, by rising offset.
        bound: What could not be brought into placeholder form and is needed.
        leaks: How many informational occurrences of the prefix were left as they are.
    """

    content: bytes
    occurrences: tuple[Occurrence, ...] = ()
    bound: tuple[Bound, ...] = ()
    leaks: int = 0
