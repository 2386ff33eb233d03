"""What a file of a switch becomes at another prefix, and why it can't; pure."""

from __future__ import annotations

from dataclasses import dataclass

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PADDED_LENGTH, PLACEHOLDER
from opambin.relocate import analysis, immediates, rendering
from opambin.relocate.spelling import BUILD_DIRECTORY_MARKER, Spelling

_NO_BUILD_DIRECTORY = b"\0"
"""In opam's own records every path is needed, those into build directories too: no path goes on like this."""
_NEUTRAL = b"/" + b"y" * (PADDED_LENGTH - 1)
"""What stands for the new prefix while the old one is looked for."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file for the new prefix.

    Attributes:
        content: Its bytes; None when they stay as they are.
        reasons: Why it can't be moved; empty when it can.
        stale: How many places go on to name the old prefix that nothing reads.
    """

    content: bytes | None = None
    reasons: tuple[str, ...] = ()
    stale: int = 0


@dataclass(frozen=True, slots=True)
class Rewriting:
    """From where to where.

    Attributes:
        old: The spellings of the prefix that is left.
        new: The prefix that is gone to.
    """

    old: Spelling
    new: bytes

    def file(self, data: bytes, path: str, *, keep_length: bool = False) -> Rewritten:
        """Return what an installed file becomes.

        Args:
            data: Its bytes.
            path: Relative to the prefix.
            keep_length: Never shrink a string of native code: the program has lengths compiled in.
        """
        found = analysis.analyse(data, self.old, path, keep_length=keep_length)
        hidden = immediates.taken_apart(data, self.old.canonical)
        if hidden and not found.bound:
            return Rewritten(None, (f"the prefix was taken apart into the code of {hidden}",))
        return self._rendered(data, found)

    def record(self, data: bytes, path: str) -> Rewritten:
        """Return what one of opam's own files becomes."""
        found = analysis.analyse(data, self.old, path, _NO_BUILD_DIRECTORY)
        return self._rendered(data, found)

    def named_in(self, data: bytes, path: str, *, record: bool = False) -> str:
        """Say where a file that was moved still needs the old prefix; empty when nowhere.

        Args:
            data: Its bytes.
            path: Relative to the prefix.
            record: Whether it is one of opam's own.
        """
        marker = _NO_BUILD_DIRECTORY if record else BUILD_DIRECTORY_MARKER
        # The new prefix is taken out first: its padded spelling has runs of slashes, which would pass for
        # what is left of a hidden one.
        moved = analysis.analyse(data, Spelling.of(self.new), path, marker)
        rest = data if moved.content is None else moved.content.replace(PLACEHOLDER, _NEUTRAL)
        found = analysis.analyse(rest, self.old, path, marker)
        needed = [item for item in found.occurrences if item.functional]
        if needed:
            return f"the old prefix is still needed at byte {needed[0].offset}"
        return found.bound[0].reason if found.bound and not moved.bound else ""

    def _rendered(self, data: bytes, found: analysis.Analysis) -> Rewritten:
        reasons = tuple(
            bound.reason
            for bound in found.bound
            if bound.max_prefix is None or len(self.new) > bound.max_prefix
        )
        if reasons or found.content is None:
            return Rewritten(None, reasons, found.informational_leaks)
        try:
            content = rendering.render(found.content, found.occurrences, self.new)
        except CannotRelocateError as error:
            return Rewritten(None, (str(error),))
        except BadDataError as error:
            return Rewritten(None, (f"it can't be written again: {error}",))
        return Rewritten(content if content != data else None, (), found.informational_leaks)
