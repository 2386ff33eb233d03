from __future__ import annotations

import fcntl
import json
import os
import re
import time
from typing import TYPE_CHECKING

import pytest
from cli_runs import Cli, hook_fields
from trust_samples import CI

from opambin import __version__
from opambin.exchange.memory import Memory
from opambin.reports import diagnosis
from opambin.session.folder import Session
from opambin.setup.initialise import plan_init
from opambin.setup.place import Place, own_program
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


def set_up(cli: Cli, *switches: str, more: str = "") -> Place:
    """Make a root as ``opam-bin init`` leaves it."""
    cli.make_root(*switches, more=hook_fields() + more)
    plan = plan_init(cli.root, own_program())
    for file in plan.files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_bytes(file.content)
        file.path.chmod(file.mode)
    if plan.program is not None:
        plan.place.link.parent.mkdir(parents=True)
        plan.place.link.symlink_to(plan.program)
    assert plan_init(cli.root, own_program()).empty
    return plan.place


def whats(cli: Cli) -> list[str]:
    done = cli("status", "--json")
    assert done.code == (1 if done.json["problems"] else 0)
    return [problem["what"] for problem in done.json["problems"]]


def test_everything_in_order(cli: Cli) -> None:
    cli.fill("zed", "angstrom")
    set_up(cli, "s1", "s2")
    cli.setenv("OPAMBIN_EXCLUDE_SWITCHES", "*2")
    done = cli("status")
    assert (done.code, done.err) == (0, "")
    for words in (
        f"opam-bin {__version__}, Python",
        "config.yaml (not there)",
        f"  cache             {cli.cache}  [environment (OPAMBIN_CACHE)]",
        "(writable; 2 snapshots of 2 packages, 70 B of files; ",
        "bin/opam 2.1.2\n",
        f"Root: {cli.root} (format 2.1)",
        "Hooks: complete",
        f"Switch: s1 ({cli.root}/s1; current)",
        f"Switch: s2 ({cli.root}/s2; excluded by '*2')",
        "Nothing is broken.",
    ):
        assert words in done.out


def test_json_keeps_its_shape(cli: Cli) -> None:
    cli.fill("zed")
    set_up(cli, "s1")
    found = cli("status", "--json", "--full").json
    assert list(found) == [
        *("version", "ok", "problems", "notes", "settings", "store", "opam", "root", "hooks"),
        *("transparent", "remotes", "switches"),
    ]
    assert found["ok"] is True
    assert found["settings"][0] == {
        "name": "cache",
        "value": str(cli.cache),
        "origin": "environment (OPAMBIN_CACHE)",
    }
    store = found["store"]
    walked = store.pop("walked")
    assert store.pop("free") > 0
    assert store == {
        "path": str(cli.cache),
        "state": "writable",
        "snapshots": 1,
        "packages": 1,
        "bytes": 30,
        "quarantined": 0,
    }
    assert (walked["objects"], walked["object_bytes"]) == (2, 30)
    assert found["opam"]["supported"] is True
    assert found["root"] == {"path": str(cli.root), "format": "2.1"}
    assert (found["hooks"]["installed"], found["hooks"]["complete"], found["hooks"]["lacks"]) == (
        True,
        True,
        [],
    )
    assert found["switches"] == [
        {
            "name": "s1",
            "prefix": f"{cli.root}/s1",
            "current": True,
            "excluded": "",
            "session": "none",
            "interrupted": [],
        }
    ]


def test_the_store_is_walked_only_on_request(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.fill("zed")

    def walk(_: object) -> None:
        raise AssertionError("walked")

    monkeypatch.setattr("opambin.store.store.Store.size", walk)
    monkeypatch.setattr("opambin.store.manifests.Manifests.all", walk)
    assert cli("status", "--json").json["store"]["snapshots"] == 1
    for path in cli.cache.glob("index.sqlite*"):
        path.unlink()
    assert cli("status", "--json").json["store"]["snapshots"] is None
    assert "without an index" in cli("status").out


def test_nothing_at_all_is_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPAMBIN_OPAM", "no-such-opam")
    done = cli("status")
    assert done.code == 1
    assert f"Store: {cli.cache} (none yet;" in done.out
    for words in ("Opam: none", "Root: none", "Hooks: none", "install opam 2.1 or later", "run 'opam init'"):
        assert words in done.out
    found = cli("status", "--json").json
    assert (found["root"], found["hooks"], found["switches"], found["store"]["state"]) == (
        None,
        None,
        [],
        "absent",
    )
    assert found["opam"] == {"program": None, "version": "", "supported": False}
    assert not cli.cache.exists()


def test_a_bad_configuration_hides_nothing_else(cli: Cli) -> None:
    cli.make_root("s1")
    cli.setenv("OPAMBIN_JOBS", "many")
    done = cli("status")
    assert done.code == 1
    assert "Configuration: unusable" in done.out
    assert "OPAMBIN_JOBS: 'many' is not a number" in done.out
    assert f"Root: {cli.root}" in done.out
    assert cli("status", "--json").json["store"] is None


def test_settings_say_where_they_come_from(cli: Cli) -> None:
    path = cli.folder / ".config" / "opam-bin" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("jobs: 7\nenabled: false\n")
    cli.make_root("s1")
    found = cli("status", "--json").json
    assert {"name": "jobs", "value": "7", "origin": str(path)} in found["settings"]
    assert any("switched off" in note for note in found["notes"])


def test_no_hooks_and_no_switch_are_no_fault(cli: Cli) -> None:
    cli.make_root()
    done = cli("status")
    assert done.code == 0
    assert "Hooks: none" in done.out
    assert "plain opam does not use the store" in done.out
    assert "no switch is set" in done.out


@pytest.mark.parametrize(
    ("version", "words"),
    [
        pytest.param("2.0.10", "opambin works with opam 2.1", id="old"),
        pytest.param("3.0.0", "opambin works with opam 2.1", id="new"),
        pytest.param("nonsense", "not a version of opam", id="no opam"),
        pytest.param("2.6.1", "would upgrade for good", id="it would upgrade the root"),
    ],
)
def test_an_opam_that_can_not_be_used(cli: Cli, version: str, words: str) -> None:
    cli.make_root("s1")
    cli.fake_opam(version)
    (what,) = whats(cli)
    assert words in what


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("format", "unknown format", id="format"),
        pytest.param("index.sqlite", "damaged index", id="index"),
    ],
)
def test_a_damaged_store(cli: Cli, name: str, words: str) -> None:
    cli.fill("zed")
    cli.make_root("s1")
    for path in cli.cache.glob("index.sqlite-*"):
        path.unlink()
    (cli.cache / name).write_bytes(b"nonsense " * 1000)
    (what,) = whats(cli)
    assert words in what
    assert cli("status", "--json").json["store"]["state"] == "unusable"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: path.touch(), "is no directory", id="a file"),
        pytest.param(
            lambda path: (path / "thesis").mkdir(parents=True), "it holds thesis", id="of something else"
        ),
        pytest.param(lambda path: (path / "format").mkdir(parents=True), "can't be read", id="unreadable"),
    ],
)
def test_a_store_that_can_not_be_made(cli: Cli, make: object, words: str) -> None:
    assert callable(make)
    make(cli.cache)
    cli.make_root("s1")
    (what,) = whats(cli)
    assert words in what


def test_a_store_that_is_read_only_or_can_not_be_made_there(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.make_root("s1")
    real = os.access
    monkeypatch.setattr("os.access", lambda path, mode: bool(not mode & os.W_OK and real(path, mode)))
    (what,) = whats(cli)
    assert "is not writable" in what
    cli.fill("zed")
    (what,) = whats(cli)
    assert "can't be written: what it has is restored, and nothing is captured" in what
    assert cli("status", "--json").json["store"]["state"] == "read-only"
    cli.setenv("OPAMBIN_SHARED_STORE", "read")
    assert whats(cli) == []


def test_a_store_of_another_user_may_be_meant_to_be_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.make_root("s1")
    cli.fill("zed")
    real = os.access
    monkeypatch.setattr("os.access", lambda path, mode: bool(not mode & os.W_OK and real(path, mode)))
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert whats(cli) == []
    assert "'shared: read' says that this is meant" in cli("status").out


def test_a_part_of_the_store_that_can_not_be_read_is_a_problem_and_no_bug(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.fill("zed")
    cli.make_root("s1")

    def refuse(path: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    whole = diagnosis.look(os.environ)
    assert f"{cli.cache}/quarantine: Permission denied" in [problem.what for problem in whole.problems]
    assert whole.store is not None
    assert whole.store.state == "unusable"


def test_damaged_data_in_quarantine_is_mentioned(cli: Cli) -> None:
    (manifest,) = cli.fill("zed")
    cli.damage_manifest(manifest)
    cli.make_root("s1")
    cli("verify")
    done = cli("status", "--json")
    assert (done.code, done.json["store"]["quarantined"]) == (0, 1)
    assert "quarantine holds damaged data" in done.json["notes"][0]


def test_hooks_that_are_incomplete(cli: Cli) -> None:
    place = set_up(cli, "s1")
    place.config.write_text(place.config.read_text().replace("pre-build-commands", "x-pre-build-commands"))
    done = cli("status")
    assert done.code == 1
    assert "Hooks: incomplete" in done.out
    assert f"lacks {place.config}: pre-build-commands" in done.out
    assert "Remedy: run 'opam-bin init'" in done.out


def test_a_hook_whose_script_is_gone(cli: Cli) -> None:
    place = set_up(cli, "s1")
    (place.hooks / "wrap-build").unlink()
    (what,) = whats(cli)
    assert what.endswith("wrap-build")


def test_a_script_of_another_version(cli: Cli) -> None:
    place = set_up(cli, "s1")
    (place.hooks / "wrap-build").write_text("#!/bin/sh\n")
    (what,) = whats(cli)
    assert "another version" in what


def test_the_hooks_of_the_peer(cli: Cli) -> None:
    peer = 'pre-remove-commands: ["/x/opam-bin.exe" "pre-remove"]\n'
    cli.make_root("s1", more=peer)
    done = cli("status", "--json")
    assert (done.code, len(done.json["hooks"]["peers"])) == (0, 1)
    assert any("--replace-peer" in note for note in done.json["notes"])
    set_up(cli, "s1", more=peer)
    (what,) = whats(cli)
    assert "both together can't work" in what


def test_hooks_of_others_are_shown(cli: Cli) -> None:
    set_up(cli, "s1", more='pre-remove-commands: ["notify" name]\n')
    done = cli("status")
    assert done.code == 0
    assert 'of others: pre-remove-commands: ["notify" name]' in done.out


def test_a_dangling_link(cli: Cli) -> None:
    place = set_up(cli, "s1")
    place.link.parent.mkdir(parents=True, exist_ok=True)
    place.link.unlink(missing_ok=True)
    place.link.symlink_to(cli.folder / "gone" / "opam-bin")
    (what,) = whats(cli)
    assert what.endswith("gone/opam-bin, which is gone")


def test_a_session_that_was_killed_is_no_fault(cli: Cli) -> None:
    set_up(cli, "s1")
    Session.of(cli.root, cli.root / "s1").create()
    (cli.root / "s1/.opam-switch/lock").touch()
    done = cli("status", "--json")
    assert done.code == 0
    assert done.json["switches"][0]["session"] == "left over"
    assert any("session was killed" in note for note in done.json["notes"])


def test_a_session_that_goes_on(cli: Cli) -> None:
    set_up(cli, "s1")
    Session.of(cli.root, cli.root / "s1").create()
    journal = cli.root / "plugins/opam-bin" / f"journal{cli.root}/s1.json"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"zed.1.0": []}')
    lock = cli.root / "s1/.opam-switch/lock"
    lock.touch()
    ready, tell = os.pipe()
    end, stop = os.pipe()
    child = os.fork()
    if child == 0:
        with lock.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            os.write(tell, b"!")
            os.read(end, 1)
        os._exit(0)
    os.read(ready, 1)
    done = cli("status", "--json")
    os.write(stop, b"!")
    os.waitpid(child, 0)
    assert (done.code, done.json["notes"]) == (0, [])
    assert done.json["switches"][0]["session"] == "running"
    assert done.json["switches"][0]["interrupted"] == []


@pytest.mark.parametrize(
    ("content", "words", "packages"),
    [
        pytest.param(
            json.dumps({"zed.1.0": ["lib/zed"]}), "interrupted (zed.1.0)", ["zed.1.0"], id="a package"
        ),
        pytest.param("{", "can't be read", [], id="damaged"),
    ],
)
def test_an_interrupted_restore(cli: Cli, content: str, words: str, packages: list[str]) -> None:
    set_up(cli, "s1")
    journal = cli.root / "plugins/opam-bin" / f"journal{cli.root}/s1.json"
    journal.parent.mkdir(parents=True)
    journal.write_text(content)
    (what,) = whats(cli)
    assert words in what
    assert cli("status", "--json").json["switches"][0]["interrupted"] == packages


def test_a_root_that_can_not_be_read(cli: Cli) -> None:
    cli.make_root("s1")
    (cli.root / "config").write_text("switch: [")
    (what,) = whats(cli)
    assert f"{cli.root}/config" in what


def test_a_switch_that_is_gone(cli: Cli) -> None:
    cli.make_root("s1", "s2")
    (cli.root / "s2/.opam-switch/switch-config").unlink()
    (what,) = whats(cli)
    assert "there is no switch s2" in what


def test_looking_changes_nothing(cli: Cli) -> None:
    cli.fill("zed")
    set_up(cli, "s1")

    def everything() -> dict[str, tuple[int, int]]:
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in cli.folder.rglob("*")}

    before = everything()
    diagnosis.look(os.environ, full=True)
    # SQLite makes its side files again for every reader of a WAL database
    assert {name for name in everything() if "sqlite-" not in name} == {
        name for name in before if "sqlite-" not in name
    }
    changed = {name for name, seen in everything().items() if before.get(name) != seen}
    assert {name for name in changed if "sqlite" not in name} <= {str(cli.cache)}


def test_remotes_and_whether_they_answered(cli: Cli) -> None:
    cli.fill("zed")
    set_up(cli)
    cli.setenv("OPAMBIN_REMOTE", "https://me:secret@cache.example.org/x http://127.0.0.1:9/ /srv/new")
    cli.setenv("OPAMBIN_TRUSTED_KEYS", str(CI.public))
    now = int(time.time())
    with Store.open(cli.cache) as store:
        memory = Memory(store.index)
        memory.keep_state("https://cache.example.org/x", b"")
        memory.note_silent("http://127.0.0.1:9", "no route to host")
    first, dead, new = cli("status", "--json").json["remotes"]
    assert (first["name"], first["url"]) == ("environment", "https://cache.example.org/x")
    assert (first["write"], first["trust"]["mode"], first["problem"]) == (True, "any", None)
    assert now <= first["answered"] <= now + 60
    assert (first["silent"], first["dead"]) == (None, False)
    assert now <= dead["silent"] <= now + 60
    assert (dead["answered"], dead["silent_reason"], dead["dead"]) == (None, "no route to host", True)
    assert (new["answered"], new["silent"], new["dead"]) == (None, None, False)
    said = cli("status").out
    assert "Remote: environment: https://cache.example.org/x (read, write; signed by one of the" in said
    assert "secret" not in said
    assert " s ago\nRemote: environment-2: http://127.0.0.1:9/" in said
    assert re.search(r"\n  silent \d+ s ago: no route to host; never answered\n", said)
    assert said.count("\n  not asked yet\n") == 1
    cli.setenv("OPAMBIN_OFFLINE", "true")
    assert "Note: no remote is asked (offline)" in cli("status").out


def test_remotes_that_can_not_be_asked(cli: Cli) -> None:
    set_up(cli)
    cli.setenv("OPAMBIN_REMOTE", "https://cache.example.org/x")
    (problem,) = whats(cli)
    assert problem.startswith("remote environment: trusted keys that have to sign: 1, but only 0 can count")
    assert "\n  can't be asked\n" in cli("status").out
    cli.setenv("OPAMBIN_REMOTE", "nonsense")
    assert whats(cli) == ["not a remote: 'nonsense'; a directory is named with its whole path"]
