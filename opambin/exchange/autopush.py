"""Pushing what sessions have built, after they have ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin import summary
from opambin.errors import OpambinError
from opambin.exchange import opening, outbox, selection, uploads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.exchange.meter import Meter
    from opambin.exchange.selection import Wanted
    from opambin.model import ConeKey, OutputId
    from opambin.store.store import Store


@dataclass(frozen=True, slots=True)
class Emptied:
    """What became of the outbox.

    Attributes:
        lines: What happened, in words.
        failed: Whether something waits still, or failed.
    """

    lines: tuple[str, ...]
    failed: bool


def push_waiting(
    store: Store, wanted: Wanted, to: tuple[Mapping[str, str], str | None], meter: Meter
) -> Emptied:
    """Push everything that waits in the outbox; waits for a push that is going on.

    Args:
        store: Whose outbox.
        wanted: Says what may be pushed; more to push is not named there.
        to: The environment, and the remote by name or URL.
        meter: Shown the progress.
    """
    environ, remote = to
    lines: list[str] = []
    failed = False
    with outbox.emptying(store):
        while True:
            keys = outbox.waiting(store)
            if not keys:
                break
            try:
                more, failed = _push(store, keys, wanted, (environ, remote), meter)
            except OpambinError as error:
                return Emptied((*lines, f"{len(keys)} snapshots wait still: {error}"), failed=True)
            lines += more
            if failed:
                break
    return Emptied(tuple(lines or ["nothing waits to be pushed"]), failed)


def _push(
    store: Store,
    keys: list[tuple[ConeKey, OutputId]],
    wanted: Wanted,
    to: tuple[Mapping[str, str], str | None],
    meter: Meter,
) -> tuple[list[str], bool]:
    environ, remote = to
    entry = opening.choose(environ, remote, write=True)
    signer = opening.signer(environ, entry.url)
    source = opening.writable(environ, remote, signer.secrets)
    found = [store.manifests.get(key, output) for key, output in keys]
    named = [manifest for manifest in found if manifest is not None]
    chosen = selection.with_dependencies(store, named, wanted)
    done = uploads.push(store, chosen.manifests, source, signer, meter)
    source.remote.close()
    failed = {manifest.key for manifest in named if str(manifest.package) in done.failed}
    outbox.take(store, [(key, output) for key, output in keys if key not in failed])
    lines = [f"{package} stays here: {reason}" for package, reason in chosen.left.items()]
    lines += [f"{package} was not pushed: {reason}" for package, reason in done.failed.items()]
    size = summary.data_size(done.bytes)
    lines.append(f"{len(done.pushed)} pushed to {source.name} ({size}), {len(done.there)} were there already")
    return lines, bool(done.failed)
