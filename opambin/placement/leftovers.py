"""What a killed restore has left in a switch: taken out of it again, and back into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.opam.lock import SwitchLock
from opambin.placement import recovery, removing
from opambin.placement.traces import journal_path, there

if TYPE_CHECKING:
    from collections.abc import Callable

    from opambin.context import Context
    from opambin.model import PackageName


def journal_of(context: Context) -> recovery.Journal:
    """Return the journal of restores into the switch."""
    return recovery.Journal(journal_path(context))


def clean_up(context: Context, tell: Callable[[str], None]) -> None:
    """Clean up after a killed restore, if there was one, before the switch is looked at.

    Raises:
        UnavailableError: The switch can't be locked, or something can't be put back.
    """
    if there(context):
        with SwitchLock(context.switch.meta, context.root.path, on_wait=tell):
            for report in clean(context):
                tell(f"opam-bin: {report}")


def clean(context: Context) -> list[str]:
    """Do the same under a lock that the caller holds; returns what was done, in words.

    Raises:
        UnavailableError: Something can't be put back.
    """
    if not there(context):
        return []
    reports: list[str] = []
    try:
        out = removing.interrupted(context.switch)
        placed = _remove_placed(context, out)
        back = removing.put_back(context.switch)
    except BadDataError as error:
        journal_of(context).clear()
        return [str(error)]
    if placed:
        reports.append(f"removed what an interrupted restore had left: {', '.join(placed)}")
    if back:
        reports.append(f"put back what an interrupted restore had taken out: {', '.join(back)}")
    return reports


def _remove_placed(context: Context, out: frozenset[PackageName]) -> list[str]:
    """Remove what was placed and not registered; what was taken out for it (``out``) is still on record."""
    switch = context.switch
    state = switch.state()
    owned = {
        path
        for name in state.installed
        if name not in out and (changes := switch.changes(name)) is not None
        for path in changes.added()
    }
    packages = [str(package) for package in state.packages if package.name not in out]
    return journal_of(context).recover(context.prefix, packages, owned.__contains__)
