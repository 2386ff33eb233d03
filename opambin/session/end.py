"""The end of an opam session: check what was captured against opam's own lists, record it, sum up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opambin import summary
from opambin.context import open_context
from opambin.errors import UnavailableError
from opambin.model import ConeKey, FileType, OutputId, Package
from opambin.session import reports as session_reports
from opambin.session.folder import Result
from opambin.store.records import IN_SESSION, Event, InstalledRecord
from opambin.store.records import Result as EventResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opambin.context import Context
    from opambin.model import Manifest

_KINDS = {"restored": EventResult.HIT, "captured": EventResult.BUILT, "skipped": EventResult.REFUSED}


def end(facts: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """Close the session folder; returns the lines of the summary.

    Args:
        facts: What opam told the hook; none of it is needed, since opam's files say more.
        environ: The environment of the hook.

    Raises:
        OpambinError: The switch or the session can't be read.
    """
    context = open_context(environ, hook=True)
    try:
        results = _installed(context, [_checked(context, result) for result in context.session.results()])
        found = _record(context, results) if results else []
        found += _push_later(context, results)
        if context.store is not None:
            found += [f"opam-bin: {problem}" for problem in context.store.problems]
        found += [f"opam-bin: {problem}" for problem in session_reports.read(context.session)]
        door = summary.front_door(results) if facts.get("success", "true") != "false" else ""
        return [*summary.lines(results), *([door] if door else []), *found]
    finally:
        context.session.remove()


def _installed(context: Context, results: Sequence[Result]) -> list[Result]:
    """Leave out packages that opam rolled back after our hook had run."""
    installed = {str(package) for package in context.switch.state().packages}
    return [result for result in results if result.package in installed]


def _checked(context: Context, result: Result) -> Result:
    """Compare a captured package with opam's list of its files; a snapshot that disagrees is dropped."""
    if result.what != "captured" or context.store is None:
        return result
    manifest = context.store.manifests.get(ConeKey(result.key), OutputId(result.output))
    if manifest is None:
        return result
    problem = disagreement(context, manifest)
    if not problem:
        return result
    context.store.drop(manifest.key, manifest.output)
    return Result(result.package, "skipped", problem)


def disagreement(context: Context, manifest: Manifest) -> str:
    """Say where opam's record of a package and its snapshot differ; empty when they agree.

    Folders are left out: for opam they belong to whoever made them first.
    """
    changes = context.switch.changes(manifest.package.name)
    if changes is None:
        return ""
    ours = {entry.path for entry in manifest.files if entry.type is not FileType.DIRECTORY}
    ours |= {edit.path for edit in manifest.edits}
    theirs = {
        entry.path
        for entry in changes.entries
        if entry.digest != "D" and entry.kind in ("added", "contents-changed", "kind-changed")
    }
    theirs = {path for path in theirs if not path.startswith(".opam-switch/")}
    if ours == theirs:
        return ""
    extra, missing = sorted(theirs - ours), sorted(ours - theirs)
    if extra:
        return f"opam also counts {extra[0]} as its file"
    return f"opam does not count {missing[0]} as its file"


def _record(context: Context, results: Sequence[Result]) -> list[str]:
    """Note what is installed, what was used, and the statistics."""
    store = context.store
    if store is None or store.staging.readonly:
        return []
    known = [result for result in results if result.output]
    packages = [Package.parse(result.package) for result in known]
    now = int(time.time())
    try:
        store.record_installed(
            context.prefix,
            [
                InstalledRecord(
                    package.name,
                    package.version,
                    ConeKey(result.key),
                    OutputId(result.output),
                    context.changes_digest(package.name),
                )
                for package, result in zip(packages, known, strict=True)
            ],
        )
        store.touch([(ConeKey(result.key), OutputId(result.output)) for result in known], now)
        store.record_events([_event(context, result, now) for result in results])
    except UnavailableError as error:
        return [f"opam-bin: {error}"]
    return []


def _push_later(context: Context, results: Sequence[Result]) -> list[str]:
    """Have what was built pushed in the background, where that is wanted; offline it only waits for that."""
    built = [
        (ConeKey(result.key), OutputId(result.output)) for result in results if result.what == "captured"
    ]
    if not (context.config.autopush and built and context.store is not None):
        return []
    from opambin.exchange import outbox

    try:
        outbox.put(context.store, built)
        if not context.config.offline:
            outbox.start(context.store, context.environ)
    except UnavailableError as error:
        return [f"opam-bin: {error}"]
    return []


def _event(context: Context, result: Result, now: int) -> Event:
    return Event(
        now,
        context.prefix,
        result.package,
        result.key,
        _KINDS[result.what],
        IN_SESSION if result.what == "restored" else result.reason,
        result.seconds,
        result.bytes,
        result.source_bytes,
    )
