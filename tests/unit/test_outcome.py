from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from store_samples import stored_manifest

from opambin.door import outcome
from opambin.errors import UnavailableError
from opambin.model import BuildRecord, Manifest, Package
from opambin.plan import NO_SNAPSHOT, Item, Verdict
from opambin.restore import Restored
from opambin.store.records import Result
from opambin.store.store import Store
from opambin.surroundings import Keyed

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "/home/me/.opam/s"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture
def manifest(store: Store) -> Manifest:
    """Of demo.1.0, built in 90 s from 2 MB of sources."""
    made = stored_manifest(store)
    build = BuildRecord(90.0, 1_700_000_000, 30, True, False, "2.1.2", 2_000_000)
    return Manifest(made.key, made.output, made.package, made.opam, made.inputs, made.files, build=build)


def prepared(
    store: Store, *items: Item, later: tuple[str, ...] = (), removals: dict[str, str] | None = None
) -> Any:  # noqa: ANN401 - stands for a Prepared
    context = SimpleNamespace(prefix=PREFIX, need_store=lambda: store)
    decision = SimpleNamespace(removals={Package.parse(k): v for k, v in (removals or {}).items()})
    return SimpleNamespace(
        context=context,
        items=items,
        decision=decision,
        later=tuple(map(Package.parse, later)),
        seconds=0.25,
    )


def item(package: str, verdict: Verdict, reason: str = "", key: str | None = None) -> Item:
    return Item(Package.parse(package), verdict, reason, Keyed(key, "{}", ""))  # type: ignore[arg-type] # a text is enough


def test_a_full_hit_is_one_line(store: Store, manifest: Manifest) -> None:
    plan = prepared(store, item("demo.1.0", Verdict.HIT), item("conf-x.1", Verdict.CHECK))
    done = Restored((manifest,), ("conf-x.1",), seconds=0.75)
    assert outcome.summary_lines(plan, done) == [
        "opam-bin: 1 restored, 1 checked in 1.00 s (saved 1 min 30 s of building and 2.0 MB of sources)"
    ]
    assert outcome.left_to_opam(plan, done) == {}


def test_removals_count_only_where_nothing_replaces_them(store: Store, manifest: Manifest) -> None:
    plan = prepared(store, item("demo.1.0", Verdict.HIT), removals={"demo.0.9": "1.0", "old.1": ""})
    (line,) = outcome.summary_lines(plan, Restored((manifest,)))
    assert line.startswith("opam-bin: 1 restored, 1 removed in 0.25 s")


def test_what_was_quick_and_small_is_not_praised(store: Store) -> None:
    plan = prepared(store, item("demo.1.0", Verdict.HIT))
    done = Restored((stored_manifest(store),))
    assert outcome.summary_lines(plan, done) == ["opam-bin: 1 restored in 0.25 s"]


def test_each_reason_is_told_once(store: Store, manifest: Manifest) -> None:
    misses = [item(f"m{number}.1", Verdict.MISS, "no snapshot has this key") for number in range(8)]
    waits = item("w.1", Verdict.WAIT, "m0.1 is built first")
    plan = prepared(store, item("demo.1.0", Verdict.HIT), *misses, waits)
    done = Restored((manifest,), reports=("something was damaged",))
    _, report, *rest = outcome.summary_lines(plan, done)
    assert report == "opam-bin: something was damaged"
    assert rest == [
        "opam-bin: m0.1, m1.1, m2.1, m3.1, m4.1, m5.1 and 2 more are left to opam: no snapshot has this key",
        "opam-bin: w.1 is left to opam: m0.1 is built first",
        "opam-bin: opam plans the rest once more, and builds it",
    ]


def test_why_something_is_left_to_opam(store: Store, manifest: Manifest) -> None:
    """A restore's own reason counts more than the plan's, and what a folder defines is opam's in any case."""
    plan = prepared(
        store,
        item("demo.1.0", Verdict.HIT),
        item("late.1", Verdict.HIT),
        item("miss.1", Verdict.MISS, "why"),
        later=("mine.dev",),
    )
    assert outcome.left_to_opam(plan, Restored((manifest,), left={"late.1": "its check failed"})) == {
        "mine.dev": "it is defined in a folder",
        "late.1": "its check failed",
        "miss.1": "why",
    }


def test_nothing_was_restored(store: Store) -> None:
    plan = prepared(store, item("demo.1.0", Verdict.HIT), item("miss.1", Verdict.MISS, "why"))
    assert outcome.left_to_opam(plan, None) == {"demo.1.0": "nothing was restored", "miss.1": "why"}


@pytest.mark.parametrize(
    ("reasons", "remotes", "lines"),
    [
        pytest.param(
            {"a.1": NO_SNAPSHOT, "b.1": NO_SNAPSHOT}, (), ["nothing of this is in the store"], id="misses"
        ),
        pytest.param(
            {"a.1": NO_SNAPSHOT}, ("one",), ["nothing of this is in the store or on a remote"], id="remotes"
        ),
        pytest.param(
            {"a.1": "because of ' '", "b.1": NO_SNAPSHOT},
            (),
            ["a.1 is left to opam: because of ' '", f"b.1 is left to opam: {NO_SNAPSHOT}"],
            id="refused",
        ),
    ],
)
def test_why_nothing_is_restored(
    store: Store, reasons: dict[str, str], remotes: tuple[str, ...], lines: list[str]
) -> None:
    """What is in the store, and does not fit here, was said not to be there."""
    plan = prepared(store, *(item(package, Verdict.MISS, reason) for package, reason in reasons.items()))
    plan.decision.shelf = SimpleNamespace(catalogues=remotes)
    assert outcome.idle_lines(plan) == [f"opam-bin: {line}" for line in lines]


def test_hits_and_misses_are_kept(store: Store, manifest: Manifest) -> None:
    key = "a" * 64
    plan = prepared(
        store,
        item("demo.1.0", Verdict.HIT, key=manifest.key),
        item("late.1", Verdict.HIT, key=key),
        item("miss.1", Verdict.MISS, "why"),
    )
    outcome.keep_statistics(plan, Restored((manifest,), left={"late.1": "its check failed"}))
    events = {event.package: event for event in store.index.events()}
    assert {name: (event.result, event.reason, event.key) for name, event in events.items()} == {
        "demo.1.0": (Result.HIT, "", manifest.key),
        "late.1": (Result.MISS, "its check failed", key),
        "miss.1": (Result.MISS, "why", ""),
    }
    hit = events["demo.1.0"]
    assert (hit.prefix, hit.seconds, hit.bytes, hit.source_bytes) == (PREFIX, 90.0, manifest.size, 2_000_000)


def test_a_store_that_is_only_read_keeps_no_statistics(
    store: Store, manifest: Manifest, tmp_path: Path
) -> None:
    plan = prepared(store, item("demo.1.0", Verdict.HIT))
    outcome.keep_statistics(plan, Restored((manifest,)))
    readonly = Store.open(tmp_path / "store", readonly=True)
    before = len(list(readonly.index.events()))
    outcome.keep_statistics(prepared(readonly, item("demo.1.0", Verdict.HIT)), Restored((manifest,)))
    assert len(list(readonly.index.events())) == before == 1


def test_statistics_that_can_not_be_kept_are_an_error(
    store: Store, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(store, "record_events", refuse)
    with pytest.raises(UnavailableError, match="disk is full"):
        outcome.keep_statistics(prepared(store, item("demo.1.0", Verdict.HIT)), Restored((manifest,)))


def test_results_are_those_of_a_session(manifest: Manifest) -> None:
    (result,) = outcome.results(Restored((manifest,)))
    assert (result.package, result.what, result.seconds, result.output) == (
        "demo.1.0",
        "restored",
        90.0,
        manifest.output,
    )
