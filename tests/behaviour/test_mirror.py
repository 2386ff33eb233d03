"""Copies of published repositories: verified, incremental, resumed; what is no mirror is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signedrepo import NOW, Publisher

from opambin.errors import MisuseError, UnavailableError
from opambin.publish.mirror import Extent, Mirrored, mirror
from opambin.publish.signed.anchors import Anchors
from opambin.publish.signed.refusals import Kind, RefusedError
from opambin.publish.signed.sources import FolderSource, Source
from opambin.publish.signed.updates import Update, validate
from opambin.publish.signed.verifying import Start, verify
from opambin.publish.tufmeta import sign_repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def published(tmp_path: Path) -> Publisher:
    found = Publisher.make(tmp_path / "site")
    found.package("gamma", "1", depends='"beta" {>= "1"} "missing" ("alpha" {= "2"} | "beta" {= "3"})')
    found.package("delta", "1")
    found.sign()
    return found


def copy(
    published: Publisher, tmp_path: Path, *closure: str, source: Source | None = None, metadata: bool = True
) -> Mirrored:
    return mirror(
        source or FolderSource(published.folder),
        tmp_path / "copy",
        tmp_path / "state",
        Start(published.root),
        Extent(closure, metadata),
    )


def below(folder: Path) -> dict[str, bytes]:
    """Return what is served of a folder."""
    paths = (it for it in folder.rglob("*") if it.is_file())
    found = {it.relative_to(folder).as_posix(): it.read_bytes() for it in paths}
    return {path: data for path, data in found.items() if not path.startswith((".", "cache/"))}


def test_whole(published: Publisher, tmp_path: Path) -> None:
    done = copy(published, tmp_path)
    assert (done.packages, done.files, done.removed) == (4, 10, 0)
    before, after = below(published.folder), below(tmp_path / "copy")
    former = {f"tuf/1.{role}.json" for role in ("targets", "snapshot", "site")}
    assert after == {path: data for path, data in before.items() if path not in former}
    verify(FolderSource(tmp_path / "copy"), tmp_path / "other", Start(published.root))


def test_files_with_the_same_content(published: Publisher, tmp_path: Path) -> None:
    # Two of one folder that were fetched at once shared one unfinished file, and one of them failed.
    for number in range(60):
        badge = published.folder / f"pages/badge/{number}.svg"
        badge.parent.mkdir(parents=True, exist_ok=True)
        badge.write_text("<svg/>")
    published.sign()
    copy(published, tmp_path)
    assert len(list((tmp_path / "copy/pages/badge").iterdir())) == 60


def test_part(published: Publisher, tmp_path: Path) -> None:
    done = copy(published, tmp_path, "gamma")
    assert done.packages == 3  # gamma needs beta, beta alpha; delta is not there
    found = below(tmp_path / "copy")
    assert "packages/alpha/alpha.1/opam" in found
    assert "packages/delta/delta.1/opam" not in found
    assert published.package("delta", "1") not in found
    assert published.package("alpha", "1") in found
    source = FolderSource(tmp_path / "copy")
    with pytest.raises(RefusedError) as caught:
        verify(source, tmp_path / "strict", Start(published.root))
    assert caught.value.kind in {Kind.TAMPERED, Kind.INCOMPLETE}
    checked = verify(source, tmp_path / "lenient", Start(published.root), partial=True).checked
    assert checked.missing == 3  # delta, its archive, the page


def test_opam_takes_a_part_that_is_allowed_to_be_one(published: Publisher, tmp_path: Path) -> None:
    copy(published, tmp_path, "beta.1")
    update = Update(tmp_path / "none.tar.gz", None, tmp_path / "copy/index.tar.gz")
    anchors = Anchors.parse(published.anchors, 1)
    with pytest.raises(RefusedError, match="incomplete"):
        validate(update, anchors, tmp_path / "hook")
    validate(update, anchors, tmp_path / "hook", partial=True)


def test_part_that_was_tampered_with(published: Publisher, tmp_path: Path) -> None:
    copy(published, tmp_path, "beta")
    archive = tmp_path / "copy" / published.package("alpha", "1")
    archive.write_bytes(b"x" * len(archive.read_bytes()))
    with pytest.raises(RefusedError, match="tampered"):
        verify(FolderSource(tmp_path / "copy"), tmp_path / "other", Start(published.root), partial=True)


def test_again(published: Publisher, tmp_path: Path) -> None:
    copy(published, tmp_path)
    assert copy(published, tmp_path).fetched == 0
    (published.folder / "packages/delta/delta.1/opam").unlink()
    (published.folder / published.package("alpha", "1")).unlink()
    archive = published.package("alpha", "2")
    (published.folder / "packages/delta/delta.1").rmdir()
    (published.folder / "packages/alpha/alpha.1/opam").unlink()
    published.sign()
    done = copy(published, tmp_path)
    assert (done.fetched, done.packages, done.removed) == (1, 3, 3)
    found = below(tmp_path / "copy")
    assert archive in found
    assert "packages/delta/delta.1/opam" not in found
    assert not (tmp_path / "copy/packages/delta").exists()
    verify(FolderSource(tmp_path / "copy"), tmp_path / "other", Start(published.root))


def test_archives_have_the_names_that_opam_looks_for(published: Publisher, tmp_path: Path) -> None:
    copy(published, tmp_path)
    path = published.package("alpha", "1")
    digest = path.removeprefix("archives/").removesuffix(".tar.gz").replace("/", "")
    place = tmp_path / f"copy/cache/sha256/{digest[:2]}/{digest}"
    assert place.samefile(tmp_path / "copy" / path)
    (published.folder / "packages/alpha/alpha.1/opam").unlink()
    (published.folder / path).unlink()
    published.sign()
    copy(published, tmp_path)
    assert not place.exists()


class BrokenSource(FolderSource):
    """A source whose files break off half-way, as often as it is told."""

    def __init__(self, folder: Path, breaks: int, *, damage: bool = False) -> None:
        super().__init__(folder)
        self.breaks, self.damage = breaks, damage
        self.starts: list[int] = []

    def pieces(self, path: str, start: int = 0) -> Iterator[bytes] | None:
        found = super().pieces(path, start)
        return self._broken(found, start) if found is not None and path.startswith("archives/") else found

    def _broken(self, pieces: Iterator[bytes], start: int) -> Iterator[bytes]:
        self.starts.append(start)
        data = b"".join(pieces)
        if self.breaks:
            self.breaks -= 1
            half = data[: len(data) // 2]
            yield b"?" * len(half) if self.damage else half
            raise UnavailableError("the line broke off")
        yield data


def test_resumed_where_it_broke_off(published: Publisher, tmp_path: Path) -> None:
    source = BrokenSource(published.folder, 1)
    with pytest.raises(UnavailableError, match="broke off"):
        copy(published, tmp_path, source=source)
    assert not (tmp_path / "copy/tuf").exists()
    copy(published, tmp_path, source=source)
    assert max(source.starts) > 0
    verify(FolderSource(tmp_path / "copy"), tmp_path / "other", Start(published.root))


def test_begun_anew_where_the_beginning_was_wrong(published: Publisher, tmp_path: Path) -> None:
    source = BrokenSource(published.folder, 1, damage=True)
    with pytest.raises(UnavailableError):
        copy(published, tmp_path, source=source)
    copy(published, tmp_path, source=source)
    verify(FolderSource(tmp_path / "copy"), tmp_path / "other", Start(published.root))


def test_tampered_archive_is_not_copied_and_the_copy_stays(published: Publisher, tmp_path: Path) -> None:
    copy(published, tmp_path)
    before = below(tmp_path / "copy")
    path = published.package("epsilon", "1")
    published.sign()
    (published.folder / path).write_bytes(b"evil")
    with pytest.raises(RefusedError, match="tampered"):
        copy(published, tmp_path)
    assert below(tmp_path / "copy") == before


def test_rolled_back_original(published: Publisher, tmp_path: Path) -> None:
    old = published.copy(tmp_path / "old")
    published.renew()
    copy(published, tmp_path)
    before = below(tmp_path / "copy")
    published.restore(old)
    with pytest.raises(RefusedError, match="rolled back"):
        copy(published, tmp_path)
    assert below(tmp_path / "copy") == before


def test_a_mirror_of_a_mirror(published: Publisher, tmp_path: Path) -> None:
    copy(published, tmp_path, "gamma")
    source = FolderSource(tmp_path / "copy")
    extent = Extent(("beta",), partial=True)
    done = mirror(source, tmp_path / "second", tmp_path / "state2", Start(published.root), extent)
    assert done.packages == 2
    verify(FolderSource(tmp_path / "second"), tmp_path / "other", Start(published.root), partial=True)


def test_signed_by_its_owner(published: Publisher, tmp_path: Path) -> None:
    copy(published, tmp_path, "beta", metadata=False)
    assert not (tmp_path / "copy/tuf").exists()
    own = Publisher(tmp_path / "copy")
    own.begin()
    verify(FolderSource(own.folder), tmp_path / "other", Start(own.root))  # whole, by its own root
    published.package("beta", "2")
    published.sign()
    copy(published, tmp_path, "beta", metadata=False)
    sign_repository(own.folder, own.keys.signers("targets", "online"), NOW)
    found = verify(FolderSource(own.folder), tmp_path / "other", Start(own.root))
    assert "packages/beta/beta.2/opam" in found.trusted.files


def test_a_folder_with_something_else(published: Publisher, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/thesis.tex").write_text("years of work")
    with pytest.raises(MisuseError, match="no mirror"):
        copy(published, tmp_path)


def test_a_mirror_of_something_else(published: Publisher, tmp_path: Path) -> None:
    copy(published, tmp_path)
    other = Publisher.make(tmp_path / "other-site")
    with pytest.raises(MisuseError, match="is a mirror of"):
        copy(other, tmp_path)


@pytest.mark.parametrize("text", ["nothing", "beta.7", "gama"])
def test_a_package_that_is_not_there(published: Publisher, tmp_path: Path, text: str) -> None:
    with pytest.raises(MisuseError, match=f"has no package '{text}'"):
        copy(published, tmp_path, text)
