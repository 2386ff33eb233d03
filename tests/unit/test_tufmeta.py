"""Signing a published repository: what is written, when, with which keys, and what is missing otherwise."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from signedrepo import NOW, Publisher

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.publish.catalogue import NAME, Catalogue, Mode
from opambin.publish.indexfile import read_index
from opambin.publish.signed.contents import Pending
from opambin.publish.signed.metafolder import MetadataFolder, parse
from opambin.publish.tufmeta import Wishes, check_signers, is_signed, prepare, sign_repository

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def published(tmp_path: Path) -> Publisher:
    return Publisher.make(tmp_path / "site")


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


def test_nothing_is_written_when_nothing_has_changed(published: Publisher) -> None:
    before = bytes_below(published.folder)
    signing = published.sign()
    assert signing.written == ()
    assert signing.files == 7
    assert bytes_below(published.folder) == before


def test_a_new_package(published: Publisher) -> None:
    published.package("gamma", "2")
    signing = published.sign()
    assert signing.written == (
        "tuf/2.targets.json",
        "tuf/2.site.json",
        "tuf/2.snapshot.json",
        "index.tar.gz",
        "tuf/timestamp.json",
    )
    index = read_index((published.folder / "index.tar.gz").read_bytes())
    assert "packages/gamma/gamma.2/opam" in index
    assert index["tuf/timestamp.json"] == (published.folder / "tuf/timestamp.json").read_bytes()
    assert index["tuf/targets.json"] == (published.folder / "tuf/2.targets.json").read_bytes()


def test_a_page_needs_the_online_keys_alone(published: Publisher) -> None:
    published.write("index.html", b"other")
    assert "tuf/2.targets.json" not in published.sign("online").written


def test_a_new_page_at_the_top_is_named_by_targets(published: Publisher) -> None:
    published.write("pages/alpha.html", b"alpha")
    with pytest.raises(MisuseError, match=r"role targets.*--sign-with: targets"):
        published.sign("online")
    assert "tuf/2.targets.json" in published.sign().written
    published.write("pages/more/beta.html", b"beta")
    assert "tuf/3.targets.json" not in published.sign("online").written


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        pytest.param((), "targets", id="none"),
        pytest.param(("online",), "targets", id="no key of targets"),
        pytest.param(("targets",), "online", id="no key that is online"),
        pytest.param(("root", "stranger"), "targets", id="keys with no say"),
    ],
)
def test_missing_keys_are_named_and_nothing_is_written(
    published: Publisher, given: tuple[str, ...], missing: str
) -> None:
    published.package("gamma", "2")
    before = bytes_below(published.folder)
    signers = published.keys.signers(*given)
    with pytest.raises(MisuseError, match=f"--sign-with: {missing} "):
        sign_repository(published.folder, signers, NOW)
    with pytest.raises(MisuseError, match=f"--sign-with: {missing} "):
        check_signers(published.folder, signers, NOW)
    assert bytes_below(published.folder) == before


def test_expired_root(published: Publisher) -> None:
    with pytest.raises(MisuseError, match=r"root of .* expired on .*opam-bin tuf rotate"):
        published.sign(days=366)


def test_expired_targets_are_signed_anew_or_the_key_is_asked_for(published: Publisher) -> None:
    with pytest.raises(MisuseError, match="role targets"):
        published.sign("online", days=181)
    assert "tuf/2.targets.json" in published.sign(days=181).written


def test_what_runs_out_is_signed_again_along_the_way(published: Publisher) -> None:
    assert published.sign(days=3).written == ()
    assert "tuf/timestamp.json" in published.sign(days=4).written


def test_renewed(published: Publisher) -> None:
    signing = published.renew(days=1)
    assert signing.timestamp == 2
    assert signing.expires == NOW + timedelta(days=8)
    assert "tuf/2.targets.json" not in signing.written


def test_old_versions_go_and_roots_stay(published: Publisher) -> None:
    for _ in range(12):
        published.renew()
    folder = MetadataFolder(published.folder)
    assert folder.versions("snapshot") == list(range(6, 14))
    assert folder.versions("root") == [1]


def test_snapshot_names_the_list_of_the_site_without_digest(published: Publisher) -> None:
    snapshot = parse((published.folder / "tuf/1.snapshot.json").read_bytes(), "snapshot").signed
    assert snapshot.meta["site.json"].hashes is None
    assert snapshot.meta["targets.json"].hashes is not None


def test_the_same_content_gives_the_same_bytes(published: Publisher, tmp_path: Path) -> None:
    again = Publisher(tmp_path / "again", published.keys)
    published.copy(again.folder)
    for place in (again.folder / "tuf").iterdir():
        place.unlink()
    again.begin()
    assert bytes_below(again.folder) == bytes_below(published.folder)


def test_hidden_files_are_not_published(published: Publisher) -> None:
    published.write(".lock", b"")
    published.write("archives/.new-x", b"half")
    assert published.sign().written == ()


def test_symbolic_link(published: Publisher) -> None:
    (published.folder / "packages/alpha/alpha.2").symlink_to("alpha.1")
    with pytest.raises(MisuseError, match="symbolic link"):
        published.sign()


def test_archive_under_a_wrong_name(published: Publisher) -> None:
    published.write(f"archives/ab/{'c' * 62}.tar.gz", b"something")
    with pytest.raises(BadDataError, match="not what its name says"):
        published.sign()


def test_no_repository(tmp_path: Path) -> None:
    assert not is_signed(tmp_path)
    with pytest.raises(MisuseError, match="no opam repository"):
        sign_repository(tmp_path, [], NOW)


def test_no_keys_yet(tmp_path: Path) -> None:
    (tmp_path / "repo").write_text("")
    with pytest.raises(UnavailableError, match="opam-bin tuf init"):
        sign_repository(tmp_path, [], NOW)


def test_damaged_metadata_is_told(published: Publisher) -> None:
    published.write("tuf/1.targets.json", b"{")
    with pytest.raises(BadDataError, match="no TUF metadata"):
        published.sign()


def test_full_disk_leaves_what_was_published(published: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    from opambin.publish import tufmeta

    published.package("gamma", "2")
    before = bytes_below(published.folder)

    def full(path: Path, _: bytes) -> None:
        raise UnavailableError(f"{path} can't be written: No space left on device")

    monkeypatch.setattr(tufmeta, "replace_file", full)
    with pytest.raises(UnavailableError, match="No space"):
        published.sign()
    assert bytes_below(published.folder) == before
    monkeypatch.undo()
    assert published.sign().timestamp == 2


def test_what_is_about_to_be_written_is_signed_as_if_it_were_there(
    published: Publisher, tmp_path: Path
) -> None:
    later = Publisher(tmp_path / "later", published.keys)
    published.copy(later.folder)
    archive = later.package("gamma", "2")
    (later.folder / "packages/beta/beta.1/opam").unlink()
    new: dict[str, bytes | Path] = {
        archive: later.folder / archive,
        "packages/gamma/gamma.2/opam": (later.folder / "packages/gamma/gamma.2/opam").read_bytes(),
    }
    wishes = Wishes(pending=Pending(new, ["packages/beta/beta.1/opam"]))
    before = bytes_below(published.folder)
    signers = published.keys.signers("targets", "online")
    made, signing = prepare(published.folder, signers, NOW, wishes)
    assert bytes_below(published.folder) == before
    assert list(made) == list(signing.written) == list(later.sign().written)
    assert made == {path: (later.folder / path).read_bytes() for path in made}


def test_the_catalogue_names_the_signed_index(published: Publisher) -> None:
    catalogue = Catalogue("http://127.0.0.1", Mode.ALONE, 1, 1, "0" * 64, "0" * 64)
    published.write(NAME, catalogue.render())
    written = published.sign().written
    assert written.index("index.tar.gz") < written.index(NAME) < written.index("tuf/timestamp.json")
    digest = hashlib.sha256((published.folder / "index.tar.gz").read_bytes()).hexdigest()
    assert Catalogue.parse((published.folder / NAME).read_bytes()).index_sha256 == digest
    assert published.sign().written == ()
