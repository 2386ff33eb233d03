"""Making opam and the store know the copy of a switch, and asking opam whether it does."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.opam import environment, switchlist
from opambin.opam.ast import String
from opambin.opam.root import Root
from opambin.opam.statefile import quote
from opambin.opam.switch import META, Switch

if TYPE_CHECKING:
    from opambin.move.journal import Entry
    from opambin.move.staging import Staging
    from opambin.opam.client import Opam
    from opambin.store.store import Store


class Registry:
    """What knows of switches: opam's configuration, links into switches, our store.

    Args:
        opam: The program.
        root: opam's root.
        entry: What is moved.
        store: None when it can't be written.
    """

    def __init__(self, opam: Opam, root: Path, entry: Entry, store: Store | None) -> None:
        self._root = root
        self._opam = replace(opam, root=root, switch=entry.new)
        self._entry = entry
        self._store = store

    def known(self) -> tuple[str, ...]:
        """Return the names of the switches that opam knows."""
        return Root.open(self._root).switches

    def rewrite_records(self, staging: Staging) -> None:
        """Rename the switch in its own records: one without a description is described by its name."""
        path = staging.folder / META / "switch-config"
        entry = self._entry
        config = Switch(Root.open(self._root), entry.new, staging.folder).config()
        if config.file.get("synopsis") == String(entry.old):
            text = path.read_bytes().decode("utf-8", "surrogateescape")
            new = text.replace(f"synopsis: {quote(entry.old)}", f"synopsis: {quote(entry.new)}", 1)
            staging.replace(f"{META}/switch-config", new.encode("utf-8", "surrogateescape"))

    def register(self) -> None:
        """Make opam know the copy, instead of the old switch when that goes.

        Raises:
            UnavailableError: opam's configuration can't be written, or opam fails.
        """
        entry = self._entry
        if entry.keep:
            switchlist.edit(self._root, lambda text: switchlist.added(text, entry.new))
        else:
            switchlist.edit(self._root, lambda text: switchlist.renamed(text, entry.old, entry.new))
        self.refresh()

    def refresh(self) -> None:
        """Let opam write its records of the copy's environment."""
        environment.refresh(self._opam, self._switch())

    def verify(self) -> None:
        """Ask opam for the prefix and the packages of the copy.

        Raises:
            UnavailableError: It answers something else than it should.
        """
        entry = self._entry
        prefix = self._opam.switch_prefix(entry.new)
        if str(prefix) != entry.new_prefix:
            raise UnavailableError(f"opam takes {prefix} for the prefix of {entry.new}")
        listed = self._opam.query(
            ["list", f"--switch={entry.new}", "--installed", "--short", "--columns=package"]
        )
        expected = {str(package) for package in self._switch().state().packages}
        if set(listed.split()) != expected:
            odd = sorted(set(listed.split()) ^ expected)
            raise UnavailableError(
                f"opam does not find the same packages in {entry.new}: {', '.join(odd[:5])}"
            )

    def unregister(self) -> None:
        """Make opam forget the copy, and know the old switch again."""
        entry = self._entry
        if entry.new not in self.known():
            return
        if entry.keep:
            switchlist.edit(self._root, lambda text: switchlist.removed(text, entry.new))
            return
        switchlist.edit(
            self._root,
            lambda text: switchlist.renamed(text, entry.new, entry.old, current=entry.current),
        )
        if entry.current:
            replace(self._opam, switch=entry.old).set_global_switch(entry.old)

    def follow(self) -> tuple[str, ...]:
        """Let links from outside that lead into the old switch lead into the copy; returns them.

        Those are the ones that opam makes for plugins, and the ``_opam`` link by which the switch was named.
        """
        old, new = self._entry.old_prefix, self._entry.new_prefix
        links = sorted((self._root / "plugins" / "bin").glob("*"))
        if self._entry.link:
            links.append(Path(self._entry.link))
        changed = []
        for link in links:
            target = os.readlink(link) if link.is_symlink() else ""  # noqa: PTH115 - the exact text
            if target == old or target.startswith(f"{old}/"):
                temporary = link.with_name(f".{link.name}.opam-bin")
                temporary.unlink(missing_ok=True)
                temporary.symlink_to(new + target[len(old) :])
                temporary.replace(link)
                changed.append(str(link))
        return tuple(changed)

    def record(self) -> None:
        """Note in the store that the copy has what the old switch had.

        Raises:
            UnavailableError: The store can't be written.
        """
        store, entry = self._store, self._entry
        if store is None or store.staging.readonly:
            return
        records = []
        for name, known in store.installed(entry.old_prefix).items():
            file = f"{META}/install/{name}.changes"
            if known.changes_digest and _digest(Path(entry.old_prefix, file)) == known.changes_digest:
                records.append(replace(known, changes_digest=_digest(Path(entry.new_prefix, file))))
        store.record_installed(entry.new_prefix, records)

    def forget(self) -> None:
        """Make the store forget the old switch.

        Raises:
            UnavailableError: The store can't be written.
        """
        store, entry = self._store, self._entry
        if store is not None and not store.staging.readonly:
            store.forget_installed(entry.old_prefix, list(store.installed(entry.old_prefix)))

    def _switch(self) -> Switch:
        return Switch(Root.open(self._root), self._entry.new, Path(self._entry.new_prefix))


def _digest(path: Path) -> str:
    """Return the sha256 of a file; empty when it is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
