"""Real libraries, built from source in one switch and restored into two others: no one can tell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from trees import changes_problems, differences, holds_prefix, lost_folders, metadata_differences, shape, told

from opambin.model import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import BuiltCorpus
    from worlds import World

pytestmark = pytest.mark.integration

OWN_SECONDS = 3.0  # the aim is 1 s; allowed is more where other programs keep the CPUs busy
DESCRIPTION = "the same"
INFORMATIONAL = (".cmt", ".cmti", ".annot")
PROGRAM = """\
let () =
  let power = Z.to_string (Z.pow (Z.of_int 2) 100) in
  let digits = Re.compile (Re.whole_string (Re.rep1 Re.digit)) in
  Printf.printf "%s %b\\n" power (Re.execp digits power)
"""
PRINTED = "1267650600228229401496703205376 true\n"
COMMAND = """\
open Cmdliner
let say n = Printf.printf "%s\\n" (Z.to_string (Z.pow (Z.of_int 2) n))
let number = Arg.(value & pos 0 int 1 & info [])
let () = exit (Cmd.eval (Cmd.v (Cmd.info "power") Term.(const say $ number)))
"""


@dataclass(frozen=True, slots=True)
class Second:
    """A switch that got its packages from the store.

    Attributes:
        built: Where they were built.
        switch: The switch.
        before: What the creation of the switch had installed.
        summaries: What ``opam-bin install --json-summary`` printed, the compiler first.
        requests: What the server was asked for meanwhile.
    """

    built: BuiltCorpus
    switch: str
    before: frozenset[str]
    summaries: list[dict[str, Any]]
    requests: tuple[str, ...]

    @property
    def world(self) -> World:
        """The common root."""
        return self.built.world

    @property
    def prefix(self) -> Path:
        """Of the switch."""
        return self.world.prefix(self.switch)


@pytest.fixture(scope="module")
def without_sources(built_corpus: BuiltCorpus) -> Iterator[BuiltCorpus]:
    """The server answers 503, the sources are gone, and opam's downloads too."""
    built_corpus.server.in_service = False
    hidden = built_corpus.served.rename(built_corpus.served.with_name("hidden"))
    shutil.rmtree(built_corpus.world.root / "download-cache")
    yield built_corpus
    hidden.rename(built_corpus.served)
    built_corpus.server.in_service = True


@pytest.fixture(scope="module", params=["longer", "shorter"])
def second(request: pytest.FixtureRequest, without_sources: BuiltCorpus) -> Second:
    """A local switch at a longer path without anything, or one at a shorter path with a compiler."""
    built, world, compiler = without_sources, without_sources.world, without_sources.corpus.compiler
    before = len(built.server.requests)
    wanted = [built.corpus.packages]
    if request.param == "longer":
        project = world.folder / "projects/some-other-and-longer-place"
        project.mkdir(parents=True)
        name = str(project)
        world.opam("switch", "create", name, "--empty", "--description", DESCRIPTION)
        world.opam("switch", "set-invariant", compiler, "--switch", name, "--no-action")
        wanted.insert(0, (compiler,))
    else:
        name = "q7"
        world.opam("switch", "create", name, compiler, "--description", DESCRIPTION)
    assert (len(str(world.prefix(name))) > len(str(built.prefix))) == (request.param == "longer")
    there = frozenset(world.installed(name))
    summaries = []
    for packages in wanted:
        done = world.opam_bin("install", "--switch", name, "--json-summary", *packages)
        summaries.append(json.JSONDecoder().raw_decode(done.out)[0])
    return Second(built, name, there, summaries, tuple(built.server.requests[before:]))


def test_every_package_came_back_without_a_request(second: Second) -> None:
    came: set[str] = set()
    for summary in second.summaries:
        assert summary["left_to_opam"] == {}
        assert summary["reports"] == []
        assert summary["prefix"] == str(second.prefix)
        came |= {row["package"] for row in summary["restored"]} | set(summary["checked"])
    assert came == set(second.world.installed(second.built.switch)) - second.before
    assert second.world.installed(second.switch) == second.world.installed(second.built.switch)
    assert second.requests == ()


def test_our_own_time(second: Second, record_property: Callable[[str, object], None]) -> None:
    own = [sum(summary["seconds"][part] for part in ("plan", "restore")) for summary in second.summaries]
    record_property("seconds", own)
    print("own time:", own)  # noqa: T201 - shown by -rP
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert sum(own) <= OWN_SECONDS * busy


def test_the_files_are_the_same(second: Second) -> None:
    assert differences(second.built.prefix, second.prefix) == []


def test_what_opam_keeps_is_the_same(second: Second) -> None:
    assert metadata_differences(second.built.prefix, second.prefix) == []
    assert lost_folders(second.built.prefix, second.prefix) == []
    assert changes_problems(second.prefix) == []


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(("list", "--columns=package"), id="list"),
        pytest.param(("list", "--roots", "--short"), id="roots"),
        pytest.param(("env",), id="env"),
        pytest.param(("switch", "export", "-"), id="export"),
        pytest.param(("config", "list"), id="variables"),
    ],
)
def test_opam_answers_the_same(second: Second, query: tuple[str, ...]) -> None:
    mine = second.world.opam(*query, "--switch", second.built.switch)
    theirs = second.world.opam(*query, "--switch", second.switch)
    assert told(theirs.out, second.switch, second.prefix) == told(
        mine.out, second.built.switch, second.built.prefix
    )


def test_opam_has_nothing_to_do(second: Second) -> None:
    done = second.world.opam("upgrade", "--show-actions", "--switch", second.switch)
    assert "Already up-to-date" in done.text
    again = second.world.opam_bin("install", "--switch", second.switch, *second.built.corpus.packages)
    assert "already installed" in again.text


def test_nothing_names_the_first_switch_or_the_placeholder(second: Second, tmp_path: Path) -> None:
    names = (str(second.built.prefix).encode(), PLACEHOLDER)
    found = [path for path in holds_prefix(second.prefix, *names) if not path.endswith(INFORMATIONAL)]
    stale = []
    for path in found:
        bare = tmp_path / "bare"
        subprocess.run(["strip", "--strip-debug", "-o", bare, second.prefix / path], check=False)
        data = bare.read_bytes() if bare.exists() else (second.prefix / path).read_bytes()
        stale += [path] * any(name in data for name in names)
        bare.unlink(missing_ok=True)
    assert stale == []


@contextmanager
def moved_away(prefix: Path) -> Iterator[None]:
    """Take a folder out of the way for the block."""
    hidden = prefix.rename(prefix.with_name("moved-away"))
    yield
    hidden.rename(prefix)


def test_programs_can_be_compiled_with_the_first_switch_gone(second: Second, tmp_path: Path) -> None:
    (tmp_path / "power.ml").write_text(PROGRAM)
    (tmp_path / "command.ml").write_text(COMMAND)
    exec_ = ("opam", "exec", "--switch", second.switch, "--")

    def compile_(name: str, packages: str) -> None:
        options = ("-package", packages, "-linkpkg", f"{name}.ml", "-o", name)
        second.world.run(*exec_, "ocamlfind", "ocamlopt", *options, folder=tmp_path)

    with moved_away(second.built.prefix):
        compile_("power", "zarith,re")
        assert second.world.run(str(tmp_path / "power")).out == PRINTED
        if "cmdliner" in second.built.corpus.names:
            compile_("command", "zarith,cmdliner")
            assert second.world.run(str(tmp_path / "command"), "10").out == "1024\n"


def test_a_dune_project_can_be_built_with_the_first_switch_gone(second: Second, tmp_path: Path) -> None:
    (tmp_path / "dune-project").write_text("(lang dune 2.0)\n")
    (tmp_path / "dune").write_text("(executable (name power) (modes exe byte) (libraries zarith re))\n")
    (tmp_path / "power.ml").write_text(PROGRAM)
    exec_ = ("opam", "exec", "--switch", second.switch, "--")
    with moved_away(second.built.prefix):
        second.world.run(*exec_, "dune", "build", "--root", ".", "./power.exe", "./power.bc", folder=tmp_path)
        for program in ("_build/default/power.exe", "_build/default/power.bc"):
            assert second.world.run(*exec_, f"./{program}", folder=tmp_path).out == PRINTED


def test_removing_everything_leaves_nothing(second: Second) -> None:
    empty = shape(second.world.empty_switch(f"empty-{len(second.switch)}"))
    names = [package.partition(".")[0] for package in second.world.installed(second.switch)]
    second.world.opam("remove", "--switch", second.switch, "--update-invariant", *names)
    assert second.world.installed(second.switch) == []
    left = shape(second.prefix)
    left.pop("share", None)  # opam makes it without counting it, also when it builds everything itself
    assert left == empty
