"""Set opam-bin up in a real opam root, use it, and take it out. OPAMBIN_TEST_OPAMS names the opams to use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from opambin.opam import hooklist
from opambin.opam.client import Opam
from opambin.opam.parser import parse
from opambin.opam.printer import print_value
from opambin.relocate.spelling import pad
from opambin.setup.initialise import LinkState, init, plan_init
from opambin.setup.place import Place
from opambin.setup.uninstall import plan_uninstall, uninstall

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

OPAMS = [path for path in os.environ.get("OPAMBIN_TEST_OPAMS", "opam").split(":") if path]
SANDBOXED = shutil.which("bwrap") is not None
PACKAGE = """\
opam-version: "2.0"
build: [
  ["sh" "-c" "touch %{prefix}%/outside 2>/dev/null; true"]
  ["sh" "-c" "echo $OPAM_SWITCH_PREFIX >from-env; echo $BUILD_PATH_PREFIX_MAP >map"]
  ["sh" "-c" "echo $1 >from-args" "x" prefix]
]
install: [
  ["mkdir" "-p" "%{share}%/dummy"]
  ["cp" "from-env" "map" "from-args" "%{share}%/dummy"]
]
"""
# In place of the Python part: opens the session, as the real one does for a miss, and captures nothing.
STUB = """\
import os, sys
home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
session = home + "/session" + os.environ["OPAM_SWITCH_PREFIX"]
with open(home + "/calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == "pre-session":
    for name in ("package", "start", "recipe"):
        os.makedirs(session + "/" + name)
    open(session + "/package/dummy.1", "w").close()  # it was announced, and looked up
"""


@dataclass(frozen=True)
class Root:
    """An initialised opam root with a repository that has one package, ``dummy``."""

    opam: Opam
    path: Path

    @property
    def config(self) -> bytes:
        return (self.path / "config").read_bytes()

    def run(self, *args: str) -> str:
        done = self.opam.run(args, capture=True)
        assert done.ok, (done.stdout, done.stderr)
        return done.stdout + done.stderr

    def init(self, program: Path | None = None, *, replace_peer: bool = False) -> None:
        init(plan_init(self.path, program, replace_peer=replace_peer), self.opam)

    def uninstall(self) -> None:
        uninstall(plan_uninstall(self.path), self.opam)

    def hooks(self, field: str) -> str:
        config = parse(self.config.decode())
        return " ".join(map(print_value, hooklist.commands(config, field)))


@pytest.fixture(params=OPAMS)
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Root:
    repository = tmp_path / "repository"
    package = repository / "packages/dummy/dummy.1"
    package.mkdir(parents=True)
    (repository / "repo").write_text('opam-version: "2.0"\n')
    (package / "opam").write_text(PACKAGE)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OPAM", "OCAML"))}
    environ |= {"OPAMROOTISOK": "1", "OPAMYES": "1", "HOME": str(tmp_path), "OPAMNODEPEXTS": "1"}
    program = shutil.which(request.param)
    if program is None:
        pytest.skip(f"{request.param} is not installed")
    root = Root(Opam(program, tmp_path / "root", environ=environ), tmp_path / "root")
    sandbox = [] if SANDBOXED else ["--disable-sandboxing"]
    root.run("init", "-n", "--bare", *sandbox, str(repository))
    return root


def test_init_twice_then_uninstall_gives_the_same_bytes(root: Root, tmp_path: Path) -> None:
    program = tmp_path / "opam-bin"
    program.touch(mode=0o755)
    before = root.config
    root.init(program)
    after = root.config
    assert after != before
    assert plan_init(root.path, program).empty
    root.init(program)
    assert root.config == after
    assert (root.path / "plugins/bin/opam-bin").readlink() == program
    root.uninstall()
    assert root.config == before
    assert not (root.path / "plugins").exists()
    assert plan_uninstall(root.path).empty


def test_opam_runs_our_program_as_its_plugin(root: Root, tmp_path: Path) -> None:
    program = tmp_path / "opam-bin"
    program.write_text('#!/bin/sh\necho "ran $*"\n')
    program.chmod(0o755)
    root.init(program)
    assert "ran stats --json" in root.run("bin", "stats", "--json")


def test_the_sandbox_and_foreign_hooks_stay_and_a_comment_survives(root: Root) -> None:
    root.opam.option_set('post-install-commands=["true" "audit" name]')
    root.opam.option_set('wrap-build-commands+=["env"]')
    config = root.path / "config"
    config.write_bytes(b"# kept by hand\n" + config.read_bytes())
    before = root.config
    root.init()
    assert root.hooks("wrap-build-commands").startswith(
        '["%{root}%/plugins/opam-bin/hooks/wrap-build"] ["env"]'
    )
    assert ("sandbox.sh" in root.hooks("wrap-build-commands")) is (b"sandbox.sh" in before)
    assert root.hooks("post-install-commands").startswith('["true" "audit" name] [')
    root.uninstall()
    assert root.config == before


def test_later_changes_of_the_configuration_are_kept_by_uninstall(root: Root) -> None:
    root.init()
    root.opam.option_set("download-jobs=7")
    root.opam.option_set('post-install-commands+=["true"]')
    assert plan_uninstall(root.path).original is None
    root.uninstall()
    assert b"download-jobs: 7" in root.config
    assert root.hooks("post-install-commands") == '["true"]'
    assert b"plugins/opam-bin" not in root.config


@pytest.mark.parametrize("lost", ["config.before", "init.json", "hooks"])
def test_uninstall_works_when_half_of_us_is_gone(root: Root, lost: str) -> None:
    before = root.config
    root.init()
    gone = Place(root.path).home / lost
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    root.uninstall()
    assert root.config == before
    assert not Place(root.path).home.exists()


def test_a_dangling_link_is_replaced_and_removed_but_not_somebody_elses(root: Root, tmp_path: Path) -> None:
    link = root.path / "plugins/bin/opam-bin"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "gone")
    program, other = tmp_path / "opam-bin", tmp_path / "other"
    program.touch()
    other.touch()
    assert plan_init(root.path, program).link is LinkState.STALE
    link.unlink()
    link.symlink_to(other)
    root.init(program)
    assert link.readlink() == other
    plan = plan_uninstall(root.path)
    assert any(str(other) in kept for kept in plan.keeps)
    root.uninstall()
    assert link.readlink() == other


def test_hooks_of_the_peer_are_replaced_when_asked(root: Root) -> None:
    peer = root.path / "plugins/opam-bin/opam-bin.exe"
    peer.parent.mkdir(parents=True)
    peer.touch()
    root.opam.option_set(f'wrap-build-commands+=["{peer}" "wrap-build" name version depends "--"]')
    root.opam.option_set(f'pre-remove-commands=["{peer}" "pre-remove" name version depends]')
    assert len(plan_init(root.path, None).peers) == 2
    root.init(replace_peer=True)
    assert b"opam-bin.exe" not in root.config
    root.uninstall()
    assert peer.exists()


def test_a_session_builds_under_the_padded_prefix_inside_the_sandbox(root: Root) -> None:
    root.init()
    run = Place(root.path).hooks / "run.py"
    run.write_text(STUB)
    root.run("switch", "create", "s", "--empty")
    root.run("install", "--switch=s", "dummy")
    prefix = root.path / "s"
    long = pad(os.fsencode(prefix)).decode()
    built = prefix / "share/dummy"
    assert (built / "from-env").read_text() == f"{long}\n"
    assert (built / "from-args").read_text() == f"{long}\n"
    assert f"/build/dummy.1={long}/.opam-switch/build/dummy.1" in (built / "map").read_text()
    assert (prefix / "outside").exists() is not SANDBOXED
    calls = (Place(root.path).home / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["pre-session", "post-install", "post-session"]
    assert "new=dummy.1" in calls[0]
    assert "post-install dummy 1" in calls
    assert "success=true" in calls[-1]


def test_a_session_works_when_our_python_part_is_gone(root: Root) -> None:
    root.init()
    (Place(root.path).hooks / "run.py").unlink()
    root.run("switch", "create", "s", "--empty")
    output = root.run("install", "--switch=s", "dummy")
    assert "opam-bin init" in output
    assert (root.path / "s/share/dummy/from-env").read_text() == f"{root.path}/s\n"


def test_the_command_line_sets_up_and_takes_out(root: Root, tmp_path: Path) -> None:
    before = root.config
    environ = {
        **root.opam.environment(),
        "OPAMBIN_OPAM": root.opam.program,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "opambin", *args],
            env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert run("uninstall", "--yes").returncode == 0
    refused = run("init")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    dry = run("init", "--dry-run", "--json")
    assert dry.returncode == 0
    assert '"pre-session-commands"' in dry.stdout
    assert root.config == before
    assert run("init", "--yes").returncode == 0
    assert "nothing to do" in run("init", "--yes").stdout
    done = run("uninstall", "--yes")
    assert done.returncode == 0, done.stderr
    assert root.config == before
    assert "not set up" in run("uninstall", "--yes").stdout
