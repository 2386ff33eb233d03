"""What can be done while opam solves: loading modules, and asking for what every plan needs.

All of it is done again, or found to be done, by whoever needs it: that this ends early, or fails, changes
nothing but the time that is taken.
"""

from __future__ import annotations

import importlib
import threading
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING

from opambin.errors import OpambinError
from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass(frozen=True, slots=True)
class Warmup:
    """What goes on while opam solves.

    Attributes:
        threads: Which do it; they end with the program.
        over: Set when opam has answered: what is not loaded by then is loaded where it is needed, if it is.
    """

    threads: Sequence[threading.Thread] = ()
    over: threading.Event = field(default_factory=threading.Event)

    def end(self) -> None:
        """Wait for what has been begun, and begin nothing more."""
        self.over.set()
        for thread in self.threads:
            thread.join()


def begin(context: Context) -> Warmup:
    """Start the work."""
    over = threading.Event()
    threads = [threading.Thread(target=work, args=(context, over), daemon=True) for work in (_load, _ask)]
    for thread in threads:
        thread.start()
    return Warmup(threads, over)


def _load(context: Context, over: threading.Event) -> None:
    for name in MODULES:
        if over.is_set():
            return
        with suppress(ImportError):
            importlib.import_module(name)
    from opambin import gather

    gather.system_compiler(context.environ, context.prefix)


def _ask(context: Context, _: threading.Event) -> None:
    from opambin import gather

    with suppress(OpambinError):
        context.asked_before.update(context.opam.variables(sorted(gather.USUAL)))
