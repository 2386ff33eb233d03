from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli
from store_samples import stored_manifest

from opambin.store.records import Event, Result
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


def test_the_store_is_listed_by_name_with_aligned_columns(cli: Cli) -> None:
    cli.fill("zed", "angstrom")
    done = cli("list")
    lines = done.out.splitlines()
    assert done.code == 0
    assert lines[0].split() == ["PACKAGE", "BUILDS", "OUTPUTS", "SIZE", "BUILT", "LAST", "USED", "USES"]
    assert [line.split()[0] for line in lines[1:]] == ["angstrom.1.0", "zed.1.0"]
    assert len({line.index(" B ") for line in lines[1:]}) == 1
    assert done.err == "2 snapshots of 2 package versions, 70 B\n"


def test_json_has_every_snapshot(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    with Store.open(cli.cache) as store:
        store.add(stored_manifest(store, "zed", build="2"))
        store.touch([(manifest.key, manifest.output)], 1_700_000_000)
    found = cli("list", "--json").json
    assert found["store"] == str(cli.cache)
    (package,) = found["packages"]
    snapshots = package.pop("snapshots")
    assert package == {
        "name": "zed",
        "version": "1.0",
        "builds": 1,
        "outputs": 2,
        "bytes": sum(snapshot["bytes"] for snapshot in snapshots),
        "built_at": 0,
        "last_used": 1_700_000_000,
        "uses": 1,
    }
    assert {"key", "output", "bytes", "built_at", "last_used", "uses"} == set(snapshots[0])
    assert manifest.output in {snapshot["output"] for snapshot in snapshots}


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        pytest.param(["zed"], ["zed"], id="a name"),
        pytest.param(["conf-*"], ["conf-a", "conf-b"], id="a glob"),
        pytest.param(["zed.1.0", "conf-a"], ["conf-a", "zed"], id="name and version"),
    ],
)
def test_globs_choose(cli: Cli, globs: list[str], names: list[str]) -> None:
    cli.fill("zed", "conf-a", "conf-b")
    assert [package["name"] for package in cli("list", *globs, "--json").json["packages"]] == names


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["table", "json"])
def test_a_name_that_nothing_fits_is_an_error_as_with_show(cli: Cli, more: tuple[str, ...]) -> None:
    cli.fill("zed")
    done = cli("list", "zed", "nosuch", "zed.2*", *more)
    assert (done.code, "zed" in done.out) == (2, True)
    assert done.err.splitlines()[-1] == "opam-bin: the store has no package nosuch, zed.2*"
    assert cli("show", "nosuch").code == 2


def test_a_name_without_a_store_is_an_error_as_with_show(cli: Cli) -> None:
    done = cli("list", "zed")
    assert (done.code, done.out) == (4, "")
    assert "there is no store at" in done.err
    assert cli("show", "zed").code == 4


@pytest.mark.parametrize(
    "words", [["list"], ["show", "zed"], ["gc"], ["keep"], ["verify"], ["stats"]], ids=" ".join
)
def test_a_cache_that_is_a_file_is_an_error(cli: Cli, words: list[str]) -> None:
    """It was taken for a store that is not there yet."""
    cli.cache.write_text("mine")
    done = cli(*words)
    assert (done.code, done.out) == (4, "")
    assert f"{cli.cache} is no directory; name another" in done.err
    cli.setenv("OPAMBIN_CACHE", f"{cli.cache}/below")
    assert f"{cli.cache} is no directory; name another" in cli(*words).err


def test_versions_come_in_opams_order(cli: Cli) -> None:
    from dataclasses import replace

    from opambin.model import ConeKey, Package, PackageName, Version

    with Store.open(cli.cache) as store:
        for digit, version in enumerate(("1.10", "1.9", "1.9~rc1")):
            manifest = stored_manifest(store, "zed")
            package = Package(PackageName("zed"), Version(version))
            store.add(replace(manifest, package=package, key=ConeKey(str(digit) * 64)))
    versions = [package["version"] for package in cli("list", "--json").json["packages"]]
    assert versions == ["1.9~rc1", "1.9", "1.10"]


def test_without_a_store_there_is_nothing_and_none_is_made(cli: Cli) -> None:
    done = cli("list")
    assert (done.code, "There is no store at" in done.out) == (0, True)
    assert cli("list", "--json").json["packages"] == []
    assert not cli.cache.exists()


def test_an_unreadable_store_is_told_in_one_line(cli: Cli) -> None:
    (cli.cache / "format").mkdir(parents=True)
    done = cli("list")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("\n") == 1
    assert "can't be read" in done.err


def test_a_damaged_index_is_made_again_and_told(cli: Cli) -> None:
    cli.fill("zed")
    for path in cli.cache.glob("index.sqlite*"):
        path.unlink()
    (cli.cache / "index.sqlite").write_bytes(b"no database at all " * 100)
    done = cli("list", "--json")
    assert [package["name"] for package in done.json["packages"]] == ["zed"]
    assert "damaged index" in done.err


def test_a_bad_configuration_is_misuse(cli: Cli) -> None:
    cli.setenv("OPAMBIN_JOBS", "many")
    done = cli("list")
    assert (done.code, done.out) == (2, "")
    assert "OPAMBIN_JOBS" in done.err


def test_a_switch_lists_where_its_packages_came_from(cli: Cli) -> None:
    restored, captured, known, stale = cli.fill("restored", "captured", "known", "stale")
    cli.make_root("s1")
    cli.install("s1", "restored.1.0", "captured.1.0", "known.1.0", "stale.1.0", "other.3")
    for manifest in (restored, captured, known, stale):
        cli.record("s1", manifest)
    (cli.root / "s1/.opam-switch/install/stale.changes").write_text("opam installed it anew")
    prefix = str(cli.root / "s1")
    with Store.open(cli.cache) as store:
        store.record_events(
            [
                Event(5, prefix, "restored.1.0", restored.key, Result.BUILT),
                Event(7, prefix, "restored.1.0", restored.key, Result.HIT),
                Event(8, prefix, "captured.1.0", captured.key, Result.BUILT),
                Event(9, prefix, "captured.1.0", captured.key, Result.MISS),
                Event(9, prefix, "known.1.0", "f" * 64, Result.HIT),
                Event(9, "/elsewhere", "known.1.0", known.key, Result.HIT),
            ]
        )
    found = cli("list", "--switch", "s1", "--json").json
    assert found["root"] == str(cli.root)
    (switch,) = found["switches"]
    assert (switch["switch"], switch["prefix"]) == ("s1", prefix)
    assert {package["name"]: (package["origin"], package["since"]) for package in switch["packages"]} == {
        "restored": ("restored", 7),
        "captured": ("captured", 8),
        "known": ("on record", None),
        "stale": (None, None),
        "other": (None, None),
    }
    assert switch["packages"][-2]["key"] == restored.key
    text = cli("list", "--switch", "s1").out
    assert re.search(r"^other\.3 +not on record +- +- +-$", text, re.MULTILINE)
    assert restored.output[:12] in text


def test_all_switches_are_listed_and_a_lost_one_hides_no_other(cli: Cli) -> None:
    cli.make_root("s1", "s2", "lost")
    cli.install("s2", "zed.1.0")
    (cli.root / "lost/.opam-switch/switch-config").unlink()
    done = cli("list", "--all", "--json")
    assert [(it["switch"], len(it["packages"])) for it in done.json["switches"]] == [("s1", 0), ("s2", 1)]
    assert "lost" in done.err
    assert str(cli.root / "s2") in cli("list", "--all").out


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        pytest.param(["--switch", "nope"], 4, "no switch nope", id="unknown switch"),
        pytest.param(["--switch", "s1", "--all"], 2, "together", id="contradiction"),
        pytest.param(["--colour"], 2, "No such option", id="unknown option"),
    ],
)
def test_mistakes_with_switches(cli: Cli, args: list[str], code: int, words: str) -> None:
    cli.make_root("s1")
    done = cli("list", *args)
    assert (done.code, done.out) == (code, "")
    assert words in done.err


def test_a_switch_that_can_not_be_read_is_bad_data(cli: Cli) -> None:
    cli.make_root("s1")
    (cli.root / "s1/.opam-switch/switch-state").write_text("installed: [")
    done = cli("list", "--switch", "s1")
    assert done.code == 3
    assert "switch-state" in done.err


def test_no_heavy_module_is_loaded_when_piped(cli: Cli) -> None:
    cli.fill("zed")
    program = (
        "import sys; from opambin.cli.main import run; code = run()\n"
        "heavy = {'rich', 'lief', 'yaml', 'zstandard', 'filelock', 'tempfile', 'asyncio', 'subprocess'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    for args in (["list"], ["list", "--json"], ["show", "zed", "--json"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *args], capture_output=True, text=True, check=True
        )
        assert done.stderr.splitlines()[-1] == "[]", args
        assert "zed" in done.stdout
