"""The front door against opam: install, upgrade, reinstall, switch create, sync and exec give the same."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from typing import TYPE_CHECKING

import pytest
import tiny
from trees import changes_problems, differences, metadata_differences, shape
from worlds import World

from demo.server import Server
from opambin.model import Symbol
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

MORE = {
    "comp.1": f'flags: compiler\ndepends: ["base" {{post}}]\n{tiny.LEAF}',
    "comp.2": f"flags: compiler\n{tiny.LEAF}",
    "base.1": f'depends: ["comp"]\n{tiny.LEAF}',
    "talks.1": f"""depends: ["leaf"]
post-messages: ["in %{{lib}}%" {{success}} "sad" {{failure}} "two\\nlines"]
{tiny.LEAF}""",
    "sets.1": f'setenv: [[FROM_SETS = "%{{prefix}}%/x"]]\n{tiny.LEAF}',
    "tested.1": f'depends: ["leaf"]\nrun-test: [["false"]]\n{tiny.LEAF}',
    "chooses.1": f'depopts: ["leaf"]\n{tiny.LEAF}',
    "rival.1": f'conflicts: ["lone"]\n{tiny.LEAF}',
    "clumsy.1": f'remove: [["true"]]\n{tiny.LEAF}',
    "wants.1": f'depexts: [["opam-bin-test-no-such-package"]]\n{tiny.LEAF}',
    "program.1": """install: [
  ["mkdir" "-p" bin]
  ["sh" "-c" "cp -L $(command -v ls) $1/program" "--" bin]
]
""",
    "conf-sh.1": 'flags: conf\nbuild: [["sh" "-c" "true"]]\n',
    "conf-asks.1": """flags: conf
build: [["sh" "-c" "
  printf 'opam-version: \\"2.0\\"\\nvariables { found: \\"%s\\" }\\n' $TEST_FOUND > conf-asks.config"]]
""",
}
_numbers = itertools.count(1)


def write_fetched(folder: Path, served: Path, url: str) -> None:
    """Add a package whose source is an archive behind ``url``."""
    served.mkdir(exist_ok=True)
    with tarfile.open(served / "fetched.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("fetched/x")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
    digits = hashlib.sha256((served / "fetched.tar.gz").read_bytes()).hexdigest()
    target = folder / "packages/fetched/fetched.1"
    target.mkdir(parents=True)
    (target / "opam").write_text(
        f'{tiny.HEAD}install: [["sh" "-c" "mkdir -p $1/lib/fetched; cp x $1/lib/fetched" "--" prefix]]\n'
        f'url {{ src: "{url}/fetched.tar.gz" checksum: "sha256={digits}" }}\n'
    )


@pytest.fixture(scope="session")
def door_server(short_folder: Path) -> Iterator[Server]:
    with Server(short_folder / "door-served", short_folder / "door-requests") as server:
        yield server


@pytest.fixture(scope="session")
def door_root(opam_program: str, short_folder: Path, door_server: Server) -> World:
    folder = short_folder / f"d{next(_numbers)}"
    repository = tiny.write(folder / "repo", MORE)
    write_fetched(repository, short_folder / "door-served", door_server.url)
    return World.make(folder, opam_program, str(repository), sandbox=False)


@pytest.fixture
def world(door_root: World) -> World:
    return dataclasses.replace(door_root, number=next(_numbers))


def roots(world: World, switch: str) -> list[str]:
    listed: str = world.opam("list", "--switch", switch, "--roots", "--short", "--columns=package").out
    return sorted(listed.split())


def same(world: World, left: str, right: str) -> None:
    """Both switches are what opam takes for the same, and has nothing to do in."""
    one, other = world.prefix(left), world.prefix(right)
    assert differences(one, other) == []
    assert metadata_differences(one, other) == []
    assert changes_problems(other) == []
    exports = [world.opam("switch", "export", "--switch", name, "-").out for name in (left, right)]
    assert exports[0] == exports[1]
    plans = [world.opam("upgrade", "--show-actions", "--switch", name).out for name in (left, right)]
    one_plan, other_plan = ([line for line in text.splitlines() if line[:1] != "#"] for text in plans)
    assert one_plan == other_plan


def origins(world: World, switch: str) -> dict[str, str]:
    """Where each package of a switch came from."""
    listed = json.loads(world.opam_bin("list", "--switch", switch, "--json").out)
    (only,) = listed["switches"]
    return {row["name"]: row["origin"] or "not on record" for row in only["packages"]}


def built(world: World) -> list[str]:
    """What was built since the last call."""
    found = world.built
    world.log.unlink(missing_ok=True)
    return found


# ---- install ----


def test_everything_is_restored_without_a_request(
    world: World, first: str, second: str, door_server: Server
) -> None:
    world.opam("install", "--switch", first, "fetched", "top", "sets")
    assert any("fetched.tar.gz" in path for path in door_server.requests)
    for kept in (world.root / "download-cache").glob("*/*/*"):
        kept.unlink()
    door_server.requests.clear()
    built(world)
    done = world.opam_bin("install", "--switch", second, "fetched", "top", "sets")
    assert "5 restored" in done.text
    assert door_server.requests == []
    assert built(world) == []
    same(world, first, second)
    shown = world.opam_bin("exec", "--switch", second, "--", "sh", "-c", 'echo "$0|$FROM_SETS"', "a 'b")
    assert shown.out == f"a 'b|{world.prefix(second)}/x\n"


def test_opam_builds_the_rest(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "flat")
    built(world)
    done = world.opam_bin("install", "--switch", second, "top", "lone")
    assert "2 restored" in done.text
    assert "opam-bin: lone.1, top.1 are left to opam: no snapshot has this key\n" in done.text
    assert "opam-bin: opam plans the rest once more, and builds it\n" in done.text
    assert sorted(built(world)) == ["lone.1", "top.1"]
    world.opam("install", "--switch", first, "top", "lone")
    assert differences(world.prefix(first), world.prefix(second)) == []
    assert roots(world, second) == ["lone.1", "top.1"]


def test_messages_are_those_of_opam(world: World, first: str, second: str) -> None:
    def messages(text: str) -> str:
        return text[text.index("<><> talks.1 installed") :].partition("\n#")[0].strip()

    built_ = world.opam("install", "--switch", first, "talks")
    restored = world.opam_bin("install", "--switch", second, "talks")
    wanted = messages(built_.out).replace(str(world.prefix(first)), str(world.prefix(second)))
    assert "two\n   lines" in wanted
    assert messages(restored.out) == wanted


def test_a_depopt_that_is_there_makes_another_cone(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "chooses")
    world.opam("install", "--switch", second, "leaf")
    built(world)
    done = world.opam_bin("install", "--switch", second, "chooses")
    assert "nothing of this is in the store" in done.text
    assert built(world) == ["chooses.1"]
    third = f"third-{world.number}"
    world.empty_switch(third)
    assert "1 restored" in world.opam_bin("install", "--switch", third, "chooses").text
    # the depopt comes, and opam recompiles: both builds are in the store
    done = world.opam_bin("install", "--switch", third, "leaf")
    assert "2 restored" in done.text, done.text
    assert built(world) == []
    world.opam("install", "--switch", second, "chooses", "leaf")
    same(world, second, third)


@pytest.mark.parametrize("locked", [False, True], ids=["definition", "locked"])
def test_the_dependencies_of_a_folder(world: World, first: str, second: str, *, locked: bool) -> None:
    project = world.folder / f"my project {world.number}"
    project.mkdir()
    text = f'{tiny.HEAD}depends: ["flat" "leaf" {{with-test}}]\nbuild: [["false"]]\n'
    (project / "mine.opam").write_text(text)
    locked_text = text.replace('"flat"', '"flat" {= "1"} "tree" {= "1"}')
    (project / "mine.opam.locked").write_text(locked_text)
    options = ["--locked"] if locked else []
    command = ["install", ".", "--deps-only", "--with-test", *options]
    world.run("opam", *command, "--switch", first, folder=project)
    built(world)
    done = world.run(sys.executable, "-m", "opambin", *command, "--switch", second, folder=project)
    assert "3 restored" in done.text
    assert built(world) == []
    assert roots(world, second) == roots(world, first)
    same(world, first, second)
    again = world.run(sys.executable, "-m", "opambin", *command, "--switch", second, folder=project)
    assert "Nothing to do" in again.text


def test_the_dependencies_of_a_name(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "--deps-only", "top")
    done = world.opam_bin("install", "--switch", second, "--deps-only", "top")
    assert "2 restored" in done.text
    assert roots(world, second) == ["flat.1"]
    same(world, first, second)


def test_a_folder_that_is_installed_stands_on_what_was_restored(
    world: World, first: str, second: str
) -> None:
    project = world.folder / f"pinned{world.number}"
    project.mkdir()
    say = f'[["sh" "-c" "{tiny.SAY}"]]'
    (project / "mine.opam").write_text(f'{tiny.HEAD}depends: ["flat"]\nbuild: {say}\n')
    world.opam("install", "--switch", first, "flat")
    built(world)
    command = (sys.executable, "-m", "opambin", "install", ".", "--switch", second)
    done = world.run(*command, folder=project)
    assert "2 restored" in done.text
    assert [name.partition(".")[0] for name in built(world)] == ["mine"]
    assert roots(world, second) == [
        package for package in roots(world, second) if package.startswith("mine.")
    ]


def test_a_local_switch(world: World, first: str) -> None:
    world.opam("install", "--switch", first, "top")
    folder = world.folder / f"local-{world.number}"
    folder.mkdir()
    world.run("opam", "switch", "create", ".", "--empty", "--description", "a test's", folder=folder)
    done = world.run(sys.executable, "-m", "opambin", "install", "top", folder=folder)
    assert "3 restored" in done.text
    assert changes_problems(folder / "_opam") == []
    assert differences(world.prefix(first), folder / "_opam") == []


def test_tests_that_are_asked_for_run(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "tested")
    built(world)
    plain = world.opam_bin("install", "--switch", second, "tested")
    assert "2 restored" in plain.text
    world.opam("remove", "--switch", second, "tested", "leaf")
    done = world.opam_bin("install", "--switch", second, "--with-test", "tested", code=None)
    assert done.code == 31
    assert "1 restored" in done.text
    assert "tested.1 is left to opam: its tests are to run" in done.text
    assert built(world) == ["tested.1"]
    assert world.installed(second) == ["leaf.1"]
    for wanted in (["-t"], ["--with-test"]):
        assert world.opam("install", "--switch", second, *wanted, "tested", code=None).code == 31


def test_system_packages_are_opams_business(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "--no-depexts", "wants")
    for options in ([], ["--assume-depexts"]):
        mine = world.opam_bin("install", "--switch", second, *options, "wants", code=None)
        theirs = world.opam("install", "--switch", second, *options, "wants", code=None)
        assert (mine.code, mine.err) == (theirs.code, theirs.err)
    done = world.opam_bin("install", "--switch", second, "--no-depexts", "wants")
    assert "1 restored" in done.text
    bypassed = [(world.prefix(name) / ".opam-switch/switch-config").read_text() for name in (first, second)]
    assert ("depext-bypass" in bypassed[1]) is ("depext-bypass" in bypassed[0])


def test_a_library_that_is_missing_makes_a_miss(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "program")
    with Store.open(world.cache) as store:
        (manifest,) = store.manifests.all()
        (own,) = manifest.imports
        libraries = {symbol.name: symbol for symbol in own.symbols if symbol.kind == "lib"}
        assert own.provider == "program"
        assert any(name.startswith("libc.") for name in libraries)
    assert "1 restored" in world.opam_bin("install", "--switch", second, "program").text
    world.opam("remove", "--switch", second, "program")
    with Store.open(world.cache) as store:
        store.drop(manifest.key, manifest.output)
        wanted = Symbol("lib", "libopam-bin-gone.so.7", "GONE_1.2")
        store.add(dataclasses.replace(manifest, imports=(dataclasses.replace(own, symbols=(wanted,)),)))
    done = world.opam_bin("install", "--dry-run", "--switch", second, "program")
    assert "the shared library libopam-bin-gone.so.7 with GONE_1.2 is not on this machine" in done.out
    done = world.opam_bin("install", "--switch", second, "program")
    assert "restored" not in done.text
    assert world.installed(second) == ["program.1"]


def test_checks_of_conf_packages_run(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "conf-sh", "leaf")
    done = world.opam_bin("install", "--switch", second, "conf-sh", "leaf")
    assert "1 restored, 1 checked" in done.text
    same(world, first, second)
    assert origins(world, second) == {"conf-sh": "on record", "leaf": "restored"}


def test_a_check_that_gives_something_else_is_no_snapshot_of_the_store(
    world: World, first: str, second: str
) -> None:
    more = {"TEST_FOUND": "one"}
    world.opam("install", "--switch", first, "conf-asks", more=more)
    world.opam_bin("install", "--switch", second, "conf-asks", more=more | {"TEST_FOUND": "another"})
    assert origins(world, second) == {"conf-asks": "not on record"}
    world.opam("remove", "--switch", second, "conf-asks")
    world.opam_bin("install", "--switch", second, "conf-asks", more=more)
    assert origins(world, second) == {"conf-asks": "on record"}


def test_a_dry_run_changes_nothing(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "flat")
    before = world.opam("switch", "export", "--switch", second, "-").out
    done = world.opam_bin("install", "--switch", second, "--dry-run", "--json", "top")
    found = json.loads(done.out)
    assert [(row["package"], row["verdict"]) for row in found["packages"]] == [
        ("tree.2", "hit"),
        ("flat.1", "hit"),
        ("top.1", "miss"),
    ]
    assert found["restored"] == 2
    assert found["bytes"] > 0
    assert found["packages"][2]["reason"] == "no snapshot has this key"
    assert "2 packages restored" in world.opam_bin("install", "--switch", second, "--dry-run", "top").out
    assert world.opam("switch", "export", "--switch", second, "-").out == before
    assert world.opam_bin("install", "--switch", second, "--dry-run", "nosuch", code=5).err


def test_a_summary_is_all_that_is_on_standard_output(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "flat")
    summary = json.loads(world.opam_bin("install", "--switch", second, "--json-summary", "top").out)
    assert [row["package"] for row in summary["restored"]] == ["tree.2", "flat.1"]
    assert summary["left_to_opam"] == {"top.1": "no snapshot has this key"}
    assert world.installed(second) == ["flat.1", "top.1", "tree.2"]
    again = json.loads(world.opam_bin("install", "--switch", second, "--json-summary", "top").out)
    assert (again["switch"], again["restored"], again["checked"], again["left_to_opam"]) == (
        second,
        [],
        [],
        {},
    )
    assert (again["reason"], set(again["seconds"].values())) == ("nothing to do", {0.0})
    assert again.keys() == summary.keys()
    alone = world.opam_bin(
        "install", "--switch", second, "--json-summary", "leaf", more={"OPAMBIN_RESTORE": "no"}
    )
    assert json.loads(alone.out)["reason"] == "restoring is switched off by the configuration"
    assert "installed leaf.1" in alone.err


# ---- upgrade, reinstall, removal ----


def test_an_upgrade_and_what_stands_on_it(world: World, first: str, second: str) -> None:
    for switch in (first, second):
        world.opam("install", "--switch", switch, "tree.1", "top")
    world.opam("upgrade", "--switch", first, "tree")
    built(world)
    done = world.opam_bin("upgrade", "--switch", second, "tree")
    assert "3 restored" in done.text
    assert built(world) == []
    assert world.run(str(world.prefix(second) / "bin/tree")).out == f"lib: {world.prefix(second)}/lib\n"
    same(world, first, second)
    world.opam("remove", "--switch", second, "top", "tree", "flat")
    third = f"t{world.number}"
    world.empty_switch(third)
    assert shape(world.prefix(second)) == shape(world.prefix(third))


def test_an_upgrade_of_which_a_part_is_stored_is_all_opams(world: World, first: str, second: str) -> None:
    """opam would not build again what stands on a new version once that is there."""
    for switch in (first, second):
        world.opam("install", "--switch", switch, "tree.1", "top")
    third = f"t{world.number}"
    world.empty_switch(third)
    world.opam("install", "--switch", third, "tree.2")
    built(world)
    done = world.opam_bin("upgrade", "--switch", second, "tree")
    assert sorted(built(world)) == ["flat.1", "top.1"], done.text
    world.opam("upgrade", "--switch", first, "tree")
    same(world, first, second)


@pytest.mark.parametrize("name", ["leaf", "tree", "top"])
def test_a_reinstallation_changes_nothing(world: World, first: str, second: str, name: str) -> None:
    for switch in (first, second):
        world.opam("install", "--switch", switch, "top", "leaf")
    built(world)
    done = world.opam_bin("reinstall", "--switch", second, name)
    assert "restored" in done.text
    assert built(world) == []
    same(world, first, second)


def test_what_conflicts_makes_room(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "rival")
    world.opam("install", "--switch", second, "lone")
    built(world)
    done = world.opam_bin("install", "--switch", second, "rival")
    assert "1 restored" in done.text
    assert world.installed(second) == ["rival.1"]
    assert not (world.prefix(second) / "lib/lone").exists()
    same(world, first, second)


def test_what_has_commands_for_its_removal_is_removed_by_opam(world: World, first: str, second: str) -> None:
    for switch in (first, second):
        world.opam("install", "--switch", switch, "clumsy")
    done = world.opam_bin("reinstall", "--switch", second, "clumsy")
    assert "opam-bin: clumsy.1 is left to opam: clumsy.1 has commands of its own for its removal" in done.text
    same(world, first, second)


def test_files_that_were_edited_are_opams_business(world: World, first: str) -> None:
    world.opam("install", "--switch", first, "leaf")
    (world.prefix(first) / "lib/leaf/x").write_text("edited\n")
    done = world.opam_bin("reinstall", "--switch", first, "leaf")
    assert "opam-bin: leaf.1 is left to opam: lib/leaf/x is not as leaf.1 installed it" in done.text
    assert (world.prefix(first) / "lib/leaf/x").read_text() == "leaf\n"
    assert changes_problems(world.prefix(first)) == []


# ---- switch create ----


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["comp.1"], id="name and version"),
        pytest.param(["comp"], id="name"),
        pytest.param(["base.1", "--no-switch"], id="not selected"),
        pytest.param(["comp.1", "--description", "two words"], id="described"),
    ],
)
def test_a_switch_with_its_compiler(world: World, words: list[str]) -> None:
    name = f"made{world.number}"
    prefix = world.prefix(name)

    def records() -> dict[str, str]:
        found = {"config": (world.root / "config").read_text()}
        for file in ("switch-config", "switch-state", "environment"):
            found[file] = (prefix / ".opam-switch" / file).read_text()
        for path in sorted((world.root / "opam-init").glob("variables.*")):
            found[path.name] = path.read_text()
        return found

    world.opam("switch", "create", name, *words)
    theirs, files = records(), shape(prefix)
    world.opam("switch", "remove", name)
    built(world)
    done = world.opam_bin("switch", "create", name, *words)
    assert "restored" in done.text
    assert built(world) == []
    assert records() == theirs
    assert shape(prefix) == files
    assert changes_problems(prefix) == []
    assert sorted(path.name for path in (prefix / ".opam-switch").iterdir() if path.name == "backup") == []
    world.opam("switch", "remove", name)


def test_a_dry_run_of_a_switch_leaves_nothing(world: World) -> None:
    """opam plans only for a switch that exists: it is made for the plan, and removed again."""
    world.opam("switch", "create", f"x{world.number}", "leaf.1")
    before = {path: path.read_bytes() for path in (world.root / "config", world.root / "repo/repos-config")}
    folder = world.folder / f"deep{world.number}/er"
    for name in (f"made{world.number}", str(folder)):
        for compiler, verdicts in (("leaf.1", ["hit"]), ("comp.1", ["miss", "miss"])):
            done = world.opam_bin("switch", "create", name, compiler, "--dry-run", "--json")
            assert [row["verdict"] for row in json.loads(done.out)["packages"]] == verdicts
        done = world.opam_bin("switch", "create", name, "leaf", "--dry-run")
        assert "1 package restored (5 B, in about" in done.out
        assert world.opam_bin("switch", "create", name, "leaf.7", "--dry-run", code=5).err
        assert "opam does this alone" in world.opam_bin("switch", "create", name, "--empty", "--dry-run").out
        assert not world.prefix(name).exists()
    assert not folder.parent.exists()
    assert {path: path.read_bytes() for path in before} == before


def test_a_switch_takes_our_options(world: World) -> None:
    world.opam("switch", "create", f"x{world.number}", "leaf.1")
    name = f"made{world.number}"
    away = {"OPAMBIN_REMOTE": "https://127.0.0.1:9/nobody"}
    done = world.opam_bin(
        "switch", "create", name, "leaf", "--offline", "--refresh", "--json-summary", more=away
    )
    assert [row["package"] for row in json.loads(done.out)["restored"]] == ["leaf.1"]
    assert "127.0.0.1" not in done.text
    assert world.installed(name) == ["leaf.1"]


@pytest.mark.parametrize("delay", [0.2, 0.3, 0.4, 0.5])
@pytest.mark.parametrize("words", [["leaf"], ["leaf", "--dry-run"]], ids=["create", "rehearse"])
def test_an_interrupt_leaves_no_half_of_a_switch(world: World, words: list[str], delay: float) -> None:
    """It reached opam while it wrote the configuration of the root, which was empty then."""
    world.opam("switch", "create", f"x{world.number}", "leaf.1")
    before = sorted(world.opam("switch", "list", "--short").out.split())
    name = f"made{world.number}"
    program = world.start(sys.executable, "-m", "opambin.cli.main", "switch", "create", name, *words)
    time.sleep(delay)
    os.killpg(program.pid, signal.SIGINT)
    out, _ = program.communicate(timeout=60)
    after = sorted(world.opam("switch", "list", "--short").out.split())
    assert program.returncode in (0, 130, -signal.SIGINT), out
    assert [known for known in after if known != name] == before, out
    assert world.prefix(name).exists() == (name in after), out
    if name in after:  # then the interrupt came too late
        assert "--dry-run" not in words
        assert world.installed(name) == ["leaf.1"]


def test_what_opam_refuses_is_said_once(world: World) -> None:
    """With a remote that may have the compiler, the switch was begun before opam was asked."""
    more = {"OPAMBIN_REMOTE": str(world.folder)}
    done = world.opam_bin("switch", "create", "zz", "nosuchcompiler", code=5, more=more)
    assert done.text.count("nosuchcompiler") == 1


def test_a_switch_whose_rest_fails_is_removed(world: World) -> None:
    name = f"made{world.number}"
    world.opam("switch", "create", f"x{world.number}", "leaf.1")
    theirs = world.opam("switch", "create", name, "failing.1", code=None)
    built(world)
    mine = world.opam_bin("switch", "create", name, "failing.1", code=None)
    assert mine.code == theirs.code == 31
    assert name not in world.opam("switch", "list", "--short").out.split()
    assert not world.prefix(name).exists()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--empty"], id="empty"),
        pytest.param(["comp.7"], id="no such version"),
        pytest.param(["comp.1", "--nosuch"], id="unknown option"),
    ],
)
def test_other_ways_to_create_a_switch_are_opams(world: World, words: list[str]) -> None:
    name = f"made{world.number}"
    theirs = world.opam("switch", "create", name, *words, code=None)
    world.opam("switch", "remove", name, code=None)
    mine = world.opam_bin("switch", "create", name, *words, code=None)
    assert mine.code == theirs.code
    assert mine.err.splitlines()[-1:] == theirs.err.splitlines()[-1:]
    world.opam("switch", "remove", name, code=None)


# ---- sync ----


def test_an_export_is_restored_without_a_solver(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "tree.1", "top", "leaf", "conf-sh")
    listing = world.folder / f"my export {world.number}"
    listing.write_text(world.opam("switch", "export", "--switch", first, "-").out)
    built(world)
    done = world.opam_bin("sync", str(listing), "--switch", second)
    assert "4 restored, 1 checked" in done.text
    assert "following actions" not in done.text
    assert built(world) == []
    same(world, first, second)
    assert "holds what" in world.opam_bin("sync", str(listing), "--switch", second).out


def test_an_export_replaces_versions_and_removes_when_asked(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "tree.1", "top")
    world.opam("install", "--switch", second, "tree.2", "top", "lone")
    listing = world.folder / f"export{world.number}"
    listing.write_text(world.opam("switch", "export", "--switch", first, "-").out)
    built(world)
    done = world.opam_bin("sync", str(listing), "--switch", second)
    assert "3 restored" in done.text
    assert "still installed: lone.1" in done.text
    assert world.installed(second) == ["flat.1", "lone.1", "top.1", "tree.1"]
    world.opam_bin("sync", "--remove", str(listing), "--switch", second)
    assert built(world) == []
    same(world, first, second)


def test_a_lock_file_is_what_opam_makes_of_it(world: World, first: str, second: str) -> None:
    lock = world.folder / f"mine{world.number}.opam.locked"
    depends = '"flat" {= "1"} "tree" {= "1"} "leaf" {= "1" & with-test} "lone" {= "1" & build}'
    lock.write_text(f"{tiny.HEAD}depends: [{depends}]\n")
    world.opam("install", "--switch", first, str(lock), "--deps-only")
    built(world)
    done = world.opam_bin("sync", str(lock), "--switch", second)
    assert "3 restored" in done.text
    assert built(world) == []
    same(world, first, second)


def test_what_is_not_stored_is_opams(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "tree.1")
    lock = world.folder / f"mine{world.number}.opam.locked"
    lock.write_text(f'{tiny.HEAD}depends: ["flat" {{= "1"}} "tree" {{= "1"}}]\n')
    built(world)
    done = world.opam_bin("sync", str(lock), "--switch", second)
    assert "1 restored" in done.text
    assert built(world) == ["flat.1"]
    assert world.installed(second) == ["flat.1", "tree.1"]


@pytest.mark.parametrize(
    ("depends", "word"),
    [
        pytest.param('"flat" {= "1"}', "depends on something", id="dependency missing"),
        pytest.param('"lone" {= "1"} "rival" {= "1"}', "conflicts", id="conflict"),
        pytest.param('"nosuch" {= "1"}', "no definition", id="unknown"),
    ],
)
def test_a_lock_file_that_does_not_fit(
    world: World, first: str, second: str, depends: str, word: str
) -> None:
    world.opam("install", "--switch", first, "leaf")
    lock = world.folder / f"mine{world.number}.opam.locked"
    lock.write_text(f"{tiny.HEAD}depends: [{depends}]\n")
    theirs = world.opam("install", "--switch", first, str(lock), "--deps-only", code=None)
    mine = world.opam_bin("sync", str(lock), "--switch", second, code=None)
    assert word in mine.text
    assert mine.code == theirs.code


@pytest.mark.parametrize("text", ['opam-version: "2.0"\n', "[[[", 'opam-version: "2.0"\ndepends: ["a"]\n'])
def test_a_broken_lock_file(world: World, first: str, text: str) -> None:
    lock = world.folder / f"broken{world.number}.opam.locked"
    lock.write_text(text)
    done = world.opam_bin("sync", str(lock), "--switch", first, code=3)
    assert str(lock) in done.err


# ---- bad input ----


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["nosuch"], id="unknown package"),
        pytest.param(["tree.7"], id="unknown version"),
        pytest.param(["lone", "rival"], id="unsatisfiable"),
        pytest.param(["lea f"], id="blank"),
        pytest.param(["it's"], id="quote"),
        pytest.param(["--nosuch"], id="unknown option"),
        pytest.param(["./nowhere"], id="no such folder"),
    ],
)
def test_faults_of_the_user_are_told_by_opam(world: World, first: str, words: list[str]) -> None:
    theirs = world.opam("install", "--switch", first, *words, code=None)
    mine = world.opam_bin("install", "--switch", first, *words, code=None)
    assert theirs.code
    assert (mine.code, mine.err) == (theirs.code, theirs.err)


def test_what_fails_in_the_rest_leaves_what_was_restored(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "leaf")
    done = world.opam_bin("install", "--switch", second, "failing", code=31)
    assert "1 restored" in done.text
    assert world.installed(second) == ["leaf.1"]
    assert changes_problems(world.prefix(second)) == []


def test_a_declined_question_changes_nothing(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "top")
    before = shape(world.prefix(second))
    done = subprocess.run(
        [sys.executable, "-m", "opambin", "install", "--switch", second, "top"],
        env={name: value for name, value in world.environ.items() if name != "OPAMYES"},
        cwd=world.folder, input="n\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 10
    assert shape(world.prefix(second)) == before
    assert world.installed(second) == []


@pytest.mark.parametrize("delay", [0.15, 0.5, 0.9, 1.2, 1.6])
def test_an_interrupt_leaves_all_or_nothing(world: World, first: str, second: str, delay: float) -> None:
    for switch in (first, second):
        world.opam("install", "--switch", switch, "tree.1", "top")
    world.opam("upgrade", "--switch", first, "tree")
    running = world.start(sys.executable, "-m", "opambin", "upgrade", "--switch", second, "tree")
    time.sleep(delay)
    os.killpg(running.pid, signal.SIGINT)
    running.communicate(timeout=60)
    state = world.installed(second)
    assert state in (["flat.1", "top.1", "tree.1"], ["flat.1", "top.1", "tree.2"])
    assert changes_problems(world.prefix(second)) == []
    assert not (world.prefix(second) / ".opam-switch/opam-bin.removed").exists()
    world.opam_bin("upgrade", "--switch", second, "tree")
    same(world, first, second)


def test_a_switch_that_is_locked_is_waited_for(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "leaf")
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX)"
    hold += "; print(flush=True); time.sleep(3)"
    lock = world.prefix(second) / ".opam-switch/lock"
    lock.touch()
    holder = world.start(sys.executable, "-c", hold, str(lock))
    assert holder.stdout is not None
    holder.stdout.readline()
    done = world.opam_bin("install", "--switch", second, "leaf")
    assert holder.poll() == 0, "it did not wait"
    holder.communicate()
    assert "1 restored" in done.text
    assert world.installed(second) == ["leaf.1"]


def test_a_snapshot_that_disappears_before_it_is_restored(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "flat")
    for path in sorted((world.cache / "objects").rglob("*")):
        if path.is_file():
            path.unlink()
    built(world)
    world.opam_bin("install", "--switch", second, "flat")
    assert sorted(built(world)) == ["flat.1", "tree.2"]
    same_files = differences(world.prefix(first), world.prefix(second))
    assert same_files == []


def test_hooks_of_others_see_every_package(world: World, first: str, second: str) -> None:
    world.opam("install", "--switch", first, "leaf")
    before = (world.root / "config").read_text()
    world.opam("option", "--global", 'post-install-commands+=["true"]')
    try:
        done = world.opam_bin("install", "--switch", second, "leaf")
    finally:
        (world.root / "config").write_text(before)
    assert "hooks" in done.text or "post-install-commands" in done.text
    assert world.installed(second) == ["leaf.1"]
