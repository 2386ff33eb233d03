"""Which snapshots are published: what was asked for, what it stands on, and only what fits together; pure.

In a repository of its own (mode ``alone``) every version has one build. Where the store has several, the one
that a selected package was built against wins, then the newest; what was built against another is left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from opambin.opam.parser import parse
from opambin.publish.catalogue import Mode
from opambin.publish.definition import runtime_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opambin.model import ConeKey, Manifest, OutputId, PackageName
    from opambin.opam.ast import OpamFile

    Identity = tuple[ConeKey, OutputId]


@dataclass(frozen=True)
class Candidate:
    """A snapshot that may be published.

    Attributes:
        manifest: The snapshot.
        needed: Keys of its direct dependencies, by name; all but ``{post}`` ones.
        outputs: Of its dependencies, direct or not, when it was built, as far as that is known.
    """

    manifest: Manifest
    needed: Mapping[PackageName, ConeKey]
    outputs: Mapping[PackageName, OutputId] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest) -> Candidate:
        """Make one of a snapshot."""
        needed = json.loads(manifest.inputs)["dependencies"]
        outputs = {it.provider: it.output for it in manifest.imports if it.output is not None}
        return cls(manifest, needed, outputs)

    @cached_property
    def file(self) -> OpamFile:
        """Its definition."""
        return parse(self.manifest.opam, f"{self.manifest.package}/opam")

    @property
    def identity(self) -> Identity:
        """What tells it from all others."""
        return self.manifest.key, self.manifest.output

    def runtime(self, versions: Mapping[str, str]) -> list[PackageName]:
        """Return the direct dependencies that are needed after the build."""
        return runtime_names(self.manifest, self.file, versions)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A snapshot that is to be published, with the builds that it stands on.

    Attributes:
        candidate: The snapshot.
        below: Its direct run-time dependencies, by name.
    """

    candidate: Candidate
    below: Mapping[PackageName, Candidate]

    @property
    def manifest(self) -> Manifest:
        """The snapshot."""
        return self.candidate.manifest


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be published.

    Attributes:
        chosen: In an order in which everything follows what it stands on.
        left_out: Snapshots that were asked for and do not fit, with the reason.
    """

    chosen: tuple[Chosen, ...]
    left_out: tuple[tuple[Manifest, str], ...]


class Chooser:
    """Chooses among the snapshots of a store.

    Args:
        candidates: All snapshots that there are.
        mode: Whether a version may have several builds.
        refused: Snapshots that may not be published, and why.
    """

    def __init__(self, candidates: Iterable[Candidate], mode: Mode, refused: Mapping[Identity, str]) -> None:
        self._mode = mode
        self._by_key: dict[ConeKey, list[Candidate]] = defaultdict(list)
        for candidate in sorted(candidates, key=_age):
            self._by_key[candidate.manifest.key].append(candidate)
        self._chosen: dict[tuple[str, ...], Candidate] = {}
        self._done: dict[Identity, Chosen] = {}
        self._problems: dict[Identity, str] = dict(refused)

    def outputs(self, key: ConeKey) -> int:
        """Return how many outputs of a key there are."""
        return len(self._by_key.get(key, ()))

    def choose(self, wanted: Sequence[Candidate]) -> Selection:
        """Choose what was asked for, and all below it.

        Args:
            wanted: What was asked for; the earlier comes first where two exclude each other.
        """
        left_out = []
        for candidate in wanted:
            problem = self._visit(candidate)
            if problem:
                left_out.append((candidate.manifest, problem))
        return Selection(tuple(self._done.values()), tuple(left_out))

    def _visit(self, candidate: Candidate) -> str:
        """Choose a snapshot and what is below it; returns why that can't be."""
        if candidate.identity in self._done:
            return ""
        if candidate.identity in self._problems:
            return self._problems[candidate.identity]
        problem = self._taken(candidate) or self._below(candidate)
        if problem:
            self._problems[candidate.identity] = problem
        return problem

    def _place(self, candidate: Candidate) -> tuple[str, ...]:
        manifest = candidate.manifest
        if self._mode is Mode.MIXED:
            return (manifest.key, manifest.output)
        return (manifest.package.name, manifest.package.version)

    def _taken(self, candidate: Candidate) -> str:
        other = self._chosen.get(self._place(candidate))
        if other is None or other is candidate:
            return ""
        return (
            "another build of this version is published, and a repository of its own has one of each; "
            "name the switch whose packages it should have (--switch), or use --mode mixed"
        )

    def _below(self, candidate: Candidate) -> str:
        direct: dict[PackageName, Candidate] = {}
        versions: dict[str, str] = {}
        for name, key in candidate.needed.items():
            found = self._by_key.get(key)
            if found:
                direct[name] = self._best(name, found, candidate)
                versions[name] = str(found[0].manifest.package.version)
        runtime = candidate.runtime(versions)
        for name in runtime:
            if name not in direct:
                return f"what it was built against is not in the store: {name}"
        for name in runtime:
            problem = self._visit(direct[name])
            if problem:
                return f"its dependency {direct[name].manifest.package} can't be published: {_first(problem)}"
        problem = self._taken(candidate)
        if not problem:
            self._chosen[self._place(candidate)] = candidate
            self._done[candidate.identity] = Chosen(candidate, {name: direct[name] for name in runtime})
        return problem

    def _best(self, name: PackageName, found: Sequence[Candidate], above: Candidate) -> Candidate:
        """Return the output that a package was built against, else one that is chosen, else the newest."""
        recorded = above.outputs.get(name)
        for candidate in found:
            if candidate.manifest.output == recorded:
                return candidate
        for candidate in found:
            if candidate.identity in self._done:
                return candidate
        return found[0]


def _age(candidate: Candidate) -> tuple[int, str, str]:
    return -candidate.manifest.build.built_at, candidate.manifest.key, candidate.manifest.output


def _first(problem: str) -> str:
    """Return the root of a chain of reasons."""
    return problem.rpartition(" can't be published: ")[2]


def newest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Sort snapshots by when they were built."""
    return sorted(candidates, key=_age)


def matching(candidates: Sequence[Candidate], globs: Sequence[str]) -> list[Candidate]:
    """Return the snapshots that a glob on ``NAME.VERSION`` fits, or that stand on one which it fits.

    Every glob has to fit: ``ocaml.4.14.*`` gives OCaml 4.14 and what was built with it.
    """
    by_key = {candidate.manifest.key: candidate for candidate in candidates}
    for glob in globs:
        fits: dict[ConeKey, bool] = {}
        candidates = [candidate for candidate in candidates if _fits(candidate, glob, by_key, fits)]
    return list(candidates)


def _fits(
    candidate: Candidate, glob: str, by_key: Mapping[ConeKey, Candidate], fits: dict[ConeKey, bool]
) -> bool:
    key = candidate.manifest.key
    if key not in fits:
        fits[key] = fnmatchcase(str(candidate.manifest.package), glob)
        below = [by_key[needed] for needed in candidate.needed.values() if needed in by_key]
        fits[key] = fits[key] or any(_fits(other, glob, by_key, fits) for other in below)
    return fits[key]
