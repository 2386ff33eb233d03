"""A configured remote in words and as plain values: what 'remote' and 'status' print alike."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opambin.cli.output import moment
from opambin.remote.urls import without_secrets

if TYPE_CHECKING:
    from opambin.exchange.memory import Standing
    from opambin.remotes_config import Configured


def values(entry: Configured) -> dict[str, object]:
    """Return a remote for JSON."""
    return {
        "name": entry.name,
        "url": without_secrets(entry.url),
        "priority": entry.priority,
        "write": entry.write,
        "plain_http": entry.plain_http,
        "trust": {
            "mode": str(entry.trust.mode),
            "keys": list(entry.trust.keys),
            "role": str(entry.trust.role),
            "threshold": entry.trust.threshold,
            "snapshot": "required" if entry.trust.snapshot else "optional",
        },
    }


def rights(entry: Configured) -> str:
    """Say what may be done there."""
    return "read, write" if entry.write else "read"


def standing(found: Standing | None) -> str:
    """Say when a remote last answered, or that and why it did not."""
    if found is None or (found.answered is None and found.silent is None):
        return "not asked yet"
    answered = f"answered {_when(found.answered)}" if found.answered else "never answered"
    if found.dead and found.silent is not None:
        return f"silent {_when(found.silent)}: {found.reason}; {answered}"
    return answered


def _when(seconds: int) -> str:
    ago = int(time.time()) - seconds
    return f"{max(ago, 0)} s ago" if ago < 100 else f"on {moment(seconds)}"
