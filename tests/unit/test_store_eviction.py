from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli
from store_samples import sha

from opambin.errors import BadDataError, MisuseError
from opambin.model import ConeKey, Digest, OutputId, PackageName, Version
from opambin.store import keeping
from opambin.store.eviction import YOUNG, Limits, choose
from opambin.store.records import InstalledRecord, SnapshotRecord
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
DAY = 86_400


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


def record(name: str, days: float) -> SnapshotRecord:
    used = int(NOW - days * DAY)
    return SnapshotRecord(
        ConeKey(sha(name)), OutputId(sha(f"o{name}")), PackageName(name), Version("1"), used - DAY, 1, used
    )


def objects(**sizes: int) -> dict[tuple[Digest, bool], int]:
    return {(Digest(sha(name)), False): size for name, size in sizes.items()}


RECORDS = [record("new", 1), record("old", 50), record("older", 100)]
CONTENTS = {
    (RECORDS[0].key, RECORDS[0].output): objects(a=10, shared=100),
    (RECORDS[1].key, RECORDS[1].output): objects(b=20, shared=100),
    (RECORDS[2].key, RECORDS[2].output): objects(c=40),
}


@pytest.mark.parametrize(
    ("limits", "gone", "left"),
    [
        pytest.param(Limits(), [], 170, id="no limits"),
        pytest.param(Limits(age=60 * DAY), ["older"], 130, id="age"),
        pytest.param(Limits(size=170), [], 170, id="just fits"),
        pytest.param(Limits(size=169), ["older"], 130, id="the longest unused goes first"),
        pytest.param(Limits(size=125), ["older", "old"], 110, id="shared objects stay with the last"),
        pytest.param(Limits(size=0), ["older", "old", "new"], 0, id="all"),
        pytest.param(Limits(size=135, age=30 * DAY), ["older", "old"], 110, id="both"),
    ],
)
def test_what_goes(limits: Limits, gone: list[str], left: int) -> None:
    found = choose(RECORDS, CONTENTS, limits, lambda _: False, NOW)
    assert [str(it.name) for it in found.gone] == gone
    assert (found.bytes, found.kept) == (left, 0)


def test_what_was_just_used_stays_whatever_the_limits() -> None:
    young = record("young", (YOUNG - 60) / DAY)
    found = choose([young], {}, Limits(size=0, age=0.0), lambda _: False, NOW)
    assert found.gone == ()


def test_what_is_kept_is_counted_and_stays() -> None:
    found = choose(RECORDS, CONTENTS, Limits(size=0), lambda it: it.name == "older", NOW)
    assert [str(it.name) for it in found.gone] == ["old", "new"]
    assert (found.kept, found.bytes) == (1, 40)


@pytest.mark.parametrize(
    ("args", "stays"),
    [
        pytest.param(["zed"], ["zed"], id="name"),
        pytest.param(["zed.1.*"], ["zed"], id="glob on the version"),
        pytest.param(["z*", "nothing"], ["zed"], id="glob on the name"),
        pytest.param(["--key", sha("key of angstrom")[:10]], ["angstrom"], id="key"),
        pytest.param(["--switch", "sw"], ["lwt"], id="switch"),
        pytest.param(["zed", "--switch", "sw"], ["lwt", "zed"], id="both"),
    ],
)
def test_kept_snapshots_survive_a_gc(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, args: list[str], stays: list[str]
) -> None:
    cli.root.mkdir()
    (cli.root / "config").write_text(
        'opam-version: "2.0"\nopam-root-version: "2.1"\ninstalled-switches: ["sw"]\n'
    )
    manifests = {str(it.package.name): it for it in cli.fill("zed", "angstrom", "lwt")}
    lwt = manifests["lwt"]
    with Store.open(cli.cache) as store:
        prefix = str(cli.root / "sw")
        entry = InstalledRecord(lwt.package.name, lwt.package.version, lwt.key, lwt.output, "")
        store.record_installed(prefix, [entry])
    assert cli("keep", *args).code == 0
    later = time.time() + 400 * DAY
    monkeypatch.setattr("time.time", lambda: later)
    dry = cli("gc", "--older-than", "365d", "--max-size", "0", "--dry-run", "--json").json
    assert dry["kept"] == len(stays)
    assert dry["objects"] == 2 * (3 - len(stays))
    assert len(Store.open(cli.cache).index.records()) == 3
    done = cli("gc", "--older-than", "365d")
    assert f"Removed {3 - len(stays)} snapshot" in done.out
    with Store.open(cli.cache) as store:
        assert sorted(str(it.package.name) for it in store.manifests.all()) == stays
        assert sum(1 for _ in store.objects.all()) == 2 * len(stays)
    assert cli("verify").code == 0


def test_wishes_can_be_listed_and_taken_back(cli: Cli) -> None:
    cli.fill("zed")
    assert cli("keep").out == "Nothing in particular is kept.\n"
    cli("keep", "zed", "lwt.5.*", "--key", "12345678")
    assert cli("keep", "--json").json["keep"] == [
        {"kind": "key", "what": "12345678"},
        {"kind": "package", "what": "lwt.5.*"},
        {"kind": "package", "what": "zed"},
    ]
    assert cli("keep", "--remove", "zed").out == "key 12345678\npackage lwt.5.*\n"


def test_a_damaged_list_of_wishes_stops_gc_before_anything_goes(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.fill("zed")
    (cli.cache / "keep").write_text("package zed\nkey zz\n")
    later = time.time() + 400 * DAY
    monkeypatch.setattr("time.time", lambda: later)
    done = cli("gc", "--max-size", "0")
    assert (done.code, "line 2" in done.err) == (3, True)
    with Store.open(cli.cache) as store:
        assert len(list(store.manifests.all())) == 1
        with pytest.raises(BadDataError):
            keeping.read(store)


@pytest.mark.parametrize(("kind", "what"), [("key", "123"), ("key", "zz" * 8), ("package", ""), ("x", "y")])
def test_wishes_that_cannot_be_meant(kind: str, what: str) -> None:
    with pytest.raises(MisuseError):
        keeping.Wish.of(kind, what)


@pytest.mark.parametrize("args", [["--max-size", "much"], ["--older-than", "90"], ["--older-than", "-1d"]])
def test_amounts_that_are_none(cli: Cli, args: list[str]) -> None:
    cli.fill("zed")
    assert cli("gc", *args).code == 2
