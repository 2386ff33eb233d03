"""What an upload of a signed folder writes, in which order, and where it doesn't."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from memory_remote import MemoryRemote
from published_samples import small
from signedrepo import NOW, Publisher

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.publish.places import LOCK, OnRemote
from opambin.publish.signed.keys import metadata_key
from opambin.publish.signed.metafolder import KEPT, MetadataFolder
from opambin.publish.signed.profile import TopRole
from opambin.publish.signed.rootfiles import draft_next, put_in_force
from opambin.publish.signed.roots import RootChange
from opambin.publish.signed.sources import FolderSource
from opambin.publish.signed.uploading import Uploaded, upload
from opambin.publish.signed.verifying import Start, verify

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


class Recorded(MemoryRemote):
    """Remembers the order of writes, and what was read."""

    def __init__(self, content: dict[str, bytes] | None = None) -> None:
        super().__init__(content)
        self.writes: list[str] = []
        self.reads: list[str] = []

    def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
        self.writes.append(name)
        return super().put(name, data, replace=replace)

    def get(self, name: str, **more: object) -> bytes | None:
        self.reads.append(name)
        return super().get(name, **more)  # type: ignore[arg-type]  # as it was called


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher.make(tmp_path / "site")


@pytest.fixture
def remote() -> Recorded:
    return Recorded()


def in_steps(writes: list[str], *steps: list[str]) -> bool:
    """Say whether writes came step after step; within one they may come in any order."""
    found = list(writes)
    for step in steps:
        now, found = found[: len(step)], found[len(step) :]
        if sorted(now) != sorted(step):
            return False
    return found == []


def carry(publisher: Publisher, remote: MemoryRemote, now: datetime = NOW) -> Uploaded:
    return upload(publisher.folder, OnRemote(remote, "me"), now)


def test_everything_but_the_tree_in_the_order_of_tuf(publisher: Publisher, remote: Recorded) -> None:
    done = carry(publisher, remote)
    assert (done.files, done.removed, done.timestamp, done.changed) == (5, 0, 1, True)
    archives = sorted(name for name in remote.content if name.startswith("archives/"))
    lists = ["tuf/1.root.json", "tuf/1.snapshot.json", "tuf/1.targets.json", "tuf/1.site.json"]
    lists.append("tuf/root.json")
    rest = ["index.html", "repo"]
    assert in_steps(remote.writes, [LOCK], archives, lists, rest, ["index.tar.gz"], ["tuf/timestamp.json"])
    assert len(archives) == 2
    for name, data in remote.content.items():
        assert (publisher.folder / name).read_bytes() == data
    assert LOCK not in remote.content


def test_again(publisher: Publisher, remote: Recorded) -> None:
    carry(publisher, remote)
    remote.writes.clear()
    assert carry(publisher, remote) == Uploaded(0, 0, 0, 1, NOW + timedelta(days=7), changed=False)
    assert remote.writes == []


def test_only_what_is_new_and_nothing_is_read_back(publisher: Publisher, remote: Recorded) -> None:
    carry(publisher, remote)
    new = publisher.package("gamma", "1")
    publisher.sign()
    remote.writes.clear()
    remote.reads.clear()
    carry(publisher, remote)
    lists = ["tuf/2.snapshot.json", "tuf/2.targets.json", "tuf/2.site.json"]
    assert in_steps(remote.writes, [LOCK], [new], lists, ["index.tar.gz"], ["tuf/timestamp.json"])
    assert set(remote.reads) == {"tuf/timestamp.json", "tuf/root.json"}


def test_what_is_signed_every_day_is_little(publisher: Publisher, remote: Recorded) -> None:
    carry(publisher, remote)
    remote.writes.clear()
    publisher.renew(days=1)
    carry(publisher, remote)
    lists = ["tuf/2.snapshot.json", "tuf/2.site.json"]
    assert in_steps(remote.writes, [LOCK], lists, ["index.tar.gz"], ["tuf/timestamp.json"])


def test_what_is_not_listed_any_more_is_removed_last(publisher: Publisher, remote: Recorded) -> None:
    new = publisher.package("gamma", "1")
    publisher.sign()
    carry(publisher, remote)
    (publisher.folder / new).unlink()
    (publisher.folder / "packages/gamma/gamma.1/opam").unlink()
    publisher.sign()
    assert carry(publisher, remote).removed == 1
    assert new not in remote.content


def test_metadata_that_no_client_needs_goes_and_a_folder_far_ahead_still_knows(
    publisher: Publisher, remote: Recorded
) -> None:
    """The lists of the former upload do not lie in the folder any more: they are read where they are."""
    carry(publisher, remote)
    for _ in range(KEPT + 3):
        publisher.renew()
    assert MetadataFolder(publisher.folder).find("1.snapshot.json") is None
    remote.reads.clear()
    assert carry(publisher, remote).files == 1  # the index
    assert {"tuf/1.snapshot.json", "tuf/1.site.json"} <= set(remote.reads)
    assert "tuf/1.snapshot.json" not in remote.content
    assert "tuf/1.targets.json" in remote.content
    assert "tuf/1.root.json" in remote.content


def test_keys_that_have_changed_since(publisher: Publisher, remote: Recorded) -> None:
    carry(publisher, remote)
    change = RootChange(
        add=[(role, metadata_key(publisher.keys["fresh"].public)) for role in ONLINE],
        remove=[(role, str(metadata_key(publisher.keys["online"].public).keyid)) for role in ONLINE],
    )
    draft = draft_next(publisher.folder, change, publisher.keys.signers("root"), NOW)
    put_in_force(publisher.folder, draft.data, publisher.keys.signers("targets", "fresh"), NOW)
    carry(publisher, remote)
    assert remote.content["tuf/root.json"] == remote.content["tuf/2.root.json"]


ONLINE = (TopRole.SNAPSHOT, TopRole.TIMESTAMP)


def test_a_repository_without_signatures_gets_them(publisher: Publisher, remote: Recorded) -> None:
    catalogue = small()
    old = next(it.archive for it in catalogue.builds if it.archive is not None)
    remote.content |= {"repo": b"old", "opam-bin-index.json": catalogue.render(), old.path: b"old"}
    carry(publisher, remote)
    assert old.path not in remote.content
    assert remote.content["repo"] == (publisher.folder / "repo").read_bytes()


def test_a_place_that_holds_something_else(publisher: Publisher, remote: Recorded) -> None:
    remote.content["repo"] = b"something else"
    with pytest.raises(MisuseError, match=r"holds something else \(repo\)"):
        carry(publisher, remote)
    assert remote.writes == []


def test_another_publishers_repository_is_not_written_over(
    publisher: Publisher, remote: Recorded, tmp_path: Path
) -> None:
    carry(Publisher.make(tmp_path / "other"), remote)
    before = dict(remote.content)
    with pytest.raises(MisuseError, match=r"signed with other keys; name another place"):
        carry(publisher, remote)
    assert remote.content == before


def test_a_state_that_is_newer_is_not_written_over(
    publisher: Publisher, remote: Recorded, tmp_path: Path
) -> None:
    former = publisher.copy(tmp_path / "former")
    publisher.renew()
    carry(publisher, remote)
    with pytest.raises(MisuseError, match=r"holds timestamp 2, and .* is at 1: somebody has uploaded"):
        carry(Publisher(former, publisher.keys), remote)


def test_signatures_that_have_expired(publisher: Publisher, remote: Recorded) -> None:
    with pytest.raises(MisuseError, match=r"expired on .*: opam-bin tuf refresh"):
        carry(publisher, remote, NOW + timedelta(days=8))
    assert remote.content == {}


def test_a_folder_that_has_changed_since_it_was_signed(publisher: Publisher, remote: Recorded) -> None:
    publisher.write("index.html", b"<p>other</p>\n")
    with pytest.raises(BadDataError, match=r"index.html: not what was signed; opam-bin tuf sign"):
        carry(publisher, remote)
    assert remote.content == {}


def test_a_name_that_a_remote_can_not_have_is_refused_before_the_first_write(
    publisher: Publisher, remote: Recorded
) -> None:
    publisher.write("a+b.html", b"x")
    publisher.sign()
    with pytest.raises(MisuseError, match="not a name in a remote"):
        carry(publisher, remote)
    assert remote.content == {}


def test_a_folder_without_keys(tmp_path: Path, remote: Recorded) -> None:
    (tmp_path / "repo").write_text('opam-version: "2.0"\n')
    with pytest.raises(UnavailableError, match="has no keys yet: opam-bin tuf init"):
        upload(tmp_path, OnRemote(remote, "me"), NOW)


def test_a_write_that_fails_ends_it_before_the_next_step(publisher: Publisher) -> None:
    class Full(Recorded):
        def put(self, name: str, data: bytes | Path, *, replace: bool = False) -> bool:
            if name.startswith("tuf/"):
                raise UnavailableError("no space")
            return super().put(name, data, replace=replace)

    remote = Full()
    with pytest.raises(UnavailableError, match="no space"):
        carry(publisher, remote)
    assert {name.split("/")[0] for name in remote.content} == {"archives"}


def test_archives_may_be_dropped_and_signing_goes_on_without_them(
    publisher: Publisher, remote: Recorded, tmp_path: Path
) -> None:
    upload(publisher.folder, OnRemote(remote, "me"), NOW, drop=True)
    assert not list((publisher.folder / "archives").rglob("*.gz"))
    new = publisher.package("gamma", "1")
    publisher.sign()
    publisher.renew()
    assert len(MetadataFolder(publisher.folder).targets().signed.targets) == 7  # type: ignore[union-attr]
    remote.writes.clear()
    upload(publisher.folder, OnRemote(remote, "me"), NOW, drop=True)
    assert [name for name in remote.writes if name.startswith("archives/")] == [new]
    assert not (publisher.folder / new).exists()
    served = whole(remote, publisher.folder, tmp_path / "served")
    found = verify(FolderSource(served), tmp_path / "state", Start(publisher.root))
    assert found.checked.missing == 0


def test_a_dropped_archive_that_no_definition_names_any_more_goes(
    publisher: Publisher, remote: Recorded
) -> None:
    upload(publisher.folder, OnRemote(remote, "me"), NOW, drop=True)
    (publisher.folder / "packages/beta/beta.1/opam").unlink()
    publisher.sign()
    assert carry(publisher, remote).removed == 1
    assert len([name for name in remote.content if name.startswith("archives/")]) == 1


def test_what_was_dropped_can_not_go_to_another_place(publisher: Publisher, remote: Recorded) -> None:
    upload(publisher.folder, OnRemote(remote, "me"), NOW, drop=True)
    other = Recorded()
    with pytest.raises(MisuseError, match=r"was dropped after an upload to memory:: it can't go to"):
        carry(publisher, other)
    assert other.content == {}


def test_an_archive_that_is_lost_and_was_not_dropped_is_missed(publisher: Publisher) -> None:
    """Only the mark of an upload lets archives be absent."""
    for place in (publisher.folder / "archives").rglob("*.gz"):
        place.unlink()
    publisher.sign()
    targets = MetadataFolder(publisher.folder).targets()
    assert targets is not None
    assert not [path for path in targets.signed.targets if path.startswith("archives/")]


def whole(remote: Recorded, folder: Path, to: Path) -> Path:
    """Put what a remote holds into a folder, with the definitions that a remote need not have."""
    shutil.copytree(folder / "packages", to / "packages")
    for name, data in remote.content.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(data)
    return to


def test_a_dry_run_writes_nothing(publisher: Publisher, remote: Recorded) -> None:
    done = upload(publisher.folder, OnRemote(remote, "me"), NOW, dry_run=True)
    assert done.files == 5
    assert remote.writes == []
