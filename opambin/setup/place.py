"""Where our things are in an opam root, and what is read of them."""

from __future__ import annotations

import json
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opambin.errors import UnavailableError
from opambin.opam.parser import parse

if TYPE_CHECKING:
    from opambin.opam.ast import OpamFile

PROGRAM = "opam-bin"


@dataclass(frozen=True, slots=True)
class Place:
    """Where our things are in an opam root.

    Attributes:
        root: The opam root.
    """

    root: Path

    @property
    def config(self) -> Path:
        """Opam's global configuration."""
        return self.root / "config"

    @property
    def home(self) -> Path:
        """Our directory."""
        return self.root / "plugins" / "opam-bin"

    @property
    def hooks(self) -> Path:
        """The installed scripts."""
        return self.home / "hooks"

    @property
    def shim(self) -> Path:
        """The program that stands for opam, where transparent mode is on."""
        return self.home / "shim" / "opam"

    @property
    def original(self) -> Path:
        """The configuration as it was before the first init."""
        return self.home / "config.before"

    @property
    def record(self) -> Path:
        """What init wrote outside our directory."""
        return self.home / "init.json"

    @property
    def link(self) -> Path:
        """What makes ``opam bin`` work; opam wants a symbolic link."""
        return self.root / "plugins" / "bin" / PROGRAM

    def recorded_link(self) -> str:
        """Return the link's target as init wrote it; empty when unknown."""
        try:
            record = json.loads(self.record.read_bytes())
        except (OSError, ValueError):
            return ""
        return str(record.get("link", "")) if isinstance(record, dict) else ""

    def read_config(self) -> tuple[bytes, OpamFile | None]:
        """Return the bytes of opam's configuration and what they say; nothing when there is no opam root.

        Raises:
            BadDataError: It is not in the syntax of opam files.
            UnavailableError: It can't be read.
        """
        try:
            data = self.config.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return b"", None
        except OSError as error:
            raise UnavailableError(f"{self.config}: {error.strerror}") from error
        return data, read_opam(data, self.config)


def read_opam(data: bytes, path: Path) -> OpamFile:
    """Parse the bytes of a configuration; what is not UTF-8 in it survives being written again."""
    return parse(data.decode("utf-8", "surrogateescape"), str(path))


def own_program() -> Path | None:
    """Return the ``opam-bin`` program of the running interpreter's environment, if it has one."""
    program = Path(sysconfig.get_path("scripts")) / PROGRAM
    return program if program.is_file() else None
