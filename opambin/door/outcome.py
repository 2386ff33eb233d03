"""What the front door did: statistics, the summary, and what is left to opam."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opambin import summary
from opambin.plan import NO_SNAPSHOT
from opambin.session.folder import Result
from opambin.store.records import Event
from opambin.store.records import Result as EventResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.door.front import Prepared
    from opambin.restore import Restored


def keep_statistics(prepared: Prepared, done: Restored) -> None:
    """Note in the store what was restored, and why the rest was not.

    Raises:
        UnavailableError: The store can't be written.
    """
    context = prepared.context
    store = context.need_store()
    if store.staging.readonly:
        return
    now = int(time.time())
    events = [
        Event(
            now,
            context.prefix,
            str(manifest.package),
            manifest.key,
            EventResult.HIT,
            "",
            manifest.build.seconds,
            manifest.size,
            manifest.build.source_bytes,
        )
        for manifest in done.restored
    ]
    for item in prepared.items:
        reason = done.left.get(str(item.package), item.reason)
        if reason:
            key = item.keyed.key or "" if item.keyed is not None else ""
            events.append(Event(now, context.prefix, str(item.package), key, EventResult.MISS, reason))
    store.record_events(events)


def results(done: Restored) -> list[Result]:
    """Return what a restore did in the form of a session's results."""
    return [Result.of_restored(manifest) for manifest in done.restored]


def summary_lines(prepared: Prepared, done: Restored) -> list[str]:
    """Say what was restored, what it saved, and what is left to opam and why."""
    found = results(done)
    count = len(done.restored)
    checked = f", {len(done.checked)} checked" if done.checked else ""
    gone = sum(not after for after in prepared.decision.removals.values())
    checked += f", {gone} removed" if gone else ""
    seconds = sum(result.seconds for result in found)
    source = sum(result.source_bytes for result in found)
    saved = [f"{summary.duration(seconds)} of building"] if seconds >= 0.5 else []
    saved += [f"{summary.data_size(source)} of sources"] if source else []
    line = f"opam-bin: {count} restored{checked} in {summary.duration(prepared.seconds + done.seconds)}"
    lines = [line + (f" (saved {' and '.join(saved)})" if saved else "")]
    lines += [f"opam-bin: {report}" for report in done.reports]
    return lines + rest_lines(left_to_opam(prepared, done))


def rest_lines(left: Mapping[str, str]) -> list[str]:
    """Say what opam has to do, each reason once, and why it shows a plan for the second time.

    opam has no option that leaves its plan out. To take it out of what opam prints we would have to stand
    between opam and the terminal, which its colours, its progress and its questions need.
    """
    lines = _by_reason(left)
    return [*lines, "opam-bin: opam plans the rest once more, and builds it"] if lines else []


def idle_lines(prepared: Prepared) -> list[str]:
    """Say why nothing of a plan is restored."""
    left = left_to_opam(prepared, None)
    if {*left.values()} - {NO_SNAPSHOT}:
        return _by_reason(left)
    where = "the store or on a remote" if prepared.decision.shelf.catalogues else "the store"
    return [f"opam-bin: nothing of this is in {where}"]


def _by_reason(left: Mapping[str, str]) -> list[str]:
    packages: dict[str, list[str]] = {}
    for package, reason in left.items():
        packages.setdefault(reason, []).append(package)
    return [
        f"opam-bin: {summary.names(named)} {'is' if len(named) == 1 else 'are'} left to opam: {reason}"
        for reason, named in packages.items()
    ]


def left_to_opam(prepared: Prepared, done: Restored | None) -> dict[str, str]:
    """Return the packages of the plan that opam still has to install, with the reasons."""
    placed = set() if done is None else {str(m.package) for m in done.restored} | set(done.checked)
    later = {} if done is None else done.left
    left = {str(package): "it is defined in a folder" for package in prepared.later}
    return left | {
        str(item.package): later.get(str(item.package)) or item.reason or "nothing was restored"
        for item in prepared.items
        if str(item.package) not in placed
    }
