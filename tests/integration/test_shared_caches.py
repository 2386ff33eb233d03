"""Real libraries: built on one machine, pushed to each kind of remote, restored without sources."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import servers
from trees import differences
from worlds import World, sandbox_works

from opambin.trust.keys import SecretKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import BuiltCorpus
    from worlds import Done

pytestmark = pytest.mark.integration
KEY = SecretKey("ci", b"i" * 32)
RELEASE = SecretKey("release", b"r" * 32)
_numbers = itertools.count(100)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A remote, for those who may write and for those who read."""

    url: str
    environ: dict[str, str]


@contextmanager
def directory(folder: Path) -> Iterator[Place]:
    yield Place(str(folder / "remote"), {})


@contextmanager
def web(folder: Path) -> Iterator[Place]:
    with servers.nginx(folder / "www", dav=True) as server:
        yield Place(server.url, {})


@contextmanager
def bucket(folder: Path) -> Iterator[Place]:
    pytest.importorskip("obstore")
    with servers.s3(folder) as server:
        yield Place("s3://cache/team", servers.s3_environ(server))


@contextmanager
def registry(folder: Path) -> Iterator[Place]:
    with servers.registry(folder) as server:
        yield Place(f"oci://{server.host}/team/cache", {})


@pytest.fixture(scope="module")
def elsewhere(built_corpus: BuiltCorpus) -> Iterator[World]:
    """Another machine: a root of its own, made before the server with repository and sources stops."""
    built = built_corpus
    folder = built.world.folder.parent / "other"
    address = f"{built.server.url}/{built.corpus.repository}"
    world = World.make(folder, built.world.program, address, sandbox=sandbox_works())
    built.server.in_service = False
    hidden = built.served.rename(built.served.with_name("hidden-from-others"))
    yield world
    hidden.rename(built.served)
    built.server.in_service = True
    shutil.rmtree(folder)


def machine(elsewhere: World) -> World:
    """The other machine with an empty store, and a home of its own for what was seen of remotes."""
    return dataclasses.replace(elsewhere, number=next(_numbers))


def push(built: BuiltCorpus, place: Place, *args: str) -> dict[str, Any]:
    more = place.environ | {"OPAMBIN_SIGNING_KEY": KEY.reveal()}
    words = ("push", "--switch", built.switch, "--closure", "--remote", place.url, "--json", *args)
    return dict(json.loads(built.world.opam_bin(*words, more=more).out))


def install(world: World, built: BuiltCorpus, more: dict[str, str], switch: str) -> list[dict[str, Any]]:
    """Make a switch with the compiler, install everything; returns what each step printed as JSON."""
    world.empty_switch(switch)
    world.opam("switch", "set-invariant", built.corpus.compiler, "--switch", switch, "--no-action")
    steps = []
    for packages in ((built.corpus.compiler,), built.corpus.packages):
        done = world.opam_bin("install", "--switch", switch, "--json-summary", *packages, more=more)
        steps.append({**json.JSONDecoder().raw_decode(done.out)[0], "said": done.err})
    return steps


@pytest.mark.parametrize("kind", [directory, web, bucket, registry], ids=lambda kind: kind.__name__)
def test_a_new_machine_gets_everything_without_a_source(
    built_corpus: BuiltCorpus,
    elsewhere: World,
    tmp_path: Path,
    kind: Any,  # noqa: ANN401 - one of the above
) -> None:
    built = built_corpus
    before = len(built.server.requests)
    with kind(tmp_path) as place:
        pushed = push(built, place)
        assert (pushed["failed"], pushed["left"], pushed["missing"]) == ({}, {}, [])
        again = push(built, place)
        assert (again["pushed"], len(again["there"])) == ([], len(pushed["pushed"]))
        world = machine(elsewhere)
        more = place.environ | {"OPAMBIN_REMOTE": place.url, "OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
        switch = f"s{world.number}"
        steps = install(world, built, more, switch)
    came = {row["package"] for step in steps for row in step["restored"]}
    came |= {package for step in steps for package in step["checked"]}
    assert [step["left_to_opam"] for step in steps] == [{}, {}]
    assert [step["reports"] for step in steps] == [[], []]
    assert came == set(built.world.installed(built.switch))
    assert "fetched from environment" in steps[-1]["said"]
    assert len(built.server.requests) == before
    assert differences(built.prefix, world.prefix(switch)) == []
    if kind is directory:
        works(world, switch, tmp_path)
    world.opam("switch", "remove", switch)


def works(world: World, switch: str, folder: Path) -> None:
    """Compile, link and run a program with what was restored."""
    (folder / "power.ml").write_text("let () = print_endline (Z.to_string (Z.pow (Z.of_int 2) 100))\n")
    words = ("ocamlfind", "ocamlopt", "-package", "zarith", "-linkpkg", "power.ml", "-o", "power")
    world.run("opam", "exec", "--switch", switch, "--", *words, folder=folder)
    assert world.run(str(folder / "power")).out == "1267650600228229401496703205376\n"


def test_plain_opam_restores_from_a_remote_too(
    built_corpus: BuiltCorpus, elsewhere: World, tmp_path: Path
) -> None:
    """opam downloads sources before it builds; a package without one needs none."""
    built = built_corpus
    with directory(tmp_path) as place:
        push(built, place)
        world = machine(elsewhere)
        switch = f"s{world.number}"
        world.empty_switch(switch)
        done = world.opam(
            "install", "--switch", switch, built.corpus.compiler, more={"OPAMBIN_REMOTE": place.url}
        )
        world.opam("switch", "remove", switch)
    assert "fetched from environment" in done.text
    assert "restored" in done.text


def test_only_what_was_released_reaches_those_who_want_releases(
    built_corpus: BuiltCorpus, elsewhere: World, tmp_path: Path
) -> None:
    built = built_corpus
    compiler = built.corpus.compiler
    with directory(tmp_path) as place:
        push(built, place)
        keys = {"OPAMBIN_TRUSTED_KEYS": f"staging@{KEY.public} release@{RELEASE.public}"}
        config = tmp_path / "config"
        more = keys | {"XDG_CONFIG_HOME": str(config)}
        world = machine(elsewhere)
        world.opam_bin("remote", "add", "team", place.url, "--key", "ci", "--key", "release", more=more)
        switch = f"s{world.number}"
        world.empty_switch(switch)

        def rehearse() -> Done:
            words = ("install", "--switch", switch, compiler, "--dry-run", "--refresh")
            return world.opam_bin(*words, more=more)

        before = rehearse()
        assert "opam-bin: not taken from remote team: " in before.err
        assert ": signed by the key ci, which is for staging only\n" in before.err
        assert "fetches" not in before.out
        signing = keys | {"OPAMBIN_SIGNING_KEY": RELEASE.reveal()}
        signed = world.opam_bin("sign", "--all", "--remote", place.url, "--json", more=signing)
        assert json.loads(signed.out)["refused"] == {}
        after = rehearse()
        assert "not taken from remote team" not in after.err
        assert "\nfetches " in after.out
        world.opam("switch", "remove", switch)


def test_a_bundle_on_a_machine_without_a_network(
    built_corpus: BuiltCorpus, elsewhere: World, tmp_path: Path
) -> None:
    built = built_corpus
    path = tmp_path / "all of it.bundle"
    signing = {"OPAMBIN_SIGNING_KEY": KEY.reveal()}
    made = built.world.opam_bin("bundle", "create", str(path), "--switch", built.switch, more=signing)
    assert "snapshots in" in made.out
    world = machine(elsewhere)
    switch = f"s{world.number}"
    world.empty_switch(switch)
    refused = world.opam_bin("bundle", "install", str(path), "--switch", switch, "--dry-run", code=2)
    nothing = f"it is signed by the key {KEY.public.id[:16]}, which is not trusted here"
    assert f"opam-bin: bundle all of it.bundle: nothing is taken from it: {nothing}" in refused.err
    assert refused.out == ""
    trusting = {"OPAMBIN_TRUSTED_KEYS": str(KEY.public), "OPAMBIN_OFFLINE": "true"}
    world.opam_bin("bundle", "install", str(path), "--switch", switch, more=trusting)
    assert world.installed(switch) == built.world.installed(built.switch)
    world.opam("switch", "remove", switch)


@pytest.mark.slow
def test_pulling_takes_little_more_than_curl_and_tar(
    built_corpus: BuiltCorpus,
    elsewhere: World,
    tmp_path: Path,
    record_property: Any,  # noqa: ANN401 - pytest's
) -> None:
    """Allowed: 1.5 times ``curl`` of the same and ``unzstd | tar x``, and 0.5 s; best of three."""
    built = built_corpus
    www = tmp_path / "www"
    packages = (built.corpus.compiler, *built.corpus.packages)
    with servers.nginx(www) as server:
        pushed = push(built, Place(str(www), {}))["pushed"]
        more = {"OPAMBIN_REMOTE": server.url, "OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
        ours, plain = [], []
        for turn in range(3):
            world = machine(elsewhere)
            switch = f"s{world.number}"
            world.empty_switch(switch)
            found = json.loads(world.opam_bin("pull", *packages, "--switch", switch, "--json", more=more).out)
            ours.append(found["seconds"])
            world.opam("switch", "remove", switch)
            # what only looks at the system is looked at anew, and not fetched
            left = {row["package"] for row in pushed} - {row["package"] for row in found["fetched"]}
            assert left <= {f"ocaml.{built.corpus.compiler.partition('.')[2]}"}
            names = [archive_of(www, row["key"]) for row in found["fetched"]]
            assert found["bytes"] <= sum((www / name).stat().st_size for name in names)
            urls = "\n".join(f'url = "{server.url}/{name}"\nremote-name' for name in names)
            plain.append(_plainly(tmp_path / f"plain{turn}", urls))
    record_property("seconds", {"ours": ours, "plain": plain})
    print("pull:", ours, "curl and tar:", plain)  # noqa: T201 - shown by -rP
    assert min(ours) <= 1.5 * min(plain) + 0.5


def archive_of(remote: Path, key: str) -> str:
    """Return the name of the archive of a key that has one output."""
    envelope = json.loads((remote / f"keys/{key[:2]}/{key}/0").read_bytes())
    digest = json.loads(base64.b64decode(envelope["payload"]))["archive-digest"]
    return f"archives/{digest[:2]}/{digest[2:]}.tar.zst"


def _plainly(folder: Path, urls: str) -> float:
    """Fetch and unpack without us; returns the seconds it took."""
    folder.mkdir()
    (folder / "urls").write_text(urls)
    script = "curl -s -Z --parallel-max 4 -K urls && for it in *.tar.zst; do unzstd -q -c $it | tar x; done"
    begun = time.monotonic()
    subprocess.run(["sh", "-e", "-c", script], cwd=folder, check=True, capture_output=True)
    return time.monotonic() - begun


def test_an_old_copy_of_a_remote_is_not_taken_for_the_present_one(
    built_corpus: BuiltCorpus, elsewhere: World, tmp_path: Path
) -> None:
    built = built_corpus
    with servers.nginx(tmp_path / "www") as server:
        folder = Place(str(tmp_path / "www"), {})
        push(built, folder)
        signing = {"OPAMBIN_SIGNING_KEY": KEY.reveal(), "OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
        built.world.opam_bin("remote", "snapshot", folder.url, more=signing)
        old = (tmp_path / "www/snapshot.json").read_bytes()
        built.world.opam_bin("remote", "snapshot", folder.url, more=signing)
        world = machine(elsewhere)
        switch = f"s{world.number}"
        world.empty_switch(switch)
        more = {"OPAMBIN_REMOTE": server.url, "OPAMBIN_TRUSTED_KEYS": str(KEY.public)}
        more["XDG_STATE_HOME"] = str(tmp_path / "state")
        words = ("install", "--switch", switch, built.corpus.compiler, "--dry-run", "--refresh")
        assert "fetches" in world.opam_bin(*words, more=more).out
        (tmp_path / "www/snapshot.json").write_bytes(old)
        done = world.opam_bin(*words, more=more)
        assert "fetches" not in done.out
        assert "is not to be believed" in done.err
        world.opam("switch", "remove", switch)
