"""Keys of a published repository change, run out, are kept apart; and the old clients follow, or refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from signedrepo import NOW, Publisher

from opambin.errors import BadDataError, MisuseError
from opambin.publish.signed.anchors import Anchors
from opambin.publish.signed.client import refresh
from opambin.publish.signed.keys import metadata_key
from opambin.publish.signed.metafolder import MetadataFolder, parse_root, render
from opambin.publish.signed.profile import TopRole
from opambin.publish.signed.refusals import ExpiredError, Kind, RefusedError
from opambin.publish.signed.rootfiles import countersign, draft_first, draft_next, put_in_force
from opambin.publish.signed.roots import RootChange
from opambin.publish.signed.sources import FolderSource
from opambin.publish.signed.verifying import Start, Verified, verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def published(tmp_path: Path) -> Publisher:
    return Publisher.make(tmp_path / "site")


def look(published: Publisher, tmp_path: Path, start: Start | None = None) -> Verified:
    return verify(FolderSource(published.folder), tmp_path / "state", start or Start(), quick=True)


def change(published: Publisher, role: TopRole, old: Sequence[str], new: Sequence[str]) -> RootChange:
    return RootChange(
        add=[(role, metadata_key(published.keys[name].public)) for name in new],
        remove=[(role, published.keys[name].public.id) for name in old],
    )


def rotate(published: Publisher, wanted: RootChange, root: Sequence[str], below: Sequence[str] = ()) -> None:
    draft = draft_next(published.folder, wanted, published.keys.signers(*root), NOW)
    signers = published.keys.signers(*(below or ("targets", "online")))
    put_in_force(published.folder, draft.data, signers, NOW)


@pytest.mark.parametrize("seen", [False, True], ids=["client of the first root", "client that has been here"])
def test_root_key_changed(published: Publisher, tmp_path: Path, seen: bool) -> None:
    first = published.root
    if seen:
        look(published, tmp_path, Start(first))
    rotate(published, change(published, TopRole.ROOT, ["root"], ["root2"]), ["root", "root2"])
    found = look(published, tmp_path, Start() if seen else Start(first))
    assert found.trusted.versions["root"] == 2


def test_several_roots_later(published: Publisher, tmp_path: Path) -> None:
    first = published.root
    for number in range(1, 6):
        old, new = f"root{number - 1 or ''}", f"root{number}"
        rotate(published, change(published, TopRole.ROOT, [old], [new]), [old, new])
    assert look(published, tmp_path, Start(first)).trusted.versions["root"] == 6
    with pytest.raises(RefusedError):  # keys that came later vouch for no earlier root, but for theirs
        look(published, tmp_path / "b", Start(anchors=Anchors.parse(["ab" * 32], 1)))
    anchors = Anchors.parse([published.keys["root4"].public.id], 1)
    assert look(published, tmp_path / "c", Start(anchors=anchors)).trusted.versions["root"] == 6


def test_root_key_changed_without_the_old_one(published: Publisher, tmp_path: Path) -> None:
    before = published.copy(tmp_path / "before")
    wanted = change(published, TopRole.ROOT, ["root"], ["root2"])
    with pytest.raises(MisuseError, match=r"1 former root keys must sign, 0 did.*still to sign: root "):
        rotate(published, wanted, ["root2"])
    # and one who puts it there all the same is refused
    draft = draft_next(published.folder, wanted, published.keys.signers("root2"), NOW)
    published.write("tuf/2.root.json", draft.data)
    with pytest.raises(RefusedError) as caught:
        look(published, tmp_path, Start(published.root))
    assert caught.value.kind == Kind.UNSIGNED
    assert (before / "tuf/1.root.json").read_bytes() == published.root


def test_online_keys_changed(published: Publisher, tmp_path: Path) -> None:
    look(published, tmp_path, Start(published.root))
    draft = draft_next(
        published.folder,
        RootChange(
            add=[
                (role, metadata_key(published.keys["fresh"].public))
                for role in (TopRole.SNAPSHOT, TopRole.TIMESTAMP)
            ],
            remove=[
                (role, published.keys["online"].public.id) for role in (TopRole.SNAPSHOT, TopRole.TIMESTAMP)
            ],
        ),
        published.keys.signers("root"),
        NOW,
    )
    with pytest.raises(MisuseError, match="--sign-with: fresh"):
        put_in_force(published.folder, draft.data, published.keys.signers("targets", "online"), NOW)
    assert MetadataFolder(published.folder).versions("root") == [1]  # nothing has changed
    look(published, tmp_path)
    put_in_force(published.folder, draft.data, published.keys.signers("targets", "fresh"), NOW)
    look(published, tmp_path)
    with pytest.raises(MisuseError, match="--sign-with: fresh"):
        published.renew()


def test_what_a_revoked_key_signs_is_refused(published: Publisher, tmp_path: Path) -> None:
    look(published, tmp_path, Start(published.root))
    stolen = published.copy(tmp_path / "stolen")
    rotate(
        published,
        change(published, TopRole.TARGETS, ["targets"], ["targets2"]),
        ["root"],
        ["targets2", "online"],
    )
    look(published, tmp_path)
    thief = Publisher(stolen, published.keys)
    thief.package("evil", "1")
    thief.sign()  # a fork of the old root, signed with the stolen key
    thief.renew()
    thief.renew()
    (stolen / "tuf/2.root.json").write_bytes((published.folder / "tuf/2.root.json").read_bytes())
    with pytest.raises(RefusedError):
        look(thief, tmp_path / "new", Start(published.root))


def test_two_of_three(tmp_path: Path) -> None:
    published = Publisher.make(tmp_path / "plain")
    for place in (published.folder / "tuf").iterdir():
        place.unlink()
    with pytest.raises(MisuseError, match=r"2 root keys must sign, 1 did.*still to sign: b .*, c "):
        begin_with(published, ["a"])
    begin_with(published, ["a", "c"])
    look(published, tmp_path, Start(published.root))
    quorum = Anchors.parse([published.keys[name].public.id for name in "abc"], 2)
    look(published, tmp_path / "other", Start(anchors=quorum))


def begin_with(published: Publisher, names: Sequence[str]) -> None:
    """Begin with a root of three keys, two of which must sign."""
    from opambin.publish.signed.profile import LIFETIMES
    from opambin.publish.signed.roots import RoleKeys

    def keys(*names: str) -> tuple[object, ...]:
        return tuple(metadata_key(published.keys[name].public) for name in names)

    roles = {role: RoleKeys(keys("online"), 1, LIFETIMES[role]) for role in TopRole}  # type: ignore[arg-type]
    roles[TopRole.ROOT] = RoleKeys(keys(*"abc"), 2, 365)  # type: ignore[arg-type]
    draft = draft_first(published.folder, roles, published.keys.signers(*names), NOW)
    put_in_force(published.folder, draft.data, published.keys.signers("online"), NOW)


def test_threshold_not_met_is_refused_by_clients(published: Publisher, tmp_path: Path) -> None:
    wanted = RootChange(
        add=[(TopRole.ROOT, metadata_key(published.keys[name].public)) for name in ("b", "c")],
        thresholds={TopRole.ROOT: 2},
    )
    draft = draft_next(published.folder, wanted, published.keys.signers("root"), NOW)
    published.write("tuf/2.root.json", draft.data)
    with pytest.raises(RefusedError, match="1/2 keys") as caught:
        look(published, tmp_path, Start(published.root))
    assert caught.value.kind == Kind.UNSIGNED


def test_signed_elsewhere(published: Publisher, tmp_path: Path) -> None:
    wanted = RootChange(
        add=[(TopRole.ROOT, metadata_key(published.keys[name].public)) for name in ("b", "c")],
        thresholds={TopRole.ROOT: 3},
    )
    draft = draft_next(published.folder, wanted, [], NOW)
    assert draft.standing.signed == ()
    assert len(draft.standing.missing) == 3
    data = draft.data
    for name in ("b", "root", "c"):  # each on a machine of its own
        with pytest.raises(MisuseError):
            put_in_force(published.folder, data, published.keys.signers("targets", "online"), NOW)
        data = countersign(data, "draft", published.keys.signers(name)).data
    put_in_force(published.folder, data, published.keys.signers("targets", "online"), NOW)
    assert look(published, tmp_path, Start(published.root)).trusted.versions["root"] == 2


def test_a_draft_that_was_altered_after_signing(published: Publisher) -> None:
    draft = draft_next(published.folder, RootChange(), published.keys.signers("root"), NOW)
    metadata = parse_root(draft.data, "draft")
    metadata.signed.expires += timedelta(days=1000)
    with pytest.raises(MisuseError, match="0 did"):
        put_in_force(published.folder, render(metadata), published.keys.signers("targets", "online"), NOW)


def test_a_draft_made_for_another_time(published: Publisher) -> None:
    draft = draft_next(published.folder, RootChange(), published.keys.signers("root"), NOW)
    rotate(published, RootChange(), ["root"])
    with pytest.raises(MisuseError, match="it is version 2, and 3 comes next"):
        put_in_force(published.folder, draft.data, published.keys.signers("targets", "online"), NOW)


def test_no_draft(published: Publisher) -> None:
    with pytest.raises(BadDataError):
        put_in_force(published.folder, b"{}", [], NOW)
    data = (published.folder / "tuf/timestamp.json").read_bytes()
    with pytest.raises(BadDataError, match="not the metadata of a root"):
        put_in_force(published.folder, data, [], NOW)


def test_expired_root(published: Publisher, tmp_path: Path) -> None:
    short = RootChange(days={TopRole.ROOT: 1})
    old = draft_next(published.folder, short, published.keys.signers("root"), NOW - timedelta(days=2))
    published.write("tuf/2.root.json", old.data)
    with pytest.raises(ExpiredError, match=r"root.json is expired"):
        look(published, tmp_path, Start(published.root))
    with pytest.raises(MisuseError, match="opam-bin tuf rotate"):
        published.renew()
    rotate(published, RootChange(days={TopRole.ROOT: 365}), ["root"])
    assert look(published, tmp_path, Start(published.root)).trusted.versions["root"] == 3


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        pytest.param(
            RootChange(thresholds={TopRole.TARGETS: 2}), "targets: 2 of 1 keys", id="threshold too high"
        ),
        pytest.param(RootChange(thresholds={TopRole.ROOT: 0}), "root: 0 of 1 keys", id="threshold of none"),
        pytest.param(RootChange(days={TopRole.ROOT: 0}), "lifetime", id="no time"),
        pytest.param(RootChange(days={TopRole.ROOT: 99999}), "lifetime", id="for ever"),
        pytest.param(RootChange(remove=[(TopRole.ROOT, "ab" * 32)]), "is no key of root", id="not its key"),
    ],
)
def test_roots_that_can_not_be(published: Publisher, wanted: RootChange, says: str) -> None:
    with pytest.raises(MisuseError, match=says):
        draft_next(published.folder, wanted, [], NOW)


def test_a_second_beginning(published: Publisher) -> None:
    with pytest.raises(MisuseError, match="has keys already"):
        draft_first(published.folder, {}, [], NOW)


def test_versions_that_a_thief_ran_ahead_with_do_not_shut_the_owner_out(
    published: Publisher, tmp_path: Path
) -> None:
    thief = Publisher(published.copy(tmp_path / "stolen"), published.keys)
    for _ in range(5):
        thief.renew()
    assert look(thief, tmp_path, Start(published.root)).trusted.versions["timestamp"] == 6
    # what the client remembers is that of a repository, whoever serves it
    states = tmp_path / "state"
    (state,) = (it for it in states.iterdir() if it.is_dir())
    with pytest.raises(RefusedError, match="older than what was seen"):
        refresh(FolderSource(published.folder), state, None)
    both = [
        (role, metadata_key(published.keys["fresh"].public)) for role in (TopRole.SNAPSHOT, TopRole.TIMESTAMP)
    ]
    gone = [(role, published.keys["online"].public.id) for role in (TopRole.SNAPSHOT, TopRole.TIMESTAMP)]
    rotate(published, RootChange(add=both, remove=gone), ["root"], ["targets", "fresh"])
    assert refresh(FolderSource(published.folder), state, None).versions["timestamp"] == 2
