"""Fixtures of the tests that run a real opam.

``OPAMBIN_TEST_OPAMS`` may name the opams to try (paths joined by ``:``); otherwise it is the one on the PATH.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny
from worlds import World, sandbox_works

if TYPE_CHECKING:
    from collections.abc import Iterator

    from corpus import Corpus

    from demo.server import Server

ASKED_FOR = os.environ.get("OPAMBIN_TEST_OPAMS", "")
OPAMS = [path for path in (ASKED_FOR or "opam").split(":") if path]
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class BuiltCorpus:
    """A world with a switch in which the small corpus was built from source, under the hooks.

    Attributes:
        world: The root, and the store that has everything.
        corpus: What was built.
        server: Serves the repository and the sources.
        served: The folder that it serves.
        switch: The switch; its prefix is neither long nor short.
    """

    world: World
    corpus: Corpus
    server: Server
    served: Path
    switch: str

    @property
    def prefix(self) -> Path:
        """Of the switch."""
        return self.world.prefix(self.switch)


@pytest.fixture(scope="session", autouse=True)
def _interrupts_count() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, and so would be every program of the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", params=OPAMS)
def opam_program(request: pytest.FixtureRequest) -> str:
    """An opam to test with."""
    found = shutil.which(str(request.param))
    if found is None and ASKED_FOR:
        pytest.fail(f"OPAMBIN_TEST_OPAMS names {request.param}, which is no program")
    if found is None:
        pytest.skip(f"no {request.param}")
    return found


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A new folder with a shorter path than pytest's: prefixes must be able to be short."""
    folder = Path(tempfile.mkdtemp(prefix="obt-")).resolve()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def tiny_root(opam_program: str, short_folder: Path) -> World:
    """A root with the repository of tiny packages; the build commands run without a sandbox."""
    folder = short_folder / f"t{next(_numbers)}"
    repository = tiny.write(folder / "repo")
    return World.make(folder, opam_program, str(repository), sandbox=False)


@pytest.fixture
def world(tiny_root: World) -> World:
    """The tiny root, with a store and a log of one's own."""
    return dataclasses.replace(tiny_root, number=next(_numbers))


@pytest.fixture
def switch(world: World) -> str:
    """An empty switch of one's own."""
    name = f"s{world.number}"
    world.empty_switch(name)
    return name


@pytest.fixture
def first(world: World) -> str:
    """An empty switch."""
    name = f"a{world.number}"
    world.empty_switch(name)
    return name


@pytest.fixture
def second(world: World) -> str:
    """Another one, with a longer prefix."""
    name = f"another-{world.number}"
    world.empty_switch(name)
    return name


@pytest.fixture(scope="session")
def built_corpus(
    opam_program: str, short_folder: Path, request: pytest.FixtureRequest
) -> Iterator[BuiltCorpus]:
    """The small corpus, built once."""
    from corpus import NoCorpusError, make

    from demo.server import Server

    folder = short_folder / f"c{next(_numbers)}"
    folder.mkdir()
    downloads = request.config.cache.mkdir("opambin-sources")
    served = folder / "served"
    with Server(served, folder / "requests.log") as server:
        try:
            corpus = make(served, downloads, server.url)
        except NoCorpusError as error:
            pytest.skip(str(error))
        address = f"{server.url}/{corpus.repository}"
        world = World.make(folder / "w", opam_program, address, sandbox=sandbox_works())
        built = BuiltCorpus(world, corpus, server, served, "middle-switch")
        world.opam("switch", "create", built.switch, corpus.compiler, "--description", "the same")
        world.opam("install", "--switch", built.switch, *corpus.packages)
        yield built
