"""The cone key: a hash of everything that decides what a build of a package gives.

Pure: values in, text and digest out. Nothing here needs the source of a package, so a hit is known
before any download. The exact form is documented in ``docs/formats/cone-key.md``; whoever changes what
is written here changes :data:`FORMAT`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from opambin.frozen import dataclass
from opambin.model import ConeKey, PackageName
from opambin.opam import ast, fields
from opambin.opam.buildfields import BUILD_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opambin.model import Package
    from opambin.surroundings import Platform

FORMAT = "opam-bin cone key 1"
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)

KEY_FLAGS = ("compiler", "conf")
"""The package flags that can: they decide how we pad and whether checks run again."""

ENVIRONMENT = (
    "AR",
    "AS",
    "CC",
    "CFLAGS",
    "CPP",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "DUNE_PROFILE",
    "LD",
    "LDFLAGS",
    "LIBS",
    "OCAMLPARAM",
    "PKG_CONFIG_LIBDIR",
    "PKG_CONFIG_SYSROOT_DIR",
)
"""Variables of the environment that build tools read and opam passes on."""


_PLAIN_INPUTS = (
    "name",
    "version",
    "source",
    "recipe",
    "arch",
    "os",
    "os-distribution",
    "os-version",
)


@dataclass(frozen=True, slots=True)
class ConeInputs:
    """Everything that enters the key of one package.

    Attributes:
        package: Name and version.
        opam: The reduced opam file, see :func:`reduced`.
        source: What identifies the source: ``sha512=…``, ``md5=…``, ``git=COMMIT``, ``tree=…`` for a pin,
            or empty for a package without source.
        extra_sources: Name to checksum.
        recipe: Digest of our own recipe for the package, or empty.
        dependencies: Keys of the resolved dependencies, ``{post}`` ones left out.
        platform: The machine.
        flags: Boolean variables that its opam file mentions (``with-test``, ``dev``, …).
        variables: Other opam variables that it reads, as far as they are known before a build.
        environment: Those of :data:`ENVIRONMENT` that are set and not empty.
        system_files: Path to md5 of the files that stand for a compiler outside of opam.
    """

    package: Package
    opam: Mapping[str, Any]
    source: str
    platform: Platform
    extra_sources: Mapping[str, str] = field(default_factory=dict)
    recipe: str = ""
    dependencies: Mapping[PackageName, ConeKey] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    system_files: Mapping[str, str] = field(default_factory=dict)


def reduced(file: ast.OpamFile) -> dict[str, Any]:
    """Reduce an opam file to what can change a build, as values that JSON can hold.

    Comments, layout, descriptions and the order of fields are gone; the order inside a field stays,
    since commands run in it.
    """
    result: dict[str, Any] = {}
    for name in BUILD_FIELDS:
        value = file.get(name)
        if value is not None:
            result[name] = encode(value)
    flags = sorted(fields.flags(file) & set(KEY_FLAGS))
    if flags:
        result["flags"] = flags
    subpath = next((section.get("subpath") for section in file.sections("url")), None)
    if subpath is not None:
        result["url.subpath"] = encode(subpath)
    return result


def encode(value: ast.Value) -> Any:  # noqa: ANN401 - JSON has no better type
    """Write a value of an opam file as JSON: literals as themselves, all else as ``[tag, …]``.

    Returns:
        str, int or bool for literals; a list whose first item names the shape otherwise.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise AssertionError(f"a value without an encoding: {value!r}")
    return encoder(value)


def _relation(value: ast.Relop | ast.EnvBinding) -> list[Any]:
    return ["rel", value.op, encode(value.left), encode(value.right)]


# A table: the files of a plan have ten thousand values, and to match each against all shapes takes three
# times as long.
_ENCODERS: Mapping[type, Callable[[Any], Any]] = {
    ast.String: attrgetter("value"),
    ast.Int: attrgetter("value"),
    ast.Bool: attrgetter("value"),
    ast.Ident: lambda value: ["id", value.name],
    ast.List: lambda value: ["list", *map(encode, value.items)],
    ast.Group: lambda value: ["group", *map(encode, value.items)],
    ast.Option: lambda value: ["option", encode(value.value), *map(encode, value.filters)],
    ast.Relop: _relation,
    ast.EnvBinding: _relation,
    ast.PrefixRelop: lambda value: ["constraint", value.op, encode(value.value)],
    ast.Logop: lambda value: ["logic", value.op, *map(encode, value.operands)],
    ast.Not: lambda value: ["not", encode(value.value)],
    ast.Defined: lambda value: ["defined", encode(value.value)],
}


def canonical(inputs: ConeInputs) -> str:
    """Write the inputs as the one JSON text that is hashed: sorted names, no blanks, ASCII."""
    document = {
        "format": FORMAT,
        "name": inputs.package.name,
        "version": inputs.package.version,
        "opam": dict(inputs.opam),
        "source": inputs.source,
        "extra-sources": dict(inputs.extra_sources),
        "recipe": inputs.recipe,
        "dependencies": dict(inputs.dependencies),
        "arch": inputs.platform.arch,
        "os": inputs.platform.os,
        "os-distribution": inputs.platform.distribution,
        "os-version": inputs.platform.version,
        "flags": dict(inputs.flags),
        "variables": dict(inputs.variables),
        "environment": dict(inputs.environment),
        "system-files": dict(inputs.system_files),
    }
    return _ENCODER.encode(document)


def key_of(text: str) -> ConeKey:
    """Hash a canonical text: all 256 bits of sha256, in hexadecimal."""
    return ConeKey(hashlib.sha256(text.encode("ascii")).hexdigest())


def differences(mine: str, theirs: str) -> list[str]:
    """Name in words what differs between two canonical texts, the nearest causes first.

    Args:
        mine: The inputs that are wanted.
        theirs: The inputs of a snapshot.
    """
    wanted, other = json.loads(mine), json.loads(theirs)
    if wanted["format"] != other.get("format"):
        return [f"format: wanted {_show(wanted['format'])}, it has {_show(other.get('format', ''))}"]
    words = [
        f"{name}: wanted {_show(wanted[name])}, it has {_show(other[name])}"
        for name in _PLAIN_INPUTS
        if wanted[name] != other[name]
    ]
    labels = {
        "opam": "field",
        "flags": "",
        "variables": "variable",
        "environment": "environment variable",
        "extra-sources": "extra source",
        "system-files": "system file",
        "dependencies": "dependency",
    }
    for name, label in labels.items():
        words += _mapping_differences(label, wanted[name], other[name])
    return words


def _mapping_differences(label: str, wanted: dict[str, Any], other: dict[str, Any]) -> list[str]:
    words = []
    for name in sorted(wanted.keys() | other.keys()):
        title = f"{label} {name}".strip()
        if name not in other:
            words.append(f"{title}: it was built without")
        elif name not in wanted:
            words.append(f"{title}: it was built with {_show(other[name])}")
        elif wanted[name] != other[name]:
            if label in ("dependency", "field"):
                words.append(f"{title} differs")
            else:
                words.append(f"{title}: wanted {_show(wanted[name])}, it has {_show(other[name])}")
    return words


def _show(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    shown = text if len(text) <= 40 else text[:37] + "…"
    return shown or "nothing"
