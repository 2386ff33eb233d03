"""What the store holds and what switches have installed, as lists for people and scripts."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError
from opambin.opam.version import sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from opambin.config import Config
    from opambin.context import Context
    from opambin.model import Manifest, PackageName
    from opambin.opam.root import Root
    from opambin.store.records import SnapshotRecord
    from opambin.store.store import Store

SHORTEST_KEY = 4  # digits of an abbreviated cone key


@dataclass(frozen=True, slots=True)
class Held:
    """A version of a package in the store.

    Attributes:
        name: Of the package.
        version: Of the package.
        snapshots: One for each output of each key, the newest first.
    """

    name: str
    version: str
    snapshots: tuple[SnapshotRecord, ...]

    @property
    def keys(self) -> int:
        """How many different builds there are."""
        return len({snapshot.key for snapshot in self.snapshots})

    @property
    def size(self) -> int:
        """Bytes of all files, those that snapshots share counted for each."""
        return sum(snapshot.size for snapshot in self.snapshots)

    @property
    def last_used(self) -> int:
        """Seconds since 1970; 0 when never."""
        return max(snapshot.last_used for snapshot in self.snapshots)

    @property
    def uses(self) -> int:
        """How often they were used."""
        return sum(snapshot.uses for snapshot in self.snapshots)


@dataclass(frozen=True, slots=True)
class Installed:
    """A package of a switch.

    Attributes:
        name: Of the package.
        version: Of the package.
        origin: ``restored``, ``captured``, ``on record`` (it is known, but no more how it came) or empty.
        since: Seconds since 1970 of that; 0 when unknown.
        key: Cone key; empty when it is not on record.
        output: The output that is installed; empty when it is not on record.
    """

    name: str
    version: str
    origin: str = ""
    since: int = 0
    key: str = ""
    output: str = ""


def open_existing(place: Path) -> Store | None:
    """Open the store at ``place``; None when there is none yet.

    Raises:
        BadDataError: Its format is not known.
        UnavailableError: It can't be read.
    """
    from opambin.store.layout import Layout, check_format
    from opambin.store.store import Store

    return Store.open(place, create=False) if check_format(Layout(place)) else None


def matches(name: str, version: str, globs: Sequence[str]) -> bool:
    """Tell whether a package is asked for by one of some globs on ``name`` or ``name.version``."""
    return not globs or any(fnmatchcase(name, it) or fnmatchcase(f"{name}.{version}", it) for it in globs)


def held(store: Store, globs: Sequence[str]) -> list[Held]:
    """Return what the store has, by name and rising version."""
    found: dict[tuple[str, str], list[SnapshotRecord]] = {}
    for record in store.index.records():
        if matches(record.name, record.version, globs):
            found.setdefault((record.name, record.version), []).append(record)
    ordered = sorted(found.items(), key=lambda item: (item[0][0], sort_key(item[0][1])))
    return [Held(name, version, tuple(records)) for (name, version), records in ordered]


def installed(context: Context, globs: Sequence[str]) -> list[Installed]:
    """Return the packages of a switch by name, each with where it came from.

    Raises:
        BadDataError: opam's record of the switch is broken.
    """
    events = context.store.index.last_events(context.prefix) if context.store is not None else {}
    found = []
    for name, version in sorted(context.switch.state().installed.items()):
        if not matches(name, version, globs):
            continue
        record = context.record(name, version)
        if record is None:
            found.append(Installed(name, version))
            continue
        event = events.get(f"{name}.{version}")
        if event is None or event.key != record.key:
            found.append(Installed(name, version, "on record", 0, record.key, record.output))
        else:
            origin = "restored" if event.result == "hit" else "captured"
            found.append(Installed(name, version, origin, event.time, record.key, record.output))
    return found


def context_for_looking(
    config: Config, root: Root, name: str | None, store: Store | None, environ: Mapping[str, str]
) -> Context:
    """Open a switch for looking only: no opam is needed.

    Raises:
        UnavailableError: There is no such switch.
    """
    from opambin.context import Context
    from opambin.opam.client import Opam
    from opambin.opam.switch import Switch

    switch = Switch.open(root, name, environ)
    return Context(config, root, switch, Opam("opam", root=root.path), store, environ)


def snapshots(store: Store, wanted: str, key: str = "") -> list[Manifest]:
    """Return every snapshot of a package, the newest first.

    Args:
        store: Where to look; what is bad there is in its ``problems`` afterwards.
        wanted: ``NAME`` or ``NAME.VERSION``.
        key: The first digits of a cone key; empty for all.

    Raises:
        MisuseError: The store has no such package, version or key.
        BadDataError: It has, but all are bad.
        UnavailableError: One can't be read.
    """
    name, _, version = wanted.partition(".")
    records = [record for record in store.index.records() if record.name == name]
    if not records:
        raise MisuseError(f"the store has no package {name}{_near(store, name)}")
    chosen = [record for record in records if version in ("", record.version)]
    if not chosen:
        known = sorted({record.version for record in records}, key=sort_key)
        raise MisuseError(f"the store has no {wanted}; of {name} it has {', '.join(known)}")
    chosen = _of_key(chosen, wanted, key)
    good = [manifest for record in chosen if (manifest := _load(store, record)) is not None]
    if not good:
        told = (
            f": {store.problems[-1]}"
            if store.problems
            else " and is gone; 'opam-bin verify' brings the index in line"
        )
        raise BadDataError(wanted, f"is in the index of the store, but can't be used{told}")
    return good


def _load(store: Store, record: SnapshotRecord) -> Manifest | None:
    """Read a manifest; a bad one goes to quarantine and into the store's ``problems``."""
    path = store.layout.manifest(record.key, record.output)
    try:
        return store.manifests.load(path)
    except BadDataError as error:
        store.manifests.quarantine(path, str(error))
        return None


def _of_key(records: Iterable[SnapshotRecord], wanted: str, key: str) -> list[SnapshotRecord]:
    digits = key.lower()
    if not key:
        return list(records)
    if len(digits) < SHORTEST_KEY or digits.strip("0123456789abcdef"):
        raise MisuseError(f"{key!r} is no cone key: give at least {SHORTEST_KEY} hexadecimal digits of it")
    found = [record for record in records if record.key.startswith(digits)]
    if not found:
        keys = ", ".join(sorted({record.key[:16] for record in records}))
        raise MisuseError(f"the store has no {wanted} with a key {key}…; its keys begin with {keys}")
    return found


def _near(store: Store, name: str) -> str:
    import difflib

    names: set[PackageName] = {record.name for record in store.index.records()}
    close = difflib.get_close_matches(name, sorted(names), 3)
    if close:
        return f"; did you mean {', '.join(close)}?"
    return "; 'opam-bin list' shows what there is" if names else "; it is empty"
