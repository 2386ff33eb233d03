"""One publication: choose, make archives, write definitions and index, put it all in place.

Rules:

* Everything that can be refused is refused before anything is written to the place.
* Archives come first, then definitions and pages, the index, the catalogue last; what nobody needs any
  more is removed after that. Whoever updates at any moment sees a whole repository, the old or the new one.
* What is as it was is not made again, and where all is as it was, nothing is written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError
from opambin.publish import catalogue, helped, indexfile, merging, pagesteps, wanting
from opambin.publish.archiving import Archiver
from opambin.publish.catalogue import Catalogue, LeftOut, Mode
from opambin.publish.making import Maker, refusals
from opambin.publish.options import checked_url
from opambin.publish.places import check_empty
from opambin.publish.selection import Candidate, Chooser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from opambin.publish.archiving import Made
    from opambin.publish.catalogue import Build
    from opambin.publish.options import Asked, Options
    from opambin.publish.places import Place
    from opambin.publish.privacy import Finding
    from opambin.publish.selection import Identity, Selection
    from opambin.store.store import Store


@dataclass(frozen=True, slots=True)
class Report:
    """What a publication did, or would do.

    Attributes:
        catalogue: Of the repository as it is now; of a dry run, without digests of what was not made.
        changed: Whether anything was written.
        added: Builds that are new, or have another archive.
        removed: Builds that are gone.
        missing: What was asked for and has no snapshot.
        findings: Of a dry run: what must not be published, and would stop it.
    """

    catalogue: Catalogue
    changed: bool
    added: tuple[Build, ...] = ()
    removed: tuple[Build, ...] = ()
    missing: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def publish(store: Store, place: Place, asked: Asked, options: Options, last: int = 0) -> Report:
    """Publish snapshots.

    Args:
        store: Where they are.
        place: Where to.
        asked: Which.
        options: How.
        last: Serial of our last publication there; 0 when we know of none.

    Raises:
        MisuseError: The place holds something else, the base URL does not fit, or something that was asked
            for by name may not be published.
        UnavailableError: Somebody else is publishing, or the place can't be written; it is as it was.
        BadDataError: Something must not be published, or what is there is damaged.
    """
    old = _old(place, options, last)
    mode = options.mode or (old.mode if old is not None else Mode.ALONE)
    options = dataclasses.replace(options, mode=mode, base_url=_base_url(place, old, options))
    if old is not None and _is_same(store, old, asked, options):
        return Report(old, changed=False, missing=asked.missing)
    if options.dry_run:
        return _Publication(store, place, asked, options, old).dry_run()
    with place.lock() as work:
        # What is there may have changed while we waited for nobody.
        old = _old(place, options, last)
        return _Publication(store, place, asked, options, old).carry_out(work)


def _old(place: Place, options: Options, last: int) -> Catalogue | None:
    data = place.read(catalogue.NAME)
    if data is None:
        check_empty(place)
        if last and not options.older:
            raise MisuseError(
                f"{place.shown} is empty, and publication {last} was there before: "
                "--accept-older if it is to begin anew"
            )
        return None
    old = Catalogue.parse(data, f"{place.shown}/{catalogue.NAME}")
    if old.serial < last and not options.older:
        raise MisuseError(
            f"{place.shown} holds publication {old.serial}, and publication {last} was there before: "
            "somebody put an older one back; --accept-older goes on from it"
        )
    if old.mode is not (options.mode or old.mode):
        raise MisuseError(
            f"{place.shown} is a repository of mode {old.mode}: "
            f"publish to another place, or with --mode {old.mode}"
        )
    if old.time > options.now:
        raise MisuseError(
            f"{place.shown} was published at {_shown(old.time)}, later than now ({_shown(options.now)}): "
            "set the clock"
        )
    return old


def _shown(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _base_url(place: Place, old: Catalogue | None, options: Options) -> str:
    before = old.base_url if old is not None else ""
    wanted = checked_url(options.base_url) if options.base_url else before or place.default_url
    if not wanted:
        raise MisuseError(f"at which URL will {place.shown} be served? --base-url says so")
    if before and wanted != before and not options.rebase:
        raise MisuseError(
            f"{place.shown} was published for {before}, not for {wanted}: --rebase if it has moved"
        )
    return wanted


def _is_same(store: Store, old: Catalogue, asked: Asked, options: Options) -> bool:
    """Tell without opening a snapshot that nothing has to be done."""
    if not asked.plain or old.rules != options.rules() or old.base_url != options.base_url:
        return False
    if asked.snapshots is None:
        wanted = frozenset((record.key, record.output) for record in store.index.records())
    else:
        wanted = asked.snapshots
    theirs = _others(options)
    known = {(row.key, row.output) for row in old.builds if row.name not in theirs}
    known |= {(row.key, row.output) for row in old.left_out}
    return wanted <= known if options.merge else wanted == known


class _Publication:
    """One publication to one place."""

    def __init__(
        self, store: Store, place: Place, asked: Asked, options: Options, old: Catalogue | None
    ) -> None:
        self._archiver = Archiver(store, options, old)
        self._place = place
        self._asked = asked
        self._options = options
        self._old = old
        self._mode = options.mode or Mode.ALONE
        self._serial = (old.serial if old is not None else 0) + 1
        self._candidates = [Candidate.of(manifest) for manifest in store.manifests.all()]

    def _select(self, refused: Mapping[Identity, str]) -> Selection:
        """Choose what was asked for, what it stands on, and what is wanted with it.

        Raises:
            MisuseError: Something that was named has no snapshot, or may not be published.
        """
        wanted = wanting.wanted(self._candidates, self._asked)
        self._chooser = Chooser(self._candidates, self._mode, refused)
        selection = self._chooser.choose(wanted)
        if not self._asked.names:
            return selection
        if selection.left_out:
            manifest, reason = selection.left_out[0]
            raise MisuseError(f"{manifest.package} can't be published: {reason}")
        tried: set[Identity] = set()
        while more := wanting.with_it(selection, self._candidates, tried):
            tried |= {candidate.identity for candidate in more}
            selection = dataclasses.replace(self._chooser.choose(more), left_out=())
        return selection

    def _maker(self) -> Maker:
        return Maker(self._options, self._serial, self._old, self._chooser.outputs)

    def dry_run(self) -> Report:
        """Say what would be published, what would be left out, and what would stop it."""
        seen: dict[Identity, tuple[Finding, ...]] = {}
        selection = self._settle(lambda chosen: self._archiver.examine(chosen, seen))
        report = self._report(
            self._maker().describe(selection, {}), self._left_out(selection), {}, changed=False
        )
        return dataclasses.replace(report, findings=tuple(sorted(itertools.chain(*seen.values()))))

    def _settle(self, archive: Callable[[Selection], dict[Identity, str]]) -> Selection:
        """Select, and again without what has turned out not to be movable, until all of it is."""
        refused = refusals(self._candidates, self._options)
        while True:
            selection = self._select(refused)
            failed = archive(selection)
            if not failed:
                return selection
            refused |= failed

    def carry_out(self, work: Path) -> Report:
        """Publish."""
        made: dict[Identity, Made] = {}
        selection = self._settle(lambda chosen: self._archiver.make(chosen, work, made))
        maker = self._maker()
        builds = maker.describe(selection, made)
        report = self._report(builds, self._left_out(selection), maker.texts, changed=True)
        return self._put(report, made, maker.texts, work)

    def _left_out(self, selection: Selection) -> tuple[LeftOut, ...]:
        rows = [
            LeftOut(manifest.package.name, manifest.package.version, manifest.key, manifest.output, reason)
            for manifest, reason in selection.left_out
        ]
        return tuple(sorted(rows))

    def _report(
        self,
        builds: Sequence[Build],
        left_out: tuple[LeftOut, ...],
        texts: dict[str, bytes],
        *,
        changed: bool,
    ) -> Report:
        old = self._old.builds if self._old is not None else ()
        merged = merging.merged(builds, old, keep_old=self._options.merge, others=_others(self._options))
        kept = merging.pruned(merged, self._options.keep)
        self._carry_over(kept, texts)
        there = {(row.key, row.output) for row in kept}
        left_out += tuple(
            LeftOut(
                row.name, row.version, row.key, row.output, f"newer versions are kept ({self._options.keep})"
            )
            for row in builds
            if (row.key, row.output) not in there
        )
        found = Catalogue(
            self._options.base_url,
            self._mode,
            self._serial,
            self._options.now,
            self._options.rules(),
            "0" * 64,
            kept,
            tuple(sorted(row for row in left_out if (row.key, row.output) not in there)),
        )
        before = {(row.opam_path, row.opam) for row in old}
        after = {row.opam_path for row in kept}
        return Report(
            found,
            changed,
            tuple(row for row in kept if (row.opam_path, row.opam) not in before),
            tuple(row for row in old if row.opam_path not in after),
            self._asked.missing,
        )

    def _carry_over(self, kept: Sequence[Build], texts: dict[str, bytes]) -> None:
        """Take the definitions of builds that stay as they are from the index that is there."""
        missing = [row for row in kept if row.opam_path not in texts]
        if not missing or self._old is None or self._options.dry_run:
            return
        data = self._place.read(indexfile.NAME)
        if data is None or hashlib.sha256(data).hexdigest() != self._old.index_sha256:
            raise BadDataError(
                f"{self._place.shown}/{indexfile.NAME}",
                "not the one that the catalogue is of; publish to a new place",
            )
        members = indexfile.read_index(data)
        for row in missing:
            folder = row.opam_path.removesuffix("opam")
            texts |= {name: content for name, content in members.items() if name.startswith(folder)}

    def _put(
        self, report: Report, made: Mapping[Identity, Made], texts: Mapping[str, bytes], work: Path
    ) -> Report:
        kept = report.catalogue.builds
        folders = {row.opam_path.removesuffix("opam") for row in kept}
        files = {name: content for name, content in texts.items() if _folder(name) in folders}
        if self._mode is Mode.MIXED:
            files |= merging.short_names(kept)
        if any(row.helper for row in kept):
            files[helped.PATH] = helped.definition()
        repo = indexfile.repo_file(self._options.base_url)
        packed = indexfile.write_index({**files, indexfile.REPO: repo})
        digest = hashlib.sha256(packed).hexdigest()
        found = dataclasses.replace(report.catalogue, index_sha256=digest)
        if self._old is not None and _content(self._old) == _content(found):
            return Report(self._old, changed=False, missing=report.missing)
        wanted = {row.archive.path: row.archive for row in kept if row.archive is not None}
        archives = {
            it.archive.path: it.path
            for it in made.values()
            if it.archive.path in wanted and not self._place.holds(it.archive.path, it.archive.size)
        }
        tree = files if self._place.has_tree else {}
        old_files = self._old_files()
        new = {name: content for name, content in tree.items() if old_files.get(name) != content}
        gone = sorted(old_files.keys() - files.keys()) if self._place.has_tree else []
        gone += sorted(
            row.archive.path
            for row in (self._old.builds if self._old is not None else ())
            if row.archive is not None and row.archive.path not in wanted
        )
        theirs = {f"packages/{name}" for name in _others(self._options)}
        gone = [name for name in gone if "/".join(name.split("/")[:2]) not in theirs]
        pages = pagesteps.prepare(self._place, work, found, (it.manifest for it in self._candidates))
        gone += pages.gone
        before: dict[str, bytes | Path] = {**archives, **new, indexfile.REPO: repo, **pages.files}
        counting: Mapping[str, bytes] = {indexfile.NAME: packed, catalogue.NAME: found.render()}
        if self._options.signed is not None:
            counting = self._options.signed.sign({**before, **counting}, gone)
            found = dataclasses.replace(
                found, index_sha256=hashlib.sha256(counting[indexfile.NAME]).hexdigest()
            )
        last = ({name: data} for name, data in counting.items())
        self._place.write((archives, new, {indexfile.REPO: repo}, pages.files, *last), gone)
        return dataclasses.replace(report, catalogue=found)

    def _old_files(self) -> dict[str, bytes]:
        data = self._place.read(indexfile.NAME) if self._old is not None and self._place.has_tree else None
        if data is None:
            return {}
        # of a signed repository it also holds metadata, which is not ours to remove
        return {name: it for name, it in indexfile.read_index(data).items() if name.startswith("packages/")}


def _others(options: Options) -> frozenset[str]:
    return options.signed.others if options.signed is not None else frozenset()


def _folder(name: str) -> str:
    """Return ``packages/NAME/NAME.VERSION/`` of a file below it."""
    return "/".join(name.split("/")[:3]) + "/"


def _content(found: Catalogue) -> Catalogue:
    """Return a catalogue without what every publication changes, and every signature."""
    return dataclasses.replace(found, serial=0, time=0, index_sha256="")
