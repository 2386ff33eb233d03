"""A signal at every stage of a restore, a switch that changes under it, and surroundings that are not as they
should be: all or nothing, and opam's own answer where it is opam's to give."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from typing import TYPE_CHECKING

import pytest
import tiny
from trees import changes_problems, differences
from worlds import World

if TYPE_CHECKING:
    from pathlib import Path

    from worlds import Done

pytestmark = pytest.mark.integration

_numbers = itertools.count(1)
MORE = {"conf-sh.1": 'flags: conf\nbuild: [["sh" "-c" "true"]]\n'}
SCRIPT = """
import importlib, os, signal, sys
from opambin.cli.main import main
place, when, what = sys.argv[1:4]
module, _, name = place.rpartition(".")
target = importlib.import_module(module)
real = getattr(target, name)
done = []
def act():
    if done:
        return
    done.append(1)
    if what.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, what))
    else:
        os.system(what)
def wrapped(*args, **named):
    if when == "before":
        act()
    result = real(*args, **named)
    if when == "after":
        act()
    return result
setattr(target, name, wrapped)
sys.argv = ["opam-bin", *sys.argv[4:]]
main()
"""
STAGES = [
    pytest.param(("opambin.door.front.ask_for_plan", "before", False), id="before the plan"),
    pytest.param(("opambin.door.front.ask_for_plan", "after", False), id="after the plan"),
    pytest.param(("opambin.restore.begin_checks", "after", False), id="checks run"),
    pytest.param(("opambin.placement.placing._make_file", "before", False), id="files are made"),
    pytest.param(("opambin.restore.settle_all", "before", False), id="all is in place"),
    pytest.param(("opambin.placement.placing._merge", "after", False), id="between two packages"),
    pytest.param(("opambin.placement.removing.Removal.carry_out", "after", False), id="the old ones are out"),
    pytest.param(("opambin.restore.register", "before", True), id="before opam's records"),
    pytest.param(("opambin.restore.register", "after", True), id="after opam's records"),
    pytest.param(("opambin.restore._record", "before", True), id="registered"),
]


@pytest.fixture(scope="module")
def root(opam_program: str, short_folder: Path) -> World:
    folder = short_folder / f"i{next(_numbers)}"
    repository = tiny.write(folder / "repo", MORE)
    return World.make(folder, opam_program, str(repository), sandbox=False)


@pytest.fixture(scope="module")
def full(root: World) -> World:
    """A store with everything, and a switch ``full`` that has the upgraded packages."""
    root.empty_switch("full")
    root.opam("install", "--switch=full", "tree.1", "top", "conf-sh")
    root.opam("upgrade", "--switch=full", "tree")
    return root


@pytest.fixture
def switch(full: World) -> str:
    """A switch with the old packages."""
    name = f"s{next(_numbers)}"
    full.empty_switch(name)
    full.opam_bin("install", f"--switch={name}", "tree.1", "top")
    return name


def run_script(world: World, place: str, when: str, what: str, *args: str) -> Done:
    script = SCRIPT
    if place.count(".") and place.rpartition(".")[0].rpartition(".")[2][:1].isupper():
        script = script.replace(
            "importlib.import_module(module)",
            "getattr(importlib.import_module(module.rpartition('.')[0]), module.rpartition('.')[2])",
        )
    return world.run(sys.executable, "-c", script, place, when, what, *args, code=None)


@pytest.mark.parametrize("name", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.slow)])
@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_at_any_stage(full: World, switch: str, stage: tuple[str, str, bool], name: str) -> None:
    place, when, registered = stage
    old, new = ["flat.1", "top.1", "tree.1"], ["conf-sh.1", "flat.1", "top.1", "tree.2"]
    prefix = full.prefix(switch)
    done = run_script(full, place, when, name, "install", f"--switch={switch}", "tree.2", "conf-sh")
    assert done.code == (130 if name == "SIGINT" else 143), done.text
    assert full.installed(switch) == (new if registered else old), done.text
    assert changes_problems(prefix) == []
    assert not list((prefix / ".opam-switch").glob("opam-bin.*"))
    assert not list((full.root / "plugins/opam-bin/journal").rglob("*.json"))
    full.opam_bin("install", f"--switch={switch}", "tree.2", "conf-sh")
    assert full.installed(switch) == new
    assert differences(full.prefix("full"), prefix) == []


@pytest.mark.parametrize("stage", [("opambin.placement.placing._merge", "after", False)])
def test_termination_undoes_like_an_interrupt(full: World, switch: str, stage: tuple[str, str, bool]) -> None:
    test_a_signal_at_any_stage(full, switch, stage, "SIGTERM")


def test_a_switch_that_changes_after_the_plan_is_opams(full: World, switch: str) -> None:
    """What is installed meanwhile may be an optional dependency: the plan's keys would be of another cone."""
    other = f"opam install --switch={switch} --yes lone >&2"
    done = run_script(
        full, "opambin.door.front.ask_for_plan", "after", other, "install", f"--switch={switch}", "tree.2"
    )
    assert done.code == 0, done.text
    assert "was changed meanwhile" in done.text
    assert full.installed(switch) == ["flat.1", "lone.1", "top.1", "tree.2"]
    assert changes_problems(full.prefix(switch)) == []


def test_a_snapshot_that_goes_after_the_plan_is_built(full: World, switch: str) -> None:
    world = dataclasses.replace(full, number=next(_numbers))
    name = f"s{next(_numbers)}"
    for made in (switch, name):
        world.opam("remove", f"--switch={made}", "lone", code=None)
    world.empty_switch(name)
    world.opam("install", f"--switch={switch}", "lone")
    world.log.unlink()
    gone = f"rm -rf {world.cache}/objects/* {world.cache}/manifests/*"
    done = run_script(
        world, "opambin.door.front.ask_for_plan", "after", "true", "install", f"--switch={name}", "lone"
    )
    assert "1 restored" in done.text
    world.opam("remove", f"--switch={name}", "lone")
    done = run_script(world, "opambin.restore.restore", "before", gone, "install", f"--switch={name}", "lone")
    assert world.built == ["lone.1"], done.text
    assert world.installed(name) == ["lone.1"]
    assert changes_problems(world.prefix(name)) == []


# ---- surroundings ----


@pytest.mark.parametrize("version", ["2.0.8", "3.0.0", "soon"])
def test_an_opam_that_is_not_known(full: World, version: str) -> None:
    """It gets a clear word, and works without us."""
    fake = full.folder / f"opam-{version}"
    fake.write_text(
        f'#!/bin/sh\n[ "$*" = --version ] && {{ echo {version}; exit; }}\nexec {full.program} "$@"\n'
    )
    fake.chmod(0o755)
    name = f"s{next(_numbers)}"
    full.empty_switch(name)
    more = {"OPAMBIN_OPAM": str(fake)}
    said = "opambin works with opam 2.1" if version != "soon" else "not a version of opam"
    for environ in more, {**more, "OPAMBIN_TRANSPARENT": "1"}:
        done = full.opam_bin("install", f"--switch={name}", "leaf", more=environ)
        assert len([line for line in done.text.splitlines() if said in line]) == 1, done.text
        assert full.installed(name) == ["leaf.1"]
        full.opam("remove", f"--switch={name}", "leaf")


@pytest.mark.parametrize(
    "lie", ["nowhere", "repo", "bin/opam", ""], ids=["nothing", "no root", "a file", "empty"]
)
def test_a_root_that_is_none(full: World, lie: str) -> None:
    more = {"OPAMROOT": str(full.folder / lie) if lie else "", "HOME": str(full.folder / "nobody")}
    theirs = full.opam("install", "--switch=s", "leaf", code=None, more=more)
    mine = full.opam_bin("install", "--switch=s", "leaf", code=None, more=more)
    assert theirs.code
    assert mine.code == theirs.code
    said = [line for line in mine.err.splitlines() if not line.startswith("opam-bin: ")]
    assert said == theirs.err.splitlines()
    assert not (full.folder / "nowhere").exists()


@pytest.mark.parametrize("folder", ["my folder", "it's", 'a"b', "$HOME", "a;b", "-x"])
def test_folders_with_odd_names(full: World, folder: str) -> None:
    name = f"s{next(_numbers)}"
    full.empty_switch(name)
    project = full.folder / folder
    project.mkdir(exist_ok=True)
    (project / "odd.opam").write_text(f'{tiny.HEAD}depends: ["tree"]\n')
    words = ["install", "--deps-only", f"--switch={name}", f"./{folder}"]
    done = full.opam_bin(*words)
    assert "1 restored" in done.text
    assert full.installed(name) == ["tree.2"]
    shown = full.opam_bin(
        "exec", f"--switch={name}", "--", "sh", "-c", 'printf "%s\\n" "$@"', "-", folder, ""
    )
    assert shown.out == f"{folder}\n\n"
