"""What identifies the result of a build, and what it needs from the packages below it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.model import FileType, Import, OutputId, PackageName, Symbol
from opambin.opam.parser import parse
from opambin.opam.printer import print_file
from opambin.provided import Machine, file_md5, providers, variable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from opambin.context import Context
    from opambin.model import Edit, FileEntry
    from opambin.provided import InstalledPackage


def output_id(
    entries: list[FileEntry], edits: tuple[Edit, ...], config: str | None, install: str | None
) -> OutputId:
    """Hash what a build gave: paths, kinds, whether executable, identities, edits, ``.config``, ``.install``.

    Permission bits beyond the executable one depend on the umask of the builder and stay out.
    """
    rows = [
        [
            entry.path,
            str(entry.type),
            bool(entry.mode & 0o111),
            entry.identity or entry.target,
            entry.hardlink,
        ]
        if entry.type is not FileType.DIRECTORY
        else [entry.path, str(entry.type)]
        for entry in sorted(entries, key=lambda entry: entry.path)
    ]
    document = {
        "format": 1,
        "files": rows,
        "edits": sorted([edit.path, *edit.added] for edit in edits),
        "config": _normal(config),
        "install": _normal(install),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return OutputId(hashlib.sha256(text.encode("ascii")).hexdigest())


def _normal(text: str | None) -> str | None:
    """Lay out a file of opam's afresh: opam breaks its lines by the length of the live prefix."""
    if text is None:
        return None
    try:
        return print_file(parse(text))
    except BadDataError:  # not opam's work, so not broken by the length of a prefix either
        return text


def imports(
    context: Context,
    name: PackageName,
    needed: Iterable[Symbol],
    reads: Iterable[str],
    neighbours: Mapping[PackageName, InstalledPackage],
) -> tuple[Import, ...]:
    """Work out from whom each imported unit, variable and file came.

    Args:
        context: The switch.
        name: The package.
        needed: Units and libraries that its files import and it does not provide itself.
        reads: Variables of other packages that its opam file reads.
        neighbours: Its run-time dependencies, direct and indirect.
    """
    index = providers(neighbours, neighbours)
    wanted: dict[PackageName, set[Symbol]] = {}
    for symbol in needed:
        for provider, value in index.get((symbol.kind, symbol.name), ()):
            if value == symbol.value:
                wanted.setdefault(provider, set()).add(symbol)
    for symbol in _of_the_system(needed, {library for kind, library in index if kind == "so"}):
        wanted.setdefault(name, set()).add(symbol)
    for read in sorted(reads):
        owner = PackageName(read.rpartition(":")[0])
        if owner in neighbours:
            wanted.setdefault(owner, set()).add(Symbol("var", read, variable(context, read)))
    for path in context.switch.package_config(name).file_depends:
        wanted.setdefault(name, set()).add(Symbol("file", path, file_md5(path)))
    return tuple(
        Import(
            provider,
            neighbours[provider].output if provider in neighbours else None,
            tuple(sorted(symbols)),
        )
        for provider, symbols in sorted(wanted.items())
    )


def _of_the_system(needed: Iterable[Symbol], provided: Collection[str]) -> list[Symbol]:
    """Return the shared libraries that files want of the machine, each once.

    What the loader does not find here either is found in some other way when the program runs.

    Args:
        needed: What the files of a package import.
        provided: Libraries that other packages bring.
    """
    from opambin.relocate import symbolversions

    versions: dict[str, frozenset[str]] = {}
    for symbol in needed:
        if symbol.kind == "lib" and symbol.name not in provided:
            versions[symbol.name] = versions.get(symbol.name, frozenset()) | {*symbol.value.split()}
    found = [
        Symbol("lib", name, " ".join(symbolversions.highest(versions[name]))) for name in sorted(versions)
    ]
    machine = Machine()
    return [symbol for symbol in found if machine.has(symbol)]
