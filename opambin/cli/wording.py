"""Headings and messages as opam prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from opambin.door.front import Prepared
    from opambin.restore import Restored

WIDTH = 80  # columns of a heading


def title(text: str) -> str:
    """Write a heading."""
    line = f"<><> {text} "
    rest = WIDTH - len(line)
    return line + ("<><>" * (rest // 4 + 1))[: max(0, rest)]


def print_messages(prepared: Prepared, done: Restored, tell: Callable[[str], None]) -> None:
    """Print what restored packages want said."""
    from opambin.door import messages
    from opambin.model import Package

    names = [manifest.package.name for manifest in done.restored]
    names += [Package.parse(package).name for package in done.checked]
    for package, texts in messages.after_install(prepared.context, prepared.decision.universe, names):
        tell(f"\n{title(f'{package} installed successfully')}")
        for text in texts:
            first, *rest = text.splitlines() or [""]
            tell(f"=> {printable(first)}")
            for line in rest:
                tell(f"   {printable(line)}" if line else "")
