"""After uninstall opam has its switches for itself: nothing in them speaks of opam-bin."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import tiny
from trees import changes_problems, differences, metadata_differences, shape
from worlds import World

from opambin.model import PLACEHOLDER

pytestmark = pytest.mark.integration

_numbers = itertools.count(1)
TRACES = (b"opam-bin", b"opambin", PLACEHOLDER, b"///")
"""Our names, the placeholder, and padded spellings; no package here has such a run of slashes of its own."""
NOSY = """build: [["sh" "-c" "env | grep -v -e BUILD_PATH_PREFIX_MAP -e OPAMBIN_CACHE > seen
  printf 'lib: [\\"seen\\"]\\n' > nosy.install"]]
"""
"""Keeps its environment, but for what names the build folder, and a variable of the test."""
# dies when the files are in place, and opam does not know yet
KILLED_RESTORE = """
import os, sys
from opambin import restore
from opambin.cli.main import main
restore.register = lambda *_: os.kill(os.getpid(), 9)
sys.argv = ["opam-bin", "install", "--switch", sys.argv[1], "top"]
main()
"""


@pytest.fixture
def own(opam_program: str, short_folder: Path) -> World:
    """A root of one's own, to be left."""
    folder = short_folder / f"l{next(_numbers)}"
    repository = tiny.write(folder / "repo")
    nosy = repository / "packages/nosy/nosy.1"
    nosy.mkdir(parents=True)
    (nosy / "opam").write_text(tiny.HEAD + NOSY)
    return World.make(folder, opam_program, str(repository), sandbox=False)


def traces(prefix: Path) -> list[str]:
    """Name the files and links below a prefix, opam's own folder included, in which we are to be found."""
    found = []
    for folder, names, files in os.walk(prefix):
        for name in [*names, *files]:
            full = Path(folder, name)
            data = full.read_bytes() if full.is_file() and not full.is_symlink() else b""
            data += os.fsencode(full.readlink()) if full.is_symlink() else b""
            if any(trace in data or trace in name.encode() for trace in TRACES):
                found.append(str(full.relative_to(prefix)))
    return found


@pytest.mark.parametrize("by", ["opam-bin", "opam bin"])
def test_switches_hold_nothing_of_us(own: World, by: str) -> None:
    own.opam_bin("init", "--yes", "--transparent")
    built, restored, placed = (own.empty_switch(name) for name in ("built", "restored-and-longer", "placed"))
    own.opam("install", "--switch", "built", "top", "leaf", "virtual", "nosy")
    done = own.opam_bin("install", "--switch", "restored-and-longer", "top", "leaf", "virtual")
    assert "5 restored" in done.text
    own.opam("install", "--switch", "placed", "top", "leaf", "virtual")
    assert own.built.count("top.1") == 1

    if by == "opam bin":
        own.opam("bin", "uninstall", "--yes")
    else:
        own.opam_bin("uninstall", "--yes")
    assert not (own.root / "plugins").exists()
    for prefix in (built, restored, placed):
        assert traces(prefix) == []
        assert changes_problems(prefix) == []
    assert differences(restored, placed) == []
    assert metadata_differences(restored, placed) == []

    for name in ("built", "restored-and-longer", "placed"):
        assert "Nothing to do" in own.opam("upgrade", "--switch", name).text
        own.opam("reinstall", "--switch", name, "flat")
        own.opam("remove", "--switch", name, "tree", "flat", "top", "leaf", "virtual", "nosy")
        assert own.installed(name) == []
    assert shape(restored) == shape(placed) == shape(own.empty_switch("empty"))


def test_an_interrupted_restore_leaves_nothing(own: World) -> None:
    own.empty_switch("built")
    own.opam("install", "--switch", "built", "top")
    prefix = own.empty_switch("killed")
    empty = shape(prefix)
    own.run(sys.executable, "-c", KILLED_RESTORE, "killed", code=-signal.SIGKILL)
    assert shape(prefix) != empty, "it was killed after the files were placed"
    done = own.opam_bin("uninstall", "--yes")
    assert "what a killed restore had left of" in done.text
    assert shape(prefix) == empty
    assert traces(prefix) == []
    own.opam("install", "--switch", "killed", "top")
    assert changes_problems(prefix) == []


def test_uninstall_waits_for_nobody_and_a_killed_session_is_no_hindrance(own: World) -> None:
    prefix = own.empty_switch("s")
    hold, reached = (own.log.with_name(own.log.name + end) for end in (".hold", ".slow"))
    hold.touch()
    opam = own.start("opam", "install", "--switch", "s", "lone", "slow", "--jobs=1")
    try:
        deadline = time.monotonic() + 60
        while not reached.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        before = (own.root / "config").read_bytes()
        done = own.opam_bin("uninstall", "--yes", code=4)
        assert "opam is at work in" in done.err
        assert (own.root / "config").read_bytes() == before
        assert opam.poll() is None
    finally:
        os.killpg(opam.pid, signal.SIGKILL)
        opam.communicate()
        hold.unlink()
    assert own.sessions
    own.opam_bin("uninstall", "--yes")
    assert not (own.root / "plugins").exists()
    assert traces(prefix / "lib") == []
    own.opam("install", "--switch", "s", "lone", "slow")
    assert own.installed("s") == ["lone.1", "slow.1"]
    assert traces(prefix) == []
