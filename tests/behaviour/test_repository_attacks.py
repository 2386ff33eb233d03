"""What someone between publisher and user could do to a published repository: refused, with the reason."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from signedrepo import Publisher
from tuf.api.metadata import DelegatedRole, Metadata, MetaFile, Targets

from opambin.errors import BadDataError, MisuseError
from opambin.publish.signed import verifying
from opambin.publish.signed.anchors import Anchors
from opambin.publish.signed.contents import target_of
from opambin.publish.signed.metafolder import MetadataFolder, render
from opambin.publish.signed.refusals import ExpiredError, Kind, RefusedError
from opambin.publish.signed.sources import FolderSource
from opambin.publish.signed.verifying import Start, Verified, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def published(tmp_path: Path) -> Publisher:
    return Publisher.make(tmp_path / "site")


def look(
    published: Publisher,
    tmp_path: Path,
    *,
    start: Start | None = None,
    quick: bool = False,
    partial: bool = False,
) -> Verified:
    return verify(
        FolderSource(published.folder),
        tmp_path / "state",
        start or Start(published.root),
        quick=quick,
        partial=partial,
    )


def refusal(
    published: Publisher, tmp_path: Path, kind: Kind, says: str | None = None, *, quick: bool = False
) -> RefusedError:
    with pytest.raises(RefusedError, match=says) as caught:
        look(published, tmp_path, quick=quick)
    assert caught.value.kind == kind, caught.value
    return caught.value


def test_sound(published: Publisher, tmp_path: Path) -> None:
    found = look(published, tmp_path)
    assert found.trusted.signers["packages/alpha/alpha.1/opam"] == "targets"
    assert found.trusted.signers["index.html"] == found.trusted.signers["index.tar.gz"] == "site"
    assert found.checked.files == len(found.trusted.files) == 7
    assert found.checked.missing == 0


def test_sound_and_changed(published: Publisher, tmp_path: Path) -> None:
    look(published, tmp_path)
    published.package("gamma", "2")
    published.sign()
    found = look(published, tmp_path, start=Start())
    assert "packages/gamma/gamma.2/opam" in found.trusted.files


def test_rolled_back(published: Publisher, tmp_path: Path) -> None:
    old = published.copy(tmp_path / "old")
    published.package("gamma", "2")
    published.sign()
    look(published, tmp_path)
    published.restore(old)
    error = refusal(published, tmp_path, Kind.ROLLED_BACK, "older than what was seen before")
    assert error.exit_code == 3


def test_a_rollback_refused_once_is_refused_again_and_the_newer_state_still_verifies(
    published: Publisher, tmp_path: Path
) -> None:
    old = published.copy(tmp_path / "old")
    published.renew()
    look(published, tmp_path)
    new = published.copy(tmp_path / "new")
    published.restore(old)
    refusal(published, tmp_path, Kind.ROLLED_BACK)
    refusal(published, tmp_path, Kind.ROLLED_BACK)
    published.restore(new)
    look(published, tmp_path)


def test_frozen(tmp_path: Path) -> None:
    # signed ten days ago, for seven
    published = Publisher(tmp_path / "site")
    published.now = published.now.replace(year=published.now.year - 1)
    made = Publisher.make(tmp_path / "made")
    published.keys = made.keys
    made.copy(published.folder)
    for place in (published.folder / "tuf").iterdir():
        place.unlink()
    published.begin()
    published.now = made.now
    published_root = published.root
    with pytest.raises(ExpiredError, match="expired") as caught:
        verify(FolderSource(published.folder), tmp_path / "state", Start(published_root))
    assert caught.value.exit_code == 6


def test_frozen_timestamp_of_a_root_that_holds(published: Publisher, tmp_path: Path) -> None:
    published.renew(days=-10)
    error = refusal(published, tmp_path, Kind.EXPIRED, "timestamp.json is expired.*holds newer")
    assert isinstance(error, ExpiredError)


def test_mixed_snapshot_of_one_time_and_targets_of_another(published: Publisher, tmp_path: Path) -> None:
    tuf = published.folder / "tuf"
    old = (tuf / "1.targets.json").read_bytes()
    published.package("gamma", "2")
    published.sign()
    (tuf / "2.targets.json").write_bytes(old)
    refusal(published, tmp_path, Kind.MIXED)


def test_mixed_timestamp_of_one_time_and_snapshot_of_another(published: Publisher, tmp_path: Path) -> None:
    tuf = published.folder / "tuf"
    old = (tuf / "1.snapshot.json").read_bytes()
    published.renew()
    (tuf / "2.snapshot.json").write_bytes(old)
    refusal(published, tmp_path, Kind.MIXED)


def test_mixed_index_of_another_time(published: Publisher, tmp_path: Path) -> None:
    old = (published.folder / "index.tar.gz").read_bytes()
    published.package("gamma", "2")
    published.sign()
    (published.folder / "index.tar.gz").write_bytes(old)
    refusal(published, tmp_path, Kind.TAMPERED, "index.tar.gz")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("repo", id="the repo file"),
        pytest.param("index.html", id="a page"),
        pytest.param("index.tar.gz", id="the index"),
        pytest.param("packages/alpha/alpha.1/opam", id="a definition"),
    ],
)
@pytest.mark.parametrize("longer", [False, True], ids=["same length", "longer"])
def test_tampered(published: Publisher, tmp_path: Path, path: str, longer: bool) -> None:
    place = published.folder / path
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(bytes(data) + b"x" * longer)
    refusal(published, tmp_path, Kind.TAMPERED, path)


def test_tampered_archive_is_seen_unless_quick(published: Publisher, tmp_path: Path) -> None:
    path = published.package("alpha", "1")
    (published.folder / path).write_bytes(b"evil")
    look(published, tmp_path, quick=True)
    refusal(published, tmp_path, Kind.TAMPERED, path)


def test_missing_archive(published: Publisher, tmp_path: Path) -> None:
    path = published.package("alpha", "1")
    (published.folder / path).unlink()
    refusal(published, tmp_path, Kind.INCOMPLETE, path)
    assert look(published, tmp_path, partial=True).checked.missing == 1


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json", "1.site.json"])
def test_missing_metadata(published: Publisher, tmp_path: Path, name: str) -> None:
    (published.folder / "tuf" / name).unlink()
    refusal(published, tmp_path, Kind.INCOMPLETE)


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json", "1.site.json"])
def test_metadata_signed_by_a_stranger(published: Publisher, tmp_path: Path, name: str) -> None:
    stranger = Publisher.make(tmp_path / "stranger")
    (published.folder / "tuf" / name).write_bytes((stranger.folder / "tuf" / name).read_bytes())
    with pytest.raises(RefusedError) as caught:
        look(published, tmp_path)
    assert caught.value.kind in {Kind.UNSIGNED, Kind.MIXED}


def test_a_whole_repository_of_a_stranger(published: Publisher, tmp_path: Path) -> None:
    root = published.root
    look(published, tmp_path)
    stranger = Publisher.make(tmp_path / "stranger")
    published.restore(stranger.folder)
    with pytest.raises(RefusedError) as caught:
        look(published, tmp_path, start=Start(root))
    assert caught.value.kind == Kind.UNSIGNED


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"signed": {"_type": "timestamp"}, "signatures": []}', id="half of it missing"),
        pytest.param(b'{"signed": {"_type": "root"}, "signatures": []}', id="another role"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[" * 10_000, id="deep"),
        pytest.param(b"x" * 20_000, id="longer than a timestamp may be"),
    ],
)
def test_garbage_for_a_timestamp(published: Publisher, tmp_path: Path, data: bytes) -> None:
    (published.folder / "tuf/timestamp.json").write_bytes(data)
    with pytest.raises(BadDataError):
        look(published, tmp_path)


def test_seen_for_the_first_time_without_a_root(published: Publisher, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=f"--anchor {published.anchors[0]} --quorum 1"):
        look(published, tmp_path, start=Start())


def test_not_signed_at_all(published: Publisher, tmp_path: Path) -> None:
    for place in (published.folder / "tuf").iterdir():
        place.unlink()
    with pytest.raises(RefusedError, match="not signed"):
        look(published, tmp_path, start=Start())


def test_anchors(published: Publisher, tmp_path: Path) -> None:
    anchors = Anchors.parse(published.anchors, 1)
    look(published, tmp_path, start=Start(anchors=anchors))
    look(published, tmp_path, start=Start())


def test_anchors_of_another(published: Publisher, tmp_path: Path) -> None:
    anchors = Anchors.parse(["ab" * 32, published.keys["targets"].public.id], 1)
    with pytest.raises(RefusedError, match="none of its roots"):
        look(published, tmp_path, start=Start(anchors=anchors))


def test_quorum_of_anchors_not_reached(published: Publisher, tmp_path: Path) -> None:
    anchors = Anchors.parse([*published.anchors, "ab" * 32], 2)
    with pytest.raises(RefusedError, match="2 of the anchors"):
        look(published, tmp_path, start=Start(anchors=anchors))


@pytest.mark.parametrize(
    ("texts", "quorum", "says"),
    [
        pytest.param(["xyz"], 1, "not the fingerprint", id="no fingerprint"),
        pytest.param(["ab" * 32], 2, "can't be reached", id="quorum too high"),
        pytest.param(["ab" * 32, "AB" * 32], 2, "can't be reached", id="the same key twice"),
        pytest.param(["ab" * 32], 0, "can't be reached", id="quorum of none"),
        pytest.param([], 1, "can't be reached", id="no anchors"),
    ],
)
def test_anchors_that_can_not_be(texts: list[str], quorum: int, says: str) -> None:
    with pytest.raises(MisuseError, match=says):
        Anchors.parse(texts, quorum)


class PublishingSource(FolderSource):
    """A repository of which a new state is published while it is looked at."""

    def __init__(self, published: Publisher, times: int) -> None:
        super().__init__(published.folder)
        self.published, self.times = published, times

    def pieces(self, path: str, start: int = 0) -> Iterator[bytes] | None:
        if path == "index.tar.gz" and self.times:
            self.times -= 1
            self.published.package("gamma", str(self.times))
            self.published.sign()
        return super().pieces(path, start)


def test_a_publication_meanwhile_is_no_attack(
    published: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "PAUSE_SECONDS", 0)
    found = verify(PublishingSource(published, 2), tmp_path / "state", Start(published.root))
    assert "packages/gamma/gamma.0/opam" in found.trusted.files
    with pytest.raises(RefusedError):  # but it is not waited for without end
        verify(PublishingSource(published, 9), tmp_path / "state", Start(published.root))


@pytest.mark.parametrize(
    "path", ["../evil", "/etc/evil", "a/./b", "tuf/1.root.json", ".hidden", "a//b", "a\nb"]
)
def test_paths_that_lead_elsewhere_are_refused_even_if_the_publisher_signs_them(
    published: Publisher, tmp_path: Path, path: str
) -> None:
    sign_path(published, path)
    refusal(published, tmp_path, Kind.DAMAGED, "a path that can't be")


def test_an_archive_signed_with_another_digest_than_its_name_says(
    published: Publisher, tmp_path: Path
) -> None:
    sign_path(published, f"archives/ab/{'c' * 62}.tar.gz")
    refusal(published, tmp_path, Kind.TAMPERED, "another digest than its name says")


@pytest.mark.parametrize("name", ["../../evil", "a/b", ".x", "x" * 100])
def test_roles_whose_names_lead_elsewhere(published: Publisher, tmp_path: Path, name: str) -> None:
    targets = MetadataFolder(published.folder).targets()
    assert targets is not None
    assert targets.signed.delegations is not None
    assert targets.signed.delegations.roles is not None
    roles = targets.signed.delegations.roles
    roles[name] = DelegatedRole(name, [], 1, True, ["packages/x/*/*"])
    sign_lists(published, targets)
    refusal(published, tmp_path, Kind.DAMAGED, "a role that can't be")


def sign_path(published: Publisher, path: str) -> None:
    """Sign a path that our own program would not."""
    targets = MetadataFolder(published.folder).targets()
    assert targets is not None
    targets.signed.targets[path] = target_of(path, b"evil")
    sign_lists(published, targets)


def sign_lists(published: Publisher, targets: Metadata[Targets]) -> None:
    """Put a list into force as it is."""
    folder = MetadataFolder(published.folder)
    targets.sign(published.keys.signers("targets")[0])
    data = render(targets)
    named = MetaFile(1, len(data), {"sha256": hashlib.sha256(data).hexdigest()})
    snapshot, timestamp = folder.snapshot(), folder.timestamp()
    assert snapshot is not None
    assert timestamp is not None
    snapshot.signed.meta["targets.json"] = named
    snapshot.sign(published.keys.signers("online")[0])
    shot = render(snapshot)
    timestamp.signed.snapshot_meta = MetaFile(1, len(shot), {"sha256": hashlib.sha256(shot).hexdigest()})
    timestamp.sign(published.keys.signers("online")[0])
    for name, content in {"1.targets": data, "1.snapshot": shot, "timestamp": render(timestamp)}.items():
        published.write(f"tuf/{name}.json", content)
