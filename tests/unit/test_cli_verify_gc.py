from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli

from opambin.model import FileType
from opambin.store.gc import MIN_AGE
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from opambin.model import Manifest


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


def an_object(cli: Cli, manifest: Manifest) -> Path:
    entry = next(entry for entry in manifest.files if entry.type is FileType.FILE)
    assert entry.digest is not None
    return Store.open(cli.cache).layout.object(entry.digest, executable=True)


def test_a_sound_store(cli: Cli) -> None:
    cli.fill("zed", "angstrom")
    done = cli("verify")
    assert (done.code, done.out, done.err) == (0, "2 snapshots, 4 objects\nNothing is wrong.\n", "")
    assert cli("verify", "--full", "--json").json == {
        "store": str(cli.cache),
        "full": True,
        "readonly": False,
        "sound": True,
        "manifests": 2,
        "objects": 4,
        "unnamed": 0,
        "hashed_bytes": 70,
        "missing": [],
        "problems": [],
    }


def test_a_corrupt_manifest_is_found_and_put_aside(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    cli.damage_manifest(manifest)
    done = cli("verify")
    assert done.code == 3
    assert "damaged or edited manifest" in done.err
    assert "in the store's quarantine" in done.out
    again = cli("verify")
    assert (again.code, "2 objects belong to no snapshot" in again.out) == (0, True)


def test_damage_that_keeps_size_and_time_needs_the_full_run(cli: Cli) -> None:
    import os

    (manifest,) = cli.fill("zed")
    path = an_object(cli, manifest)
    status = path.stat()
    path.chmod(0o755)
    path.write_bytes(b"X" * status.st_size)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cli("verify").code == 0
    done = cli("verify", "--full", "--json")
    assert done.code == 3
    assert done.json["sound"] is False
    assert any("damaged object" in problem for problem in done.json["problems"])


def test_a_missing_object_is_named(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    an_object(cli, manifest).unlink()
    done = cli("verify", "--json")
    assert done.code == 3
    assert len(done.json["missing"]) == 1


def test_a_store_that_can_not_be_written_is_only_looked_at(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (manifest,) = cli.fill("zed")
    path = cli.damage_manifest(manifest)
    monkeypatch.setattr("os.access", lambda *_: False)
    done = cli("verify")
    assert done.code == 3
    assert "stays where it is" in done.out
    assert path.exists()


@pytest.mark.parametrize("args", [["verify"], ["verify", "--json"], ["gc"], ["gc", "-n"]], ids=" ".join)
def test_without_a_store(cli: Cli, args: list[str]) -> None:
    done = cli(*args)
    assert (done.code, done.out) == (4, "")
    assert "there is no store at" in done.err
    assert not cli.cache.exists()


def test_a_store_of_another_format(cli: Cli) -> None:
    cli.fill("zed")
    (cli.cache / "format").write_text("opam-bin store 99\n")
    for command in ("verify", "gc", "list", "show"):
        done = cli(command, *(["zed"] if command == "show" else []))
        assert done.code == 3
        assert "unknown format of the store" in done.err


def test_gc_removes_what_no_snapshot_needs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, dropped = cli.fill("zed", "angstrom")
    with Store.open(cli.cache) as store:
        store.drop(dropped.key, dropped.output)
    (cli.cache / "tmp" / "put-killed").write_bytes(b"x")
    young = cli("gc", "-n", "--json").json
    assert (young["objects"], young["young"], young["leftovers"]) == (0, 2, 1)
    assert "less than an hour old" in cli("gc", "-n").out

    import time

    later = time.time() + MIN_AGE + 60
    monkeypatch.setattr("time.time", lambda: later)
    dry = cli("gc", "--dry-run")
    assert dry.out == "Would remove 2 objects (40 B) and 1 leftover of interrupted writes.\n"
    assert an_object(cli, dropped).exists()
    assert cli("gc", "--json").json == {
        "store": str(cli.cache),
        "objects": 2,
        "object_bytes": 40,
        "leftovers": 1,
        "young": 0,
        "dry_run": False,
        "snapshots": [],
        "kept": 0,
        "problems": [],
    }
    assert not an_object(cli, dropped).exists()
    assert an_object(cli, kept).exists()
    assert cli("verify").code == 0


def test_gc_waits_for_no_writer_for_ever(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.fill("zed")
    monkeypatch.setattr(
        "opambin.store.gc.collect.__kwdefaults__", {"dry_run": False, "timeout": 0.01, "without": ()}
    )
    with Store.open(cli.cache) as store, store.writing():
        done = cli("gc")
    assert done.code == 4
    assert "being written by another process" in done.err


def test_gc_of_a_store_that_can_not_be_written_says_what_to_do(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It spoke of a read-only database."""
    cli.fill("zed")
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("pathlib.Path.owner", lambda _: "the-admin")
    for more in ([], ["--max-size", "1"]):
        done = cli("gc", *more)
        assert (done.code, done.out) == (4, "")
        assert f"the store at {cli.cache}, which you can't write: let the-admin run" in done.err
    assert cli("gc", "--dry-run").code == 0
    assert list(cli.cache.glob("manifests/**/*"))
