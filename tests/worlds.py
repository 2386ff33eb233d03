"""A world for tests with a real opam: a root, a store, a home, and nothing of the user's."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT = 600  # seconds
SANDBOX = "bwrap --unshare-net --new-session --ro-bind / / --proc /proc --dev /dev true"


@dataclass(frozen=True, slots=True)
class Done:
    """A program that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        """All it printed."""
        return self.out + self.err


@dataclass(frozen=True, slots=True)
class World:
    """A folder with an opam root, a store and a home.

    Attributes:
        folder: Holds everything; its path should be short, because prefixes must be able to be.
        program: The opam.
        number: Worlds that share a folder but not the number share the root, and nothing else.
        patience: How long a program may take, in seconds.
    """

    folder: Path
    program: str
    number: int = 0
    patience: int = TIMEOUT

    @property
    def root(self) -> Path:
        """OPAMROOT."""
        return self.folder / "r"

    @property
    def cache(self) -> Path:
        """OPAMBIN_CACHE."""
        return self.folder / f"c{self.number}"

    @property
    def log(self) -> Path:
        """What the build commands of tests' own packages write to."""
        return self.folder / f"log{self.number}"

    @property
    def built(self) -> list[str]:
        """The packages whose build commands have run, in order."""
        return self.log.read_text().split() if self.log.exists() else []

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every program."""
        kept = {
            name: os.environ[name] for name in ("LANG", "TMPDIR", "TZ", "PYTHONPATH") if name in os.environ
        }
        return kept | {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "OPAMROOT": str(self.root),
            "OPAMROOTISOK": "1",
            "OPAMYES": "1",
            "OPAMCOLOR": "never",
            "OPAMBIN_CACHE": str(self.cache),
            "TEST_BUILD_LOG": str(self.log),
        }

    @classmethod
    def make(cls, folder: Path, program: str, repository: str, *, sandbox: bool) -> World:
        """Initialise a root without a switch, and opam-bin in it."""
        world = cls(folder, program)
        for name in ("bin", "home"):
            (folder / name).mkdir(parents=True)
        (folder / "bin/opam").symlink_to(program)
        options = () if sandbox else ("--disable-sandboxing",)
        world.opam("init", "--bare", "--no-setup", *options, repository)
        world.opam_bin("init", "--yes")
        return world

    @classmethod
    def verifying(cls, folder: Path, program: str) -> World:
        """Initialise a root with an empty repository, in which opam can ask opam-bin about updates."""
        world = cls(folder, program)
        for name in ("bin", "home", "empty/packages"):
            (folder / name).mkdir(parents=True)
        (folder / "empty/repo").write_text('opam-version: "2.0"\n')
        (folder / "bin/opam").symlink_to(program)
        script = folder / "bin/opam-bin"
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m opambin "$@"\n')
        script.chmod(0o755)
        world.opam("init", "--bare", "--no-setup", "--disable-sandboxing", f"file://{folder}/empty")
        return world

    def follow(self, instructions: str) -> Done:
        """Do what a publisher tells users to do; returns how opam took the repository."""
        lines = instructions.splitlines()
        option, add = (shlex.split(line)[1:] for line in lines if line.startswith("opam "))
        self.opam(*option, code=None)  # without a switch opam complains, and obeys
        return self.opam(*add, "--dont-select", code=None)

    def run(
        self,
        *command: str,
        code: int | None = 0,
        folder: Path | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a program to its end.

        Args:
            command: The program and its arguments.
            code: The expected exit code; None when any will do.
            folder: The working directory.
            more: Added to the environment.
        """
        begun = time.monotonic()
        found = subprocess.run(
            command,
            cwd=folder or self.folder,
            env=self.environ | dict(more or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=self.patience,
            check=False,
        )
        done = Done(found.returncode, found.stdout, found.stderr, time.monotonic() - begun)
        assert code is None or done.code == code, f"{' '.join(command)}: exit code {done.code}\n{done.text}"
        # No failure may look like a defect of the program, whatever the exit code is.
        assert "Traceback (most recent call last)" not in done.text, done.text
        return done

    def opam(self, *args: str, code: int | None = 0, more: Mapping[str, str] | None = None) -> Done:
        """Run opam."""
        return self.run("opam", *args, code=code, more=more)

    def opam_bin(self, *args: str, code: int | None = 0, more: Mapping[str, str] | None = None) -> Done:
        """Run opam-bin."""
        return self.run(sys.executable, "-m", "opambin.cli.main", *args, code=code, more=more)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program in a process group of its own, and do not wait for it."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def prefix(self, switch: str) -> Path:
        """Return the prefix of a switch, global or local."""
        return self.folder / switch / "_opam" if switch.startswith("/") else self.root / switch

    def empty_switch(self, name: str) -> Path:
        """Make a switch without a compiler."""
        self.opam("switch", "create", name, "--empty", "--description", "a test's")
        return self.prefix(name)

    def installed(self, switch: str) -> list[str]:
        """Name the installed packages, as opam lists them."""
        listed = self.opam("list", "--switch", switch, "--installed", "--short", "--columns=package")
        return sorted(listed.out.split())

    @property
    def sessions(self) -> list[Path]:
        """What is left of session folders."""
        return sorted((self.root / "plugins/opam-bin").glob("session/**/*"))

    @property
    def manifests(self) -> list[str]:
        """The packages in the store, one for each snapshot."""
        from opambin.store.store import Store

        with Store.open(self.cache, readonly=True) as store:
            return sorted(str(manifest.package) for manifest in store.manifests.all())


def sandbox_works() -> bool:
    """Tell whether opam's sandbox can run here: containers often allow no new namespaces."""
    try:
        return subprocess.run(SANDBOX.split(), capture_output=True, check=False).returncode == 0
    except OSError:
        return False
