"""Pins, flags and constraints through the front door: the same as without it, and not built twice."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import tiny
from trees import changes_problems, differences, metadata_differences
from worlds import World

if TYPE_CHECKING:
    from pathlib import Path

    from worlds import Done

pytestmark = pytest.mark.integration

_numbers = itertools.count(1)
MORE = {
    "opam-plug.1": f"""flags: plugin
build: [["sh" "-c" "{tiny.SAY}; printf '#!/bin/sh\\\\necho plugged\\\\n' > p; chmod 755 p
  printf 'bin: [\\"p\\" {{\\"opam-plug\\"}}]\\n' > opam-plug.install"]]
""",
    "documented.1": f"""build: [
  ["sh" "-c" "{tiny.SAY}; echo plain > x"]
  ["sh" "-c" "echo documented > x"] {{with-doc}}
  ["sh" "-c" "printf 'doc: [\\"x\\"]\\n' > documented.install"]
]
""",
}
MINE = f"""depends: ["leaf"]
build: [["sh" "-c" "{tiny.SAY}; cp content x; printf 'lib: [\\"x\\"]\\n' > mine.install"]]
"""
VERSIONED = """build: [["sh" "-c" "git describe --always > x; printf 'lib: [\\"x\\"]\\n' > mine.install"]]
"""


@pytest.fixture(scope="module")
def pin_root(opam_program: str, short_folder: Path) -> World:
    folder = short_folder / f"n{next(_numbers)}"
    repository = tiny.write(folder / "repo", MORE)
    return World.make(folder, opam_program, str(repository), sandbox=False)


@pytest.fixture
def world(pin_root: World) -> World:
    return dataclasses.replace(pin_root, number=next(_numbers))


def built(world: World) -> list[str]:
    """What was built since the last call, without versions."""
    found = [package.partition(".")[0] for package in world.built]
    world.log.unlink(missing_ok=True)
    return found


def git(folder: Path, *args: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, "-C", str(folder), *args], check=True, capture_output=True)


@pytest.fixture
def project(world: World) -> Path:
    """A folder with a package."""
    folder = world.folder / f"the {world.number} project's"
    folder.mkdir()
    (folder / "mine.opam").write_text(tiny.HEAD + MINE)
    (folder / "content").write_text("one\n")
    return folder


def door(world: World, switch: str, *args: str, folder: Path | None = None) -> Done:
    command = (sys.executable, "-m", "opambin", args[0], f"--switch={switch}", *args[1:])
    return world.run(*command, folder=folder)


@pytest.mark.parametrize("way", ["pinned before", "named by its folder", "here"])
def test_a_pinned_folder_is_built_once(
    world: World, first: str, second: str, project: Path, way: str
) -> None:
    words, inside = ["mine"], None
    if way == "pinned before":
        for switch in (first, second):
            pinned = (
                "pin",
                "add",
                "--no-action",
                "--kind=path",
                f"--switch={switch}",
                "mine.dev",
                str(project),
            )
            world.opam(*pinned)
    elif way == "here":
        words, inside = ["."], project
    else:
        words = [f"./{project.name}"]
    door(world, first, "install", *words, folder=inside)
    assert built(world) == ["leaf", "mine"]
    done = door(world, second, "install", *words, folder=inside)
    assert built(world) == [], done.text
    assert "1 restored" in done.text
    assert differences(world.prefix(first), world.prefix(second)) == []
    assert metadata_differences(world.prefix(first), world.prefix(second)) == []
    assert changes_problems(world.prefix(second)) == []

    (project / "content").write_text("two\n")
    door(world, second, "reinstall", "mine")
    assert built(world) == ["mine"], "what is in the folder counts, not its name"
    assert (world.prefix(second) / "lib/mine/x").read_text() == "two\n"


def test_two_tags_of_one_tree_are_two_sources(world: World, first: str, second: str, project: Path) -> None:
    (project / "mine.opam").write_text(tiny.HEAD + VERSIONED)
    git(project, "init")
    git(project, "add", ".")
    git(project, "commit", "-m", "one")
    git(project, "tag", "-a", "v1", "-m", "one")
    moved = world.folder / f"repository{world.number}"
    project.rename(moved)
    address = f"git+file://{moved}#main"
    for number, switch in enumerate((first, second), 1):
        world.opam("pin", "add", "--no-action", f"--switch={switch}", "mine.dev", address)
        door(world, switch, "install", "mine")
        assert (world.prefix(switch) / "lib/mine/x").read_text() == f"v{number}\n"
        git(moved, "commit", "--allow-empty", "-m", "next")
        git(moved, "tag", "-a", f"v{number + 1}", "-m", "next")
    assert len([package for package in world.manifests if package.startswith("mine.")]) == 2


def test_a_pin_to_a_version_is_restored(world: World, first: str, second: str) -> None:
    for switch in (first, second):
        world.opam("pin", "add", "--no-action", f"--switch={switch}", "tree", "1")
    world.opam("install", f"--switch={first}", "top")
    built(world)
    done = door(world, second, "install", "top")
    assert "3 restored" in done.text
    assert built(world) == []
    assert (world.prefix(second) / "lib/tree/sub/version").read_text() == "1\n"
    exports = [world.opam("switch", "export", f"--switch={name}", "-").out for name in (first, second)]
    assert exports[0] == exports[1]
    assert "Nothing to do" in world.opam("upgrade", "--show-actions", f"--switch={second}").text


def test_what_stands_on_a_pin_is_restored_in_its_session(
    world: World, first: str, second: str, project: Path
) -> None:
    (project / "mine.opam").unlink()
    (project / "leaf.opam").write_text(tiny.HEAD + tiny.LEAF)
    (project / "talks.opam").write_text(f'{tiny.HEAD}depends: ["leaf"]\n{tiny.LEAF}')
    for switch in (first, second):
        world.opam("pin", "add", "--no-action", "--kind=path", f"--switch={switch}", "leaf.dev", str(project))
        world.opam(
            "pin", "add", "--no-action", "--kind=path", f"--switch={switch}", "talks.dev", str(project)
        )
    door(world, first, "install", "talks")
    done = door(world, second, "install", "talks")
    assert built(world) == ["leaf", "talks"]
    assert "2 restored" in done.text


def test_a_plugin_is_linked(world: World, first: str, second: str) -> None:
    world.opam("install", f"--switch={first}", "opam-plug")
    link = world.root / "plugins/bin/opam-plug"
    theirs = link.readlink()
    world.opam("remove", f"--switch={first}", "opam-plug")
    link.unlink(missing_ok=True)
    done = door(world, second, "install", "opam-plug")
    assert "1 restored" in done.text
    assert str(link.readlink()) == str(theirs).replace(f"/{first}/", f"/{second}/")
    assert world.opam("plug").out == "plugged\n"


def test_documentation_is_another_flavour(world: World, first: str, second: str) -> None:
    third = f"third-{world.number}"
    world.empty_switch(third)
    world.opam("install", f"--switch={first}", "documented")
    done = door(world, second, "install", "--with-doc", "documented")
    assert "nothing of this is in the store" in done.text
    assert (world.prefix(second) / "doc/documented/x").read_text() == "documented\n"
    built(world)
    assert "1 restored" in door(world, third, "install", "--with-doc", "documented").text
    assert (world.prefix(third) / "doc/documented/x").read_text() == "documented\n"
    door(world, third, "reinstall", "documented")
    assert (world.prefix(third) / "doc/documented/x").read_text() == "plain\n"
    assert built(world) == []


@pytest.mark.parametrize(
    ("words", "installed"),
    [
        pytest.param(["tree=1"], ["tree.1"], id="equal"),
        pytest.param(["tree<2"], ["tree.1"], id="less"),
        pytest.param(["tree.1", "leaf>=1"], ["leaf.1", "tree.1"], id="several"),
        pytest.param(["tree!=1"], ["tree.2"], id="other"),
    ],
)
def test_constraints(world: World, first: str, second: str, words: list[str], installed: list[str]) -> None:
    world.opam("install", f"--switch={first}", *words)
    assert world.installed(first) == installed
    done = door(world, second, "install", *words)
    assert f"{len(installed)} restored" in done.text
    assert world.installed(second) == installed
    exports = [world.opam("switch", "export", f"--switch={name}", "-").out for name in (first, second)]
    assert exports[0] == exports[1]
