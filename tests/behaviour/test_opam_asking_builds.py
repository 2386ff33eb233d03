"""Builds that do not take the prefix from opam, but ask for it: as omake, ocamlbuild and Coq do."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import pytest
import tiny
from worlds import World

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
]

BUILD = rf"""build: [["sh" "-c" "{tiny.SAY}
  printf '%s\\n' '#include <stdio.h>' 'int main(void){{return puts(PREFIX);}}' > x.c
  found=$(WAY); cc -DPREFIX=\\\"$found\\\" x.c -o x
  printf 'bin: [\"x\" {{\"%{{name}}%\"}}]\\n' > %{{name}}%.install" "--" prefix]]
"""
WAYS = {
    "told": "echo $1",
    "physical": "cd $1; pwd -P",
    "logical": "cd $1; pwd",
    "absolute": "printf 'x:;@echo $(abspath %s)' $1 > m; make -sf m",
    "path": "dirname $(dirname $(command -v tree))",
}
PADDED = ("told", "path")
"""Ways that give what opam was told, and so a prefix that can be moved; ``pwd`` does so in some shells."""


@pytest.fixture(scope="module")
def asking(opam_program: str, short_folder: Path) -> World:
    folder = Path(tempfile.mkdtemp(dir=short_folder))
    packages = {f"{name}.1": 'depends: "tree"\n' + BUILD.replace("WAY", way) for name, way in WAYS.items()}
    world = World.make(folder / "w", opam_program, str(tiny.write(folder / "repo", packages)), sandbox=False)
    world.empty_switch("first")
    world.opam("install", "--switch", "first", *WAYS)
    return world


@pytest.mark.parametrize("name", WAYS)
def test_a_compiled_in_prefix_is_moved_or_binds(asking: World, name: str) -> None:
    (found,) = json.loads(asking.opam_bin("relocatable", "--switch", "first", name, "--json", code=None).out)
    assert (found["movable"], found["longest_prefix"]) == (
        ("limited", 200) if name in PADDED else ("bound", None)
    )
    assert [limit["path"] for limit in found["limits"]] == [f"bin/{name}"]
    other = asking.empty_switch(f"another-{name}")
    asking.opam_bin("install", "--switch", other.name, name)
    assert asking.built.count(f"{name}.1") == (1 if name in PADDED else 2)
    assert Path(asking.run(str(other / "bin" / name), code=None).out.strip()).resolve() == other


def test_what_is_bound_to_a_prefix_comes_back_there(asking: World) -> None:
    builds = asking.built.count("logical.1")
    asking.opam("remove", "--switch", "first", "logical")
    asking.opam_bin("install", "--switch", "first", "logical")
    assert asking.built.count("logical.1") == builds
    assert asking.run(str(asking.prefix("first") / "bin/logical"), code=None).out.strip() == str(
        asking.prefix("first")
    )


def test_a_local_switch_that_lies_elsewhere_has_the_path_that_opam_resolves(
    asking: World, tmp_path: Path
) -> None:
    """Its files name where the link leads; they were looked for under the link, and nothing was found."""
    world = dataclasses.replace(asking, number=1)
    project, disk = tmp_path / "project", tmp_path / "disk"
    project.mkdir()
    world.opam("switch", "create", str(project), "--empty")
    (project / "_opam").rename(disk)
    (project / "_opam").symlink_to(disk)
    world.opam("install", "--switch", str(project), "told", "physical")
    told = world.opam_bin(
        "relocatable", "--switch", str(project), "told", "physical", "--json", code=None
    ).out
    assert {row["package"]: row["movable"] for row in json.loads(told)} == {
        "told.1": "limited",
        "physical.1": "bound",
    }
    refused = world.opam_bin("clone", str(project), str(tmp_path / "copy"), code=None)
    assert refused.code != 0
    assert "bin/physical (physical.1)" in refused.err
    world.opam("remove", "--switch", str(project), "physical")
    (tmp_path / "copy").mkdir()
    world.opam_bin("clone", str(project), str(tmp_path / "copy"))
    said = Path(world.run(str(tmp_path / "copy/_opam/bin/told"), code=None).out.strip())
    assert said.resolve() == tmp_path / "copy/_opam"


def test_nothing_is_captured_or_moved_where_opam_does_not_resolve_a_link(asking: World) -> None:
    """opam calls such a prefix by the link; ``pwd -P`` by what it leads to, which nobody looked for."""
    world = dataclasses.replace(asking, number=2)
    prefix = world.empty_switch("linked")
    elsewhere = world.folder / "linked-elsewhere"
    prefix.rename(elsewhere)
    prefix.symlink_to(elsewhere)
    told = world.opam("install", "--switch", "linked", "tree").text
    assert f"tree.2 was not captured: {prefix} is a symbolic link" in told
    refused = world.opam_bin("clone", "linked", "copy", code=2).err
    assert f"{prefix} is a symbolic link" in refused
