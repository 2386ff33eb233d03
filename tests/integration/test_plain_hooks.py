"""Plain ``opam install`` with the hooks: hits are placed in opam's own session, misses are captured."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from trees import changes_problems, differences, lost_folders, metadata_differences, shape

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import BuiltCorpus
    from worlds import World

pytestmark = pytest.mark.integration


@pytest.fixture
def built(world: World, switch: str) -> Path:
    """A switch with a few packages built from source and captured."""
    done = world.opam("install", "--switch", switch, "top", "leaf")
    assert sorted(world.built) == ["flat.1", "leaf.1", "top.1", "tree.2"]
    assert "4 built" in done.text
    assert world.manifests == ["flat.1", "leaf.1", "top.1", "tree.2"]
    assert world.sessions == []
    world.log.unlink()
    return world.prefix(switch)


def test_hits_are_placed_without_a_build_command(world: World, built: Path) -> None:
    second = f"another-and-longer-{world.number}"
    prefix = world.empty_switch(second)
    empty = shape(prefix)
    done = world.opam("install", "--switch", second, "top", "leaf")
    assert world.built == []
    assert "4 restored" in done.text
    assert differences(built, prefix) == []
    assert metadata_differences(built, prefix) == []
    assert changes_problems(prefix) == []
    assert world.run(str(prefix / "bin/tree")).out == f"lib: {prefix}/lib\n"
    assert world.sessions == []

    world.opam("remove", "--switch", second, "tree", "flat", "top", "leaf")
    assert shape(prefix) == empty


def test_only_what_misses_is_built(world: World, built: Path) -> None:
    second = f"second-{world.number}"
    world.empty_switch(second)
    done = world.opam("install", "--switch", second, "top", "lone")
    assert world.built == ["lone.1"]
    assert "3 restored" in done.text
    assert "1 built" in done.text
    assert "lone.1" in world.manifests
    assert changes_problems(world.prefix(second)) == []
    mine = shape(world.prefix(second))
    assert mine["bin/tree"] == shape(built)["bin/tree"]
    assert "lib/lone/x" in mine


@pytest.mark.parametrize("name", ["flat", "tree"])
def test_a_reinstall_gives_the_snapshot_that_is_there(
    world: World, built: Path, switch: str, name: str
) -> None:
    """Folders that the former installation had made were taken for others', and left out of the snapshot."""
    before = shape(built)
    done = world.opam("reinstall", "--switch", switch, name)
    assert world.built == [], "a reinstallation is looked up before the build"
    assert f"{2 if name == 'flat' else 3} restored" in done.text
    assert world.manifests == ["flat.1", "leaf.1", "top.1", "tree.2"]
    assert shape(built) == before
    assert changes_problems(built) == []
    assert world.sessions == []
    assert world.installed(switch) == ["flat.1", "leaf.1", "top.1", "tree.2"]


def test_an_upgrade_is_captured_and_then_restored(world: World, switch: str) -> None:
    world.opam("install", "--switch", switch, "tree.1", "flat")
    done = world.opam("upgrade", "--switch", switch, "tree")
    assert world.built == ["tree.1", "flat.1", "tree.2", "flat.1"], done.text
    assert world.manifests == ["flat.1", "flat.1", "tree.1", "tree.2"], "flat on either tree is another cone"
    assert changes_problems(world.prefix(switch)) == []

    second = f"second-{world.number}"
    prefix = world.empty_switch(second)
    world.log.unlink()
    world.opam("install", "--switch", second, "tree.1", "flat")
    assert (prefix / "lib/tree/sub/version").read_text() == "1\n"
    world.opam("upgrade", "--switch", second, "tree")
    assert (prefix / "lib/tree/sub/version").read_text() == "2\n"
    assert world.built == [], "opam announces no recompilation; it is looked up before the build"
    assert differences(world.prefix(switch), prefix) == []
    assert metadata_differences(world.prefix(switch), prefix) == []


def test_a_failing_build_is_opams_affair(world: World, switch: str) -> None:
    done = world.opam("install", "--switch", switch, "failing", "leaf", code=31)
    assert "exit 7" in done.text
    assert world.built == ["leaf.1", "failing.1"]
    assert world.installed(switch) == ["leaf.1"]
    assert world.manifests == ["leaf.1"], "what was built well is kept, and nothing else"
    assert world.sessions == []
    assert changes_problems(world.prefix(switch)) == []


def test_a_failing_installation_leaves_nothing(world: World, switch: str) -> None:
    empty = shape(world.prefix(switch))
    world.opam("install", "--switch", switch, "half", code=31)
    assert world.manifests == []
    assert world.installed(switch) == []
    assert world.sessions == []
    assert shape(world.prefix(switch)) == empty


def test_a_package_without_files_comes_back(world: World, built: Path) -> None:
    assert built.is_dir()
    second = f"second-{world.number}"
    world.empty_switch(second)
    world.opam("install", "--switch", second, "virtual")
    third = f"third-{world.number}"
    world.empty_switch(third)
    done = world.opam("install", "--switch", third, "virtual")
    assert "2 restored" in done.text
    assert world.built == []
    assert metadata_differences(world.prefix(second), world.prefix(third)) == []


@pytest.fixture
def killed(world: World, switch: str) -> str:
    """A switch whose opam was killed in the middle of a build, after another package was captured."""
    hold, reached = (world.log.with_name(world.log.name + end) for end in (".hold", ".slow"))
    hold.touch()
    opam = world.start("opam", "install", "--switch", switch, "lone", "slow", "--jobs=1")
    try:
        deadline = time.monotonic() + 60
        while not (reached.exists() and "lone.1" in world.built) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert reached.exists()
        assert opam.poll() is None
    finally:
        os.killpg(opam.pid, signal.SIGKILL)
        opam.communicate()
    assert world.sessions, "nobody was left to close the session"
    hold.unlink()
    return switch


def test_a_killed_session_does_no_harm(world: World, killed: str) -> None:
    assert "slow.1" not in world.manifests
    assert set(world.manifests) <= {"lone.1"}
    done = world.opam("install", "--switch", killed, "lone", "slow", "leaf")
    assert done.code == 0
    assert world.manifests == ["leaf.1", "lone.1", "slow.1"]
    assert world.sessions == []
    assert changes_problems(world.prefix(killed)) == []
    assert "Nothing is wrong" in world.opam_bin("verify").text

    second = f"second-{world.number}"
    world.empty_switch(second)
    world.log.unlink()
    world.opam("install", "--switch", second, "lone", "slow", "leaf")
    assert world.built == []
    assert differences(world.prefix(killed), world.prefix(second)) == []


def test_real_packages_are_placed_in_a_plain_session(built_corpus: BuiltCorpus) -> None:
    world, corpus, switch = built_corpus.world, built_corpus.corpus, "plain-session-with-hits"
    world.opam("switch", "create", switch, corpus.compiler, "--description", "the same")
    prefix = world.prefix(switch)
    snapshots = world.manifests
    done = world.opam("install", "--switch", switch, *corpus.packages)
    assert "restored" in done.text
    assert "left to opam" not in done.text
    made = [
        path.name for path in (prefix / ".opam-switch/build").rglob("*") if path.name in ("log", "caml_z.o")
    ]
    assert made == [], "dune writes a log, and zarith's make an object file"
    assert world.manifests == snapshots
    assert differences(built_corpus.prefix, prefix) == []
    assert metadata_differences(built_corpus.prefix, prefix) == []
    assert lost_folders(built_corpus.prefix, prefix) == lost_folders(prefix, built_corpus.prefix) == []
    assert changes_problems(prefix) == []

    world.opam("reinstall", "--switch", switch, "re")
    assert world.manifests == snapshots, "the same build gives the same snapshot"
    assert differences(built_corpus.prefix, prefix) == []
    assert changes_problems(prefix) == []

    world.opam("remove", "--switch", switch, *(name for name in corpus.names if not name.startswith("base-")))
    kept = [path for path in shape(prefix) if path.startswith(("lib/re", "lib/zarith", "bin/"))]
    assert kept == []
