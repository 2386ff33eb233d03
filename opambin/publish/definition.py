"""The opam file of a published package: what the source package says, made exact; pure.

* Dependencies are the published builds of what it was built against; what was needed only to build it is not.
* An optional dependency that was absent is a conflict, one that was there a dependency.
* ``available`` also asks for the machine that it was built for.
* Commands, patches and sources give way to the archive and its script; ``setenv``, flags, depexts, messages
  and the words for people stay.
* Packages that install nothing (virtual ones, most ``conf-*``) are their definition alone. Their commands,
  which as a rule want a compiler, are not run: what a binary needs of the machine is checked with it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opambin.model import FileType, PackageName, Version
from opambin.opam import fields, filters, formula
from opambin.opam.ast import (
    Bool,
    Field,
    Group,
    Ident,
    List,
    Logop,
    Not,
    OpamFile,
    Option,
    PrefixRelop,
    Relop,
    Section,
)
from opambin.opam.ast import String as Text
from opambin.opam.printer import print_file
from opambin.publish import helped
from opambin.publish.archive import SCRIPT_NAME, holds_files
from opambin.publish.catalogue import ContentKind, Dependency, Platform
from opambin.universe import as_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opambin.model import Manifest
    from opambin.opam.ast import Item, Value
    from opambin.opam.interpolation import Env
    from opambin.publish.catalogue import Archive

_WORDS = (
    "synopsis",
    "description",
    "maintainer",
    "authors",
    "license",
    "homepage",
    "doc",
    "bug-reports",
    "dev-repo",
    "tags",
)
_KEPT = ("setenv", "x-env-path-rewrite", "conflict-class", "depexts", "messages", "post-messages")
_DROPPED_FLAGS = frozenset({"conf", "light-uninstall"})  # "has no source", "`remove` needs no source"
_KEY_FIELD, _OUTPUT_FIELD = "x-opam-bin-key", "x-opam-bin-output"
SHORT = "+bin"
"""What the short names of mixed repositories end with."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a definition refers to.

    Attributes:
        published: Name to version in this repository, of what it was built against.
        post: The same, of packages that are wanted with it.
        url: Of its archive; empty without one.
        archive: Its archive.
        helper: Whether the archive needs opam-bin at the installation.
    """

    published: Mapping[PackageName, Version]
    post: Mapping[PackageName, Version] = field(default_factory=dict)
    url: str = ""
    archive: Archive | None = None
    helper: bool = False


def kind_of(manifest: Manifest) -> ContentKind:
    """Say whether a snapshot is published as an archive or as its definition alone."""
    has_files = any(entry.type is not FileType.DIRECTORY for entry in manifest.files)
    if has_files or manifest.edits or manifest.config is not None:
        return ContentKind.BINARY
    return ContentKind.DEFINITION


def platform_of(manifest: Manifest) -> Platform:
    """Return the machine that a snapshot was built for."""
    inputs = json.loads(manifest.inputs)
    return Platform(*(str(inputs[name]) for name in ("arch", "os", "os-distribution", "os-version")))


def environment(inputs: Mapping[str, Any]) -> Env:
    """Return what opam's variables were when the key was made."""
    values = {name: as_value(text) for name, text in inputs["variables"].items()}
    values |= {name: inputs[name] for name in ("arch", "os", "os-distribution", "os-version")}
    values |= inputs["flags"] | {"name": inputs["name"], "version": inputs["version"]}
    return values.get


def runtime_names(manifest: Manifest, file: OpamFile, versions: Mapping[str, str]) -> list[PackageName]:
    """Return the direct dependencies that are needed after the build.

    Args:
        manifest: The snapshot.
        file: Its definition.
        versions: Version of each of its dependencies.
    """
    inputs = json.loads(manifest.inputs)
    env = environment(inputs)
    found = [
        dependency
        for name in ("depends", "depopts")
        for dependency in formula.resolved(file.get(name), env, versions)
    ]
    needed = {dependency.name for dependency in found if not dependency.build_only}
    only_built = {dependency.name for dependency in found if dependency.build_only} - needed
    return sorted(name for name in inputs["dependencies"] if name not in only_built)


def post_names(manifest: Manifest, file: OpamFile, versions: Mapping[str, str]) -> list[PackageName]:
    """Return those of some packages that a package wants with it, but not before it."""
    env = environment(json.loads(manifest.inputs))
    found = formula.resolved(file.get("depends"), env, versions)
    return sorted(dependency.name for dependency in found if dependency.post)  # type: ignore[misc]  # a name


def define(manifest: Manifest, file: OpamFile, around: Around) -> tuple[str, tuple[Dependency, ...]]:
    """Write the opam file of a published package.

    Returns:
        Its text, and what it depends on.
    """
    items: list[Item] = [Field("opam-version", Text("2.0"))]
    items += [Field(name, value) for name in (*_WORDS, *_KEPT) if (value := file.get(name)) is not None]
    is_archive = kind_of(manifest) is ContentKind.BINARY
    flags = sorted(fields.flags(file) - (_DROPPED_FLAGS if is_archive else frozenset()))
    items += [Field("flags", List(tuple(Ident(flag) for flag in flags)))] if flags else []
    dependencies = _dependencies(around)
    if dependencies:
        items.append(Field("depends", List(tuple(map(_atom, dependencies)))))
    conflicts = tuple(_conflicts(manifest, file, around))
    items += [Field("conflicts", List(conflicts))] if conflicts else []
    items.append(Field("available", _available(file, platform_of(manifest))))
    items += _script_calls(manifest, helper=around.helper) if is_archive else []
    items += [Field(_KEY_FIELD, Text(manifest.key)), Field(_OUTPUT_FIELD, Text(manifest.output))]
    if around.archive is not None:
        sums = (f"sha256={around.archive.sha256}", f"sha512={around.archive.sha512}")
        source = (Field("src", Text(around.url)), Field("checksum", List(tuple(map(Text, sums)))))
        items.append(Section("url", None, source))
    return print_file(OpamFile("", tuple(items))), dependencies


def short_definition(name: str, published: str, synopsis: str) -> str:
    """Write the opam file of the short name that leads to a build of a mixed repository."""
    exact = Option(Text(name), (PrefixRelop("=", Text(published)),))
    words = f"Binary of {name}" + (f": {synopsis}" if synopsis else "")
    items = (
        Field("opam-version", Text("2.0")),
        Field("synopsis", Text(words)),
        Field("depends", List((exact,))),
    )
    return print_file(OpamFile("", items))


def _dependencies(around: Around) -> tuple[Dependency, ...]:
    found = [Dependency(name, version) for name, version in around.published.items()]
    found += [
        Dependency(name, version, post=True)
        for name, version in around.post.items()
        if name not in around.published
    ]
    if around.helper:
        found.append(Dependency(PackageName(helped.HELPER), Version(helped.HELPER_VERSION)))
    return tuple(sorted(found))


def _atom(dependency: Dependency) -> Value:
    exact = PrefixRelop("=", Text(dependency.published))
    condition: Value = Logop("&", (exact, Ident("post"))) if dependency.post else exact
    return Option(Text(dependency.name), (condition,))


def _conflicts(manifest: Manifest, file: OpamFile, around: Around) -> Iterator[Value]:
    """Yield what the definition itself excludes, and the optional dependencies that were absent."""
    value = file.get("conflicts")
    if value is not None:
        yield from value.items if isinstance(value, List) else (value,)
    inputs = json.loads(manifest.inputs)
    env = environment(inputs)
    seen = set()
    for name, braces in formula.atoms(file.get("depopts")):
        if name in inputs["dependencies"] or name in seen or name in around.published:
            continue
        parts = [part for item in braces for part in _conjuncts(item)]
        constraints = tuple(part for part in parts if _is_constraint(part))
        others = [part for part in parts if not _is_constraint(part)]
        if any(not _mixes(part) and filters.evaluate(part, env) is not True for part in others):
            continue
        if not constraints:
            seen.add(name)
            yield Text(name)
        else:
            joined = constraints[0] if len(constraints) == 1 else Logop("&", constraints)
            yield Option(Text(name), (joined,))


def _conjuncts(value: Value) -> Iterator[Value]:
    """Take a condition apart at its ``&``."""
    if isinstance(value, Group) or (isinstance(value, Logop) and value.op == "&"):
        for part in value.operands if isinstance(value, Logop) else value.items:
            yield from _conjuncts(part)
    else:
        yield value


def _mixes(value: Value) -> bool:
    """Tell whether a condition is about versions and other things at once; then any version counts."""
    if isinstance(value, Logop | Group):
        parts = value.operands if isinstance(value, Logop) else value.items
        return any(_is_constraint(part) or _mixes(part) for part in parts)
    return isinstance(value, Not) and (_is_constraint(value.value) or _mixes(value.value))


def _is_constraint(value: Value) -> bool:
    """Tell whether something in the braces of an atom is about its version alone."""
    if isinstance(value, PrefixRelop):
        return True
    if isinstance(value, Logop):
        return all(map(_is_constraint, value.operands))
    return isinstance(value, Group) and all(map(_is_constraint, value.items))


def _available(file: OpamFile, platform: Platform) -> Value:
    wanted: list[Value] = [
        Relop("=", Ident("arch"), Text(platform.arch)),
        Relop("=", Ident("os"), Text(platform.os)),
        Relop("=", Ident("os-distribution"), Text(platform.distribution)),
        Relop("=", Ident("os-version"), Text(platform.version)),
    ]
    own = file.get("available")
    while isinstance(own, List | Group) and len(own.items) == 1:
        own = own.items[0]
    if own is None or own == Bool(value=True):
        return Logop("&", tuple(wanted))
    operands = own.operands if isinstance(own, Logop) and own.op == "&" else (own,)
    return Logop("&", (*operands, *wanted))


def _script_calls(manifest: Manifest, *, helper: bool) -> list[Item]:
    def call(verb: str) -> Value:
        return List((Text("sh"), Text(f"./{SCRIPT_NAME}"), Text(verb), Ident("prefix")))

    ours = List((Text("opam-bin"), Text(helped.COMMAND), Ident("prefix")))
    calls: list[Item] = [Field("build", List((call("relocate"), *([ours] if helper else []))))]
    if holds_files(manifest):
        calls.append(Field("install", List((call("install"),))))
    return calls


def text_digest(text: str) -> str:
    """Return the sha256 of an opam file."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
