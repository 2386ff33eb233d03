"""Lists of strings as opam prints them in the files that hold its state.

``switch-state`` and ``*.changes`` are written byte for byte as opam does it: opam breaks a line when it would
pass 77 bytes, first behind the bracket, then at every item; a value and its option stay on one line while
they fit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.model import Package, PackageName, Version
from opambin.opam.ast import List, OpamFile, String, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LINE_BYTES = 77  # the longest line that opam's printer makes of several items
HEADER = 'opam-version: "2.0"\n'


def read_text(path: Path) -> str:
    """Read a file of opam's state; bytes that are not UTF-8 survive a round trip.

    Raises:
        FileNotFoundError: There is no such file, or directory above it.
        UnavailableError: It can't be read.
    """
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(error.errno, "no such file", str(path)) from error
    except OSError as error:
        raise UnavailableError(f"{path} can't be read: {error.strerror}") from error


def quote(text: str) -> str:
    """Write a string as opam does: between triple quotes when it has several lines."""
    escaped = text.replace("\\", "\\\\")
    if "\n" not in text:
        return '"' + escaped.replace('"', '\\"') + '"'
    chars: list[str] = []
    for index, char in enumerate(escaped):
        rest = escaped[index + 1 : index + 3]
        chars.append('\\"' if char == '"' and rest in {"", '""'} else char)
    return '"""\\\n' + "".join(chars) + '"""'


def strings_field(name: str, values: Sequence[str], *, always_list: bool = True) -> str:
    """Write ``name: [...]`` of plain strings; nothing when there are none.

    Args:
        name: Of the field.
        values: In order.
        always_list: Whether one string alone keeps its brackets.
    """
    if not values:
        return ""
    quoted = [quote(value) for value in values]
    if len(quoted) == 1 and not always_list:
        return single_field(name, quoted[0])
    joined = " ".join(quoted)
    if _width(f"{name}: [{joined}]") <= LINE_BYTES:
        return f"{name}: [{joined}]\n"
    separator = " " if _width(f"  {joined}") <= LINE_BYTES else "\n  "
    return f"{name}: [\n  {separator.join(quoted)}\n]\n"


def options_field(name: str, values: Sequence[tuple[str, str]]) -> str:
    """Write ``name: [ "value" {"option"} ... ]``; nothing when there are none."""
    pairs = [(quote(value), "{" + quote(option) + "}") for value, option in values]
    if not pairs:
        return ""
    if len(pairs) == 1:
        return single_field(name, _option(*pairs[0], indent=0), _option(*pairs[0], indent=2))
    lines = "\n".join("  " + _option(value, option, indent=2) for value, option in pairs)
    return f"{name}: [\n{lines}\n]\n"


def single_field(name: str, value: str, broken: str | None = None) -> str:
    """Write ``name: value`` on one line when it fits, else the value (``broken``) on the next one."""
    if "\n    " not in value and _width(f"{name}: {value}") <= LINE_BYTES:
        return f"{name}: {value}\n"
    return f"{name}:\n  {value if broken is None else broken}\n"


def _option(value: str, option: str, *, indent: int) -> str:
    if _width(value) + 1 + _width(option) + indent <= LINE_BYTES:
        return f"{value} {option}"
    return f"{value}\n{' ' * (indent + 2)}{option}"


def _width(text: str) -> int:
    """Of the text as opam counts: bytes, line ends inside strings included."""
    return len(text.encode("utf-8", "surrogateescape"))


def strings_of(file: OpamFile, name: str) -> tuple[str, ...]:
    """Read a field that is a string or a list of strings; empty when it is not there.

    Raises:
        BadDataError: It is something else.
    """
    return _strings(file.get(name), f"{file.filename}: {name}")


def _strings(value: Value | None, what: str) -> tuple[str, ...]:
    items = value.items if isinstance(value, List) else () if value is None else (value,)
    strings = tuple(item.value for item in items if isinstance(item, String))
    if len(strings) != len(items):
        raise BadDataError(what, "not a list of strings", expected="strings", observed=value)
    return strings


def packages_of(file: OpamFile, name: str) -> tuple[Package, ...]:
    """Read a field that is a list of ``name.version``.

    Raises:
        BadDataError: It is something else.
    """
    return tuple(package_of(text, f"{file.filename}: {name}") for text in strings_of(file, name))


def package_of(text: str, what: object) -> Package:
    """Read ``name.version``.

    Raises:
        BadDataError: It is something else.
    """
    try:
        return Package.parse(text)
    except ValueError as error:
        raise BadDataError(what, str(error)) from error


def sort_key(package: Package) -> tuple[tuple[tuple[str, str], ...], str]:
    """Order packages as opam lists them: by name, letter by letter, small and capital letters together."""
    return tuple((char.lower(), char) for char in package.name), package.version


def ordered(packages: Iterable[Package]) -> list[Package]:
    """Sort packages as opam lists them."""
    return sorted(set(packages), key=sort_key)


def packages_field(name: str, packages: Iterable[Package]) -> str:
    """Write ``name: ["a.1" "b.2"]`` in opam's order."""
    return strings_field(name, [str(package) for package in ordered(packages)])


def by_name(packages: Iterable[Package]) -> dict[PackageName, Version]:
    """Make a table of versions."""
    return {package.name: package.version for package in packages}


def replace_file(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there, so that readers see the old one or the new one.

    Raises:
        UnavailableError: It can't be written.
    """
    beside = path.with_name(f".{path.name}.opambin-{os.getpid()}")
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else None
        beside.write_bytes(data)
        if mode is not None:
            beside.chmod(mode)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UnavailableError(f"{path} can't be written: {error.strerror}") from error
