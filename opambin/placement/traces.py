"""Where a restore that was killed leaves its traces; light, because every command looks for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opambin.context import Context

REMOVED = "opam-bin.removed"
"""Folder below ``.opam-switch`` with what makes room; it lives only while a restore runs."""


def journal_path(context: Context) -> Path:
    """Return the file that names what a restore into the switch is placing."""
    return Path(f"{context.root.path}/plugins/opam-bin/journal{context.prefix}.json")


def there(context: Context) -> bool:
    """Tell whether a restore into the switch is going on, or was killed."""
    return journal_path(context).exists() or (context.switch.meta / REMOVED).exists()
