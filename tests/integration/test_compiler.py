"""A compiler that opam built, and packages on top of it: moved, with the place of the build gone, they work.

``OPAMBIN_TEST_WORLD`` names a folder that is kept, so that the next run does not build again what is there.
``OPAMBIN_TEST_SET=full`` takes every package of the corpus instead of the tools and what they need.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import toolchain
from corpus import MAKE_CORPUS
from trees import changes_problems, differences, metadata_differences
from worlds import World, sandbox_works

from opambin.model import Kind
from opambin.relocate.analysis import INFORMATIONAL_SUFFIXES, analyse
from opambin.relocate.spelling import Spelling
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opambin.model import Manifest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COMPILER = "ocaml-base-compiler.4.13.1"
VERSION = "4.13.1"
TOOLS = ("ocamlfind", "ocamlbuild", "zarith", "dune", "menhir", "ppx_sexp_conv", "sexplib", "lwt_ppx")
PATIENCE = 7200  # seconds; the whole corpus is built by one command
FARTHEST = 150  # bytes; a prefix that every package must be movable to
LONGER = 140  # bytes
BUILD_DIRECTORY = b"/.opam-switch/build/"
STALE = frozenset({"lib/batteries/batteriesHelp.cmt", "lib/batteries/batteriesHelp.cmti"})
"""Typed trees, for people and editors, that keep the path of the build: ocamlfind replaces the + of ``-I +x``
by the path that it was built with, whatever its environment says."""


@dataclass(frozen=True, slots=True)
class Built:
    """A switch with everything built from source, under the hooks.

    Attributes:
        world: The root, and the store that has it all.
        switch: The switch.
        packages: What was asked for, besides the compiler.
    """

    world: World
    switch: str
    packages: tuple[str, ...]

    @property
    def prefix(self) -> Path:
        """Of the switch."""
        return self.world.prefix(self.switch)

    @property
    def manifests(self) -> list[Manifest]:
        """All snapshots."""
        with Store.open(self.world.cache, readonly=True) as store:
            return sorted(store.manifests.all(), key=lambda manifest: str(manifest.package))


@pytest.fixture(scope="module")
def built(opam_program: str, short_folder: Path) -> Built:
    """The compiler and the packages, built once."""
    kept = os.environ.get("OPAMBIN_TEST_WORLD")
    folder = Path(kept).resolve() if kept else short_folder / "compiler"
    folder.mkdir(parents=True, exist_ok=True)
    packages = make_corpus(folder / "corpus")
    world = replace(World(folder / "w", opam_program), patience=PATIENCE)
    if not world.root.exists():
        address = str(folder / "corpus/repo")
        world = replace(
            World.make(folder / "w", opam_program, address, sandbox=sandbox_works()), patience=PATIENCE
        )
    found = Built(world, "built-here", packages)
    if not found.prefix.exists():
        world.opam("switch", "create", found.switch, COMPILER)
    world.opam("install", "--switch", found.switch, *packages)
    return found


def make_corpus(folder: Path) -> tuple[str, ...]:
    """Write the repository; returns the packages to install."""
    if not MAKE_CORPUS.is_file():
        pytest.skip(f"{MAKE_CORPUS} is not there")
    command = [sys.executable, str(MAKE_CORPUS), str(folder), "--set", "full"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(made.stderr.strip())
    if os.environ.get("OPAMBIN_TEST_SET") != "full":
        return TOOLS
    listed = subprocess.run(
        [*command, "--compiler", "base", "--list"], capture_output=True, text=True, check=True
    )
    return tuple(listed.stdout.split())


@contextmanager
def moved_away(prefix: Path) -> Iterator[None]:
    """Take a folder out of the way for the block."""
    hidden = prefix.rename(prefix.with_name("moved-away"))
    try:
        yield
    finally:
        hidden.rename(prefix)


def test_every_package_can_be_moved(built: Built) -> None:
    stuck = []
    for manifest in built.manifests:
        stuck += [f"{manifest.package}: {bound.path}: {bound.reason}" for bound in manifest.bound]
        stuck += [
            f"{manifest.package}: {entry.path}: up to {found.capacity} bytes"
            for entry in manifest.files
            for found in entry.occurrences
            if found.functional and found.capacity is not None and found.capacity < FARTHEST
        ]
    assert stuck == []


def test_the_store_names_the_place_of_the_build_only_in_build_directories(built: Built) -> None:
    parent, leaf = os.fsencode(built.prefix.parent), os.fsencode(built.prefix.name)
    spelled = re.compile(re.escape(parent) + rb"/+" + re.escape(leaf) + rb"(?![A-Za-z0-9._+~-])")
    found = []
    with Store.open(built.world.cache, readonly=True) as store:
        for manifest in built.manifests:
            for entry in manifest.files:
                if entry.digest is None or entry.path in STALE:
                    continue
                executable = bool(entry.mode & 0o111)
                data = store.objects.path(entry.digest, executable=executable, size=entry.size).read_bytes()
                found += [
                    f"{manifest.package}: {entry.path}: {data[hit.start() : hit.end() + 60]!r}"
                    for hit in spelled.finditer(data)
                    if not data.startswith(BUILD_DIRECTORY, hit.end())
                ]
    assert found == []


def test_live_files_have_the_true_spelling_after_the_build(built: Built) -> None:
    spelling = Spelling.of(os.fsencode(built.prefix))
    found = []
    for manifest in built.manifests:
        for entry in manifest.files:
            path = built.prefix / entry.path
            if entry.digest is None or path.suffix in INFORMATIONAL_SUFFIXES or not path.is_file():
                continue
            data = path.read_bytes()
            if spelling.padded not in data:
                continue
            # What keeps its length in native code is a C string, which nothing compares as a whole.
            native = data.startswith((b"\x7fELF", b"!<arch>\n"))
            kept = {
                item.offset
                for item in analyse(data, spelling, entry.path).occurrences
                if item.kind is Kind.CSTRING
            }
            found += [
                f"{entry.path} at {hit.offset}"
                for hit in spelling.hits(data)
                if hit.padded and not hit.build and not (native and hit.offset in kept)
            ]
    assert found == []


def test_what_opam_recorded_of_files_is_true_after_the_build(built: Built) -> None:
    assert changes_problems(built.prefix) == []


@pytest.fixture(scope="module", params=["shorter", "equal", "longer"])
def moved(request: pytest.FixtureRequest, built: Built) -> Iterator[Path]:
    """A switch elsewhere with everything restored; the compiler of the equally long one by plain opam."""
    world = built.world
    if request.param == "longer":
        name = str(longer_folder(world.folder))
    else:
        name = "s" if request.param == "shorter" else "B" + built.switch[1:]
    if world.prefix(name).exists():
        world.opam("switch", "remove", name)
    with moved_away(built.prefix):
        if request.param == "equal":
            done = world.opam("switch", "create", name, COMPILER, "--description", built.switch)
            assert "6 restored" in done.text
        else:
            world.opam("switch", "create", name, "--empty", "--description", built.switch)
            world.opam("switch", "set-invariant", COMPILER, "--switch", name, "--no-action")
        done = world.opam_bin("install", "--switch", name, COMPILER, *built.packages)
    assert "left to opam" not in done.text
    prefix = world.prefix(name)
    lengths = (len(str(prefix)) > len(str(built.prefix))) - (len(str(prefix)) < len(str(built.prefix)))
    assert lengths == {"shorter": -1, "equal": 0, "longer": 1}[request.param]
    yield prefix
    world.opam("switch", "remove", name)
    shutil.rmtree(name, ignore_errors=True)


def longer_folder(parent: Path) -> Path:
    """Make the folder of a local switch with a prefix of the wanted length."""
    short = len(str(parent / "x" / "_opam")) - 1
    folder = parent / ("long-" * LONGER)[: LONGER - short]
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("step", [pytest.param(step, id=step.name) for step in toolchain.COMPILER])
def test_the_compiler_works(built: Built, moved: Path, tmp_path: Path, step: toolchain.Step) -> None:
    with moved_away(built.prefix):
        printed = toolchain.run(step, built.world, moved, tmp_path, bare=True)
    assert printed == toolchain.expected(step, moved, VERSION)


@pytest.mark.parametrize("step", [pytest.param(step, id=step.name) for step in toolchain.PACKAGES])
def test_tools_and_libraries_work(built: Built, moved: Path, tmp_path: Path, step: toolchain.Step) -> None:
    with moved_away(built.prefix):
        printed = toolchain.run(step, built.world, moved, tmp_path, bare=False)
    assert printed == toolchain.expected(step, moved, VERSION)


def test_every_bytecode_tool_starts(built: Built, moved: Path) -> None:
    tools = sorted(moved.glob("bin/*.byte"))
    assert len(tools) > 10
    clean = ("env", "-i", "PATH=/usr/bin:/bin")
    with moved_away(built.prefix):
        for tool in tools:
            known = ("-version",) if tool.name != "ocamlobjinfo.byte" else (f"{moved}/lib/ocaml/str.cma",)
            assert built.world.run(*clean, str(tool), *known).out, tool.name


def test_the_trees_are_equal(built: Built, moved: Path) -> None:
    found = [line for line in differences(built.prefix, moved) if not is_launcher(moved, line)]
    assert found == []
    kept = metadata_differences(built.prefix, moved)
    assert [line for line in kept if not is_layout(built.prefix, moved, line)] == []
    assert changes_problems(moved) == []


def is_launcher(prefix: Path, difference: str) -> bool:
    """Tell whether a bytecode program differs because its ``#!`` line would be too long for some kernels."""
    data = (prefix / difference.partition(":")[0]).read_bytes()
    return data.startswith(b"#!/bin/sh\nexec '")


def is_layout(built: Path, moved: Path, difference: str) -> bool:
    """Tell whether opam wrote the same things down in another way.

    It breaks the lines of a ``.config`` where the prefix makes them long, and the ``switch-state`` names the
    packages of the compiler only where opam made the switch with them.
    """
    path = difference.partition(":")[0]
    one, other = (
        (prefix / ".opam-switch" / path).read_text().replace(str(prefix), "@").split()
        for prefix in (built, moved)
    )
    return path == "switch-state" or (path.startswith("config/") and one == other)


@pytest.fixture(scope="module")
def elsewhere(built: Built) -> Path:
    """Another switch, with a prefix of another length, in which the same compiler was built from source."""
    folder = built.world.folder / "compiled-elsewhere-as-well"
    if not (folder / "_opam").exists():
        other = replace(built.world, number=9)  # a store of its own
        other.opam("switch", "create", str(folder), COMPILER, "--no-switch")
    return folder


def test_a_compiler_built_elsewhere_is_the_same_output(built: Built, elsewhere: Path) -> None:
    with Store.open(replace(built.world, number=9).cache, readonly=True) as store:
        theirs = {str(found.package): found.output for found in store.manifests.all()}
    mine = {str(found.package): found.output for found in built.manifests}
    assert theirs[COMPILER] == mine[COMPILER]
    assert len(bytes(built.prefix)) != len(bytes(elsewhere / "_opam"))


def test_what_imports_implementations_fits_to_a_compiler_built_elsewhere(
    built: Built, elsewhere: Path, tmp_path: Path
) -> None:
    done = built.world.opam_bin("install", "--switch", str(elsewhere), "ocamlfind", "ppxlib")
    assert "left to opam" not in done.text
    assert "built" not in done.text.replace("of building", "")
    step = toolchain.IMPLEMENTATIONS
    printed = toolchain.run(step, built.world, elsewhere / "_opam", tmp_path, bare=False)
    lines = [line for line in printed.splitlines() if line and not line.startswith("findlib: [WARNING]")]
    assert lines == toolchain.expected(step, elsewhere / "_opam", VERSION).splitlines()
