"""Some sixty packages, built in one switch and restored into another: opam can not tell them apart.

``make medium`` runs it, and takes half an hour. ``OPAMBIN_TEST_WORLD`` names a folder that is kept, so that
the next run does not build again what is there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from corpus import MAKE_CORPUS
from trees import changes_problems, differences, lost_folders, metadata_differences, shape, told
from worlds import World, sandbox_works

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SET = "medium"
FIRST = "first"
SECOND = "the-second-of-them"
DESCRIPTION = "the same"
PATIENCE = 3600  # seconds that a build may take


@dataclass(frozen=True, slots=True)
class Pair:
    """Two switches of one root.

    Attributes:
        world: The root, and the store.
        packages: What was asked for in both, the compiler first.
        summaries: What ``opam-bin switch create`` and ``install`` said of the second one.
    """

    world: World
    packages: tuple[str, ...]
    summaries: tuple[dict[str, Any], ...]

    def ask(self, switch: str, *query: str) -> str:
        """Return what opam says of a switch, with the names of the switch taken out."""
        return told(self.world.opam(*query, "--switch", switch).out, switch, self.world.prefix(switch))


def make_corpus(folder: Path) -> tuple[str, ...]:
    """Write repository and sources, where they are not there; returns the packages."""
    listed = folder / "corpus.json"
    if not listed.exists():
        if not MAKE_CORPUS.is_file():
            pytest.skip(f"{MAKE_CORPUS} is not there")
        command = [sys.executable, str(MAKE_CORPUS), str(folder), "--set", SET]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(made.stderr.strip())
    content = json.loads(listed.read_text())
    if content["set"] != SET:
        pytest.skip(f"{folder} holds the set {content['set']}")
    return tuple(row["package"] for row in content["packages"])


@contextmanager
def hidden(*folders: Path) -> Iterator[None]:
    """Take folders away for the block, where they are."""
    there = [(folder, folder.with_name(f"hidden-{folder.name}")) for folder in folders if folder.exists()]
    for folder, away in there:
        folder.rename(away)
    try:
        yield
    finally:
        for folder, away in there:
            away.rename(folder)


@pytest.fixture(scope="module")
def pair(opam_program: str, short_folder: Path) -> Iterator[Pair]:
    """A switch that was built, and one that is restored while no source is to be had."""
    kept = os.environ.get("OPAMBIN_TEST_WORLD")
    folder = Path(kept).resolve() if kept else short_folder / SET
    packages = make_corpus(folder / "corpus")
    world = replace(World(folder / "w", opam_program), patience=PATIENCE)
    if not world.root.exists():
        made = World.make(folder / "w", opam_program, str(folder / "corpus/repo"), sandbox=sandbox_works())
        world = replace(made, patience=PATIENCE)
    if not world.prefix(FIRST).exists():
        world.opam("switch", "create", FIRST, packages[0], "--description", DESCRIPTION)
        world.opam("install", "--switch", FIRST, *packages)
    world.opam("switch", "set-description", DESCRIPTION, "--switch", FIRST)
    create = ("switch", "create", SECOND, packages[0], "--description", DESCRIPTION, "--no-switch")
    try:
        with hidden(folder / "corpus/sources", world.root / "download-cache"):
            steps = (create, ("install", "--switch", SECOND, *packages))
            told_of = [world.opam_bin(*words, "--json-summary").out for words in steps]
        yield Pair(world, packages, tuple(map(json.loads, told_of)))
    finally:
        world.opam("switch", "remove", SECOND)


def test_everything_is_restored_without_a_source(pair: Pair) -> None:
    for summary in pair.summaries:
        assert (summary["left_to_opam"], summary["reports"], summary["reason"]) == ({}, [], None)
    assert pair.world.installed(SECOND) == pair.world.installed(FIRST)
    assert len(pair.world.installed(SECOND)) >= len(pair.packages) > 50


def test_the_files_and_what_opam_keeps_are_the_same(pair: Pair) -> None:
    first, second = pair.world.prefix(FIRST), pair.world.prefix(SECOND)
    assert differences(first, second) == []
    assert metadata_differences(first, second) == []
    assert lost_folders(first, second) == []
    assert changes_problems(second) == []


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(("switch", "export", "-"), id="export"),
        pytest.param(("list", "--columns=package"), id="list"),
        pytest.param(("env",), id="env"),
        pytest.param(("config", "list"), id="variables"),
    ],
)
def test_opam_answers_the_same(pair: Pair, query: tuple[str, ...]) -> None:
    assert pair.ask(SECOND, *query) == pair.ask(FIRST, *query)


def test_opam_has_nothing_to_do(pair: Pair) -> None:
    done = pair.world.opam("upgrade", "--show-actions", "--switch", SECOND)
    assert "Already up-to-date" in done.text


def test_removing_everything_leaves_nothing(pair: Pair) -> None:
    """The last one here: it takes the second switch apart."""
    world = pair.world
    empty = shape(world.empty_switch("empty"))
    world.opam("switch", "remove", "empty")
    names = [package.partition(".")[0] for package in world.installed(SECOND)]
    world.opam("remove", "--switch", SECOND, "--update-invariant", *names)
    assert world.installed(SECOND) == []
    left = shape(world.prefix(SECOND))
    left.pop("share", None)  # opam makes it without counting it, also when it builds everything itself
    assert left == empty
