"""What opam would have said of the work that we did in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.cli.console import Console
from opambin.cli.output import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opambin.door.front import Prepared
    from opambin.restore import Restored


def console_of(prepared: Prepared, environ: Mapping[str, str]) -> Console:
    """Find out how opam writes, from the command line and from its plan."""
    option = prepared.request.values.get("--color", "")
    return Console.of(option, environ, prepared.plan.stdout)


def print_steps(prepared: Prepared, done: Restored, console: Console, tell: Callable[[str], None]) -> None:
    """Print one line for each package that was removed or installed, under opam's heading."""
    from opambin.opam.solution import Verb

    installed = {*(str(manifest.package) for manifest in done.restored), *done.checked}
    removed = {str(package) for package in prepared.decision.removals}
    tell(f"\n{console.heading('Processing actions')}")
    for action in prepared.plan.actions:
        package = action.package
        if str(package) in (removed if action.verb is Verb.REMOVE else installed):
            tell(console.step(action.verb, package.name, package.version))


def print_end(prepared: Prepared, done: Restored, console: Console, tell: Callable[[str], None]) -> None:
    """Print what opam says when all is done: messages of packages, and the hint for the shell."""
    from opambin.door import shellhint

    tell("Done.")
    print_messages(prepared, done, console, tell)
    line, command = shellhint.hint(prepared.context, prepared.request)
    if line:
        tell(console.wrapped(line % console.styled("bold", command)))


def print_messages(prepared: Prepared, done: Restored, console: Console, tell: Callable[[str], None]) -> None:
    """Print what restored packages want said."""
    from opambin.door import messages
    from opambin.model import Package

    names = [manifest.package.name for manifest in done.restored]
    names += [Package.parse(package).name for package in done.checked]
    mark = console.styled("green", "=> ")
    for package, texts in messages.after_install(prepared.context, prepared.decision.universe, names):
        tell(f"\n{console.heading(f'{package} installed successfully')}")
        for text in texts:
            first, *rest = text.splitlines() or [""]
            tell(f"{mark}{printable(first)}")
            for line in rest:
                tell(f"   {printable(line)}" if line else "")
