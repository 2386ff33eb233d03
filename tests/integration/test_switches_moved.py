"""``clone`` and ``relocate`` with a real opam: what opam says of a moved switch, and what can go wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from opambin.opam.changes import Changes, verify
from opambin.opam.lock import SwitchLock

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import BuiltCorpus
    from worlds import Done, World

pytestmark = pytest.mark.integration


@pytest.fixture
def filled(world: World, switch: str) -> Path:
    """The prefix of a switch with packages, and with files that opam does not know."""
    world.opam("install", "--switch", switch, "top", "lone")
    prefix = world.prefix(switch)
    (prefix / "notes").write_text(f"my lib is {prefix}/lib, my build was {prefix}/.opam-switch/build/x\n")
    (prefix / "absolute").symlink_to(prefix / "lib/tree/where")
    (prefix / "outside").symlink_to("../config")
    os.link(prefix / "notes", prefix / "notes-too")
    (prefix / "private").mkdir(mode=0o700)
    (prefix / "private/empty").touch(mode=0o640)
    os.utime(prefix / "private/empty", ns=(10**18, 10**18 + 123456789))
    return prefix


def state(prefix: Path) -> dict[str, object]:
    """Everything that is below a folder, to see that it was not touched."""
    found: dict[str, object] = {}
    for path in sorted(prefix.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            content: object = str(path.readlink())
        else:
            content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(prefix))] = (status.st_mode, status.st_mtime_ns, content)
    return found


def switches(world: World) -> list[str]:
    return world.opam("switch", "list", "--short").out.split()


def export(world: World, switch: str) -> str:
    target = world.folder / "export"
    world.opam("switch", "export", "--switch", switch, str(target))
    return target.read_text()


def traces(*folders: Path) -> list[str]:
    return [path.name for folder in folders for path in folder.glob(".*.opam-bin-*")]


def check_whole(world: World, switch: str, old: Path) -> None:
    """Ask opam, look at the files, and use a program."""
    prefix = world.prefix(switch)
    assert world.installed(switch) == ["flat.1", "lone.1", "top.1", "tree.2"]
    actions = world.opam("upgrade", "--switch", switch, "--show-actions").text
    assert "Already up-to-date" in actions or "Nothing to do" in actions
    env = world.opam("env", "--switch", switch, "--set-switch").out
    assert f"OPAM_SWITCH_PREFIX='{prefix}'" in env
    assert f"{old}/" not in env
    assert world.run(str(prefix / "bin/tree")).out == f"lib: {prefix}/lib\n"
    assert (prefix / "lib/flat/f").read_text() == f"{prefix}\n"
    assert (prefix / "lib/tree/dangling").is_symlink()
    assert (prefix / "lib/tree/empty").is_dir()
    for record in (prefix / ".opam-switch/install").glob("*.changes"):
        assert verify(prefix, Changes.parse(record.read_text())) == []


def check_own_files(prefix: Path, old: Path, world: World) -> None:
    notes = prefix / "notes"
    assert notes.read_text() == f"my lib is {prefix}/lib, my build was {old}/.opam-switch/build/x\n"
    assert notes.stat().st_ino == (prefix / "notes-too").stat().st_ino
    assert str((prefix / "absolute").readlink()) == f"{prefix}/lib/tree/where"
    assert (prefix / "outside").resolve() == world.root / "config"
    assert (prefix / "private").stat().st_mode & 0o777 == 0o700
    assert (prefix / "private/empty").stat().st_mode & 0o777 == 0o640
    assert (prefix / "private/empty").stat().st_mtime_ns == 10**18 + 123456789


def check_removal(world: World, switch: str) -> None:
    """opam takes out everything that it put in, without asking."""
    world.opam("remove", "--switch", switch, "top", "lone", "--auto-remove")
    prefix = world.prefix(switch)
    assert world.installed(switch) == []
    assert [
        path for path in ("bin/tree", "lib/tree", "lib/flat", "lib/top") if (prefix / path).exists()
    ] == []


def test_clone_of_a_global_switch(world: World, switch: str, filled: Path) -> None:
    new = f"{switch}-the-second-of-that-name"
    before, exported = state(filled), export(world, switch)
    done = json.loads(world.opam_bin("clone", switch, new, "--json").out)
    assert (done["new_prefix"], done["kept"], done["packages"]) == (str(world.root / new), True, 4)
    assert {"bin/tree", "lib/tree/where", "lib/flat/f", "absolute", "notes"} <= set(done["changed"])
    assert state(filled) == before
    assert {switch, new} <= set(switches(world))
    aside = filled.with_name("aside")
    filled.rename(aside)
    check_whole(world, new, filled)
    check_own_files(world.root / new, filled, world)
    assert export(world, new) == exported
    check_removal(world, new)
    aside.rename(filled)
    assert traces(world.root) == []
    check_whole(world, switch, world.root / new)


def test_relocate_to_a_folder_and_back(world: World, switch: str, filled: Path) -> None:
    world.opam("switch", "set", switch)
    exported = export(world, switch)
    folder = world.folder / f"new-{world.number}" / "project"
    done = world.opam_bin("relocate", switch, str(folder))
    assert "no local switch can be" in done.err
    assert not filled.exists()
    assert switch not in switches(world)
    assert "\nswitch: " not in (world.root / "config").read_text()
    check_whole(world, str(folder), filled)
    check_own_files(folder / "_opam", filled, world)
    assert traces(world.root, folder) == []
    world.opam_bin("relocate", str(folder), switch)
    assert not (folder / "_opam").exists()
    check_whole(world, switch, folder / "_opam")
    assert export(world, switch) == exported
    check_removal(world, switch)


def test_the_current_switch_stays_current(world: World, switch: str, filled: Path) -> None:
    world.opam("switch", "set", switch)
    config = (world.root / "config").read_bytes()
    broken(world, "registration.Registry.verify = interrupt", "relocate", switch, code=130)
    assert (world.root / "config").read_bytes() == config
    assert f"{filled}/bin" in (world.root / "opam-init/variables.sh").read_text()
    world.opam_bin("relocate", switch, f"{switch}-x")
    assert f'switch: "{switch}-x"' in (world.root / "config").read_text()
    assert f"{filled}-x/bin" in (world.root / "opam-init/variables.sh").read_text()


def test_a_linked_switch_keeps_its_link(world: World, switch: str, filled: Path) -> None:
    project = world.folder / f"linked{world.number}"
    project.mkdir()
    world.run("opam", "switch", "link", switch, ".", folder=project)
    done = json.loads(world.opam_bin("relocate", str(project), f"{switch}-x", "--json").out)
    assert done["switch"] == switch
    assert done["links"] == [str(project / "_opam")]
    assert (project / "_opam").resolve() == world.root / f"{switch}-x"
    assert not filled.exists()


def test_our_records_follow(world: World, switch: str, filled: Path) -> None:
    def outputs(name: str) -> dict[str, str]:
        listed = json.loads(world.opam_bin("list", "--switch", name, "--json").out)
        return {row["name"]: row["output"] for row in listed["switches"][0]["packages"]}

    before = outputs(switch)
    assert all(before.values())
    world.opam_bin("clone", switch, f"{switch}-x")
    assert outputs(f"{switch}-x") == before
    world.opam_bin("relocate", f"{switch}-x", f"{switch}-y")
    assert outputs(f"{switch}-y") == before
    filled.exists()


def test_a_modified_file_stays_modified_for_opam(world: World, switch: str, filled: Path) -> None:
    (filled / "lib/flat/f").write_text(f"{filled} and what the user wrote\n")
    world.opam_bin("clone", switch, f"{switch}-x")
    prefix = world.root / f"{switch}-x"
    record = prefix / ".opam-switch/install/flat.changes"
    assert [found.path for found in verify(prefix, Changes.parse(record.read_text()))] == ["lib/flat/f"]
    assert (prefix / "lib/flat/f").read_text() == f"{prefix} and what the user wrote\n"


def test_what_cannot_move_is_told_before_anything_is_done(world: World, switch: str, filled: Path) -> None:
    blob = b"\0\1\2" + os.fsencode(filled) + b"/lib\0"
    (filled / "lib/one.blob").write_bytes(blob)
    (filled / "lib/tree/two.blob").write_bytes(blob)
    os.mkfifo(filled / "pipe")
    before, known = state(filled), switches(world)
    for verb in ("clone", "relocate"):
        for more in ((), ("--dry-run",), ("--json",)):
            done = world.opam_bin(verb, switch, f"{switch}-x", *more, code=5)
            assert all(path in done.text for path in ("lib/one.blob", "lib/tree/two.blob", "pipe"))
    refusals = json.loads(world.opam_bin("clone", switch, f"{switch}-x", "--json", code=5).out)["refusals"]
    assert [found["path"] for found in refusals] == ["pipe", "lib/one.blob", "lib/tree/two.blob"]
    assert "unknown format" in refusals[1]["reason"]
    assert (state(filled), switches(world), traces(world.root)) == (before, known, [])
    (filled / "pipe").unlink()
    world.opam_bin("clone", switch, f"{switch}-x", "--leave", "*.blob")
    assert (world.root / f"{switch}-x/lib/one.blob").read_bytes() == blob


def test_dry_run_changes_nothing(world: World, switch: str, filled: Path) -> None:
    before, config = state(filled), (world.root / "config").read_bytes()
    done = json.loads(world.opam_bin("relocate", switch, f"{switch}-x", "--dry-run", "--json").out)
    assert done["dry_run"]
    assert "bin/tree" in done["changed"]
    assert "would be moved" in world.opam_bin("relocate", switch, f"{switch}-x", "--dry-run").out
    assert (state(filled), (world.root / "config").read_bytes()) == (before, config)
    assert not (world.root / f"{switch}-x").exists()


@pytest.mark.parametrize(
    ("new", "said"),
    [
        pytest.param("{switch}", "exists already", id="itself"),
        pytest.param("{prefix}/inside", "inside of the switch", id="inside"),
        pytest.param("plugins", "opam uses itself", id="reserved"),
        pytest.param("./x/_opam", "give the folder", id="prefix instead of folder"),
        pytest.param("./taken", "exists already", id="a folder with a switch"),
        pytest.param("a:b", "because of ':'", id="colon"),
        pytest.param("./a b", "because of ' '", id="white space"),
        pytest.param("./a$b", "because of '$'", id="dollar"),
        pytest.param("", "no place", id="nothing"),
    ],
)
def test_places_that_cannot_be(world: World, switch: str, new: str, said: str) -> None:
    (world.folder / "taken/_opam").mkdir(parents=True, exist_ok=True)
    target = new.format(switch=switch, prefix=world.prefix(switch))
    assert said in world.opam_bin("clone", switch, target, code=2).err


def test_a_locked_switch_is_waited_for(world: World, switch: str) -> None:
    with SwitchLock(world.prefix(switch) / ".opam-switch", world.root):
        clone = world.start(sys.executable, "-m", "opambin.cli.main", "clone", switch, f"{switch}-x")
        assert clone.stdout is not None
        assert "waiting for another opam" in clone.stdout.readline()
        assert not (world.root / f"{switch}-x").exists()
    clone.communicate(timeout=60)
    assert clone.returncode == 0
    assert (world.root / f"{switch}-x/.opam-switch/lock").exists()


def broken(world: World, fault: str, verb: str, switch: str, code: int | None) -> Done:
    """Run a command with a fault in it."""
    program = world.folder / f"broken{world.number}.py"
    program.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            from opambin.cli import main
            from opambin.move import journal, registration, staging, workflow

            def kill(*args, **more):
                os.kill(os.getpid(), signal.SIGKILL)

            def full(*args, **more):
                raise OSError(28, "No space left on device", "x")

            def interrupt(*args, **more):
                raise KeyboardInterrupt
            """
        )
        + f"{fault}\nmain.main()\n"
    )
    return world.run(sys.executable, str(program), verb, switch, f"{switch}-x", code=code)


FAULTS = {
    "copying": "staging.copy = {}",
    "verifying": "staging.Staging.verify = {}",
    "registering": "registration.Registry.register = {}",
    "asking opam": "registration.Registry.verify = {}",
    "environment": "registration.Registry.refresh = {}",
}


@pytest.mark.parametrize("verb", ["clone", "relocate"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_error_leaves_the_old_switch_and_nothing_else(
    world: World, switch: str, filled: Path, fault: str, verb: str
) -> None:
    before, known = state(filled), switches(world)
    config = (world.root / "config").read_bytes()
    # an unchanged file is linked by relocate, and copied where that is not possible
    linkless = "staging._linked = lambda *_: False\n"
    done = broken(world, linkless + fault.format("interrupt"), verb, switch, code=130)
    assert "interrupted" in done.err
    assert (state(filled), switches(world), traces(world.root)) == (before, known, [])
    assert (world.root / "config").read_bytes() == config
    assert not (world.root / f"{switch}-x").exists()


def test_a_full_disk(world: World, switch: str, filled: Path) -> None:
    before = state(filled)
    done = broken(world, "staging.copy = full", "clone", switch, code=4)
    assert "No space left" in done.err
    more = "import shutil, collections\nU = collections.namedtuple('U', 'free')\n"
    done = broken(world, f"{more}staging.shutil.disk_usage = lambda _: U(5)", "clone", switch, code=4)
    assert "0 MiB free" in done.err
    assert (state(filled), traces(world.root)) == (before, [])


@pytest.mark.parametrize("verb", ["clone", "relocate"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_killed_move_is_cleaned_up_by_the_next(
    world: World, switch: str, filled: Path, fault: str, verb: str
) -> None:
    before = state(filled)
    linkless = "staging._linked = lambda *_: False\n"
    broken(world, linkless + fault.format("kill"), verb, switch, code=-signal.SIGKILL)
    assert state(filled) == before
    registered = f"{switch}-x" in switches(world)
    done = world.opam_bin("clone", f"{switch}-x" if registered else switch, f"{switch}-y")
    assert f"interrupted move of {switch} to {switch}-x" in done.err
    check_whole(world, f"{switch}-y", filled)
    assert traces(world.root) == []
    if registered:
        check_whole(world, f"{switch}-x", filled)
    else:
        assert not (world.root / f"{switch}-x").exists()
    assert filled.exists() == (verb == "clone" or not registered)


def test_killed_while_the_old_files_are_removed(world: World, switch: str, filled: Path) -> None:
    broken(world, "workflow.remove_tree = kill", "relocate", switch, code=-signal.SIGKILL)
    assert not filled.exists()
    check_whole(world, f"{switch}-x", filled)
    world.opam_bin("clone", f"{switch}-x", f"{switch}-y")
    assert traces(world.root) == []


def test_a_file_that_changes_meanwhile(world: World, switch: str, filled: Path) -> None:
    fault = textwrap.dedent(
        f"""
        real = staging.Staging.fill
        def fill(self, progress):
            with open({str(filled / "lib/lone/x")!r}, "a") as target:
                target.write("more")
            real(self, progress)
        staging.Staging.fill = fill
        """
    )
    done = broken(world, fault, "clone", switch, code=4)
    assert "was changed meanwhile" in done.err
    assert not (world.root / f"{switch}-x").exists()
    assert traces(world.root) == []


PROGRAM = """let () = print_endline (Z.to_string (Z.pow (Z.of_int 2) 100))\n"""


def test_real_packages_work_when_the_old_switch_is_gone(built_corpus: BuiltCorpus) -> None:
    world, corpus = built_corpus.world, built_corpus.corpus
    old = built_corpus.prefix
    longer, shorter = "a-switch-with-a-name-that-is-a-good-deal-longer", "c"
    exported = export(world, built_corpus.switch)
    world.opam_bin("clone", built_corpus.switch, longer)
    aside = old.with_name("aside")
    old.rename(aside)
    try:
        _use(world, longer, old)
        assert export(world, longer) == exported
        world.opam_bin("relocate", longer, shorter)
        _use(world, shorter, old)
        assert not world.prefix(longer).exists()
        reached = json.loads(world.opam_bin("relocatable", "--switch", shorter, "--json", code=None).out)
        assert {row["package"].partition(".")[0] for row in reached} >= set(corpus.names)
        ours = [name for name in corpus.names if not name.startswith("base-")]  # the compiler's own stay
        world.opam("remove", "--switch", shorter, *ours)
        left = {path.name for path in (world.prefix(shorter) / "lib").iterdir()}
        assert left.isdisjoint(ours)
        world.opam("switch", "remove", shorter)
    finally:
        aside.rename(old)


def _use(world: World, switch: str, old: Path) -> None:
    prefix = world.prefix(switch)
    actions = world.opam("upgrade", "--switch", switch, "--show-actions").text
    assert "Already up-to-date" in actions or "Nothing to do" in actions
    within = ("opam", "exec", "--switch", switch, "--")
    found = world.run(*within, "ocamlfind", "printconf", "destdir").out.strip()
    assert found == f"{prefix}/lib"
    assert str(old) not in world.run(*within, "ocamlfind", "printconf").out
    work = world.folder / f"work-{switch}"
    work.mkdir()
    (work / "main.ml").write_text(PROGRAM)
    compile_ = ("ocamlfind", "ocamlopt", "-package", "zarith", "-linkpkg", "main.ml", "-o", "main")
    world.run(*within, *compile_, folder=work)
    assert world.run(str(work / "main")).out == f"{2**100}\n"
    shutil.rmtree(work)
