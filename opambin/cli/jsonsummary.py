"""``--json-summary``: what was done as one JSON document, and nothing else, on standard output."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from opambin.frozen import dataclass

if TYPE_CHECKING:
    from typing import TextIO

    from opambin.context import Context
    from opambin.door.front import PlainOpam, Prepared
    from opambin.model import Manifest
    from opambin.restore import Restored


@dataclass(frozen=True, slots=True)
class Summary:
    """Where the document goes, when one is wanted.

    Attributes:
        stream: What was standard output; None when no document is wanted.
    """

    stream: TextIO | None = None

    @classmethod
    def open(cls, *, wanted: bool) -> Summary:
        """Keep standard output for the document: all else, also what opam prints, goes to standard error."""
        if not wanted:
            return cls()
        sys.stdout.flush()
        stream = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return cls(stream)

    def of_restore(self, prepared: Prepared, done: Restored | None) -> None:
        """Print what was done with a plan; None: nothing was restored."""
        from opambin.door import outcome

        self._print(
            _values(prepared.context)
            | {
                "restored": [] if done is None else [_restored(manifest) for manifest in done.restored],
                "checked": [] if done is None else list(done.checked),
                "left_to_opam": outcome.left_to_opam(prepared, done),
                "reports": [*prepared.problems, *(() if done is None else done.reports)],
                "seconds": _seconds(
                    prepared.opam_seconds, prepared.seconds, 0.0 if done is None else done.seconds
                ),
            }
        )

    def of_nothing(self, plain: PlainOpam) -> None:
        """Print that nothing was done, and why: opam does all of it, or there is nothing to do."""
        self._print(_values(plain.context) | {"reason": plain.why})

    def _print(self, content: dict[str, object]) -> None:
        if self.stream is not None:
            print(json.dumps(content, indent=2), file=self.stream, flush=True)


def _values(context: Context | None) -> dict[str, object]:
    """Return all members, as they are when nothing was done."""
    return {
        "switch": None if context is None else context.switch.name,
        "prefix": None if context is None else context.prefix,
        "restored": [],
        "checked": [],
        "left_to_opam": {},
        "reports": [],
        "reason": None,
        "seconds": _seconds(0.0, 0.0, 0.0),
    }


def _restored(manifest: Manifest) -> dict[str, object]:
    return {
        "package": str(manifest.package),
        "key": manifest.key,
        "output": manifest.output,
        "bytes": manifest.size,
        "saved_seconds": manifest.build.seconds,
        "saved_source_bytes": manifest.build.source_bytes,
    }


def _seconds(opam_plan: float, plan: float, restore: float) -> dict[str, float]:
    return {"opam_plan": round(opam_plan, 3), "plan": round(plan, 3), "restore": round(restore, 3)}
