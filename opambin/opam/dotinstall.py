"""``NAME.install`` files: which files of a build directory go where under the prefix.

Source of the rules: opam's manual, "<pkgname>.install".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.frozen import dataclass
from opambin.opam import ast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.opam.ast import OpamFile, Value

_SECTIONS = {
    "bin": "bin",
    "sbin": "sbin",
    "lib": "lib/{name}",
    "libexec": "lib/{name}",
    "lib_root": "lib",
    "libexec_root": "lib",
    "toplevel": "lib/toplevel",
    "stublibs": "lib/stublibs",
    "share": "share/{name}",
    "share_root": "share",
    "etc": "etc/{name}",
    "doc": "doc/{name}",
    "man": "man",
}
OUTSIDE = ("misc", "root", "rootexec")
"""Sections whose files lie outside of the usual folders, or outside of the prefix."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One file of a ``.install`` file.

    Attributes:
        section: ``lib``, ``bin``, ….
        source: Relative to the build directory.
        target: Relative to the prefix.
        optional: Whether opam passes over it when the source is missing.
    """

    section: str
    source: str
    target: str
    optional: bool


def entries(file: OpamFile, name: str) -> list[Installed]:
    """List what a ``.install`` file installs for package ``name``, in file order.

    Raises:
        BadDataError: A shape that no ``.install`` file has, a target outside of its folder, or one of the
            sections :data:`OUTSIDE`, which no snapshot can hold.
    """
    found = []
    for item in file.items:
        if not isinstance(item, ast.Field):
            raise BadDataError(file.filename, f"unexpected section {item.kind}")
        if item.name in OUTSIDE and list(_items(item.value, file.filename)):
            raise BadDataError(file.filename, f"installs files outside of the switch ({item.name}:)")
        folder = _SECTIONS.get(item.name)
        if folder is not None:
            for source, target in _items(item.value, file.filename):
                found.append(_entry(item.name, folder.format(name=name), source, target, file.filename))
    return found


def _items(value: Value, filename: str) -> Iterator[tuple[str, str | None]]:
    for item in value.items if isinstance(value, ast.List) else (value,):
        match item:
            case ast.String(source):
                yield source, None
            case ast.Option(ast.String(source), (ast.String(target),)):
                yield source, target
            case _:
                raise BadDataError(filename, f"not a file of a .install file: {item!r}")


def _entry(section: str, folder: str, source: str, target: str | None, filename: str) -> Installed:
    optional = source.startswith("?")
    source = source.removeprefix("?")
    base = source.rsplit("/", 1)[-1]
    name = target or (_manual_page(base) if section == "man" else base)
    for path in (name, source):
        if path.startswith("/") or ".." in path.split("/"):
            raise BadDataError(filename, f"a path that leaves its folder: {path}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return Installed(section, source, "/".join([folder, *parts]), optional)


def _manual_page(base: str) -> str:
    """``foo.1`` and ``foo.1.gz`` go to ``man1/``, as opam sends them there."""
    chapter = base.removesuffix(".gz").rpartition(".")[2]
    return f"man{chapter[0]}/{base}" if chapter[:1].isdigit() else base
