"""What can be done while opam solves: loading modules, and asking for what every plan needs.

All of it is done again, or found to be done, by whoever needs it: that this ends early, or fails, changes
nothing but the time that is taken.
"""

from __future__ import annotations

import importlib
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from opambin.errors import OpambinError

if TYPE_CHECKING:
    from opambin.context import Context

MODULES = (
    "opambin.door.decision",
    "opambin.door.roots",
    "opambin.restore",
    "opambin.door.outcome",
    "opambin.cli.narration",
    "opambin.door.messages",
    "opambin.machine.libraries",
    "sqlite3",
    "yaml",
)


def begin(context: Context) -> list[threading.Thread]:
    """Start the work in threads that end with the program; returns them."""
    threads = [threading.Thread(target=work, args=(context,), daemon=True) for work in (_load, _ask)]
    for thread in threads:
        thread.start()
    return threads


def _load(context: Context) -> None:
    for name in MODULES:
        with suppress(ImportError):
            importlib.import_module(name)
    from opambin import gather

    gather.system_compiler(context.environ, context.prefix)


def _ask(context: Context) -> None:
    from opambin import gather

    with suppress(OpambinError):
        context.asked_before.update(context.opam.variables(sorted(gather.USUAL)))
