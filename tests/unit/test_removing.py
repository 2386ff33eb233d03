"""What makes room for a restore: moved aside, put back, and put back after a kill."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError, UnavailableError
from opambin.model import Package
from opambin.opam.changes import Changes
from opambin.opam.root import Root
from opambin.opam.switch import Switch
from opambin.placement import removing

if TYPE_CHECKING:
    from pathlib import Path

OLD = Package.parse("a.1")
STATE = 'opam-version: "2.0"\nroots: "{0}"\ninstalled: ["{0}"]\n'


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    """A switch in which a.1 has two files, a link and folders."""
    prefix = tmp_path / "s"
    meta = prefix / ".opam-switch"
    for folder in ("install", "config", "packages/a.1"):
        (meta / folder).mkdir(parents=True)
    (tmp_path / "config").write_text('opam-version: "2.0"\nopam-root-version: "2.1"\n')
    (meta / "switch-config").write_text('opam-version: "2.0"\n')
    (meta / "switch-state").write_text(STATE.format("a.1"))
    (meta / "packages/a.1/opam").write_text('opam-version: "2.0"\nbuild: ["true"]\n')
    (prefix / "lib/a/sub").mkdir(parents=True)
    (prefix / "lib/a").chmod(0o750)
    (prefix / "lib/a/x").write_text("x")
    (prefix / "lib/a/sub/y").write_text("y")
    (prefix / "lib/a/link").symlink_to("nowhere")
    (prefix / "lib/other").write_text("other")
    switch = Switch(Root.open(tmp_path), "s", prefix)
    paths = ["lib/a", "lib/a/x", "lib/a/sub", "lib/a/sub/y", "lib/a/link"]
    switch.changes_file(OLD.name).write_text(Changes.from_disk(prefix, paths).render())
    return switch


def content(switch: Switch) -> dict[str, tuple[int, int]]:
    found = {}
    for folder, names, files in os.walk(switch.prefix / "lib"):
        for name in (*names, *files):
            status = os.lstat(f"{folder}/{name}")
            time = 0 if name in names else status.st_mtime_ns
            found[os.path.relpath(f"{folder}/{name}", switch.prefix)] = (status.st_mode, time)
    return found


def aside(switch: Switch) -> Path:
    return switch.meta / removing.FOLDER


def test_all_of_it_goes_and_comes_back(switch: Switch) -> None:
    before = content(switch)
    removal = removing.Removal(switch, {OLD: "2"})
    assert removal.leaving == {"lib/a/x", "lib/a/sub/y", "lib/a/link"}
    assert content(switch) == before
    removal.carry_out()
    assert list(content(switch)) == ["lib/other"]
    removal.undo()
    assert content(switch) == before
    assert not aside(switch).exists()


def test_a_folder_that_others_use_stays(switch: Switch) -> None:
    (switch.prefix / "lib/a/mine").write_text("mine")
    removal = removing.Removal(switch, {OLD: ""})
    removal.carry_out()
    removal.finish()
    assert list(content(switch)) == ["lib/a", "lib/other", "lib/a/mine"]
    assert removal.for_good == {"a"}
    assert not aside(switch).exists()


def test_what_is_gone_already_is_told_before_anything_moves(switch: Switch) -> None:
    (switch.prefix / "lib/a/x").unlink()
    before = content(switch)
    with pytest.raises(UnavailableError, match="lib/a/x"):
        removing.Removal(switch, {OLD: "2"})
    assert content(switch) == before


@pytest.mark.parametrize("after", ["1", "2", ""])
def test_after_a_kill_everything_is_put_back(switch: Switch, after: str) -> None:
    before = content(switch)
    records = switch.changes_file(OLD.name).read_bytes()
    removing.Removal(switch, {OLD: after}).carry_out()
    if after == "2":  # killed while the new records were written, before the state was
        switch.changes_file(OLD.name).write_text('opam-version: "2.0"\n')
        (switch.meta / "packages/a.1/opam").unlink()
        (switch.meta / "packages/a.1").rmdir()
    assert removing.interrupted(switch) == {"a"}
    assert removing.put_back(switch) == ["a.1"]
    assert content(switch) == before
    assert switch.changes_file(OLD.name).read_bytes() == records
    assert "true" in switch.installed_opam(OLD)
    assert not aside(switch).exists()
    assert removing.put_back(switch) == []


@pytest.mark.parametrize("after", ["1", "2", ""])
def test_what_was_registered_before_the_kill_stays(switch: Switch, after: str) -> None:
    removing.Removal(switch, {OLD: after}).carry_out()
    if after == "1":
        switch.changes_file(OLD.name).write_text('opam-version: "2.0"\nadded: ["lib/new" {"F:S1T1."}]\n')
    else:
        text = STATE.format("a.2") if after else 'opam-version: "2.0"\n'
        (switch.meta / "switch-state").write_text(text)
    assert removing.put_back(switch) == []
    assert list(content(switch)) == ["lib/other"]
    assert not aside(switch).exists()


def test_what_somebody_put_there_meanwhile_is_kept(switch: Switch) -> None:
    removing.Removal(switch, {OLD: "2"}).carry_out()
    (switch.prefix / "lib/a").mkdir()
    (switch.prefix / "lib/a/x").write_text("new")
    removing.put_back(switch)
    assert (switch.prefix / "lib/a/x").read_text() == "new"
    assert (switch.prefix / "lib/a/sub/y").read_text() == "y"


def test_a_kill_before_anything_moved(switch: Switch) -> None:
    before = content(switch)
    aside(switch).mkdir()
    assert removing.put_back(switch) == []
    assert content(switch) == before
    assert not aside(switch).exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", '[["a"]]'])
def test_notes_that_are_damaged(switch: Switch, text: str) -> None:
    aside(switch).mkdir()
    (aside(switch) / "packages.json").write_text(text)
    with pytest.raises(BadDataError, match="not a list of packages"):
        removing.put_back(switch)
