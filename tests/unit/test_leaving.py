from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from opambin.errors import UnavailableError
from opambin.placement.recovery import Journal
from opambin.setup import leaving
from opambin.setup.place import Place

if TYPE_CHECKING:
    from pathlib import Path

STATE = 'opam-version: "2.0"\ninstalled: ["here.1"]\nroots: ["here.1"]\n'
CHANGES = 'opam-version: "2.0"\nadded: ["lib/here" {"D"} "lib/here/x" {"F:S1T1."}]\n'
HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_SH if file.readable() else fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A root with two switches; in one a restore was killed."""
    found = Place(tmp_path / "r")
    found.root.mkdir()
    found.config.write_text(
        'opam-version: "2.0"\nopam-root-version: "2.1"\ninstalled-switches: ["s.1" "t"]\n'
    )
    for name in ("s.1", "t"):
        meta = found.root / name / ".opam-switch"
        (meta / "install").mkdir(parents=True)
        (meta / "switch-config").write_text('opam-version: "2.0"\n')
        (meta / "switch-state").write_text(STATE)
        (meta / "install/here.changes").write_text(CHANGES)
        (found.root / name / "lib/here").mkdir(parents=True)
        (found.root / name / "lib/here/x").write_text("1")
    return found


def kill_a_restore(place: Place) -> Path:
    """Leave what a killed restore of ``gone.1`` leaves; returns the prefix."""
    prefix = place.root / "s.1"
    (prefix / "lib/gone").mkdir()
    (prefix / "lib/gone/y").write_text("2")
    (prefix / "lib/gone/users").write_text("made since")
    (prefix / ".opam-switch/opam-bin.staging/other").mkdir(parents=True)
    status = (prefix / "lib/gone/y").stat()
    rows = [["lib/gone/y", status.st_ino, status.st_mtime_ns], ["lib/gone/users", 1, 1]]
    journal = place.home / f"journal{prefix}.json"
    journal.parent.mkdir(parents=True)
    journal.write_text(json.dumps({"gone.1": rows, "here.1": []}))
    return prefix


def test_what_a_killed_restore_left_goes_and_nothing_else(place: Place) -> None:
    prefix = kill_a_restore(place)
    said = leaving.clean_switches(place)
    assert said == [f"{prefix}: removed what a killed restore had left of gone.1"]
    assert not (prefix / "lib/gone/y").exists()
    assert (prefix / "lib/gone/users").exists(), "it is not what was restored"
    assert (prefix / "lib/here/x").exists()
    assert not (prefix / ".opam-switch/opam-bin.staging").exists()
    assert not list(place.home.rglob("*.json"))
    assert leaving.clean_switches(place) == []


def test_temporary_files_of_a_killed_capture_go(place: Place) -> None:
    prefix = place.root / "t"
    (prefix / "lib/.x.opam-bin").symlink_to("nowhere")
    (prefix / "lib/.y.opam-bin").write_text("half")
    (prefix / "lib/z.opam-bin").write_text("a user's")
    (prefix / ".opam-switch/opam-bin.staging").mkdir()
    said = leaving.clean_switches(place)
    assert len(said) == 3
    left = sorted(path.name for path in (prefix / "lib").iterdir())
    assert left == ["here", "z.opam-bin"]


def test_a_switch_that_is_gone_or_unreadable_holds_nobody_up(place: Place) -> None:
    kill_a_restore(place)
    state = place.root / "s.1/.opam-switch/switch-state"
    state.write_text("installed: [")
    (place.home / "journal/gone").mkdir()
    (place.home / "journal/gone/_opam.json").write_text("{}")
    (said,) = leaving.clean_switches(place)
    assert "can't be cleaned up" in said


def test_without_a_root_there_is_nothing_to_clean(tmp_path: Path) -> None:
    assert leaving.clean_switches(Place(tmp_path)) == []
    Place(tmp_path).config.write_text('opam-version: "2.0"\n)')
    (said,) = leaving.clean_switches(Place(tmp_path))
    assert "not looked at" in said


def test_a_journal_that_is_damaged_is_told(place: Place) -> None:
    prefix = kill_a_restore(place)
    Journal(place.home / f"journal{prefix}.json").path.write_text("{")
    (said,) = leaving.clean_switches(place)
    assert "not a journal" in said


def test_nothing_is_taken_out_while_opam_is_at_work(place: Place) -> None:
    lock = place.root / "lock"
    lock.touch()
    leaving.refuse_while_at_work(place)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UnavailableError, match="at work in"):
            leaving.refuse_while_at_work(place)
        other.communicate("")
    descriptor = os.open(lock, os.O_RDWR)
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    leaving.refuse_while_at_work(place)
