"""Telling opam that packages are installed, or are no longer, by writing its records as it would itself.

Rules:

* Only under the switch's lock, and only when the switch still is what the plan saw.
* Order: ``install/``, ``config/``, ``packages/``, plugin links, ``reinstall``, then ``switch-state`` by
  rename; the cache of installed opam files goes last, because readers without a lock write it.
* What is recorded is what is on disk: the entry of a ``.config`` that opam tracks as a file is made anew.
* The definition on record is that of the user's repository, as ``opam show --raw`` prints it, without name
  and version.
* Everything goes through a journal, so that it can be undone.
"""

from __future__ import annotations

import os
import re
from dataclasses import field, replace
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.frozen import dataclass
from opambin.model import Package, PackageName
from opambin.opam import invariant, statefile
from opambin.opam.ast import Ident, List
from opambin.opam.changes import Change, Changes
from opambin.opam.changes import digest as digest_of
from opambin.opam.environment import has_setenv
from opambin.opam.journal import Journal
from opambin.opam.parser import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from opambin.opam.ast import Value
    from opambin.opam.interpolation import Env
    from opambin.opam.lock import SwitchLock
    from opambin.opam.switch import Switch
    from opambin.opam.switchfiles import SwitchState

_HEAD = re.compile(r'\A(opam-version: "[^"\n]*"\n)?(?:name: "[^"\n]*"\n)?(?:version: "[^"\n]*"\n)?')


@dataclass(frozen=True, slots=True)
class Registration:
    """A package whose files are in place.

    Attributes:
        package: Name and version.
        opam_text: Its definition, as ``opam show --raw`` of the user's opam prints it.
        changes: What it brought to the prefix, as on disk.
        files: Extra files beside the definition, by their path below ``files/``.
        config: Content of ``NAME.config``, or None.
        install: Content of ``NAME.install``, or None.
        root: Whether it was asked for; packages that were before stay so.
    """

    package: Package
    opam_text: str
    changes: Changes
    files: Mapping[str, bytes] = field(default_factory=dict)
    config: str | None = None
    install: str | None = None
    root: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What was done to a switch.

    Attributes:
        journal: Every write.
        environment_stale: A package with ``setenv`` came or went: call
            :func:`opambin.opam.environment.refresh` after the lock was released.
    """

    journal: Journal
    environment_stale: bool

    def undo(self) -> None:
        """Put everything back.

        Raises:
            UnavailableError: A path can't be put back; the others are.
        """
        self.journal.undo()


@dataclass(frozen=True, slots=True)
class Guard:
    """The right to write, and what must still be true.

    Attributes:
        lock: Held, or known to be held by the opam that runs us.
        fingerprint: Of the switch when it was planned; None skips the comparison.
        env: Values of global variables, for filters in ``depends`` (only compilers need it).
    """

    lock: SwitchLock
    fingerprint: str | None = None
    env: Env = lambda _: None

    def check(self, switch: Switch) -> None:
        """Check both.

        Raises:
            MisuseError: The lock is not held.
            UnavailableError: The switch was changed meanwhile.
        """
        if not self.lock.held:
            raise MisuseError(f"{switch.prefix} may be written only under its lock")
        if self.fingerprint is not None and switch.fingerprint() != self.fingerprint:
            raise UnavailableError(f"switch {switch.name} was changed by somebody else: plan again")


def register(switch: Switch, registrations: Sequence[Registration], guard: Guard) -> Written:
    """Record packages as installed.

    An installed package of the same name and its records are replaced; its files must be gone already.

    Raises:
        UnavailableError: The switch was changed meanwhile, or a record can't be written; all is undone.
        BadDataError: A record of the switch or a definition can't be read; all is undone.
        MisuseError: The lock is not held.
    """
    guard.check(switch)
    state = switch.state()
    texts = [item.opam_text for item in registrations]
    texts += _definitions(switch, state, [item.package.name for item in registrations])
    journal = Journal()
    try:
        for item in registrations:
            _write_records(switch, item, journal)
            _drop_other_version(switch, item.package, state, journal)
            if _is_plugin(item.opam_text, item.package):
                _link_plugin(switch, item.package.name, journal)
        changed = _with(state, registrations)
        _finish(switch, changed, {item.package for item in registrations}, guard, journal)
    except BaseException:
        journal.undo()
        raise
    return Written(journal, has_setenv(texts))


def unregister(
    switch: Switch, names: Iterable[PackageName], guard: Guard, *, keep_roots: bool = False
) -> Written:
    """Record packages as not installed; their files are the caller's business.

    Args:
        switch: Where.
        names: Installed packages, for which :func:`removal_obstacle` finds nothing.
        guard: The right to write.
        keep_roots: They come back, so that who asked for them is not forgotten.

    Raises:
        UnavailableError: The switch was changed meanwhile, or a record can't be removed; all is undone.
        MisuseError: One of them is not installed, or the lock is not held.
    """
    guard.check(switch)
    state = switch.state()
    gone = set(names)
    if missing := sorted(gone - state.installed.keys()):
        raise MisuseError(f"not installed in {switch.name}: {', '.join(missing)}")
    texts = _definitions(switch, state, gone)
    journal = Journal()
    try:
        for name in sorted(gone):
            _drop_records(switch, Package(name, state.installed[name]), journal)
        left = {name: version for name, version in state.installed.items() if name not in gone}
        roots = frozenset(root for root in state.roots if keep_roots or root.name not in gone)
        _finish(switch, replace(state, installed=left, roots=roots), set(), guard, journal)
    except BaseException:
        journal.undo()
        raise
    return Written(journal, has_setenv(texts))


def removal_obstacle(switch: Switch, package: Package) -> str | None:
    """Say why only opam itself can remove a package; None when nothing speaks against doing it by hand.

    Hooks of others that run at removals are not looked at here.

    Raises:
        BadDataError: A record can't be read.
    """
    if parse(switch.installed_opam(package), f"{package}/opam").get("remove") is not None:
        return f"{package} has commands of its own for its removal"
    changes = switch.changes(package.name)
    if changes is None or not changes.entries:
        return f"opam has no record of what {package} installed"
    if any(entry.kind != "added" for entry in changes.entries):
        return f"{package} changed files of others"
    return None


def installed_form(opam_text: str) -> str:
    """Make of what ``opam show --raw`` prints what opam writes to ``packages/NAME.VERSION/opam``."""
    return _HEAD.sub(r"\1", opam_text, count=1)


def render_state(state: SwitchState) -> str:
    """Write ``switch-state`` as opam does, byte for byte."""
    pins = [Package(name, version) for name, version in state.pinned.items()]
    return "".join(
        (
            statefile.HEADER,
            statefile.packages_field("compiler", state.compiler),
            statefile.packages_field("roots", state.roots),
            statefile.packages_field("installed", state.packages),
            statefile.strings_field(
                "pinned", [str(pin) for pin in statefile.ordered(pins)], always_list=False
            ),
        )
    )


def _definitions(switch: Switch, state: SwitchState, names: Iterable[PackageName]) -> list[str]:
    """Read the definitions of those of some packages that are installed."""
    installed = state.installed
    return [switch.installed_opam(Package(name, installed[name])) for name in names if name in installed]


def _write_records(switch: Switch, item: Registration, journal: Journal) -> None:
    name = item.package.name
    _write_or_remove(switch.config_file(name), item.config, journal)
    _write_or_remove(switch.install_file(name), item.install, journal)
    changes = _with_config_entry(switch.prefix, switch.config_file(name), item.changes)
    journal.write(switch.changes_file(name), _encode(changes.render()))
    directory = switch.package_dir(item.package)
    journal.remove(directory)
    journal.write(directory / "opam", _encode(installed_form(item.opam_text)))
    for path, content in sorted(item.files.items()):
        journal.write(_inside(directory / "files", path), content)


def _write_or_remove(path: Path, text: str | None, journal: Journal) -> None:
    if text is None:
        journal.remove(path)
    else:
        journal.write(path, _encode(text))


def _with_config_entry(prefix: Path, config: Path, changes: Changes) -> Changes:
    """Make the entry of the ``.config`` anew: we have just written that file, with other times."""
    path = str(config.relative_to(prefix))
    if all(entry.path != path for entry in changes.entries):
        return changes
    others = [entry for entry in changes.entries if entry.path != path]
    return Changes.of([*others, Change(path, digest_of(config))] if config.exists() else others)


def _inside(top: Path, path: str) -> Path:
    if path.startswith("/") or ".." in path.split("/") or not path:
        raise BadDataError(path, "an extra file outside the package's folder")
    return top / path


def _drop_other_version(switch: Switch, package: Package, state: SwitchState, journal: Journal) -> None:
    version = state.installed.get(package.name)
    if version is not None and version != package.version:
        journal.remove(switch.package_dir(Package(package.name, version)))


def _drop_records(switch: Switch, package: Package, journal: Journal) -> None:
    if _is_plugin(switch.installed_opam(package), package):
        _unlink_plugin(switch, package.name, journal)
    for path in (
        switch.config_file(package.name),
        switch.install_file(package.name),
        switch.changes_file(package.name),
        switch.package_dir(package),
    ):
        journal.remove(path)


def _with(state: SwitchState, registrations: Sequence[Registration]) -> SwitchState:
    installed = dict(state.installed)
    roots = {root.name: root for root in state.roots}
    for item in registrations:
        installed[item.package.name] = item.package.version
        if item.root or item.package.name in roots:
            roots[item.package.name] = item.package
    return replace(state, installed=installed, roots=frozenset(roots.values()))


def _finish(
    switch: Switch, state: SwitchState, written: set[Package], guard: Guard, journal: Journal
) -> None:
    """Write the lists: who waits for a reinstallation, then the state; then drop the cache."""
    pending = switch.reinstall()
    left = {package for package in pending - written if state.installed.get(package.name) == package.version}
    if left != pending:
        lines = [f"{package.name}\t{package.version}\n" for package in statefile.ordered(left)]
        journal.replace(switch.meta / "reinstall", _encode("".join(lines)))
    state = replace(state, compiler=_compiler(switch, state, guard.env))
    journal.replace(switch.meta / "switch-state", _encode(render_state(state)))
    journal.remove(switch.meta / "packages" / "cache")


def _compiler(switch: Switch, state: SwitchState, env: Env) -> frozenset[Package]:
    wanted = switch.config().invariant
    if wanted is None:
        versions = state.installed
        return frozenset(Package(old.name, versions.get(old.name, old.version)) for old in state.compiler)
    found = invariant.fulfilling(wanted, state.installed)
    if switch.root.format >= invariant.CLOSURE_SINCE:

        def depends(package: Package) -> Value | None:
            return parse(switch.installed_opam(package), f"{package}/opam").get("depends")

        found = invariant.closure(found, state.installed, depends, env)
    return frozenset(found)


def _is_plugin(opam_text: str, package: Package) -> bool:
    if "plugin" not in opam_text:  # parsing all definitions would take longer than writing all records
        return False
    value = parse(opam_text, f"{package}/opam").get("flags")
    items = value.items if isinstance(value, List) else (value,)
    return Ident("plugin") in items


def _plugin(switch: Switch, name: PackageName) -> tuple[Path, Path]:
    """Return opam's link for a plugin, and the program in the switch."""
    program = name if name.startswith("opam-") else f"opam-{name}"
    folder = switch.config().paths.get("bin", "bin")
    return switch.root.path / "plugins" / "bin" / program, switch.prefix / str(folder) / program


def _link_plugin(switch: Switch, name: PackageName, journal: Journal) -> None:
    link, program = _plugin(switch, name)
    if program.exists():
        journal.link(link, os.path.relpath(program, link.parent))


def _unlink_plugin(switch: Switch, name: PackageName, journal: Journal) -> None:
    link, program = _plugin(switch, name)
    if link.is_symlink() and os.path.normpath(link.parent / link.readlink()) == str(program):
        journal.remove(link)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
