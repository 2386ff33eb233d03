"""A small opam repository with real OCaml packages, served on the loopback interface."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from demo import repository
from demo.sources import Debian
from demo.terminal import DemoError

PROJECT = Path(__file__).parent.parent
MAKE_CORPUS = Path(os.environ.get("OPAMBIN_SHARED", PROJECT.parent / "shared")) / "corpus/make_corpus.py"
DEMO_PACKAGES = ("re", "zarith", "cppo")


class NoCorpusError(Exception):
    """The packages can't be had on this machine."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is in the repository.

    Attributes:
        repository: Path of its address, behind the server's.
        compiler: The package that stands for the machine's compiler.
        packages: What to install beside it.
    """

    repository: str
    compiler: str
    packages: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The packages without versions."""
        return tuple(package.partition(".")[0] for package in self.packages)


def make(served: Path, downloads: Path, url: str) -> Corpus:
    """Write the repository and its sources to ``served``.

    Args:
        served: A new folder.
        downloads: Where source archives are kept from one run to the next.
        url: The address of ``served``.

    Raises:
        NoCorpusError: No compiler, no apt, or no network.
    """
    version = machine_compiler()
    problem = "it is not there"
    if MAKE_CORPUS.is_file():
        problem = _make_shared(served, downloads / "corpus", url)
        if not problem:
            return _read_shared(served)
    try:
        return _make_demo(served, downloads, url, version)
    except DemoError as error:
        raise NoCorpusError(f"{MAKE_CORPUS.name}: {problem}; the demo's packages: {error}") from error


def machine_compiler() -> str:
    """Return the version of the compiler on the PATH.

    Raises:
        NoCorpusError: There is none.
    """
    try:
        done = subprocess.run(["ocamlc", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoCorpusError(f"ocamlc: {error}") from error
    return done.stdout.strip()


def _make_shared(served: Path, kept: Path, url: str) -> str:
    """Return why it failed, or nothing."""
    made = subprocess.run(
        [sys.executable, str(MAKE_CORPUS), str(kept), "--set", "small", "--base-url", f"{url}/sources"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        return made.stderr.strip()
    compiler = json.loads((kept / "corpus.json").read_text())["packages"][0]["package"]
    if compiler != f"ocaml-system.{machine_compiler()}":
        return f"it is made for {compiler}"
    shutil.copytree(kept, served)
    return ""


def _read_shared(served: Path) -> Corpus:
    packages = [row["package"] for row in json.loads((served / "corpus.json").read_text())["packages"]]
    compiler = packages[0]
    return Corpus(
        "repo",
        compiler,
        tuple(
            package
            for package in packages
            if not package.startswith("ocaml") or package.startswith("ocamlfind")
        ),
    )


def _make_demo(served: Path, downloads: Path, url: str, version: str) -> Corpus:
    debian = Debian(downloads / "apt", downloads / "sources")
    found = repository.packages(debian, version)
    repository.write(found, debian, served, url)
    names = {package.name: f"{package.name}.{package.version}" for package in found}
    return Corpus(
        "", f"ocaml-system.{version}", tuple(names[name] for name in DEMO_PACKAGES if name in names)
    )
