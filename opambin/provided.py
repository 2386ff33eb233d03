"""What the packages of a switch offer to others: units with their CRCs, sonames, variables, system files."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from opambin.model import OutputId, PackageName, Symbol
from opambin.opam.interpolation import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from opambin.context import Context
    from opambin.model import Version
    from opambin.opam.interpolation import Value

BYTECODE_SUFFIXES = (".cmo", ".cma")
NATIVE_SUFFIXES = (".cmx", ".cmxa")
UNIT_SUFFIXES = (".cmi", *NATIVE_SUFFIXES, *BYTECODE_SUFFIXES)
_md5s: dict[tuple[int, ...], str] = {}
"""Device, inode, size and times of a file to its md5."""


class InstalledPackage:
    """An installed package as a provider; everything is looked up when it is asked for.

    Args:
        context: The switch and the store.
        name: The package.
        version: Its version.
    """

    def __init__(self, context: Context, name: PackageName, version: Version) -> None:
        self._context = context
        self._name = name
        self._version = version
        self._found: tuple[OutputId | None, frozenset[Symbol]] | None = None

    @property
    def output(self) -> OutputId | None:
        """The output on record, when opam's file list is still the one it was recorded with."""
        record = self._context.record(self._name, self._version)
        return record.output if record is not None else None

    @property
    def symbols(self) -> frozenset[Symbol]:
        """All units and sonames that it provides."""
        if self._found is None:
            self._found = self._look()
        return self._found[1]

    def has(self, symbol: Symbol) -> bool:
        """Tell whether it provides a symbol, or has the value of a variable."""
        if symbol.kind == "var":
            return variable(self._context, symbol.name) == symbol.value
        return symbol in self.symbols

    def _look(self) -> tuple[OutputId | None, frozenset[Symbol]]:
        output = self.output
        session = self._context.session
        if session.exists and output is not None:
            kept = session.load_provides(self._name)
            if kept is not None and kept[0] == output:
                return output, kept[1]
        symbols = self._from_store(output) if output is not None else None
        if symbols is None:
            symbols = self._from_disk()
        if session.exists:
            session.save_provides(self._name, output, symbols)
        return output, symbols

    def _from_store(self, output: OutputId) -> frozenset[Symbol] | None:
        record = self._context.record(self._name, self._version)
        if record is None or self._context.store is None:
            return None
        for manifest in self._context.store.outputs(record.key):
            if manifest.output == output:
                return frozenset(manifest.provides)
        return None

    def _from_disk(self) -> frozenset[Symbol]:
        switch = self._context.switch
        changes = switch.changes(self._name)
        found: set[Symbol] = set()
        for path in changes.added() if changes is not None else ():
            if not path.endswith(BYTECODE_SUFFIXES):  # no CRC identifies byte code: it provides nothing
                found |= file_symbols(switch.prefix, path)[0]
        return frozenset(found)


def file_symbols(prefix: Path, path: str, data: bytes | None = None) -> tuple[set[Symbol], set[Symbol]]:
    """Return what one installed file provides and imports.

    Args:
        prefix: The switch.
        path: Relative to it.
        data: Its bytes, when they have been read already.

    Raises:
        BadDataError: It has the name of a compiled unit but isn't one.
    """
    if is_shared_library(path):
        return {Symbol("so", path.rpartition("/")[2])}, set()
    if not path.endswith(UNIT_SUFFIXES):
        return set(), set()
    full = prefix / path
    if data is None:
        if full.is_symlink() or not full.is_file():
            return set(), set()
        data = full.read_bytes()
    from opambin.relocate import camlunits

    found = camlunits.units(data)
    return set(found.provides), {symbol for symbol in found.imports if symbol.value}


def bytecode_alone(paths: Iterable[str]) -> list[str]:
    """Return the byte code among a package's files that has no native code of the same name beside it.

    Where it has, that names the same imports, and is quicker to read than a large library of byte code.
    """
    listed = list(paths)
    native = {path.rpartition(".")[0] for path in listed if path.endswith(NATIVE_SUFFIXES)}
    return [
        path for path in listed if path.endswith(BYTECODE_SUFFIXES) and path.rpartition(".")[0] not in native
    ]


def is_shared_library(path: str) -> bool:
    """Tell whether a path is that of a shared library that others may link with; stubs are not."""
    name = path.rpartition("/")[2]
    return (name.endswith(".so") or ".so." in name) and not name.startswith("dll")


def variable(context: Context, name: str) -> str:
    """Return the value of ``package:variable`` from the ``.config``, with a placeholder for the prefix.

    A variable that is not defined is empty, as it is for opam.
    """
    owner, _, local = name.rpartition(":")
    return value_text(context, context.switch.package_config(PackageName(owner)).variables.get(local))


def value_text(context: Context, value: Value) -> str:
    """Write the value of a variable as text, with a placeholder for the prefix; undefined is empty."""
    return context.placeholder_text(as_text(value))


class Machine:
    """Facts about this machine."""

    def has(self, symbol: Symbol) -> bool:
        """Tell whether a file has the md5, or a shared library the versions, that a symbol states."""
        if symbol.kind == "lib":
            from opambin.machine import libraries

            return libraries.has(symbol.name, symbol.value)
        return symbol.kind == "file" and file_md5(symbol.name) == symbol.value


def file_md5(path: str) -> str:
    """Return the md5 of a file in hexadecimal; empty when it can't be read.

    The file of a compiler is asked for several times: it is read again only when it has changed.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a name from opam's files, as it stands there
            status = os.fstat(file.fileno())
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if stamp not in _md5s:
                _md5s[stamp] = hashlib.file_digest(
                    file, lambda: hashlib.md5(usedforsecurity=False)
                ).hexdigest()
            return _md5s[stamp]
    except OSError:
        return ""


def providers(
    packages: Mapping[PackageName, InstalledPackage], names: Iterable[PackageName]
) -> dict[tuple[str, str], list[tuple[PackageName, str]]]:
    """Index what packages provide: (kind, name) to the packages that do, with their values."""
    found: dict[tuple[str, str], list[tuple[PackageName, str]]] = {}
    for name in names:
        for symbol in packages[name].symbols:
            found.setdefault((symbol.kind, symbol.name), []).append((name, symbol.value))
    return found
