"""What a workflow works on: configuration, opam's root and switch, the store, the session.

Much of it is imported where it is used, so that opam can be asked for its plan at once; the rest is loaded
while opam solves (:mod:`opambin.door.warmup`).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from opambin.config import load as load_config
from opambin.errors import UnavailableError
from opambin.frozen import dataclass
from opambin.model import PLACEHOLDER, ConeKey, OutputId
from opambin.opam.client import Opam
from opambin.opam.root import Root
from opambin.opam.switch import Switch
from opambin.setup.shim import is_shim, programs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opambin.config import Config
    from opambin.model import Package, PackageName, Version
    from opambin.relocate.engine import LinkMode
    from opambin.relocate.spelling import Spelling
    from opambin.session.folder import Session
    from opambin.store.records import InstalledRecord
    from opambin.store.store import Store


@dataclass(frozen=True, slots=True)
class OnRecord:
    """The output that is installed, as far as we know."""

    key: ConeKey
    output: OutputId


@dataclass
class Context:
    """One switch of one root, with our store.

    Attributes:
        config: Our configuration.
        root: opam's root.
        switch: The switch.
        opam: The opam program, set to that root and switch.
        store: None when it can't be used; the reason is in ``store_problem``.
        environ: The environment that builds inherit.
        hook: Whether opam's own session runs us. Only then is a session folder to be believed: outside, it
            is what a killed session left.
        asked_before: Values of opam's variables that were asked for ahead of time.
        definitions: Definitions that opam was asked for.
    """

    config: Config
    root: Root
    switch: Switch
    opam: Opam
    store: Store | None
    environ: Mapping[str, str]
    store_problem: str = ""
    hook: bool = False
    asked_before: dict[str, str] = field(default_factory=dict, repr=False)
    definitions: dict[Package, str] = field(default_factory=dict, repr=False)
    _records: Mapping[PackageName, InstalledRecord] | None = field(default=None, repr=False)

    @cached_property
    def prefix(self) -> str:
        """The prefix of the switch, without trailing slash."""
        return str(self.switch.prefix)

    @cached_property
    def opam_version(self) -> tuple[int, ...]:
        """The version of opam; asked for once.

        Raises:
            UnavailableError: It is one that we do not know, or there is none.
        """
        return self.opam.check_supported()

    @cached_property
    def spelling(self) -> Spelling:
        """The spellings of the prefix."""
        from opambin.relocate.spelling import Spelling

        return Spelling.of(os.fsencode(self.prefix))

    @cached_property
    def session(self) -> Session:
        """The session of the switch, whether one is going on or not."""
        from opambin.session.folder import Session

        return Session.of(self.root.path, self.switch.prefix)

    @property
    def excluded(self) -> str:
        """The configured glob that leaves this switch alone, or empty."""
        names = (self.switch.name, self.prefix)
        globs = self.config.exclude_switches
        return next((glob for glob in globs if any(fnmatchcase(name, glob) for name in names)), "")

    @property
    def link_mode(self) -> LinkMode:
        """How files may come into the prefix, as configured."""
        from opambin.relocate.engine import LinkMode
        from opambin.store.permissions import Sharing, is_shared

        if self.config.link != "hard" or is_shared(self.config.cache, Sharing(self.config.shared)):
            return LinkMode.COPY  # a file of a switch must not be one with what others can write
        return LinkMode.HARD

    def raw(self, packages: Iterable[Package]) -> Mapping[Package, str]:
        """Return opam's definitions of packages, asking once for each; what opam does not know is absent.

        Raises:
            UnavailableError: opam failed.
        """
        unknown = sorted({*packages} - self.definitions.keys())
        if unknown:
            self.definitions.update(self.opam.show_raw(unknown))
        return self.definitions

    def placeholder_text(self, text: str) -> str:
        """Spell the prefix in a text as the placeholder."""
        from opambin.relocate.text import locate

        located = locate(text.encode("utf-8", "surrogateescape"), self.spelling)
        return located.content.decode("utf-8", "surrogateescape")

    def live_text(self, text: str) -> str:
        """Spell the placeholder in a text as the prefix of the switch."""
        return text.replace(PLACEHOLDER.decode(), self.prefix)

    def record(self, name: PackageName, version: Version) -> OnRecord | None:
        """Return which output of a package is installed; None when it is not known any more.

        The session that goes on has the last word; a record from before counts only while opam's own file
        list is the one that it was made with.
        """
        if self.hook and self.session.exists:
            result = self.session.result(f"{name}.{version}")
            if result is not None:
                return OnRecord(ConeKey(result.key), OutputId(result.output)) if result.output else None
        if self.store is None:
            return None
        records = self._records
        if records is None:
            records = self._records = self.store.installed(self.prefix)
        found = records.get(name)
        if found is None or found.version != version or found.changes_digest != self.changes_digest(name):
            return None
        return OnRecord(found.key, found.output)

    def changes_digest(self, name: str) -> str:
        """Return the sha256 of opam's file list of a package; empty when there is none."""
        path = self.switch.meta / "install" / f"{name}.changes"
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            return ""

    def need_store(self) -> Store:
        """Return the store.

        Raises:
            UnavailableError: It can't be used.
        """
        if self.store is None:
            raise UnavailableError(self.store_problem)
        return self.store


def real_opam(environ: Mapping[str, str]) -> str:
    """Return the path of opam; ``OPAMBIN_OPAM`` names another one than the first on the PATH.

    What stands for opam in transparent mode is never it.

    Raises:
        UnavailableError: There is none.
    """
    wanted = environ.get("OPAMBIN_OPAM") or "opam"
    found = [path for path in programs(wanted, environ.get("PATH")) if not is_shim(path)]
    if not found:
        raise UnavailableError(
            f"{wanted} is not on the PATH: install opam 2.1 or later (https://opam.ocaml.org/doc/Install.html)"
        )
    return found[0]


def open_context(
    environ: Mapping[str, str],
    switch: str | None = None,
    *,
    program: str | None = None,
    readonly: bool = False,
    hook: bool = False,
) -> Context:
    """Open everything for one switch.

    Args:
        environ: The environment, for ``OPAMROOT``, ``OPAMSWITCH``, ``OPAMBIN_*`` and the builds.
        switch: Its name; None means the current one.
        program: The opam to run; None looks for it.
        readonly: Whether the store may be missing and stays as it is.
        hook: Whether opam's own session runs us.

    Raises:
        OpambinError: No opam, no root, no such switch, a bad configuration. A store that can't be used is
            no error here.
    """
    config = load_config(environ)
    opam = Opam(program or real_opam(environ), environ=environ)
    root = Root.find(environ)
    found = Switch.open(root, switch, environ)
    opam = Opam(opam.program, root=root.path, switch=found.name, environ=environ)
    store, problem = open_store(config, readonly=readonly)
    return Context(config, root, found, opam, store, environ, problem, hook)


def open_store(config: Config, *, readonly: bool = False) -> tuple[Store | None, str]:
    """Open the store; when it can't be used, return None and why.

    One that can't be written (an image's, another user's) is opened read-only: it gives what it has.
    """
    from opambin.errors import OpambinError
    from opambin.store.permissions import Sharing
    from opambin.store.store import Store

    readonly = readonly or (config.cache.is_dir() and not os.access(config.cache, os.W_OK))
    try:
        sharing = Sharing(config.shared)
        found = Store.open(
            config.cache, create=not readonly, readonly=readonly, fsync=config.fsync, sharing=sharing
        )
    except OpambinError as error:
        return None, str(error)
    return found, ""
