"""Whatever a remote does wrong, the package gets installed, from source, and a line says why."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from faulty_folder import Faulty, serving

from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worlds import Done, World

pytestmark = pytest.mark.integration
KEY = SecretKey("ci", b"k" * 32)
_numbers = itertools.count(500)


@dataclasses.dataclass(frozen=True, slots=True)
class Cache:
    """A remote that holds some tiny packages, and a machine that has nothing."""

    world: World
    remote: Faulty
    switch: str

    def install(self, *names: str, program: str = "opam-bin", **more: str) -> Done:
        """Install packages in an empty switch, with the remote configured."""
        environ = {
            "OPAMBIN_REMOTE": self.remote.url,
            "OPAMBIN_TRUSTED_KEYS": str(KEY.public),
            "XDG_STATE_HOME": str(self.world.folder / f"state{self.world.number}"),
            **more,
        }
        if program == "opam":
            return self.world.opam("install", "--switch", self.switch, *names, more=environ)
        return self.world.opam_bin("install", "--switch", self.switch, *names, more=environ)


@pytest.fixture(scope="module")
def filled(tiny_root: World) -> Path:
    """A folder with the layout of a remote, filled from a switch that was built."""
    world = dataclasses.replace(tiny_root, number=next(_numbers))
    world.empty_switch(f"s{world.number}")
    world.opam("install", "--switch", f"s{world.number}", "top", "leaf")
    folder = world.folder / f"remote{world.number}"
    more = {"OPAMBIN_SIGNING_KEY": KEY.reveal()}
    done = world.opam_bin("push", "--all", "--remote", str(folder), "--json", more=more)
    assert len(json.loads(done.out)["pushed"]) == 4
    return folder


@pytest.fixture
def cache(tiny_root: World, filled: Path, tmp_path: Path) -> Iterator[Cache]:
    world = dataclasses.replace(tiny_root, number=next(_numbers))
    switch = f"s{world.number}"
    world.empty_switch(switch)
    copy = tmp_path / "remote"
    shutil.copytree(filled, copy)
    with serving(copy) as remote:
        yield Cache(world, remote, switch)


@pytest.mark.parametrize("program", ["opam-bin", "opam"])
def test_without_a_fault_nothing_is_built(cache: Cache, program: str) -> None:
    done = cache.install("top", "leaf", program=program)
    assert cache.world.built == []
    assert "4 snapshots fetched from environment" in done.text
    assert cache.world.installed(cache.switch) == ["flat.1", "leaf.1", "top.1", "tree.2"]


SILENT = "going on without remote environment: "
STATEMENT = "remote environment: statement about "
ARCHIVE = "remote environment: archive of leaf.1 "
WORDS = {
    ("error", ""): [f"{SILENT}{{url}}: reading snapshot.json: the server answers 500"],
    ("error", "archives/"): [f"{SILENT}{{url}}: reading a part: the server answers 500"],
    ("error", "keys/"): [f"{SILENT}{{url}}: reading keys/", "/0: the server answers 500"],
    ("forbidden", ""): [f"{SILENT}{{url}}: reading snapshot.json is not allowed (403 Forbidden)"],
    ("forbidden", "archives/"): ["remote environment: leaf.1: its archive is not there"],
    # object stores say so of what is not there, to who may not list
    ("forbidden", "keys/"): ["nothing of this is in the store or on a remote"],
    ("reset", ""): [f"{SILENT}{{url}}: the answer breaks off, 4 times"],
    ("reset", "archives/"): [f"{SILENT}{{url}}: the connection breaks off"],
    ("reset", "keys/"): [f"{SILENT}{{url}}: the answer breaks off, 4 times"],
    ("loop", ""): [f"{SILENT}{{url}}: more than 5 redirects"],
    ("loop", "archives/"): [f"{SILENT}{{url}}: more than 5 redirects"],
    ("loop", "keys/"): [f"{SILENT}{{url}}: more than 5 redirects"],
    ("truncated", ""): [f"{SILENT}{{url}}: the answer breaks off, 4 times"],
    ("truncated", "archives/"): [f"{SILENT}{{url}}: the connection breaks off"],
    ("truncated", "keys/"): [f"{SILENT}{{url}}: the answer breaks off, 4 times"],
    ("wrong", ""): [STATEMENT, "wrong signature by the key ci"],
    ("wrong", "archives/"): [
        ARCHIVE,
        "wrong digest",
        "not fetched from remote environment: leaf.1: what it sent is not what was signed",
    ],
    ("wrong", "keys/"): [STATEMENT, "wrong signature by the key ci"],
    ("another", ""): [STATEMENT, "a statement about another key"],
    ("another", "archives/"): [f"{ARCHIVE}(head): wrong digest"],
    ("another", "keys/"): [STATEMENT, "a statement about another key"],
    ("longer", ""): [STATEMENT, "not an envelope, or cut off"],
    ("longer", "archives/"): [
        "remote environment: {url}/archives/",
        "wrong length (expected",
        "not fetched from remote environment: leaf.1: what it sent is not what was signed",
    ],
    ("longer", "keys/"): [STATEMENT, "not an envelope, or cut off"],
    ("page", ""): ["remote environment: snapshot.json of remote environment: not an envelope, or cut off"],
    ("page", "archives/"): [f"{ARCHIVE}(head): wrong digest"],
    ("page", "keys/"): [STATEMENT, "not an envelope, or cut off"],
}
"""Fault, and the names that it concerns, to what the user is told."""


USUAL = {("error", ""), ("wrong", "archives/"), ("another", "keys/"), ("truncated", "archives/")}


@pytest.mark.parametrize(
    ("fault", "only"),
    [
        pytest.param(*case, id=" ".join(case), marks=() if case in USUAL else pytest.mark.slow)
        for case in sorted(WORDS)
    ],
)
def test_a_fault_costs_a_line_and_a_build(cache: Cache, fault: str, only: str) -> None:
    cache.remote.fault, cache.remote.only = fault, only
    done = cache.install("leaf")
    assert cache.world.built == ["leaf.1"]
    assert cache.world.installed(cache.switch) == ["leaf.1"]
    for words in WORDS[fault, only]:
        assert words.format(url=cache.remote.url) in done.text
    assert done.seconds < 30


def test_a_remote_that_is_not_there(cache: Cache) -> None:
    done = cache.install("leaf", OPAMBIN_REMOTE="http://127.0.0.1:1/")
    assert cache.world.built == ["leaf.1"]
    assert done.text.count("going on without remote environment") == 1
    assert done.seconds < 15


@pytest.mark.slow
def test_a_remote_that_drips(cache: Cache) -> None:
    cache.remote.fault = "drip"
    done = cache.install("leaf")
    assert cache.world.built == ["leaf.1"]
    assert "going on without remote environment" in done.text
    assert done.seconds < 40


def test_what_fails_under_others_leaves_them_to_opam(cache: Cache) -> None:
    """The archive of ``tree`` is gone: what stands on it waits until opam has built it."""
    (gone,) = [path for path in cache.remote.root.glob("keys/*/*/0") if b'"tree"' in _payload(path)]
    digest = json.loads(_payload(gone))["archive-digest"]
    (cache.remote.root / f"archives/{digest[:2]}/{digest[2:]}.tar.zst").unlink()
    done = cache.install("top", "leaf")
    assert cache.world.built[:1] == ["tree.2"]
    assert "leaf.1" not in cache.world.built
    assert cache.world.installed(cache.switch) == ["flat.1", "leaf.1", "top.1", "tree.2"]
    assert "its archive is not there" in done.text


def test_a_key_that_is_not_trusted(cache: Cache) -> None:
    done = cache.install("leaf", OPAMBIN_TRUSTED_KEYS=str(SecretKey("other", b"o" * 32).public))
    assert cache.world.built == ["leaf.1"]
    assert "not taken from remote environment: leaf.1: signed by the key " in done.text
    assert not any(name.startswith("archives") for name in cache.remote.requests)


def test_offline_asks_nobody(cache: Cache) -> None:
    cache.install("leaf", OPAMBIN_OFFLINE="true")
    assert cache.world.built == ["leaf.1"]
    assert cache.remote.requests == []


@pytest.mark.parametrize(
    "remote", ["ftp://example.org/x", "https://user@", "nonsense"], ids=["scheme", "no host", "no url"]
)
def test_a_remote_that_can_be_none(cache: Cache, remote: str) -> None:
    done = cache.install("leaf", OPAMBIN_REMOTE=remote)
    assert cache.world.built == ["leaf.1"]
    assert "not a remote" in done.text


def test_a_remote_without_a_trusted_key_is_not_asked(cache: Cache) -> None:
    done = cache.install("leaf", OPAMBIN_TRUSTED_KEYS="")
    assert cache.world.built == ["leaf.1"]
    assert cache.remote.requests == []
    assert "remote environment: trusted keys that have to sign: 1, but only 0 can count" in done.text


def _payload(path: Path) -> bytes:
    import base64

    return base64.b64decode(json.loads(path.read_bytes())["payload"])


@dataclasses.dataclass(frozen=True, slots=True)
class Pushing:
    """A machine that pushes to a folder what its sessions have built."""

    cache: Cache
    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        return {
            "OPAMBIN_REMOTE": str(self.folder),
            "OPAMBIN_AUTOPUSH": "true",
            "OPAMBIN_SIGNING_KEY": KEY.reveal(),
            "OPAMBIN_TRUSTED_KEYS": str(KEY.public),
        }

    def log(self) -> str:
        """Return what the process in the background says, when it has said something."""
        path, end = self.cache.world.cache / "logs/push.log", time.monotonic() + 30
        while not path.exists() or "pushed" not in path.read_text():
            assert time.monotonic() < end, path.read_text() if path.exists() else "no log"
            time.sleep(0.05)
        return path.read_text()


@pytest.mark.parametrize("program", ["opam-bin", "opam"])
def test_autopush_needs_nobody_who_waits(cache: Cache, tmp_path: Path, program: str) -> None:
    """The process in the background once ended at once: a hook's interpreter does not find the program."""
    pushing = Pushing(cache, tmp_path / "mine")
    words = ("install", "--switch", cache.switch, "leaf", "lone")
    run = cache.world.opam if program == "opam" else cache.world.opam_bin
    run(*words, more=pushing.environ)
    assert " 2 pushed to environment (" in pushing.log()
    assert len(list(pushing.folder.glob("keys/*/*/0"))) == 2


def test_autopush_is_finished_when_one_waits_for_it(cache: Cache, tmp_path: Path) -> None:
    pushing = Pushing(cache, tmp_path / "mine")
    cache.world.opam("install", "--switch", cache.switch, "leaf", "lone", more=pushing.environ)
    done = cache.world.opam_bin("push", "--wait", more=pushing.environ)
    assert len(list(pushing.folder.glob("keys/*/*/0"))) == 2
    assert os.listdir(cache.world.cache / "outbox") == []  # noqa: PTH208 - names
    assert (done.text + pushing.log()).count(" 2 pushed to environment (") == 1  # by one of the two


def test_autopush_offline_waits_for_the_next_push(cache: Cache, tmp_path: Path) -> None:
    pushing = Pushing(cache, tmp_path / "mine")
    offline = pushing.environ | {"OPAMBIN_OFFLINE": "true"}
    cache.world.opam("install", "--switch", cache.switch, "leaf", "lone", more=offline)
    assert len(os.listdir(cache.world.cache / "outbox")) == 2  # noqa: PTH208 - names
    assert not (cache.world.cache / "logs/push.log").exists()
    cache.world.opam_bin("push", "--wait", more=pushing.environ)
    assert len(list(pushing.folder.glob("keys/*/*/0"))) == 2


def test_what_commands_say_about_a_remote(cache: Cache) -> None:
    more = {"OPAMBIN_REMOTE": cache.remote.url, "OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
    at = ("--switch", cache.switch)
    explained = cache.world.opam_bin("explain", "leaf", *at, more=more)
    assert "hit: it would be fetched from remote environment" in explained.out
    assert ", on remote environment)" in explained.out
    forecast = json.loads(cache.world.opam_bin("install", "top", *at, "--dry-run", "--json", more=more).out)
    assert forecast["restored"] == 3
    assert forecast["download_bytes"] == sum(row["download_bytes"] for row in forecast["packages"]) > 0
    assert {row["remote"] for row in forecast["packages"]} == {"environment"}
    nobody = more | {"OPAMBIN_TRUSTED_KEYS": str(SecretKey("other", b"o" * 32).public)}
    untrusted = cache.world.opam_bin("explain", "leaf", *at, more=nobody)
    assert "miss: no snapshot has this key" in untrusted.out
    assert f"signed by the key {KEY.public.id[:16]}, which is not trusted here" in untrusted.out


def test_a_pull_fills_the_store_and_installs_nothing(cache: Cache) -> None:
    more = {"OPAMBIN_REMOTE": cache.remote.url, "OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
    at = ("--switch", cache.switch)
    rehearsed = cache.world.opam_bin("pull", "top", *at, "--dry-run", more=more)
    assert "3 snapshots would be fetched" in rehearsed.out
    assert cache.world.manifests == []
    done = json.loads(cache.world.opam_bin("pull", "top", *at, "--json", more=more).out)
    assert sorted(row["package"] for row in done["fetched"]) == ["flat.1", "top.1", "tree.2"]
    assert cache.world.installed(cache.switch) == []
    asked = len(cache.remote.requests)
    cache.install("top", OPAMBIN_REMOTE="", OPAMBIN_TRUSTED_KEYS="")
    assert (cache.world.built, len(cache.remote.requests)) == ([], asked)
    shutil.rmtree(cache.world.cache)
    again = cache.world.opam_bin("pull", *at, more=more)
    assert "3 snapshots fetched from environment" in again.out
    assert "3 snapshots in the store already" in cache.world.opam_bin("pull", *at, more=more).out


def test_a_pull_without_a_remote_says_what_is_missing(cache: Cache) -> None:
    done = cache.world.opam_bin("pull", "leaf", "--switch", cache.switch, code=4)
    assert "no remote is configured: see opam-bin remote add" in done.err
    off = {"OPAMBIN_REMOTE": cache.remote.url, "OPAMBIN_OFFLINE": "true"}
    done = cache.world.opam_bin("pull", "leaf", "--switch", cache.switch, code=4, more=off)
    assert "remotes are switched off (offline)" in done.err


def test_a_switch_is_created_with_a_compiler_from_a_remote(cache: Cache) -> None:
    """Any package may stand for a compiler."""
    more = {"OPAMBIN_REMOTE": cache.remote.url, "OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
    name = f"{cache.switch}-new"
    done = cache.world.opam_bin("switch", "create", name, "leaf", "--no-switch", more=more)
    assert "1 restored" in done.text
    assert cache.world.built == []
    assert cache.world.installed(name) == ["leaf.1"]
    cache.world.opam("switch", "remove", name)
