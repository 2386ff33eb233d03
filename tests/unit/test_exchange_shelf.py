from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from exchange_samples import ALICE, MALLORY, TRUSTING_ALICE, UNSIGNED, pushed, shelf, snapshot, source
from memory_remote import MemoryRemote

from opambin.errors import UnavailableError
from opambin.exchange import names
from opambin.exchange.downloads import joined, pull
from opambin.exchange.meter import Silent
from opambin.store.store import Store
from opambin.trust.envelope import Envelope, seal
from opambin.trust.remotestate import TYPE as STATE
from opambin.trust.remotestate import RemoteState
from opambin.trust.statement import TYPE, Statement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opambin.exchange.shelf import Shelf
    from opambin.model import Manifest
    from opambin.trust.keys import SecretKey


@pytest.fixture
def there(tmp_path: Path) -> Store:
    """The store of who pushes."""
    return Store.open(tmp_path / "there")


@pytest.fixture
def here(tmp_path: Path) -> Store:
    """The store of who pulls."""
    return Store.open(tmp_path / "here")


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote()


def packages(manifests: list[Manifest]) -> list[str]:
    return sorted(str(it.package.name) for it in manifests)


def test_what_was_pushed_is_offered_and_pulled(there: Store, here: Store, remote: MemoryRemote) -> None:
    manifests = [snapshot(there, name) for name in ("zed", "lwt")]
    done = pushed(there, manifests, source(remote), ALICE)
    assert (packages(done.pushed), done.failed) == (["lwt", "zed"], {})
    found = shelf(here, source(remote, TRUSTING_ALICE))
    found.look([it.key for it in manifests])
    for manifest in manifests:
        assert list(found.outputs(manifest.key)) == [manifest]
    assert here.outputs(manifests[0].key) == []
    offers = [found.offer(it) for it in manifests]
    got = pull(here, [offer for offer in offers if offer is not None], Silent())
    assert (packages(got.manifests), got.failed, got.problems) == (["lwt", "zed"], [], [])
    assert here.outputs(manifests[0].key) == [manifests[0]]
    found.arrived(got.manifests)
    assert found.offer(manifests[0]) is None
    assert found.lines() == []
    assert got.lines()[0].startswith("opam-bin: 2 snapshots fetched from team (")


def test_all_keys_are_asked_for_in_one_batch_and_remembered(
    there: Store, here: Store, remote: MemoryRemote
) -> None:
    manifests = [snapshot(there, f"p{number}") for number in range(20)]
    pushed(there, manifests, source(remote))
    keys = [it.key for it in manifests]
    remote.calls.clear()
    shelf(here, source(remote)).look(keys)
    first = dict(remote.calls)
    assert (first["get_many"], first["get"]) == (1, 21)  # the heads, and what the remote says of itself
    again = shelf(here, source(remote))
    again.look(keys)
    assert remote.calls["get_many"] == 1
    assert all(again.outputs(key) for key in keys)
    shelf(here, source(remote), fresh=True).look(keys)
    assert remote.calls["get_many"] == 2


def test_nothing_is_asked_when_everything_is_here(here: Store, remote: MemoryRemote) -> None:
    manifest = snapshot(here, "zed")
    found = shelf(here, source(remote))
    found.look([manifest.key])
    assert list(found.outputs(manifest.key)) == [manifest]
    assert not remote.calls


def test_that_nothing_was_found_is_soon_forgotten(
    there: Store, here: Store, remote: MemoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = snapshot(there, "zed")
    shelf(here, source(remote)).look([manifest.key])
    pushed(there, [manifest], source(remote))
    soon = shelf(here, source(remote))
    soon.look([manifest.key])
    assert soon.outputs(manifest.key) == []
    later = time.time() + 30
    monkeypatch.setattr("time.time", lambda: later)
    then = shelf(here, source(remote))
    then.look([manifest.key])
    assert list(then.outputs(manifest.key)) == [manifest]


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        pytest.param((), "not signed", id="unsigned"),
        pytest.param(
            (MALLORY,),
            f"signed by the key {MALLORY.public.id[:16]}, which is not trusted here",
            id="another key",
        ),
    ],
)
def test_what_is_not_trusted_is_a_miss_with_one_line(
    there: Store, here: Store, remote: MemoryRemote, secrets: tuple[object, ...], words: str
) -> None:
    manifests = [snapshot(there, f"p{number}") for number in range(9)]
    pushed(there, manifests, source(remote), *secrets)  # type: ignore[arg-type]  # keys
    remote.calls.clear()
    found = shelf(here, source(remote, TRUSTING_ALICE))
    found.look([it.key for it in manifests])
    assert not any(found.outputs(it.key) for it in manifests)
    assert found.lines() == [
        "opam-bin: not taken from remote team: "
        f"p0.1.0, p1.1.0, p2.1.0, p3.1.0, p4.1.0, p5.1.0 and 3 more: {words}"
    ]
    assert found.problems() == []
    assert remote.calls["get"] <= 1  # no archive was touched


def test_a_statement_that_was_signed_meanwhile_is_found(
    there: Store, here: Store, remote: MemoryRemote
) -> None:
    manifest = snapshot(there, "zed")
    pushed(there, [manifest], source(remote))
    shelf(here, source(remote, TRUSTING_ALICE)).look([manifest.key])
    remote.content = {name: data for name, data in remote.content.items() if not name.startswith("keys")}
    pushed(there, [manifest], source(remote), ALICE)
    found = shelf(here, source(remote, TRUSTING_ALICE))
    found.look([manifest.key])
    assert list(found.outputs(manifest.key)) == [manifest]


def damaged(data: bytes, at: int = -10) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if at else data


def test_wrong_data_is_reported_and_not_used(there: Store, here: Store, remote: MemoryRemote) -> None:
    manifest, other = snapshot(there, "zed"), snapshot(there, "lwt")
    pushed(there, [manifest, other], source(remote), ALICE)
    slot = names.slot(manifest.key, 0)
    foreign = remote.content[names.slot(other.key, 0)]
    for wrong in (foreign, b"{}", remote.content[slot].replace(b'"sig":"', b'"sig":"AA')[:-5], b"x" * 70_000):
        sound = remote.content[slot]
        remote.content[slot] = wrong
        found = shelf(here, source(remote, TRUSTING_ALICE), fresh=True)
        found.look([manifest.key, other.key])
        assert found.outputs(manifest.key) == []
        assert list(found.outputs(other.key)) == [other]
        assert len(found.problems()) == 1, wrong[:40]
        remote.content[slot] = sound


def test_an_archive_that_was_changed_is_never_unpacked(
    there: Store, here: Store, remote: MemoryRemote
) -> None:
    manifest = snapshot(there, "zed", content=b"x" * 5000)
    pushed(there, [manifest], source(remote), ALICE)
    (name,) = [name for name in remote.content if name.startswith("archives/")]
    sound = remote.content[name]
    remote.content[name] = damaged(sound)  # in a frame
    found = shelf(here, source(remote, TRUSTING_ALICE))
    found.look([manifest.key])
    offer = found.offer(manifest)
    assert offer is not None
    got = pull(here, [offer], Silent())
    assert [reason for _, reason in got.failed] == ["what it sent is not what was signed"]
    assert "wrong digest" in got.problems[0]
    assert list(here.objects.all()) == []
    assert here.outputs(manifest.key) == []
    remote.content[name] = damaged(sound, 40)  # in the head
    again = shelf(here, source(remote, TRUSTING_ALICE), fresh=True)
    here.index.trim_caches(2**40)
    again.look([manifest.key])
    assert again.outputs(manifest.key) == []
    assert "wrong digest" in again.problems()[0]


@pytest.mark.parametrize(
    "wrong", [lambda data: data[:-7], lambda data: data + b"more"], ids=["short", "long"]
)
def test_an_archive_of_another_length(there: Store, here: Store, remote: MemoryRemote, wrong: object) -> None:
    manifest = snapshot(there, "zed")
    pushed(there, [manifest], source(remote))
    (name,) = [name for name in remote.content if name.startswith("archives/")]
    found = shelf(here, source(remote))
    found.look([manifest.key])
    remote.content[name] = wrong(remote.content[name])  # type: ignore[operator]
    offer = found.offer(manifest)
    assert offer is not None
    got = pull(here, [offer], Silent())
    assert len(got.failed) == len(got.problems) == 1
    assert here.outputs(manifest.key) == []


def test_a_dead_remote_costs_one_question_and_one_line(
    here: Store, there: Store, remote: MemoryRemote
) -> None:
    manifests = [snapshot(there, f"p{number}") for number in range(3)]
    other = MemoryRemote(url="memory:other/")
    pushed(there, manifests, source(other))
    remote.fail = UnavailableError("no route to host")
    for expected in (1, 1):  # the next command of the session does not ask again
        found = shelf(here, source(remote), source(other, name="second"))
        for manifest in manifests:
            found.look([manifest.key])
        assert sum(remote.calls.values()) == expected
        assert found.lines() == ["opam-bin: going on without remote team: no route to host"]
        assert all(found.outputs(it.key) for it in manifests)


def test_the_preferred_remote_comes_first_and_each_output_once(
    there: Store, here: Store, remote: MemoryRemote
) -> None:
    one, two = snapshot(there, "zed", build="1"), snapshot(there, "zed", build="2")
    assert one.key == two.key
    other = MemoryRemote(url="memory:other/")
    pushed(there, [one], source(remote))
    pushed(there, [two, one], source(other))
    found = shelf(here, source(other, name="first"), source(remote, name="second"))
    found.look([one.key])
    assert list(found.outputs(one.key)) == [two, one]
    assert found.look_again([one.key]) is True
    offer = found.offer(one)
    assert offer is not None
    assert offer.source.name == "first"
    found.reject(two, "it was wrong")
    assert list(found.outputs(one.key)) == [one]
    assert found.rejection(two.key) == "it was wrong"


def test_only_what_is_lacking_is_fetched(there: Store, here: Store, remote: MemoryRemote) -> None:
    big = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(93_750))
    manifest = snapshot(there, "zed", content=big)
    here.objects.put_bytes(big, executable=False)
    pushed(there, [manifest], source(remote))
    found = shelf(here, source(remote))
    found.look([manifest.key])
    offer = found.offer(manifest)
    assert offer is not None
    before = remote.read
    got = pull(here, [offer], Silent())
    assert got.manifests == [manifest]
    assert 3_000_000 < remote.read - before < 3_100_000  # one of the two objects
    assert got.bytes == remote.read - before


def test_one_failure_does_not_stop_the_others(there: Store, here: Store, remote: MemoryRemote) -> None:
    manifests = [snapshot(there, f"p{number}") for number in range(4)]
    pushed(there, manifests, source(remote))
    found = shelf(here, source(remote))
    found.look([it.key for it in manifests])
    offers = [offer for it in manifests if (offer := found.offer(it)) is not None]
    del remote.content[offers[1].name]
    got = pull(here, offers, Silent())
    assert packages(got.manifests) == ["p0", "p2", "p3"]
    assert got.lines()[1:] == ["opam-bin: not fetched from remote team: p1.1.0: its archive is not there"]


def test_a_store_that_cannot_be_written_fetches_nothing(
    there: Store, tmp_path: Path, remote: MemoryRemote
) -> None:
    manifest = snapshot(there, "zed")
    pushed(there, [manifest], source(remote))
    Store.open(tmp_path / "readonly").close()
    store = Store.open(tmp_path / "readonly", readonly=True)
    found = shelf(store, source(remote))
    found.look([manifest.key])
    offer = found.offer(manifest)
    assert offer is not None
    got = pull(store, [offer], Silent())
    assert "read-only" in got.failed[0][1]


def test_neighbouring_frames_are_one_request() -> None:
    from opambin.archive.frames import Frame

    frames = [Frame(offset, 10, "", 0, 1) for offset in (0, 10, 30, 40, 90)]
    assert joined(frames) == [(0, 20), (30, 20), (90, 10)]


def test_a_signature_is_verified_in_time(there: Store, here: Store, remote: MemoryRemote) -> None:
    """2 ms are allowed for each; this is policy and head together, of what is known already."""
    manifests = [snapshot(there, f"p{number}") for number in range(50)]
    pushed(there, manifests, source(remote), ALICE)
    keys = [it.key for it in manifests]
    shelf(here, source(remote, TRUSTING_ALICE)).look(keys)
    begun = time.process_time()
    shelf(here, source(remote, TRUSTING_ALICE)).look(keys)
    assert (time.process_time() - begun) / len(keys) < 0.004  # other tests run beside this one


def test_unsigned_is_for_those_who_said_so(there: Store, here: Store, remote: MemoryRemote) -> None:
    manifest = snapshot(there, "zed")
    pushed(there, [manifest], source(remote))
    for policy, count in ((UNSIGNED, 1), (TRUSTING_ALICE, 0)):
        found = shelf(here, source(remote, policy))
        found.look([manifest.key])
        assert len(found.outputs(manifest.key)) == count


def state_of(serial: int = 7, *, expires: int = 86_400, **more: Any) -> RemoteState:  # noqa: ANN401 - any field
    now = int(time.time())
    return RemoteState("e" * 32, serial, now - 100, now + expires, **more)


def publish_state(remote: MemoryRemote, state: RemoteState, *secrets: SecretKey) -> None:
    remote.content[names.SNAPSHOT] = seal(STATE, state.to_json(), secrets or (ALICE,)).to_json()


@pytest.fixture
def vouched(there: Store, remote: MemoryRemote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Manifest:
    """A snapshot on a remote that carries a statement about itself."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    manifest = snapshot(there, "zed")
    pushed(there, [manifest], source(remote), ALICE)
    publish_state(remote, state_of())
    return manifest


def offered(here: Store, remote: MemoryRemote, manifest: Manifest, *, required: bool = False) -> Shelf:
    policy = dataclasses.replace(TRUSTING_ALICE, state_required=required)
    found = shelf(here, source(remote, policy), fresh=True)
    found.look([manifest.key])
    return found


def test_a_remote_that_vouches_for_itself(here: Store, remote: MemoryRemote, vouched: Manifest) -> None:
    assert list(offered(here, remote, vouched, required=True).outputs(vouched.key)) == [vouched]
    publish_state(remote, state_of(8))
    assert list(offered(here, remote, vouched).outputs(vouched.key)) == [vouched]


@pytest.mark.parametrize("required", [True, False])
def test_an_older_state_than_was_seen_is_a_rollback(
    here: Store, remote: MemoryRemote, vouched: Manifest, required: bool
) -> None:
    offered(here, remote, vouched)
    publish_state(remote, state_of(6))
    found = offered(here, remote, vouched, required=required)
    assert found.outputs(vouched.key) == []
    assert "rolled back to an older state" in found.problems()[0]
    assert "is not to be believed" in found.lines()[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda it: publish_state(it, state_of(8, expires=-5)), "has expired", id="frozen"),
        pytest.param(lambda it: it.content.pop(names.SNAPSHOT), "has disappeared", id="taken away"),
        pytest.param(
            lambda it: publish_state(it, state_of(8), MALLORY),
            "its snapshot.json is signed by the key 1972da52ab087496",
            id="another's",
        ),
    ],
)
def test_a_state_that_can_no_longer_be_believed(
    here: Store, remote: MemoryRemote, vouched: Manifest, change: Callable[[MemoryRemote], object], words: str
) -> None:
    offered(here, remote, vouched)
    change(remote)
    found = offered(here, remote, vouched)
    assert found.outputs(vouched.key) == []
    assert words in found.lines()[0]


def test_what_was_withdrawn_is_not_used(here: Store, remote: MemoryRemote, vouched: Manifest) -> None:
    publish_state(remote, state_of(8, withdrawn=frozenset({(vouched.key, vouched.output)})))
    found = offered(here, remote, vouched)
    assert found.outputs(vouched.key) == []
    assert "withdrawn by its publisher" in found.lines()[0]


def test_a_state_is_required_only_where_that_was_said(
    here: Store, remote: MemoryRemote, vouched: Manifest
) -> None:
    del remote.content[names.SNAPSHOT]
    assert "no valid snapshot.json" in offered(here, remote, vouched, required=True).lines()[0]
    assert list(offered(here, remote, vouched).outputs(vouched.key)) == [vouched]
    publish_state(remote, state_of(), MALLORY)  # nobody asked for it, and nobody knows who wrote it
    assert list(offered(here, remote, vouched).outputs(vouched.key)) == [vouched]


def test_what_could_not_be_fetched_is_asked_for_anew(there: Store, here: Store, remote: MemoryRemote) -> None:
    """What was pruned from a remote was looked for there again and again, as long as it was remembered."""
    manifest = snapshot(there, "zed")
    pushed(there, [manifest], source(remote))
    first = shelf(here, source(remote))
    first.look([manifest.key])
    remote.content.clear()
    offer = first.offer(manifest)
    assert offer is not None
    got = pull(here, [offer], Silent())
    for failed, reason in got.failed:
        first.reject(failed.manifest, reason)
    again = shelf(here, source(remote))
    again.look([manifest.key])
    assert again.outputs(manifest.key) == []


def test_what_one_remote_says_of_an_archive_spoils_it_for_no_other(
    there: Store, here: Store, tmp_path: Path
) -> None:
    """A remote that needs no signature named the archive of another with a head of its own: from then on, and
    with that remote long gone, the other one's was taken for wrong."""
    manifest = snapshot(there, "zed")
    good, bad = MemoryRemote(url="memory:good"), MemoryRemote(url="memory:bad")
    pushed(there, [manifest], source(good), ALICE)
    slot = names.slot(manifest.key, 0)
    signed = Statement.read(Envelope.from_json(good.content[slot], slot), slot)
    with Store.open(tmp_path / "evil") as another:
        evil = snapshot(another, "zed", content=b"evil")
        pushed(another, [evil], source(bad))
    claimed = Statement.read(Envelope.from_json(bad.content[slot], slot), slot)
    archive = dataclasses.replace(claimed.archive, digest=signed.archive.digest)
    lie = dataclasses.replace(claimed, archive=archive)
    bad.content[slot] = seal(TYPE, lie.to_json(), ()).to_json()
    bad.content[names.archive(archive.digest)] = bad.content[names.archive(claimed.archive.digest)]
    first = shelf(here, source(bad, name="bad"))
    first.look([manifest.key])
    assert list(first.outputs(manifest.key)) == [evil]
    found = shelf(here, source(good, TRUSTING_ALICE))
    found.look([manifest.key])
    assert found.problems() == []
    assert list(found.outputs(manifest.key)) == [manifest]
