"""Full disks, read-only stores, a missing opam, unreadable definitions, two sessions at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from trees import changes_problems, differences, shape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worlds import World

pytestmark = pytest.mark.integration

DISK_KIB = 1024


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[None]:
    """Mount something at a folder for the block."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", *options, str(path)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting takes root and a kernel that lets it")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def full_store(world: World) -> Iterator[World]:
    """A store on a disk of 1 MiB."""
    with mounted(world.cache, "-t", "tmpfs", "-o", f"size={DISK_KIB}k,mode=755", "none"):
        yield world


def test_a_full_store_never_stops_opam(full_store: World, switch: str) -> None:
    done = full_store.opam("install", "--switch", switch, "big", "leaf")
    assert full_store.installed(switch) == ["big.1", "leaf.1"]
    assert "No space left" in done.text
    assert full_store.manifests in ([], ["leaf.1"])
    assert full_store.sessions == []
    assert changes_problems(full_store.prefix(switch)) == []
    assert "Nothing is wrong" in full_store.opam_bin("verify").text


def test_a_full_switch_is_left_as_it_was(world: World, switch: str) -> None:
    """opam has to fail as well; what counts is that no half of a package stays and the store is sound."""
    world.opam("install", "--switch", switch, "big", "leaf")
    project = world.folder / f"full{world.number}"
    with mounted(project, "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "none"):
        world.opam("switch", "create", str(project), "--empty")
        prefix = world.prefix(str(project))
        empty = shape(prefix)
        done = world.opam_bin("install", "--switch", str(project), "big", code=None)
        assert done.code != 0
        assert "opam-bin: nothing was restored" in done.text
        assert "No space left" in done.text
        assert shape(prefix) == empty
        assert world.installed(str(project)) == []
        shutil.rmtree(prefix / ".opam-switch/build")  # what opam's failed build has left fills the disk
        world.opam_bin("install", "--switch", str(project), "leaf")
        assert world.installed(str(project)) == ["leaf.1"]
        assert changes_problems(prefix) == []
    assert world.sessions == []
    assert "Nothing is wrong" in world.opam_bin("verify").text


def test_a_full_switch_fails_a_plain_session_cleanly(world: World, switch: str) -> None:
    world.opam("install", "--switch", switch, "big")
    project = world.folder / f"full{world.number}"
    with mounted(project, "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "none"):
        world.opam("switch", "create", str(project), "--empty")
        prefix = world.prefix(str(project))
        empty = shape(prefix)
        done = world.opam("install", "--switch", str(project), "big", code=None)
        assert done.code != 0
        assert shape(prefix) == empty
        assert world.installed(str(project)) == []
    assert world.sessions == []
    assert world.manifests == ["big.1"]


@pytest.fixture
def frozen(world: World, switch: str) -> Iterator[World]:
    """A store with one package that can't be written to."""
    world.opam("install", "--switch", switch, "tree")
    world.log.unlink()
    with mounted(world.cache, "--bind", str(world.cache)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(world.cache)], check=True)
        yield world


def test_a_read_only_store_gives_what_it_has(frozen: World) -> None:
    second = f"second-{frozen.number}"
    frozen.empty_switch(second)
    done = frozen.opam_bin("install", "--switch", second, "tree", "lone")
    assert "1 restored" in done.text
    assert frozen.built == ["lone.1"]
    assert frozen.installed(second) == ["lone.1", "tree.2"]
    third = f"third-{frozen.number}"
    frozen.empty_switch(third)
    done = frozen.opam("install", "--switch", third, "tree", "lone")
    assert frozen.built == ["lone.1", "lone.1"], "hits come from it, and what misses can't be kept"
    assert differences(frozen.prefix(second), frozen.prefix(third)) == []
    assert frozen.manifests == ["tree.2"]
    assert frozen.sessions == []


def test_without_opam_there_is_one_clear_line(world: World, switch: str) -> None:
    done = world.opam_bin("install", "--switch", switch, "leaf", code=4, more={"PATH": "/nonexistent"})
    assert "opam is not on the PATH" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_switch_that_does_not_exist(world: World) -> None:
    done = world.opam_bin("install", "--switch", "nowhere", "leaf", code=None)
    assert done.code != 0
    assert "nowhere" in done.text
    assert world.built == []


def test_a_package_that_does_not_exist(world: World, switch: str) -> None:
    done = world.opam_bin("install", "--switch", switch, "no-such-package", code=5)
    assert "no-such-package" in done.text


def test_an_installed_definition_that_does_not_parse(world: World, switch: str) -> None:
    world.opam("install", "--switch", switch, "tree")
    broken = world.prefix(switch) / ".opam-switch/packages/tree.2/opam"
    broken.write_text('opam-version: "2.0"\nbuild: [["sh"\n')
    plain = world.run("opam", "install", "--switch", switch, "leaf", code=None)
    assert world.built[-1] == "leaf.1" or plain.code != 0
    done = world.opam_bin("install", "--switch", switch, "lone", code=None)
    assert (done.code == 0) == (plain.code == 0), "where opam can go on, so can we"
    before = world.manifests
    done = world.opam_bin("install", "--switch", switch, "flat", code=None)
    assert (done.code == 0) == (plain.code == 0)
    assert world.manifests == before, "nobody can say what it was built with"
    assert changes_problems(world.prefix(switch)) == []


def test_a_pin_whose_definition_does_not_parse(world: World, switch: str) -> None:
    source = world.folder / f"broken{world.number}"
    source.mkdir()
    (source / "broken.opam").write_text('opam-version: "2.0"\nbuild: [["sh"\n')
    done = world.opam_bin("install", "--switch", switch, str(source), code=None)
    assert done.code != 0
    assert world.installed(switch) == []
    assert "broken" in done.text


def test_two_sessions_at_once(world: World) -> None:
    """Two switches get the same packages at the same time; the second round restores what the first built."""
    names = [f"{side}-{world.number}" for side in ("left", "right")]
    for name in names:
        world.empty_switch(name)
    running = [world.start("opam", "install", "--switch", name, "top", "leaf", "lone") for name in names]
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    left, right = (world.prefix(name) for name in names)
    assert differences(left, right) == []
    assert changes_problems(left) == changes_problems(right) == []
    assert world.manifests == ["flat.1", "leaf.1", "lone.1", "top.1", "tree.2"], (
        "equal builds are one snapshot"
    )
    assert world.sessions == []
    assert "Nothing is wrong" in world.opam_bin("verify").text


def test_two_front_doors_into_one_switch(world: World, switch: str) -> None:
    """Both want the same packages: one waits for the other, or finds that the switch has changed."""
    world.opam("install", "--switch", switch, "top", "lone")
    second = f"second-{world.number}"
    prefix = world.empty_switch(second)
    command = (sys.executable, "-m", "opambin.cli.main", "install", "--switch", second, "top", "lone")
    running = [world.start(*command) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert not any("Traceback" in output for output in outputs)
    assert differences(world.prefix(switch), prefix) == []
    assert changes_problems(prefix) == []
    assert world.installed(second) == world.installed(switch)
