from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.model import Package, PackageName
from opambin.opam import environment
from opambin.opam.changes import Change, ChangeKind, Changes
from opambin.opam.journal import Journal
from opambin.opam.lock import SwitchLock
from opambin.opam.register import (
    Guard,
    Registration,
    installed_form,
    register,
    removal_obstacle,
    render_state,
    unregister,
)
from opambin.opam.root import Root
from opambin.opam.switch import Switch
from opambin.opam.switchfiles import SwitchState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RAW = 'opam-version: "2.0"\nname: "dune"\nversion: "3.15.0"\nsynopsis: "x"\n'
FORM = 'opam-version: "2.0"\nsynopsis: "x"\n'
STATE = """opam-version: "2.0"
compiler: ["comp.1"]
roots: ["comp.1" "old.1"]
installed: ["base.1" "comp.1" "old.1"]
pinned: "mine.dev"
"""
CONFIG = 'opam-version: "2.0"\ninvariant: ["comp" {>= "1"} | "other"]\n'
DEFINITIONS = {
    "comp.1": 'depends: ["base" {post} "tool" {build} "none"]\n',
    "base.1": 'setenv: [[BASE = "1"]]\n',
    "old.1": "",
}
FILE = Change("bin/dune", "F:S1T1.")
DUNE = Registration(Package.parse("dune.3.15.0"), RAW, Changes((FILE,)))


def make_switch(top: Path, root_format: str) -> Switch:
    meta = top / "s" / ".opam-switch"
    (meta / "packages" / "cache").parent.mkdir(parents=True)
    for folder in ("install", "config"):
        (meta / folder).mkdir()
    (top / "config").write_text(f'opam-version: "2.0"\nopam-root-version: "{root_format}"\nswitch: "s"\n')
    (meta / "switch-state").write_text(STATE)
    (meta / "switch-config").write_text(CONFIG)
    (meta / "packages" / "cache").write_text("stale")
    for package, fields in DEFINITIONS.items():
        (meta / "packages" / package).mkdir()
        (meta / "packages" / package / "opam").write_text(f'opam-version: "2.0"\n{fields}')
    (meta / "install" / "old.changes").write_text('opam-version: "2.0"\nadded: "bin/old" {"F:S1T1."}\n')
    return Switch.open(Root.open(top), "s", {})


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return make_switch(tmp_path, "2.1")


@pytest.fixture
def guard(switch: Switch) -> Iterator[Guard]:
    with SwitchLock(switch.meta, switch.root.path, timeout=0) as lock:
        yield Guard(lock, switch.fingerprint())


def tree(switch: Switch) -> dict[str, tuple[bytes, int]]:
    """Content and time of all files; the lock is not opened, for that would drop it."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in switch.root.path.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def state_text(switch: Switch) -> str:
    return (switch.meta / "switch-state").read_text()


def test_a_package_is_recorded(switch: Switch, guard: Guard) -> None:
    config, install = 'opam-version: "2.0"\nvariables { x: "1" }\n', 'opam-version: "2.0"\nbin: "dune"\n'
    item = replace(DUNE, config=config, install=install, files={"deep/x.patch": b"1"}, root=True)

    written = register(switch, [item], guard)

    assert state_text(switch) == (
        'opam-version: "2.0"\ncompiler: ["comp.1"]\nroots: ["comp.1" "dune.3.15.0" "old.1"]\n'
        'installed: ["base.1" "comp.1" "dune.3.15.0" "old.1"]\npinned: "mine.dev"\n'
    )
    assert switch.installed_opam(item.package) == FORM
    assert switch.installed_files(item.package) == {"deep/x.patch": b"1"}
    assert switch.config_file(item.package.name).read_text() == config
    assert switch.install_file(item.package.name).read_text() == install
    assert switch.changes(item.package.name) == Changes((FILE,))
    assert not (switch.meta / "packages" / "cache").exists()
    assert not written.environment_stale
    assert written.journal.touched[-1] == switch.meta / "packages" / "cache"
    assert written.journal.touched[-2] == switch.meta / "switch-state"


def test_a_dependency_is_no_root(switch: Switch, guard: Guard) -> None:
    register(switch, [DUNE], guard)
    assert 'roots: ["comp.1" "old.1"]' in state_text(switch)


def test_undo_puts_back_contents_and_times(switch: Switch, guard: Guard) -> None:
    os.utime(switch.changes_file(PackageName("old")), ns=(1, 1_577_836_800_123_456_789))
    (switch.meta / "reinstall").write_text("old\t1\n")
    before = tree(switch)
    upgrade = Registration(Package.parse("old.2"), RAW, Changes(), config='opam-version: "2.0"\n')
    written = register(switch, [DUNE, upgrade], Guard(guard.lock))
    assert tree(switch) != before
    written.undo()
    assert tree(switch) == before


def test_an_error_undoes_what_was_written(switch: Switch, guard: Guard) -> None:
    before = tree(switch)
    (switch.meta / "reinstall").write_text("broken\n")
    bad = Registration(Package.parse("x.1"), RAW, Changes(), files={"../../escape": b""})
    with pytest.raises(BadDataError, match="outside"):
        register(switch, [DUNE, bad], Guard(guard.lock))
    with pytest.raises(BadDataError, match="reinstall"):
        register(switch, [DUNE], Guard(guard.lock))
    (switch.meta / "reinstall").unlink()
    assert tree(switch) == before


def test_an_upgrade_replaces_the_old_version(switch: Switch, guard: Guard) -> None:
    register(switch, [Registration(Package.parse("old.2"), RAW, Changes())], guard)
    assert not switch.package_dir(Package.parse("old.1")).exists()
    assert 'roots: ["comp.1" "old.2"]' in state_text(switch)
    assert switch.changes(PackageName("old")) == Changes()


def test_a_changed_environment_is_reported(switch: Switch, guard: Guard) -> None:
    written = register(switch, [Registration(Package.parse("base.2"), RAW, Changes())], guard)
    assert written.environment_stale


def test_pending_reinstallation_is_done(switch: Switch, guard: Guard) -> None:
    (switch.meta / "reinstall").write_text("old\t1\ncomp\t1\n")
    register(switch, [Registration(Package.parse("old.1"), RAW, Changes())], Guard(guard.lock))
    assert (switch.meta / "reinstall").read_text() == "comp\t1\n"


def test_the_entry_of_a_config_file_is_made_anew(switch: Switch, guard: Guard) -> None:
    tracked = Change(".opam-switch/config/dune.config", "F:S99T1.")
    item = replace(DUNE, config='opam-version: "2.0"\n', changes=Changes((tracked, FILE)))
    register(switch, [item], guard)
    changes = switch.changes(item.package.name)
    assert changes is not None
    assert changes.entries[0].digest.startswith("F:S20T")


@pytest.mark.parametrize(
    ("root_format", "compiler"),
    [
        pytest.param("2.1", '["comp.1"]', id="2.1: the invariant alone"),
        pytest.param("2.2", '["base.1" "comp.1"]', id="2.2: and its dependencies, not those to build it"),
    ],
)
def test_compiler_field(tmp_path: Path, root_format: str, compiler: str) -> None:
    switch = make_switch(tmp_path, root_format)
    tool = Registration(Package.parse("tool.1"), RAW, Changes())
    with SwitchLock(switch.meta) as lock:
        register(switch, [tool], Guard(lock))
    assert f"compiler: {compiler}\n" in state_text(switch)


def test_without_invariant_the_compiler_stays(switch: Switch, guard: Guard) -> None:
    (switch.meta / "switch-config").write_text('opam-version: "2.0"\n')
    register(switch, [Registration(Package.parse("comp.2"), RAW, Changes())], Guard(guard.lock))
    assert 'compiler: ["comp.2"]\n' in state_text(switch)


def test_plugins_are_linked_and_unlinked(switch: Switch, guard: Guard) -> None:
    (switch.prefix / "bin").mkdir()
    (switch.prefix / "bin" / "opam-plug").write_text("")
    package = Package.parse("plug.1")
    register(switch, [Registration(package, FORM + "flags: [plugin]\n", Changes((FILE,)))], guard)
    link = switch.root.path / "plugins" / "bin" / "opam-plug"
    assert os.readlink(link) == "../../s/bin/opam-plug"  # noqa: PTH115 - the text of the link matters
    unregister(switch, [package.name], Guard(guard.lock))
    assert not link.is_symlink()


def test_writing_needs_the_lock(switch: Switch) -> None:
    with pytest.raises(MisuseError, match="under its lock"):
        register(switch, [DUNE], Guard(SwitchLock(switch.meta)))


def test_a_switch_that_was_changed_is_left_alone(switch: Switch, guard: Guard) -> None:
    (switch.meta / "reinstall").write_text("old\t1\n")
    before = tree(switch)
    with pytest.raises(UnavailableError, match="plan again"):
        register(switch, [DUNE], guard)
    assert tree(switch) == before


def test_unregister_removes_all_records(switch: Switch, guard: Guard) -> None:
    before = tree(switch)
    written = unregister(switch, [PackageName("old")], guard)
    assert 'roots: ["comp.1"]\ninstalled: ["base.1" "comp.1"]\n' in state_text(switch)
    assert not switch.changes_file(PackageName("old")).exists()
    assert not switch.package_dir(Package.parse("old.1")).exists()
    written.undo()
    assert tree(switch) == before


def test_unregister_refuses_what_is_not_installed(switch: Switch, guard: Guard) -> None:
    with pytest.raises(MisuseError, match="not installed in s: none"):
        unregister(switch, [PackageName("none")], guard)


@pytest.mark.parametrize(
    ("opam", "changes", "words"),
    [
        pytest.param("", Changes((FILE,)), None, id="plain"),
        pytest.param('remove: ["x"]\n', Changes((FILE,)), "commands", id="remove field"),
        pytest.param("", Changes(), "no record", id="emptied by a dry run"),
        pytest.param("", Changes((replace(FILE, kind=ChangeKind.CONTENTS),)), "others", id="changed files"),
    ],
)
def test_removal_obstacle(switch: Switch, opam: str, changes: Changes, words: str | None) -> None:
    package = Package.parse("old.1")
    (switch.package_dir(package) / "opam").write_text(FORM + opam)
    switch.changes_file(package.name).write_text(changes.render())
    found = removal_obstacle(switch, package)
    assert (found is None) if words is None else (found is not None and words in found)


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        pytest.param(RAW, FORM, id="both"),
        pytest.param(FORM, FORM, id="neither"),
        pytest.param(FORM + 'name: "x"\n', FORM + 'name: "x"\n', id="elsewhere"),
    ],
)
def test_installed_form(raw: str, form: str) -> None:
    assert installed_form(raw) == form


def test_state_is_sorted_and_broken_as_opam_does() -> None:
    names = ["A", "a+b", "a-b", "a_b", "aB", "ab", "abc", "B0", "Upper", "z9", "zA"]
    packages = frozenset(Package.parse(f"{name}.1") for name in names)
    text = render_state(SwitchState({p.name: p.version for p in packages}, frozenset(), frozenset(), {}))
    assert (
        text == 'opam-version: "2.0"\ninstalled: [\n' + "".join(f'  "{name}.1"\n' for name in names) + "]\n"
    )
    assert SwitchState.parse(text, "x").packages == packages


def test_the_journal_keeps_links_and_directories(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "l").symlink_to("nowhere//")
    (tmp_path / "d" / "f").write_text("1")
    journal = Journal()
    journal.remove(tmp_path / "d")
    journal.link(tmp_path / "d", "elsewhere")
    journal.write(tmp_path / "n" / "m" / "f", b"2")
    journal.undo()
    assert (tmp_path / "d" / "f").read_text() == "1"
    assert os.readlink(tmp_path / "d" / "l") == "nowhere//"  # noqa: PTH115 - the text of the link matters
    assert not (tmp_path / "n").exists()


def test_the_journal_says_what_it_can_not_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="file"):
        Journal().write(tmp_path / "file" / "below", b"")


def test_environment_lines(tmp_path: Path) -> None:
    assert environment.read_environment(tmp_path) is None
    (tmp_path / "environment").write_text(
        "PATH\t=+=\t/p/bin\t:\ttarget\tBinary\\ dir\nX\t=\ta\\\\b\tby\\ x\n"
    )
    found = environment.read_environment(tmp_path)
    assert found is not None
    assert found[0] == environment.Update("PATH", "=+=", "/p/bin", (":", "target", "Binary dir"))
    assert found[1].value == "a\\b"
    (tmp_path / "environment").write_text("PATH\n")
    with pytest.raises(BadDataError, match="columns"):
        environment.read_environment(tmp_path)
