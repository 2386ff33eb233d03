"""The packages that a switch will hold, what each depends on, and the cone key of each.

Built from metadata alone: the definitions of installed packages as the switch keeps them, those of new
packages as ``opam show --raw`` gives them.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING

from opambin import cone, recipes
from opambin.frozen import dataclass
from opambin.model import ConeKey, Package, PackageName, Version
from opambin.opam import fields as opam_file
from opambin.opam import filters, formula
from opambin.opam.buildfields import mentioned_variables
from opambin.opam.interpolation import as_text
from opambin.surroundings import Keyed, Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opambin.opam.ast import OpamFile

FLAG_VARIABLES = ("with-test", "with-doc", "with-dev-setup", "dev", "pinned")
"""Boolean variables of the package being built; they enter the key where its opam file mentions them."""

_PATH_VARIABLES = frozenset(
    [
        "prefix",
        "lib",
        "bin",
        "sbin",
        "share",
        "doc",
        "etc",
        "man",
        "toplevel",
        "stublibs",
        "lib_root",
        "libexec",
        "libexec_root",
        "share_root",
        "jobs",
        "build",
        "hash",
        "build-id",
        "name",
        "version",
        "post",
        "depends",
        "opamfile",
        "hooks",
    ]
)
"""Variables that say where things are below the prefix, or that stand in the key under a name of their own.

``root``, ``switch``, ``user`` and ``group`` are not among them: what they say would not move with the prefix.
"""

_PLATFORM_VARIABLES = frozenset(("arch", "os", "os-distribution", "os-version"))
_METADATA_VARIABLES = frozenset(("installed", "enable", "version", "name"))
_VERSION_CONTROL = re.compile(r"^(git|hg|darcs)(\+|://)")
_REMOTE_ARCHIVE = re.compile(r"^(https?|ftp)://")
_COMMIT = re.compile(r"^(git|hg|darcs)\+[^#]*#([0-9a-f]{40}|[0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class Node:
    """One package of the final set.

    Attributes:
        package: Name and version.
        text: Its opam file.
        file: The same, parsed.
        flags: Values of :data:`FLAG_VARIABLES` for it.
        pin: Digest of a pinned package's synchronised source; None when it isn't pinned or not known.
        known_key: The key it was installed under, when that is on record.
    """

    package: Package
    text: str
    file: OpamFile
    flags: Mapping[str, bool] = field(default_factory=dict)
    pin: str | None = None
    known_key: ConeKey | None = None

    @property
    def package_flags(self) -> frozenset[str]:
        """The flags of its opam file: ``conf``, ``compiler``, ``plugin``, …."""
        return opam_file.flags(self.file)


class Universe:
    """The final set of a switch, with lazily computed dependencies and keys.

    Args:
        selected: Name to version of every package of the final set.
        load: Makes the node of a package of the set; called once for each that is asked for.
        surroundings: What builds see beside their dependencies.
    """

    def __init__(
        self,
        selected: Mapping[PackageName, Version],
        load: Callable[[Package], Node],
        surroundings: Surroundings,
    ) -> None:
        self.surroundings = surroundings
        self.selected = selected
        self._selected = {str(name): str(version) for name, version in selected.items()}
        self._load = load
        self._nodes: dict[PackageName, Node] = {}
        self._dependencies: dict[PackageName, tuple[formula.Dependency, ...]] = {}
        self._keys: dict[PackageName, Keyed] = {}

    def node(self, name: PackageName) -> Node:
        """Return the node of a package of the set."""
        found = self._nodes.get(name)
        if found is None:
            found = self._nodes[name] = self._load(Package(name, self.selected[name]))
        return found

    def env(self, node: Node) -> Callable[[str], filters.Value]:
        """Return what opam's variables mean for ``node``, as far as metadata tells."""

        def lookup(name: str) -> filters.Value:
            owner, colon, local = name.rpartition(":")
            if not colon or owner in ("_", node.package.name):
                return self._own(node, local)
            return self._of_others(owner, local)

        return lookup

    def _own(self, node: Node, name: str) -> filters.Value:
        match name:
            case "name":
                return str(node.package.name)
            case "version":
                return str(node.package.version)
        if name in FLAG_VARIABLES:
            return node.flags.get(name, False)
        return as_value(self.surroundings.variables.get(name))

    def _of_others(self, owner: str, name: str) -> filters.Value:
        present = [part in self._selected for part in owner.split("+")]
        match name:
            case "installed":
                return all(present)
            case "enable":
                return "enable" if all(present) else "disable"
            case "version" if len(present) == 1 and present[0]:
                return self._selected[owner]
            case "name" if len(present) == 1 and present[0]:
                return owner
        return None

    def dependencies(self, name: PackageName) -> tuple[formula.Dependency, ...]:
        """Return the packages of the set that ``name`` depends on, depopts included."""
        found = self._dependencies.get(name)
        if found is None:
            node = self.node(name)
            env = self.env(node)
            wanted: dict[str, formula.Dependency] = {}
            for field_name in ("depends", "depopts"):
                value = node.file.get(field_name)
                if value is not None:
                    for dependency in formula.resolved(value, env, self._selected):
                        wanted.setdefault(dependency.name, dependency)
            wanted.pop(str(name), None)
            found = tuple(wanted[key] for key in sorted(wanted))
            self._dependencies[name] = found
        return found

    def needed(self, name: PackageName) -> list[PackageName]:
        """Return the direct dependencies that opam wants installed before ``name``: all but ``{post}`` ones.

        A package that is only needed to build counts, also where nothing is built: opam does not install
        it later for a package that is there already.
        """
        return [PackageName(d.name) for d in self.dependencies(name) if not d.post]

    def runtime_dependencies(self, name: PackageName) -> list[PackageName]:
        """Return the direct dependencies without ``{build}`` and ``{post}`` ones."""
        return [PackageName(d.name) for d in self.dependencies(name) if not d.post and not d.build_only]

    def runtime_closure(self, name: PackageName) -> list[PackageName]:
        """Return all run-time dependencies of ``name``, direct and indirect, sorted."""
        seen: set[PackageName] = set()
        todo = self.runtime_dependencies(name)
        while todo:
            current = todo.pop()
            if current not in seen:
                seen.add(current)
                todo += self.runtime_dependencies(current)
        return sorted(seen)

    def key(self, name: PackageName) -> Keyed:
        """Return the cone key of a package of the set."""
        found = self._keys.get(name)
        if found is None:
            # A cycle that is not made of {post} dependencies has no key; opam doesn't build one either.
            self._keys[name] = Keyed(None, reason="its dependencies form a cycle")
            found = self._keys[name] = self._compute(self.node(name))
        return found

    def inputs(self, name: PackageName) -> Keyed:
        """Return the key computed from what is there now, even where another one is on record."""
        return self._compute(self.node(name), recorded=False)

    def _compute(self, node: Node, *, recorded: bool = True) -> Keyed:
        if recorded and node.known_key is not None:
            return Keyed(node.known_key)
        keys: dict[PackageName, ConeKey] = {}
        for dependency in self.dependencies(node.package.name):
            if dependency.post:
                continue
            name = PackageName(dependency.name)
            keyed = self.key(name)
            if keyed.key is None:
                cause = (
                    keyed.reason
                    if keyed.reason.startswith("depends on")
                    else f"depends on {name}: {keyed.reason}"
                )
                return Keyed(None, reason=cause)
            keys[name] = keyed.key
        source, problem = self._source(node)
        if problem:
            return Keyed(None, reason=problem)
        text = cone.canonical(self._cone_inputs(node, source, keys))
        return Keyed(cone.key_of(text), text)

    def _cone_inputs(self, node: Node, source: str, keys: Mapping[PackageName, ConeKey]) -> cone.ConeInputs:
        around = self.surroundings
        mentioned = mentioned_variables(node.file)
        recipe = recipes.load(str(node.package.name), str(node.package.version))
        runs_commands = any(node.file.get(name) is not None for name in ("build", "install"))
        return cone.ConeInputs(
            package=node.package,
            opam=cone.reduced(node.file),
            source=source,
            platform=around.platform,
            extra_sources={name: checksum or "" for name, _, checksum in opam_file.extra_sources(node.file)},
            recipe=recipe.digest() if recipe else "",
            dependencies=keys,
            flags={flag: node.flags.get(flag, False) for flag in FLAG_VARIABLES if flag in mentioned},
            variables=self._variables(node, mentioned),
            environment={
                name: around.environment[name]
                for name in cone.ENVIRONMENT
                if runs_commands and around.environment.get(name)
            },
            system_files=around.system_files if is_system_compiler(node.file) else {},
        )

    def _variables(self, node: Node, mentioned: frozenset[str]) -> dict[str, str]:
        env = self.env(node)
        values: dict[str, str] = {}
        for name in mentioned:
            owner, colon, local = name.rpartition(":")
            if colon and owner not in ("_", node.package.name):
                if local not in _METADATA_VARIABLES:
                    continue  # from a dependency's .config: compared at restore
            elif local in _PATH_VARIABLES or local in _PLATFORM_VARIABLES or local in FLAG_VARIABLES:
                continue
            value = env(name)
            if value is not None:
                values[name] = as_text(value)
        return values

    def _source(self, node: Node) -> tuple[str, str]:
        """Return what identifies the source, and why nothing does."""
        for name, _, checksum in opam_file.extra_sources(node.file):
            if not checksum:
                return "", f"its extra source {name} has no checksum"
        url = opam_file.url(node.file)
        if url is None:
            return "", ""
        checksum = opam_file.checksums(node.file)
        if node.flags.get("pinned") and not (checksum and _REMOTE_ARCHIVE.match(url)):
            # opam checks no checksum of a folder or repository; a pin to a version has the released archive.
            if node.pin is None:
                return "", "it is pinned, so its source is known only after opam has fetched it"
            return f"tree={node.pin}", ""
        if checksum:
            return checksum, ""
        commit = _COMMIT.match(url)
        if commit:
            return f"{commit[1]}={commit[2]}", ""
        return "", "its source has no checksum"


def is_system_compiler(file: OpamFile) -> bool:
    """Tell whether a package stands for a compiler outside of opam."""
    available = file.get("available")
    reads = filters.variables(available) if available is not None else frozenset()
    return "compiler" in opam_file.flags(file) and any(name.startswith("sys-ocaml-") for name in reads)


def is_dev(file: OpamFile) -> bool:
    """Tell what opam says for ``dev``: a source under version control, or one without checksum.

    Being pinned does not matter: a pin to a version has the released archive.
    """
    url = opam_file.url(file)
    if url is None:
        return False
    return _VERSION_CONTROL.match(url) is not None or opam_file.checksums(file) is None


def as_value(text: str | None) -> filters.Value:
    """Turn the text of a variable into a value: ``true`` and ``false`` are booleans for opam."""
    if text in ("true", "false"):
        return text == "true"
    return text
