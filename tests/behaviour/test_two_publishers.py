"""Packages that are delegated to another publisher: it signs for these and for nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from signedrepo import NOW, Publisher

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.publish.indexfile import read_index
from opambin.publish.signed.anchors import Anchors
from opambin.publish.signed.contributing import contribute, take_back, take_over
from opambin.publish.signed.delegating import Delegation
from opambin.publish.signed.keys import metadata_key
from opambin.publish.signed.metafolder import MetadataFolder, parse, render
from opambin.publish.signed.sources import FolderSource
from opambin.publish.signed.updates import Update, validate
from opambin.publish.signed.verifying import Start, Verified, verify
from opambin.publish.tufmeta import Wishes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path


@pytest.fixture
def owner(tmp_path: Path) -> Publisher:
    return Publisher.make(tmp_path / "owner")


@pytest.fixture
def other(tmp_path: Path) -> Publisher:
    found = Publisher(tmp_path / "other")
    found.folder.mkdir()
    found.write("repo", b'opam-version: "2.0"\n')
    found.package("lib", "1")
    found.package("lib", "2")
    found.package("tool", "1")
    return found


def delegate(
    owner: Publisher, other: Publisher, *names: str, keys: Sequence[str] = ("theirs",), need: int = 1
) -> None:
    theirs = tuple(metadata_key(other.keys[name].public) for name in keys)
    owner.sign(wishes=Wishes(delegate=(Delegation("friend", names, theirs, need),)))


def hand_over(
    owner: Publisher, other: Publisher, *names: str, keys: Sequence[str] = ("theirs",), now: datetime = NOW
) -> None:
    contribute(other.folder, "friend", names, other.keys.signers(*keys), now)
    take_over(owner.folder, "friend", other.folder, owner.keys.signers("online"), NOW)


def look(owner: Publisher, tmp_path: Path) -> Verified:
    return verify(FolderSource(owner.folder), tmp_path / "state", Start(owner.root))


def test_delegated_and_taken_over_with_the_online_key_alone(
    owner: Publisher, other: Publisher, tmp_path: Path
) -> None:
    delegate(owner, other, "lib")
    look(owner, tmp_path)  # a delegation that nothing came of yet is no fault
    hand_over(owner, other, "lib")
    signers = look(owner, tmp_path).trusted.signers
    assert signers["packages/lib/lib.2/opam"] == "friend"
    assert signers[other.package("lib", "2")] == "site"
    assert signers["packages/alpha/alpha.1/opam"] == "targets"
    assert "packages/tool/tool.1/opam" not in signers


def test_opam_takes_it(owner: Publisher, other: Publisher, tmp_path: Path) -> None:
    delegate(owner, other, "lib")
    hand_over(owner, other, "lib")
    update = Update(tmp_path / "none.tar.gz", None, owner.folder / "index.tar.gz")
    anchors = Anchors.parse(owner.anchors, 1)
    assert "packages/lib/lib.1/opam" in validate(update, anchors, tmp_path / "state").files


def test_a_new_version_replaces_what_was_there(owner: Publisher, other: Publisher, tmp_path: Path) -> None:
    delegate(owner, other, "lib")
    hand_over(owner, other, "lib")
    (other.folder / "packages/lib/lib.1/opam").unlink()
    other.package("lib", "3")
    hand_over(owner, other, "lib")
    assert not (owner.folder / "packages/lib/lib.1").exists()
    assert not (owner.folder / other.package("lib", "1")).exists()
    assert {"packages/lib/lib.2/opam", "packages/lib/lib.3/opam"} <= set(look(owner, tmp_path).trusted.files)


def test_not_another_s_package(owner: Publisher, other: Publisher) -> None:
    delegate(owner, other, "lib")
    with pytest.raises(BadDataError, match=r"packages/tool/tool.1/opam is not friend's to sign"):
        hand_over(owner, other, "lib", "tool")
    assert not (owner.folder / "packages/tool").exists()


def test_not_another_s_package_even_if_the_owner_let_it_pass(
    owner: Publisher, other: Publisher, tmp_path: Path
) -> None:
    # the list is put into the repository by someone who has the online keys, and no more
    delegate(owner, other, "lib")
    hand_over(owner, other, "lib")
    place = owner.folder / "tuf/1.friend.json"
    metadata = parse(place.read_bytes(), "friend")
    evil = other.package("alpha", "1", depends='"evil"')
    opam = (other.folder / "packages/alpha/alpha.1/opam").read_bytes()
    from opambin.publish.signed.contents import target_of

    metadata.signed.targets["packages/alpha/alpha.2/opam"] = target_of("packages/alpha/alpha.2/opam", opam)
    metadata.sign(other.keys.signers("theirs")[0])
    place.write_bytes(render(metadata))
    owner.write("packages/alpha/alpha.2/opam", opam)
    owner.write(evil, (other.folder / evil).read_bytes())
    owner.renew()
    trusted = None
    with pytest.raises(BadDataError, match="nobody has signed it"):
        trusted = look(owner, tmp_path)
    assert trusted is None


def test_not_delegated(owner: Publisher, other: Publisher) -> None:
    with pytest.raises(MisuseError, match="opam-bin tuf delegate"):
        hand_over(owner, other, "lib")


def test_signed_with_another_key(owner: Publisher, other: Publisher) -> None:
    delegate(owner, other, "lib")
    with pytest.raises(BadDataError, match="not signed with the keys"):
        hand_over(owner, other, "lib", keys=["stranger"])


def test_threshold_of_the_other(owner: Publisher, other: Publisher, tmp_path: Path) -> None:
    delegate(owner, other, "lib", keys=["a", "b", "c"], need=2)
    with pytest.raises(BadDataError, match="1/2 keys"):
        hand_over(owner, other, "lib", keys=["a"])
    hand_over(owner, other, "lib", keys=["a", "c"])
    look(owner, tmp_path)


def test_older_than_what_is_there(owner: Publisher, other: Publisher) -> None:
    delegate(owner, other, "lib")
    hand_over(owner, other, "lib")
    old = (other.folder / "friend.contribution.json").read_bytes()
    hand_over(owner, other, "lib")
    other.write("friend.contribution.json", old)
    with pytest.raises(BadDataError, match="older than what is there"):
        take_over(owner.folder, "friend", other.folder, owner.keys.signers("online"), NOW)


def test_expired_contribution(owner: Publisher, other: Publisher) -> None:
    delegate(owner, other, "lib")
    with pytest.raises(BadDataError, match=r"expired on .* friend has to sign it again"):
        hand_over(owner, other, "lib", now=NOW - timedelta(days=200))


def test_files_that_are_not_what_was_signed(owner: Publisher, other: Publisher) -> None:
    delegate(owner, other, "lib")
    contribute(other.folder, "friend", ["lib"], other.keys.signers("theirs"), NOW)
    place = other.folder / "packages/lib/lib.1/opam"
    place.write_bytes(place.read_bytes().replace(b"lib", b"bil"))
    with pytest.raises(BadDataError, match="not what friend has signed"):
        take_over(owner.folder, "friend", other.folder, owner.keys.signers("online"), NOW)
    assert not (owner.folder / "packages/lib").exists()


@pytest.mark.parametrize("link", [False, True], ids=["other bytes", "a link"])
def test_an_archive_that_is_not_what_its_name_says(owner: Publisher, other: Publisher, link: bool) -> None:
    delegate(owner, other, "lib")
    path = other.package("lib", "1")
    place = other.folder / path
    contribute(other.folder, "friend", ["lib"], other.keys.signers("theirs"), NOW)
    place.unlink()
    if link:
        place.symlink_to("/etc/passwd")
    else:
        place.write_bytes(b"evil")
    with pytest.raises(BadDataError, match=r"not what its name says|no archive"):
        take_over(owner.folder, "friend", other.folder, owner.keys.signers("online"), NOW)
    assert not (owner.folder / path).exists()
    assert not list((owner.folder / path).parent.iterdir())
    owner.renew()  # and the owner goes on


def test_what_was_taken_over_is_changed_in_place(owner: Publisher, other: Publisher) -> None:
    delegate(owner, other, "lib")
    hand_over(owner, other, "lib")
    owner.write("packages/lib/lib.1/opam", b"other")
    with pytest.raises(BadDataError, match=r"packages/lib/lib.1/opam is not what friend has signed"):
        owner.renew()


def test_nothing_to_sign_with(other: Publisher) -> None:
    with pytest.raises(MisuseError, match="--sign-with"):
        contribute(other.folder, "friend", ["lib"], [], NOW)
    with pytest.raises(MisuseError, match="has no package nothing"):
        contribute(other.folder, "friend", ["nothing"], other.keys.signers("theirs"), NOW)


def test_nothing_handed_over(owner: Publisher, other: Publisher) -> None:
    delegate(owner, other, "lib")
    with pytest.raises(UnavailableError, match="opam-bin tuf contribute"):
        take_over(owner.folder, "friend", other.folder, owner.keys.signers("online"), NOW)


def test_a_package_has_one_publisher(owner: Publisher, other: Publisher) -> None:
    delegate(owner, other, "lib")
    with pytest.raises(MisuseError, match="package lib is delegated to friend"):
        owner.sign(
            wishes=Wishes(delegate=(Delegation("foe", ("lib",), (metadata_key(other.keys["x"].public),)),))
        )


def test_a_package_of_the_owner_is_not_replaced(owner: Publisher, other: Publisher) -> None:
    other.package("alpha", "1", depends='"evil"')
    delegate(owner, other, "alpha")
    with pytest.raises(MisuseError, match="under the owner's own signature"):
        hand_over(owner, other, "alpha")


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        pytest.param(Delegation("targets", ("lib",)), "not a name for a publisher", id="a role of TUF"),
        pytest.param(Delegation("site", ("lib",)), "not a name for a publisher", id="a role of ours"),
        pytest.param(Delegation("../x", ("lib",)), "not a name for a publisher", id="a path"),
        pytest.param(Delegation("friend", ("lib",)), "give its keys", id="no keys"),
        pytest.param(Delegation("friend", ("*",)), "not the name of a package", id="all packages"),
    ],
)
def test_delegations_that_can_not_be(owner: Publisher, wish: Delegation, says: str) -> None:
    with pytest.raises(MisuseError, match=says):
        owner.sign(wishes=Wishes(delegate=(wish,)))


def test_taken_back(owner: Publisher, other: Publisher, tmp_path: Path) -> None:
    delegate(owner, other, "lib")
    hand_over(owner, other, "lib")
    look(owner, tmp_path)
    take_back(owner.folder, "friend", owner.keys.signers("targets", "online"), NOW)
    assert "packages/lib/lib.1/opam" not in look(owner, tmp_path).trusted.files
    assert not (owner.folder / "packages/lib").exists()
    index = read_index((owner.folder / "index.tar.gz").read_bytes())
    assert "tuf/friend.json" not in index
    # clients insist that what was named once is named for ever
    snapshot = MetadataFolder(owner.folder).snapshot()
    assert snapshot is not None
    assert "friend.json" in snapshot.signed.meta


def test_a_contribution_that_runs_out_stops_the_owner_not_the_users(
    owner: Publisher, other: Publisher
) -> None:
    delegate(owner, other, "lib")
    hand_over(owner, other, "lib", now=NOW - timedelta(days=175))
    with pytest.raises(MisuseError, match=r"friend.*expire.*accept"):
        owner.renew(days=6)
