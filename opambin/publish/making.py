"""Definitions and descriptions of the snapshots that were chosen."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from opambin.model import Digest, PackageName, Version
from opambin.opam import fields, formula
from opambin.opam.ast import String
from opambin.publish import archive, definition, licences
from opambin.publish.catalogue import Build, ContentKind, Licence, Mode
from opambin.publish.definition import Around

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opambin.model import ConeKey
    from opambin.opam.ast import OpamFile
    from opambin.publish.archiving import Made
    from opambin.publish.catalogue import Catalogue, Dependency
    from opambin.publish.options import Options
    from opambin.publish.selection import Candidate, Chosen, Identity, Selection

_HASH = 12  # hexadecimal digits in a version of a mixed repository


def refusals(candidates: Iterable[Candidate], options: Options) -> dict[Identity, str]:
    """Say which snapshots may not be published, from what is known of them without their files."""
    found = {}
    for candidate in candidates:
        reason = _refusal(candidate, options)
        if reason:
            found[candidate.identity] = reason
    return found


def _refusal(candidate: Candidate, options: Options) -> str:
    manifest = candidate.manifest
    if definition.kind_of(manifest) is ContentKind.DEFINITION:
        return ""
    stuck = next((bound for bound in manifest.bound if bound.max_prefix is None), None)
    if stuck is not None:
        return f"it belongs to the path that it was built at ({stuck.path}: {stuck.reason})"
    if manifest.build.adopted:
        limit = archive.longest_prefix(manifest)
        if limit is not None and limit < manifest.build.prefix_length:
            return f"it was built without room for other paths than short ones ({limit} bytes)"
    return _judge(candidate, options).problem if _gives_away(candidate) else ""


def _gives_away(candidate: Candidate) -> bool:
    """Tell whether something of a source is in what is published; else it is the definition's own files."""
    is_archive = definition.kind_of(candidate.manifest) is ContentKind.BINARY
    return is_archive and fields.url(candidate.file) is not None


def _judge(candidate: Candidate, options: Options) -> licences.Judgement:
    return licences.judge(options.policy, candidate.manifest.package.name, licences.declared(candidate.file))


class Maker:
    """Describes what is published.

    Args:
        options: How it is published.
        serial: Of this publication.
        old: What is there, or None.
        outputs: Tells how many outputs of a key there are.

    Attributes:
        texts: The opam files, by their names relative to the repository.
    """

    def __init__(
        self, options: Options, serial: int, old: Catalogue | None, outputs: Callable[[ConeKey], int]
    ) -> None:
        self._options = options
        self._serial = serial
        self._outputs = outputs
        rows = old.builds if old is not None else ()
        self._old = {(row.key, row.output): row for row in rows}
        self._compilers: dict[Identity, str] = {}
        self.texts: dict[str, bytes] = {}

    def describe(self, selection: Selection, made: Mapping[Identity, Made]) -> list[Build]:
        """Write the definitions and describe every build; those of a dry run lack what was not made."""
        by_name: dict[str, list[Chosen]] = defaultdict(list)
        for chosen in selection.chosen:
            by_name[chosen.manifest.package.name].append(chosen)
        above = _Above(selection.chosen)
        return [self._describe(chosen, made, by_name, above) for chosen in selection.chosen]

    def published(self, candidate: Candidate) -> Version:
        """Return the version under which a snapshot is published."""
        version = candidate.manifest.package.version
        if self._options.mode is not Mode.MIXED:
            return version
        old = self._old.get(candidate.identity)
        if old is not None:
            return old.published
        text = f"{candidate.manifest.key} {candidate.manifest.output}"
        digits = hashlib.sha256(text.encode()).hexdigest()[:_HASH]
        return Version(f"{version}+bin+{self._serial}+{digits}")

    def _describe(
        self,
        chosen: Chosen,
        made: Mapping[Identity, Made],
        by_name: Mapping[str, Sequence[Chosen]],
        above: _Above,
    ) -> Build:
        candidate = chosen.candidate
        manifest, file = candidate.manifest, candidate.file
        old, done = self._old.get(candidate.identity), made.get(candidate.identity)
        found = done.archive if done else (old.archive if old else None)
        text, dependencies = definition.define(
            manifest,
            file,
            Around(
                {name: self.published(below) for name, below in chosen.below.items()},
                self._post(chosen, by_name, above),
                f"{self._options.base_url}/{found.path}" if found else "",
                found,
                helper=_helper(done, old),
            ),
        )
        build = self._build(chosen, done, old, (text, dependencies))
        self.texts[build.opam_path] = text.encode("utf-8", "surrogateescape")
        return build

    def _build(
        self,
        chosen: Chosen,
        done: Made | None,
        old: Build | None,
        defined: tuple[str, tuple[Dependency, ...]],
    ) -> Build:
        candidate = chosen.candidate
        manifest, file = candidate.manifest, candidate.file
        text, dependencies = defined
        kind = definition.kind_of(manifest)
        unchanged = old is not None and (done is None or done.archive == old.archive)
        archived = done.archive if done else (old.archive if old else None)
        content = [entry for entry in manifest.files if entry.digest] if kind is ContentKind.BINARY else []
        return Build(
            name=manifest.package.name,
            version=manifest.package.version,
            published=self.published(candidate),
            kind=kind,
            key=manifest.key,
            output=manifest.output,
            outputs=self._outputs(manifest.key),
            platform=definition.platform_of(manifest),
            compiler=self._compiler(chosen),
            archive=archived,
            opam=Digest(definition.text_digest(text)),
            files=len(content),
            size=sum(entry.size for entry in content),
            dependencies=dependencies,
            licence=self._licence(candidate, done, old),
            synopsis=_string(file, "synopsis"),
            homepage=_string(file, "homepage"),
            max_prefix=archive.longest_prefix(manifest) if kind is ContentKind.BINARY else None,
            helper=_helper(done, old),
            built_at=manifest.build.built_at,
            seconds=manifest.build.seconds,
            published_at=old.published_at if old is not None and unchanged else self._options.now,
            serial=old.serial if old is not None and unchanged else self._serial,
        )

    def _licence(self, candidate: Candidate, done: Made | None, old: Build | None) -> Licence:
        judged = _judge(candidate, self._options)
        files = done.licences if done else old.licence.files if old else ()
        verdict = "allowed" if _gives_away(candidate) else "not needed"
        return Licence(judged.declared, judged.expression, verdict, files)

    def _post(
        self, chosen: Chosen, by_name: Mapping[str, Sequence[Chosen]], above: _Above
    ) -> dict[PackageName, Version]:
        """Return what is wanted with a package: of several builds the one that stands on it."""
        candidate = chosen.candidate
        if "post" not in candidate.manifest.opam:
            return {}
        picked = {}
        for name, _ in formula.atoms(candidate.file.get("depends")):
            others = by_name.get(name, ())
            best = next((it for it in others if above.stands_on(it, chosen)), others[0] if others else None)
            if best is not None and name != candidate.manifest.package.name:
                picked[name] = best.candidate
        versions = {name: str(found.manifest.package.version) for name, found in picked.items()}
        wanted = definition.post_names(candidate.manifest, candidate.file, versions)
        return {name: self.published(picked[name]) for name in wanted}

    def _compiler(self, chosen: Chosen) -> str:
        identity = chosen.candidate.identity
        found = self._compilers.get(identity)
        if found is None:
            # packages that only name options of a compiler have the flag, too, and install nothing
            installs = definition.kind_of(chosen.manifest) is ContentKind.BINARY
            if installs and "compiler" in fields.flags(chosen.candidate.file):
                found = str(chosen.manifest.package)
            else:
                below = (self._compilers.get(it.identity, "") for it in chosen.below.values())
                found = next(filter(None, below), "")
            self._compilers[identity] = found
        return found


def _helper(done: Made | None, old: Build | None) -> bool:
    return done.helper if done is not None else old is not None and old.helper


class _Above:
    """Who stands on whom, of what was chosen."""

    def __init__(self, chosen: Sequence[Chosen]) -> None:
        self._cones: dict[Identity, frozenset[Identity]] = {}
        for item in chosen:  # everything follows what it stands on
            cone = {below.identity for below in item.below.values()}
            for below in item.below.values():
                cone |= self._cones.get(below.identity, frozenset())
            self._cones[item.candidate.identity] = frozenset(cone)

    def stands_on(self, one: Chosen, other: Chosen) -> bool:
        """Tell whether ``other`` is in the cone of ``one``."""
        return other.candidate.identity in self._cones[one.candidate.identity]


def _string(file: OpamFile, name: str) -> str:
    value = file.get(name)
    return value.value if isinstance(value, String) else ""
