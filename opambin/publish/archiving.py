"""The archives of the snapshots that were chosen: made, or only looked through."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, CannotRelocateError
from opambin.publish import archive, definition, licences
from opambin.publish.catalogue import ContentKind
from opambin.publish.privacy import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from opambin.publish.catalogue import Archive, Catalogue
    from opambin.publish.options import Options
    from opambin.publish.privacy import Finding
    from opambin.publish.selection import Candidate, Identity, Selection
    from opambin.store.store import Store

_TOLD = 20  # places that one error names


@dataclass(frozen=True, slots=True)
class Made:
    """An archive that was made.

    Attributes:
        archive: Where it belongs, its digests and size.
        path: Where it is now.
        max_prefix: The longest prefix that it can be installed at, in bytes.
        licences: The licence files in it.
        helper: Whether it needs opam-bin at the installation.
    """

    archive: Archive
    path: Path
    max_prefix: int | None
    licences: tuple[str, ...]
    helper: bool


class Archiver:
    """Makes archives, or says what would stand against them.

    Args:
        store: Where the files are.
        options: How it is published.
        old: What is published already, or None.
    """

    def __init__(self, store: Store, options: Options, old: Catalogue | None) -> None:
        self._store, self._options = store, options
        self._scanner = Scanner(options.identity, options.accepted)
        reusable = old is not None and old.rules == options.rules()
        rows = old.builds if old is not None and reusable else ()
        self._there = {(row.key, row.output) for row in rows}

    def make(self, selection: Selection, work: Path, made: dict[Identity, Made]) -> dict[Identity, str]:
        """Make the archives that are not there yet.

        Args:
            selection: What is published.
            work: Where archives are put.
            made: Gets what was made.

        Returns:
            Snapshots that can't be published, with the reason.

        Raises:
            BadDataError: A file must not be published, or an object is damaged.
        """
        findings: list[Finding] = []

        def one(candidate: Candidate) -> None:
            path = work / f"{candidate.manifest.key[:32]}-{candidate.manifest.output[:32]}.tar.gz"
            try:
                with path.open("xb") as stream:
                    done = archive.write(
                        candidate.manifest,
                        self._store.objects,
                        self._scanner,
                        stream,
                        self._extras(candidate),
                    )
            except CannotRelocateError:
                path.unlink()
                raise
            findings.extend(done.findings)
            made[candidate.identity] = Made(done.archive, path, done.max_prefix, done.licences, done.helper)

        failed = self._each(self._lacking(selection, made), "making", one)
        if findings:
            raise stopped(sorted(findings))
        return failed

    def examine(self, selection: Selection, seen: dict[Identity, tuple[Finding, ...]]) -> dict[Identity, str]:
        """Look for what would stand against the archives that are not there yet.

        Args:
            selection: What would be published.
            seen: Gets what must not be published, of each snapshot.

        Returns:
            Snapshots that can't be published, with the reason.

        Raises:
            BadDataError: An object is damaged.
        """

        def one(candidate: Candidate) -> None:
            seen[candidate.identity] = archive.examine(
                candidate.manifest, self._store.objects, self._scanner, self._extras(candidate)
            )

        return self._each(self._lacking(selection, seen), "looking through what goes into", one)

    def _each(
        self, todo: Sequence[Candidate], doing: str, one: Callable[[Candidate], None]
    ) -> dict[Identity, str]:
        """Do something for each, several at once; returns those that can't be moved, and why."""
        failed: dict[Identity, str] = {}
        if todo:
            self._options.tell(f"{doing} {len(todo)} archive{'s' * (len(todo) != 1)}")

        def attempt(candidate: Candidate) -> None:
            try:
                one(candidate)
            except CannotRelocateError as error:
                failed[candidate.identity] = f"opam alone can't move it: {error}"

        with ThreadPoolExecutor(max(1, self._options.jobs)) as pool:
            for future in [pool.submit(attempt, candidate) for candidate in todo]:
                future.result()
        return failed

    def _lacking(self, selection: Selection, done: Collection[Identity]) -> list[Candidate]:
        """Return what needs an archive and has none, the largest first."""
        todo = [
            chosen.candidate
            for chosen in selection.chosen
            if definition.kind_of(chosen.manifest) is not ContentKind.DEFINITION
            and chosen.candidate.identity not in self._there
            and chosen.candidate.identity not in done
        ]
        return sorted(todo, key=lambda candidate: -candidate.manifest.size)

    def _extras(self, candidate: Candidate) -> archive.Extras:
        """Look for licence files in the source of a package that installs none."""
        manifest = candidate.manifest
        own = any(licences.is_licence_file(entry.path) for entry in manifest.files)
        return archive.Extras(
            {} if own else self._options.licence_files(manifest), self._options.allow_helper
        )


def stopped(findings: Sequence[Finding]) -> BadDataError:
    """Return what stops a publication in which there is what must not be published."""
    shown = "; ".join(map(str, findings[:_TOLD]))
    more = f"; and {len(findings) - _TOLD} more" if len(findings) > _TOLD else ""
    return BadDataError(
        "publication",
        f"these must not leave your machine: {shown}{more}. Build without them, or say with --accept "
        "PACKAGE:PATH that a file may be published as it is. Nothing was published",
    )
