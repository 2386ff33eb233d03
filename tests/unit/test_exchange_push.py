from __future__ import annotations

import dataclasses
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from exchange_samples import ALICE, MALLORY, TRUSTING_ALICE, UNSIGNED, pushed, shelf, snapshot, source
from memory_remote import MemoryRemote

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.exchange import bundling, names, outbox, promotion, pruning, seen, vouching
from opambin.exchange.meter import Silent
from opambin.exchange.selection import Doubt, Wanted, doubts, named, select
from opambin.exchange.signing import Signer
from opambin.exchange.uploads import compare
from opambin.model import BuildRecord, ConeKey, FileEntry, FileType, Import, OutputId
from opambin.remote.bundle import BundleRemote
from opambin.remote.protocol import FORMAT, FORMAT_NAME, Entry
from opambin.store.records import InstalledRecord
from opambin.store.store import Store
from opambin.trust.policy import Mode, Policy, Role, TrustedKey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from opambin.exchange.sources import Source
    from opambin.model import Manifest
    from opambin.trust.keys import SecretKey


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def remote() -> MemoryRemote:
    return MemoryRemote()


def packages(manifests: list[Manifest]) -> list[str]:
    return [str(it.package.name) for it in manifests]


def slots(remote: MemoryRemote) -> list[str]:
    return sorted(name for name in remote.content if name.startswith("keys"))


def test_archives_come_before_the_slots_that_name_them(store: Store, remote: MemoryRemote) -> None:
    manifests = [snapshot(store, f"p{number}") for number in range(5)]
    pushed(store, manifests, source(remote))
    assert remote.content[FORMAT_NAME] == FORMAT
    order = [name.partition("/")[0] for name in remote.content]
    assert order == [FORMAT_NAME, *["archives"] * 5, *["keys"] * 5]


def test_what_is_there_is_left_alone(store: Store, remote: MemoryRemote) -> None:
    manifests = [snapshot(store, "zed"), snapshot(store, "lwt")]
    pushed(store, manifests[:1], source(remote), ALICE)
    before = dict(remote.content)
    done = pushed(store, manifests, source(remote), ALICE)
    assert (packages(done.there), packages(done.pushed)) == (["zed"], ["lwt"])
    assert before.items() <= remote.content.items()


def test_equal_snapshots_give_equal_archives(store: Store, tmp_path: Path) -> None:
    one, two = MemoryRemote(), MemoryRemote()
    other = Store.open(tmp_path / "other")
    for at, to in ((store, one), (other, two)):
        pushed(at, [snapshot(at, "zed")], source(to))
    assert [name for name in one.content if "archives" in name] == [
        name for name in two.content if "archives" in name
    ]


def test_another_output_takes_the_next_slot(store: Store, remote: MemoryRemote) -> None:
    one, two = snapshot(store, "zed", build="1"), snapshot(store, "zed", build="2")
    pushed(store, [one], source(remote))
    pushed(store, [two], source(remote))
    assert slots(remote) == [names.slot(one.key, 0), names.slot(one.key, 1)]
    assert packages(pushed(store, [one, two], source(remote)).there) == ["zed", "zed"]


def test_two_outputs_of_a_key_in_one_push(store: Store, remote: MemoryRemote) -> None:
    both = [snapshot(store, "zed", build=build) for build in "12"]
    assert len(pushed(store, both, source(remote)).pushed) == 2
    assert len(slots(remote)) == 2


def test_a_key_is_full_some_time(store: Store, remote: MemoryRemote) -> None:
    outputs = [snapshot(store, "zed", build=str(number)) for number in range(names.MAX_SLOTS + 1)]
    done = pushed(store, outputs, source(remote))
    assert len(done.pushed) == names.MAX_SLOTS
    assert done.failed == {"zed.1.0": "its key has 8 outputs already"}


def test_a_statement_that_nobody_trusts_blocks_nobody(store: Store, remote: MemoryRemote) -> None:
    """Whoever may write could otherwise keep the right statement away by being first."""
    manifest = snapshot(store, "zed")
    pushed(store, [manifest], source(remote), MALLORY)
    done = pushed(store, [manifest], source(remote, TRUSTING_ALICE), ALICE)
    assert packages(done.pushed) == ["zed"]
    assert len(slots(remote)) == 2


def test_an_archive_that_fails_leaves_out_what_needs_it(store: Store, remote: MemoryRemote) -> None:
    below = snapshot(store, "below")
    above = snapshot(store, "above", below=[below])
    other = snapshot(store, "other")
    digest = below.files[0].digest
    assert digest is not None
    path = store.layout.object(digest, executable=True)
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    done = pushed(store, [below, above, other], source(remote))
    assert packages(done.pushed) == ["other"]
    assert "damaged object" in done.failed["below.1.0"]
    assert done.failed["above.1.0"] == "it needs below.1.0, which could not be pushed"
    assert slots(remote) == [names.slot(other.key, 0)]


def test_a_rehearsal_writes_nothing(store: Store, remote: MemoryRemote) -> None:
    manifests = [snapshot(store, "zed"), snapshot(store, "lwt")]
    pushed(store, manifests[:1], source(remote))
    before = dict(remote.content)
    done = compare(store, manifests, source(remote), Signer())
    assert (packages(done.there), packages(done.pushed)) == (["zed"], ["lwt"])
    assert remote.content == before


def test_a_remote_that_goes_away(store: Store, remote: MemoryRemote) -> None:
    remote.fail = UnavailableError("gone")
    with pytest.raises(UnavailableError, match="gone"):
        pushed(store, [snapshot(store, "zed")], source(remote))
    assert list(store.layout.tmp.iterdir()) == []


# ---- what is meant


def test_what_a_snapshot_needs_comes_along_and_first(store: Store) -> None:
    low = snapshot(store, "low")
    tool = snapshot(store, "tool")
    mid = snapshot(store, "mid", below=[low], build_only=[tool])
    top = snapshot(store, "top", below=[mid])
    assert packages(select(store, Wanted(("top",))).manifests) == ["low", "mid", "top"]
    everything = select(store, Wanted(("top.1.0",), closure=True))
    assert sorted(packages(everything.manifests)) == ["low", "mid", "tool", "top"]
    assert packages(select(store, Wanted((top.key[:12],))).manifests)[-1] == "top"
    assert len(select(store, Wanted(everything=True)).manifests) == 4


def test_what_is_not_in_the_store_is_named(store: Store) -> None:
    low = snapshot(store, "low")
    snapshot(store, "top", below=[low])
    store.drop(low.key, low.output)
    found = select(store, Wanted(("top",), closure=True))
    assert packages(found.manifests) == ["top"]
    assert found.missing == [f"top.1.0 needs low (output {low.output[:12]}), which is not in the store"]


def test_what_a_switch_holds(store: Store) -> None:
    low, top = snapshot(store, "low"), snapshot(store, "top")
    record = InstalledRecord(top.package.name, top.package.version, top.key, top.output, "")
    store.record_installed("/r/sw", [record])
    assert packages(named(store, Wanted(prefixes=("/r/sw",)))) == ["top"]
    assert low not in named(store, Wanted(prefixes=("/r/sw",)))


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted(("none",)), Wanted(prefixes=("/nowhere",)), Wanted(("zed.9",))], ids=str
)
def test_nothing_that_is_there(store: Store, wanted: Wanted) -> None:
    snapshot(store, "zed")
    with pytest.raises(MisuseError):
        select(store, wanted)


@pytest.mark.parametrize(
    ("inputs", "record", "doubt"),
    [
        pytest.param({"flags": {"pinned": True}}, None, Doubt.PINNED, id="pinned"),
        pytest.param({"source": "tree=abc"}, None, Doubt.PINNED, id="a folder"),
        pytest.param({"source": "git=abc"}, None, Doubt.DEV, id="a commit"),
        pytest.param({"flags": {"dev": True}}, None, Doubt.DEV, id="dev"),
        pytest.param({}, BuildRecord(adopted=True, padded=False), Doubt.ADOPTED, id="adopted"),
        pytest.param({}, BuildRecord(padded=False), Doubt.DIRTY, id="unpadded"),
        pytest.param({"environment": {"CFLAGS": "-O0"}}, None, Doubt.DIRTY, id="flags"),
    ],
)
def test_what_had_better_stay_here(
    store: Store, inputs: Mapping[str, object], record: BuildRecord | None, doubt: Doubt
) -> None:
    low = snapshot(store, "low", inputs=inputs, record=record)
    snapshot(store, "top", below=[low])
    assert list(doubts(low)) == [doubt]
    found = select(store, Wanted(("top",)))
    assert found.manifests == []
    assert f"(--include-{doubt} takes it)" in found.left["low.1.0"]
    assert found.left["top.1.0"].startswith("it needs low.1.0: ")
    assert packages(select(store, Wanted(("top",), include=frozenset({doubt}))).manifests) == ["low", "top"]


def test_what_everybody_would_refuse_stays_here(store: Store) -> None:
    """A link out of the switch was pushed, and then each reader was told of a hostile snapshot."""
    low = snapshot(store, "low")
    link = FileEntry("bin/python", FileType.SYMLINK, target="/usr/bin/python3")
    store.add(dataclasses.replace(low, output=OutputId("e" * 64), files=(link,)))
    snapshot(store, "top", below=[dataclasses.replace(low, output=OutputId("e" * 64))])
    found = select(store, Wanted(("top",)))
    assert found.manifests == []
    assert found.left["low.1.0"] == (
        "others would refuse it: the link 'bin/python' leads to '/usr/bin/python3', outside of the switch"
    )
    assert found.left["top.1.0"].startswith("it needs low.1.0: others would refuse it")


def test_an_import_of_an_unknown_output_asks_for_nothing(store: Store) -> None:
    manifest = snapshot(store, "zed")
    odd = dataclasses.replace(manifest, imports=(Import(manifest.package.name, None),))
    assert doubts(odd) == {}


# ---- the outbox


def test_what_waits_is_taken_once(store: Store) -> None:
    key, output = ConeKey("a" * 64), OutputId("b" * 64)
    assert outbox.waiting(store) == []
    assert outbox.put(store, [(key, output)]) == 1
    (store.layout.root / "outbox/nonsense").touch()
    assert outbox.waiting(store) == [(key, output)]
    outbox.take(store, [(key, output)])
    assert outbox.waiting(store) == []


def test_what_has_waited_for_a_week_is_dropped(store: Store) -> None:
    key, output = ConeKey("a" * 64), OutputId("b" * 64)
    outbox.put(store, [(key, output)])
    old = time.time() - outbox.KEPT_SECONDS - 60
    os.utime(store.layout.root / f"outbox/{key}-{output}", (old, old))
    assert outbox.waiting(store) == []


# ---- bundles


def bundle(store: Store, path: Path, *manifests: Manifest, secrets: tuple[Any, ...] = (ALICE,)) -> None:
    contents = bundling.Contents(manifests, tuple(str(it.package) for it in manifests[-1:]))
    bundling.create(store, path, contents, Signer(secrets), Silent())


def test_a_bundle_is_a_remote(store: Store, tmp_path: Path) -> None:
    low = snapshot(store, "low")
    top = snapshot(store, "top", below=[low])
    path = tmp_path / "some.bundle"
    bundle(store, path, low, top)
    here = Store.open(tmp_path / "here")
    found = shelf(here, source(BundleRemote(path), TRUSTING_ALICE))  # type: ignore[arg-type]  # any remote
    found.look([low.key, top.key])
    assert [list(found.outputs(it.key)) for it in (low, top)] == [[low], [top]]
    assert bundling.listed(path) == ["top.1.0"]


def test_a_bundle_that_lacks_something_is_not_written(store: Store, tmp_path: Path) -> None:
    manifest = snapshot(store, "zed")
    for found in store.objects.all():
        store.layout.object(found.digest, executable=found.executable).unlink()
    with pytest.raises(UnavailableError, match=r"no bundle was written: zed\.1\.0"):
        bundle(store, tmp_path / "some.bundle", manifest)
    assert not (tmp_path / "some.bundle").exists()


@pytest.mark.parametrize("content", [b"[1", b"[]", b'{"packages": ["--help"]}', b'{"packages": 1}'])
def test_a_list_of_a_bundle_that_is_none(tmp_path: Path, content: bytes) -> None:
    from opambin.remote.bundle import BundleWriter

    with BundleWriter(tmp_path / "b") as writer:
        writer.add(bundling.LISTING, content)
    with pytest.raises(BadDataError):
        bundling.listed(tmp_path / "b")


# ---- promotion

STAGED = Policy(Mode.ANY, (TrustedKey(ALICE.public, Role.STAGING),))


def test_what_was_staged_is_released(store: Store, remote: MemoryRemote, tmp_path: Path) -> None:
    manifests = [snapshot(store, "zed"), snapshot(store, "lwt")]
    pushed(store, manifests, source(remote), ALICE)
    readers = Policy(Mode.ANY, (TrustedKey(MALLORY.public),))  # a second key; the name means nothing here
    here = Store.open(tmp_path / "here")
    before = shelf(here, source(remote, readers))
    before.look([it.key for it in manifests])
    assert before.outputs(manifests[0].key) == []
    promoter = promotion.Promoter(MALLORY, STAGED, ("zed",))
    assert promotion.on_remote(remote, promoter).signed == ["zed.1.0"]
    after = shelf(here, source(remote, readers), fresh=True)
    after.look([it.key for it in manifests])
    assert [len(after.outputs(it.key)) for it in manifests] == [1, 0]
    again = promotion.on_remote(remote, dataclasses.replace(promoter, globs=()), [it.key for it in manifests])
    assert (again.before, again.signed) == (["zed.1.0"], ["lwt.1.0"])


def test_what_nobody_trusts_is_not_promoted(store: Store, remote: MemoryRemote) -> None:
    manifest = snapshot(store, "zed")
    pushed(store, [manifest], source(remote))
    name = names.slot(manifest.key, 0)
    promoter = promotion.Promoter(MALLORY, STAGED)
    assert promotion.on_remote(remote, promoter).refused == {f"zed.1.0 ({name})": "not signed"}
    remote.content[names.slot(manifest.key, 1)] = b"nonsense"
    done = promotion.on_remote(remote, dataclasses.replace(promoter, unsigned=True))
    assert done.signed == ["zed.1.0"]
    assert list(done.refused) == [names.slot(manifest.key, 1)]


def test_a_bundle_is_signed_in_place(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "some.bundle"
    manifest = snapshot(store, "zed")
    bundle(store, path, manifest)
    assert promotion.in_bundle(path, promotion.Promoter(MALLORY, STAGED)).signed == ["zed.1.0"]
    data = BundleRemote(path).get(names.slot(manifest.key, 0), limit=65_536)
    assert len(json.loads(data or b"")["signatures"]) == 2
    assert bundling.listed(path) == ["zed.1.0"]


# ---- what a remote says of itself


def voucher(to: Source, secret: SecretKey) -> vouching.Voucher:
    return vouching.Voucher(to, (secret,), os.environ)


def test_each_statement_about_a_remote_follows_the_one_before(
    store: Store, remote: MemoryRemote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    manifest = snapshot(store, "zed")
    to = source(remote, TRUSTING_ALICE)
    pushed(store, [manifest], to, ALICE)
    first = vouching.vouch(voucher(to, ALICE), vouching.Change(3600))
    gone = frozenset({(manifest.key, manifest.output)})
    second = vouching.vouch(voucher(to, ALICE), vouching.Change(3600, gone))
    third = vouching.vouch(voucher(to, ALICE), vouching.Change(3600))
    assert [it.serial for it in (first, second, third)] == [1, 2, 3]
    assert first.remote == third.remote
    assert third.withdrawn == gone
    here = Store.open(tmp_path / "here")
    found = shelf(here, source(remote, TRUSTING_ALICE))
    found.look([manifest.key])
    assert "withdrawn by its publisher" in found.lines()[0]
    last = seen.load(os.environ, remote.url)
    assert last is not None
    assert last.serial == 3


@pytest.mark.parametrize("seconds", [0, -1, 500 * 86_400])
def test_a_statement_must_end_some_time(remote: MemoryRemote, seconds: int) -> None:
    with pytest.raises(MisuseError, match="valid for up to 400 days"):
        vouching.vouch(voucher(source(remote), ALICE), vouching.Change(seconds))


def test_a_statement_of_somebody_else_is_not_replaced_silently(
    remote: MemoryRemote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    vouching.vouch(voucher(source(remote), MALLORY), vouching.Change(60))
    with pytest.raises(MisuseError, match="which is not trusted here; remove it first"):
        vouching.vouch(voucher(source(remote), ALICE), vouching.Change(60))


def test_a_damaged_memory_of_what_was_seen_is_told(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    path = seen.path_of(environ, "https://example.org")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(BadDataError, match="damaged"):
        seen.load(environ, "https://example.org")


# ---- garbage of remotes

NOW = 1_800_000_000.0
DAY = 86_400.0


def aged(store: Store, remote: MemoryRemote, **days: float) -> dict[str, Manifest]:
    """Push a package for each name, so many days ago."""
    found = {}
    for name, age in days.items():
        remote.now = NOW - age * DAY
        found[name] = snapshot(store, name)
        pushed(store, [found[name]], source(remote))
    return found


def prune(remote: MemoryRemote, wanted: pruning.Wanted) -> tuple[list[str], pruning.Doomed]:
    holdings = pruning.survey(remote)
    doomed = pruning.choose(holdings, wanted, NOW)
    pruning.carry_out(remote, holdings, doomed)
    return [slot.package for slot in doomed.slots], doomed


def test_what_is_too_old_goes_with_its_archive(store: Store, remote: MemoryRemote) -> None:
    aged(store, remote, old=100, young=5)
    gone, doomed = prune(remote, pruning.Wanted(age=30 * DAY))
    assert gone == ["old.1.0"]
    assert (len(doomed.archives), len(doomed.orphans)) == (1, 0)
    assert len(slots(remote)) == 1
    assert sum(name.startswith("archives") for name in remote.content) == 1


def test_the_oldest_go_until_it_fits(store: Store, remote: MemoryRemote) -> None:
    aged(store, remote, a=3, b=2, c=1)
    sizes = [len(data) for name, data in remote.content.items() if name.startswith("archives")]
    assert prune(remote, pruning.Wanted(size=sum(sizes) - 1))[0] == ["a.1.0"]
    assert prune(remote, pruning.Wanted(size=0, keep=("c",)))[0] == ["b.1.0"]


def test_orphans_go_when_they_are_a_day_old(store: Store, remote: MemoryRemote) -> None:
    aged(store, remote, a=3)
    for name, age in (("ab/" + "c" * 62, 2.0), ("ab/" + "d" * 62, 0.5)):
        remote.now = NOW - age * DAY
        remote.put(f"archives/{name}.tar.zst", b"x" * 10)
    gone, doomed = prune(remote, pruning.Wanted())
    assert (gone, len(doomed.orphans), doomed.bytes) == ([], 1, 10)
    assert f"archives/ab/{'d' * 62}.tar.zst" in remote.content


def test_what_stays_of_a_key_moves_to_the_front(store: Store, remote: MemoryRemote, tmp_path: Path) -> None:
    """Readers stop at the first empty slot: an output behind a gap was lost."""
    outputs = []
    for number, age in enumerate((90, 3, 80, 2)):
        remote.now = NOW - age * DAY
        outputs.append(snapshot(store, "zed", build=str(number)))
        pushed(store, outputs[-1:], source(remote))
    prune(remote, pruning.Wanted(age=30 * DAY))
    key = outputs[0].key
    assert slots(remote) == [names.slot(key, 0), names.slot(key, 1)]
    found = shelf(Store.open(tmp_path / "here"), source(remote))
    found.look([key])
    found.look_again([key])
    assert list(found.outputs(key)) == [outputs[1], outputs[3]]


def test_an_archive_that_two_slots_name_goes_with_the_last(store: Store, remote: MemoryRemote) -> None:
    manifest = aged(store, remote, zed=50)["zed"]
    remote.now = NOW - DAY
    remote.put(names.slot(manifest.key, 1), remote.content[names.slot(manifest.key, 0)])
    assert prune(remote, pruning.Wanted(age=30 * DAY))[1].archives == ()
    assert len(slots(remote)) == 1
    assert len(prune(remote, pruning.Wanted(age=0.5 * DAY))[1].archives) == 1


def test_keeping_by_key_and_by_version() -> None:
    slot = pruning.Slot(ConeKey("ab" * 32), 0, "lwt.5.6.1", "", 0.0)
    for glob in ("lwt", "lwt.5.*", "l*", "abababab"):
        assert pruning.Wanted(keep=(glob,)).keeps(slot), glob
    for glob in ("lw", "zed", "abab", "cdcdcdcd"):
        assert not pruning.Wanted(keep=(glob,)).keeps(slot), glob


def test_a_slot_that_cannot_be_read_counts_by_its_age(remote: MemoryRemote) -> None:
    key = ConeKey("ab" * 32)
    remote.now = NOW - 100 * DAY
    remote.put(names.slot(key, 0), b"nonsense")
    assert prune(remote, pruning.Wanted(age=200 * DAY))[0] == []
    assert prune(remote, pruning.Wanted(age=30 * DAY))[0] == [""]
    assert slots(remote) == []


def test_a_remote_that_cannot_list(remote: MemoryRemote) -> None:
    remote.lists = False
    with pytest.raises(UnavailableError, match="can't list"):
        pruning.survey(remote)


def test_names_of_a_remote() -> None:
    assert names.slot_of(names.slot(ConeKey("ab" * 32), 7)) == ("ab" * 32, 7)
    assert names.archive_of(names.archive("ab" * 32)) == "ab" * 32
    for wrong in ("keys/ab/x/0", f"keys/ab/{'ab' * 32}/8", "archives/ab/cd.tar.zst", "snapshot.json"):
        assert names.slot_of(wrong) is None
        assert names.archive_of(wrong) is None
    assert Entry("x", 1, 0.0).name == "x"
    assert UNSIGNED.needed == 0
