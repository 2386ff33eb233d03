"""The selftest of relocation on a corpus: what packages hide, and the table of it in the documentation.

``make selftest`` runs it. ``OPAMBIN_TEST_WORLD`` names a folder that is kept, so that the next run goes on
with what was built; ``OPAMBIN_SELFTEST_TABLE`` the page whose table is written anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from corpus import MAKE_CORPUS
from worlds import World, sandbox_works

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump"),
]

PATIENCE = 7200  # seconds
TABLE = "## "
"""With what stands for the compiler behind it: the heading of a table in the page."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is tried.

    Attributes:
        title: Of its table.
        corpus: Arguments of what makes the corpus.
        packages: What to try; none means all of the corpus.
    """

    title: str
    corpus: tuple[str, ...]
    packages: tuple[str, ...] = ()


CASES = {
    "packages": Case("Packages on a compiler of the system", ("--set", "medium")),
    "compiler": Case("A compiler", ("--set", "full"), ("ocaml-base-compiler.4.13.1",)),
}


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_hidden(opam_program: str, short_folder: Path, name: str) -> None:
    case = CASES[name]
    kept = os.environ.get("OPAMBIN_TEST_WORLD")
    folder = (Path(kept).resolve() if kept else short_folder) / f"selftest-{name}"
    world, packages = prepared(folder, opam_program, case)
    switch = "tried"
    if not world.prefix(switch).exists():
        world.empty_switch(switch)
    if not case.packages:
        world.opam("install", "--switch", switch, "ocaml-system", *packages)
    args = case.packages or ("--all",)
    command = ("selftest-relocation", "--switch", switch, "--work", str(folder / "work"), *args)
    found = json.loads(world.opam_bin(*command, "--json", code=None).out)
    write_table(case, world.opam_bin(*command, "--table", code=None).out)
    assert found == []


def prepared(folder: Path, program: str, case: Case) -> tuple[World, list[str]]:
    """Make the corpus and a root for it."""
    if not MAKE_CORPUS.is_file():
        pytest.skip(f"{MAKE_CORPUS} is not there")
    folder.mkdir(parents=True, exist_ok=True)
    make = [sys.executable, str(MAKE_CORPUS), str(folder / "corpus"), *case.corpus]
    made = subprocess.run(make, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(made.stderr.strip())
    listed = subprocess.run([*make, "--list"], capture_output=True, text=True, check=True)
    world = replace(World(folder / "w", program), patience=PATIENCE)
    if not world.root.exists():
        World.make(world.folder, program, str(folder / "corpus/repo"), sandbox=sandbox_works())
    return world, listed.stdout.split()


def write_table(case: Case, table: str) -> None:
    """Put a table below its heading in the page, if one is wanted."""
    wanted = os.environ.get("OPAMBIN_SELFTEST_TABLE")
    if not wanted:
        return
    page = Path(wanted)
    head, _, rest = page.read_text().partition(f"{TABLE}{case.title}\n")
    _, heading, others = rest.partition(f"\n{TABLE}")
    page.write_text(f"{head}{TABLE}{case.title}\n\n{table.strip()}\n{heading}{others}")
