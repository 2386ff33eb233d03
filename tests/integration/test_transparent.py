"""Transparent mode: plain opam commands restore, and look and end as opam's own do."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import pty
import re
import select
import signal
import sys
import time
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Pair:
    """A root without opam-bin, and one in transparent mode, with the same repository."""

    plain: World
    transparent: World

    @property
    def shim(self) -> Path:
        return self.transparent.root / "plugins/opam-bin/shim"

    @property
    def path(self) -> dict[str, str]:
        return {"PATH": f"{self.shim}{os.pathsep}{self.transparent.environ['PATH']}"}

    def opam(self, *args: str, code: int | None = 0, more: dict[str, str] | None = None) -> Done:
        """Run opam as a user of the transparent root does."""
        return self.transparent.opam(*args, code=code, more=self.path | (more or {}))


def make_pair(folder: Path, program: str) -> Pair:
    repository = tiny.write(folder / "repo")
    plain = World.make(folder / "p", program, str(repository), sandbox=False)
    plain.opam_bin("uninstall", "--yes")
    transparent = World.make(folder / "t", program, str(repository), sandbox=False)
    transparent.opam_bin("init", "--yes", "--transparent")
    return Pair(plain, transparent)


@pytest.fixture(scope="module")
def pair(opam_program: str, short_folder: Path) -> Pair:
    return make_pair(short_folder / f"x{next(_numbers)}", opam_program)


@pytest.fixture
def own_pair(opam_program: str, short_folder: Path) -> Pair:
    """A pair that a test may spoil."""
    return make_pair(short_folder / f"x{next(_numbers)}", opam_program)


def told(world: World, text: str) -> list[str]:
    """Return what opam said, without our lines, and without what differs between any two runs of it."""
    text = text.replace(str(world.folder), "@")
    text = re.sub(r"(?<=-)\d+-[0-9a-f]{6}\b|(?<=/state-)\d+", "N", text)  # names of logs and backups
    # opam shows a failed command with its wrappers, of which the hooks are one
    text = re.sub(r"^(# command +)(?:\S+/wrap-build |/usr/bin/)", r"\1", text, flags=re.MULTILINE)
    return [line for line in text.splitlines() if not line.startswith("opam-bin: ")]


COMMANDS = [
    (("switch", "create", "a", "--empty", "--description", "d"), 0),
    (("install", "--switch", "a", "top", "--jobs=1"), 0),
    (("install", "top"), 0),
    (("ins", "top"), 0),
    (("list",), 0),
    (("list", "--no-such-option"), 2),
    (("show", "tree"), 0),
    (("show", "nosuch"), 5),
    (("install", "nosuch"), 5),
    (("install", "--no-such-option"), 2),
    (("install", "tree.1", "tree.2"), 20),
    (("install", "--help=plain"), 0),
    (("upgrade", "--help=plain"), 0),
    (("install", "--show-actions", "leaf"), 0),
    (("install", "--switch=nosuch", "leaf"), 2),
    (("install", "failing", "--jobs=1"), 31),
    (("half",), 2),
    (("in", "x"), 2),
    (("-y", "install", "lone"), 0),
    (("upgrade",), 0),
    (("upg", "nosuch"), 5),
    (("reinstall", "nosuch"), 5),
    (("switch", "create", "a", "--empty"), 2),
    (("switch",), 0),
    (("exec", "--", "sh", "-c", "exit 3"), 3),
    (("remove", "top", "flat"), 0),
    (("env",), 0),
    (("--version",), 0),
    (("switch", "remove", "a"), 0),
]


def test_it_looks_and_ends_as_opams_own_but_for_our_lines(own_pair: Pair) -> None:
    """Everything is built from source here: the store is empty."""
    differing = []
    for command, code in COMMANDS:
        mine = own_pair.opam(*command, code=None)
        theirs = own_pair.plain.opam(*command, code=None)
        assert theirs.code == code, f"{command}: {theirs.text}"
        if mine.code != theirs.code:
            differing.append(f"{command}: exit code {mine.code} instead of {code}")
        for ours, real in [(mine.out, theirs.out), (mine.err, theirs.err)]:
            if command != ("env",):  # the shim's folder is in PATH, which is the point
                found = difflib.ndiff(told(own_pair.plain, real), told(own_pair.transparent, ours))
                differing += [f"{command}: {line}" for line in found if line[0] in "+-"]
    assert differing == [], "\n".join(differing)


def test_plain_commands_restore(pair: Pair) -> None:
    pair.opam("switch", "create", "one", "--empty", "--description=d")
    pair.opam("install", "--switch=one", "top", "leaf")
    assert sorted(pair.transparent.built) == ["flat.1", "leaf.1", "top.1", "tree.2"]
    pair.opam("switch", "create", "two", "--empty", "--description=d")
    pair.plain.opam("switch", "create", "two", "--empty", "--description=d")
    done = pair.opam("install", "--switch=two", "top", "leaf")
    assert len(pair.transparent.built) == 4, "nothing was built again"
    pair.plain.opam("install", "--switch=two", "top", "leaf", "--jobs=1")
    assert re.search(r"opam-bin: 4 restored", done.text)
    one, two = pair.transparent.prefix("one"), pair.transparent.prefix("two")
    assert differences(one, two) == []
    assert metadata_differences(one, two) == []
    assert changes_problems(two) == []


RESTORING = [
    (("install", "lone", "tree.1"), {"OPAMYES": ""}, 10),
    (("install", "lone", "tree.1"), {"OPAMYES": "", "LANG": "C"}, 10),
    (("install", "top", "--color=always"), {}, 0),
    (("install", "lone", "tree.1"), {"LANG": "C.UTF-8"}, 0),
    (("upgrade",), {"LANG": "C.UTF-8", "OPAMCOLOR": "always"}, 0),
    (("upgrade",), {}, 0),
    (("reinstall", "tree"), {"LANG": "C"}, 0),
    (("remove", "top", "flat"), {}, 0),
    (("install", "top"), {"SHELL": "/bin/fish"}, 0),
    (("install", "top"), {}, 0),
    (("switch", "create", "an other", "comp.1"), {}, 0),
    (("switch", "create", "another", "comp.1", "--jobs=1"), {}, 0),
]
"""Commands in this order, all of whose packages are in the store; the switch is the current one."""


def test_what_is_restored_looks_like_what_is_built(own_pair: Pair) -> None:
    """Every line of opam's is there, in its place and its colours, and ours come last."""
    own_pair.opam("switch", "create", "store", "--empty")
    for words in (["top", "tree.1", "lone", "comp.1"], ["tree.2"]):
        own_pair.opam("install", "--switch=store", *words)
    for world in (own_pair.transparent, own_pair.plain):
        world.opam("switch", "create", "a", "--empty")
        world.opam("install", "flat", "--jobs=1")
    differing = []
    for command, more, code in RESTORING:
        mine = own_pair.opam(*command, code=None, more=more)
        jobs = {"OPAMJOBS": "1"}
        theirs = own_pair.plain.opam(*command, code=None, more=more | jobs)
        assert theirs.code == code, f"{command}: {theirs.text}"
        assert mine.code == code, f"{command}: {mine.text}"
        if code == 0 and command[0] != "remove" and "installed" in theirs.out:
            assert re.search(r"opam-bin: \d+ restored", mine.out.splitlines()[-1]), mine.text
        for ours, real in [(mine.out, theirs.out), (mine.err, theirs.err)]:
            found = difflib.ndiff(told(own_pair.plain, real), told(own_pair.transparent, ours))
            differing += [f"{command}: {line}" for line in found if line[0] in "+-"]
    assert differing == [], "\n".join(differing)


def test_what_a_shell_evaluates_keeps_working_beside_opam_env(pair: Pair) -> None:
    pair.opam("switch", "create", "three", "--empty")
    script = """
      eval "$(opam-bin env --shell sh)"; eval "$(opam env --switch=three)"; eval "$(opam-bin env --shell sh)"
      command -v opam
      opam exec --switch=three -- sh -c 'command -v opam'
      echo "$OPAM_SWITCH_PREFIX"
    """
    bin_ = pair.transparent.folder / "ours"
    bin_.mkdir()
    (bin_ / "opam-bin").write_text(f'#!/bin/sh\nexec {sys.executable} -m opambin.cli.main "$@"\n')
    (bin_ / "opam-bin").chmod(0o755)
    path = f"{bin_}{os.pathsep}{pair.transparent.environ['PATH']}"
    done = pair.transparent.run("sh", "-c", script, more={"PATH": path})
    assert done.out.splitlines() == [f"{pair.shim}/opam"] * 2 + [str(pair.transparent.prefix("three"))]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"OPAMBIN_JOBS": "many"}, id="a setting that can't be"),
        pytest.param({"OPAMBIN_CACHE": "/proc/nowhere"}, id="no store can be made"),
        pytest.param({"OPAMBIN_ENABLED": "no"}, id="switched off"),
    ],
)
def test_opam_goes_on_where_we_can_not(pair: Pair, more: dict[str, str]) -> None:
    name = f"f{next(_numbers)}"
    pair.transparent.empty_switch(name)
    done = pair.opam("install", f"--switch={name}", "leaf", more=more)
    assert pair.transparent.installed(name) == ["leaf.1"]
    assert "opam goes on alone" in done.text


def test_no_opam_behind_it(own_pair: Pair) -> None:
    (own_pair.transparent.folder / "bin/opam").unlink()
    tools = own_pair.transparent.folder / "tools"
    tools.mkdir()
    done = own_pair.transparent.run(
        f"{own_pair.shim}/opam", "install", "leaf", code=127, more={"PATH": f"{own_pair.shim}:{tools}"}
    )
    assert "there is no opam behind" in done.err


ASKED = re.compile(rb"\[[Yy]/n\]")


def on_terminal(pair: Pair, args: tuple[str, ...], more: dict[str, str], *, say: bytes) -> tuple[int, str]:
    """Run opam on a terminal, answer its question, and return its exit code and what it wrote."""
    environ = pair.transparent.environ | pair.path | more | {"TERM": "dumb"}
    del environ["OPAMYES"]
    pid, master = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        os.chdir(pair.transparent.folder)
        os.execvpe("opam", ["opam", *args], environ)  # noqa: S606 - a terminal of its own, and no shell
    heard, said, keys = b"", 0.0, b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.2)
        try:
            heard += os.read(master, 65536) if ready else b""
        except OSError:
            break  # everyone has closed the terminal
        # opam forgets what was typed before it was ready to listen, so the answer is given again; 2.3 takes
        # several keys at once for none that it knows
        if ASKED.search(heard) and not ready and time.monotonic() > said + (0.3 if keys else 3):
            keys = keys or say
            with contextlib.suppress(OSError):  # it has what it wants
                os.write(master, keys[:1])
            said, keys = time.monotonic(), keys[1:]
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), heard.decode(errors="replace")


@pytest.mark.parametrize("hits", [False, True], ids=["built", "restored"])
@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        pytest.param(b"n\n", (10,), id="no"),
        pytest.param(b"\n", (0,), id="yes"),
        pytest.param(b"\x03", (130, -signal.SIGINT), id="control-C"),
    ],
)
def test_a_question_on_a_terminal(pair: Pair, hits: bool, answer: bytes, codes: tuple[int, ...]) -> None:
    more = {}
    if hits:
        first = f"q{next(_numbers)}"
        pair.transparent.empty_switch(first)
        pair.opam("install", f"--switch={first}", "top")
    else:
        more = {"OPAMBIN_CACHE": f"{pair.transparent.cache}-{next(_numbers)}"}
    name = f"q{next(_numbers)}"
    pair.transparent.empty_switch(name)
    code, heard = on_terminal(pair, ("install", f"--switch={name}", "top"), more, say=answer)
    assert ASKED.search(heard.encode()), heard
    assert not hits or len(ASKED.findall(heard.encode())) == 1, heard  # opam 2.3 writes it anew for each key
    assert code in codes, heard
    assert "Traceback" not in heard
    wanted = ["flat.1", "top.1", "tree.2"] if code == 0 else []
    assert pair.transparent.installed(name) == wanted
