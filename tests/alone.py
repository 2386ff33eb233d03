"""Somebody who has opam and nothing else, and a root file system that has busybox and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

COMPILERS = (
    "ocamlc",
    "ocamlc.opt",
    "ocamlopt",
    "ocamlopt.opt",
    "ocaml",
    "gcc",
    "cc",
    "clang",
    "as",
    "ld",
    "make",
)
OURS = ("opam-bin", "opambin", "python3", "python")
WRAPPER = '#!/bin/sh\necho "$0 $*" >>{log}\nexit 99\n'
VERSION = '#!/bin/sh\n[ "$*" = -vnum ] || echo "$0 $*" >>{log}\nexec {real} "$@"\n'
"""opam itself asks the system's compiler for its version; nothing else may."""


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who has opam and nothing else.

    Attributes:
        folder: Holds the root, a home, and programs that must not be called.
        program: The opam.
        prefix: Of the switch.
    """

    folder: Path
    program: str
    prefix: Path

    @classmethod
    def make(cls, folder: Path, program: str, prefix: Path) -> Client:
        """Make the folder; a compiler, a linker, Python or opam-bin can't be called without being noticed."""
        (folder / "nobin").mkdir(parents=True)
        (folder / "home").mkdir()
        for name in (*COMPILERS, *OURS):
            real = shutil.which(name)
            text = VERSION if name == "ocamlc" and real else WRAPPER
            (folder / "nobin" / name).write_text(text.format(log=folder / "called", real=real))
            (folder / "nobin" / name).chmod(0o755)
        return cls(folder, program, prefix)

    @property
    def called(self) -> str:
        """What was called of the programs that must not be."""
        log = self.folder / "called"
        return log.read_text() if log.exists() else ""

    def environ(self, *, compilers: bool = False) -> dict[str, str]:
        """The environment of programs; with ``compilers``, those can be called."""
        path = os.environ["PATH"] if compilers else f"{self.folder / 'nobin'}:{os.environ['PATH']}"
        return {
            "PATH": path,
            "HOME": str(self.folder / "home"),
            "OPAMROOT": str(self.folder / "r"),
            "OPAMROOTISOK": "1",
            "OPAMYES": "1",
            "OPAMCOLOR": "never",
        }

    @property
    def switch(self) -> str:
        """What opam calls the switch."""
        return str(self.prefix.parent) if self.prefix.name == "_opam" else self.prefix.name

    def opam(self, *args: str, compilers: bool = False) -> str:
        """Run opam."""
        environ = self.environ(compilers=compilers)
        done = subprocess.run(
            [self.program, *args],
            env=environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def busybox_root(root: Path) -> Path:
    """Make a root file system that has busybox, which must be linked statically."""
    binary = shutil.which("busybox")
    if (
        binary is None
        or "statically"
        not in subprocess.run(["file", "-L", str(binary)], capture_output=True, text=True, check=False).stdout
    ):
        pytest.skip("no static busybox")
    for name in ("bin", "dev", "lib", "tmp", "build", "usr"):
        (root / name).mkdir(parents=True)
    shutil.copy(binary, root / "bin/busybox")
    applets = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in applets:
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    os.mknod(root / "dev/null", 0o020666, os.makedev(1, 3))
    return root
