"""System packages before a restore, in opam's words and with opam's questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from opambin.door.front import Prepared
    from opambin.machine.systempackages import Missing


def provide(prepared: Prepared, missing: Missing, tell: Callable[[str], None]) -> int:
    """Let opam look after missing system packages; returns its exit code, 0 where nothing is missing."""
    if not missing.wanted or missing.promised:
        return 0
    if missing.certain:
        tell(f"opam-bin: system packages are missing: {', '.join(missing.names)}")
    asked = prepared.request
    words = ["install", "--depext-only", *(["--yes"] if asked.yes else []), *missing.packages]
    if asked.values.get("--confirm-level"):
        words.append(f"--confirm-level={asked.values['--confirm-level']}")
    return prepared.context.opam.run(words).code


def note_promise(prepared: Prepared, missing: Missing, restored: set[str]) -> None:
    """Note in the switch, as opam does, that the user has promised system packages.

    Raises:
        UnavailableError: opam fails.
    """
    if missing.noted:
        names = {
            name for package, names in missing.wanted.items() if str(package) in restored for name in names
        }
        if names:
            prepared.context.opam.bypass_depexts(sorted(names))
