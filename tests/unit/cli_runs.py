"""Running commands in this process, on a store and a home of the test's own."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store_samples import sha, stored_manifest

from opambin.cli.main import run
from opambin.opam.hooklist import OURS, our_command
from opambin.opam.printer import print_value
from opambin.store.records import InstalledRecord
from opambin.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from opambin.model import Manifest

FOREIGN_VARIABLES = (
    "OPAMROOT",
    "OPAMSWITCH",
    "OPAMBIN_OPAM",
    "OPAMBIN_CONFIG",
    "OPAMBIN_DEBUG",
    "OPAMBIN_JOBS",
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - as json.loads gives it
        return json.loads(self.out)


class Cli:
    """The program, with everything it looks at below one folder."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
    ) -> None:
        for name in FOREIGN_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        self.folder = folder
        self.cache = folder / "store"
        self.root = folder / "opam"
        self.setenv = monkeypatch.setenv
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        for name, value in {"HOME": folder, "OPAMBIN_CACHE": self.cache, "OPAMROOT": self.root}.items():
            monkeypatch.setenv(name, str(value))
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        self.fake_opam()
        monkeypatch.chdir(folder)

    def __call__(self, *args: str) -> Run:
        self._monkeypatch.setattr(sys, "argv", ["opam-bin", *args])
        self._capsys.readouterr()
        code = run()
        said = self._capsys.readouterr()
        return Run(code, said.out, said.err)

    def fill(self, *names: str) -> list[Manifest]:
        """Make a store with a snapshot of each package."""
        with Store.open(self.cache) as store:
            found = [stored_manifest(store, name, f"content of {name}\n".encode()) for name in names]
            for manifest in found:
                store.add(manifest)
        return found

    def fake_opam(self, version: str = "2.1.2") -> None:
        program = self.folder / "bin" / "opam"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{version}'\n")
        program.chmod(0o755)
        self.setenv("OPAMBIN_OPAM", str(program))

    def make_root(self, *switches: str, more: str = "") -> None:
        """Make a root with switches; the first one is current."""
        names = " ".join(f'"{name}"' for name in switches)
        current = f'switch: "{switches[0]}"\n' if switches else ""
        self.root.mkdir(exist_ok=True)
        (self.root / "config").write_text(
            f'opam-version: "2.0"\nopam-root-version: "2.1"\ninstalled-switches: [{names}]\n{current}{more}'
        )
        for name in switches:
            (self.root / name / ".opam-switch" / "install").mkdir(parents=True, exist_ok=True)
            (self.root / name / ".opam-switch" / "switch-config").write_text('opam-version: "2.0"\n')

    def install(self, switch: str, *packages: str) -> None:
        """Make opam believe that packages are installed."""
        meta = self.root / switch / ".opam-switch"
        words = " ".join(f'"{package}"' for package in packages)
        (meta / "switch-state").write_text(f'opam-version: "2.0"\ninstalled: [{words}]\nroots: [{words}]\n')
        for package in packages:
            (meta / "install" / f"{package.partition('.')[0]}.changes").write_text(f"changes of {package}")

    def record(self, switch: str, manifest: Manifest) -> None:
        """Note in the store that a snapshot is installed."""
        package = manifest.package
        digest = sha(f"changes of {package}")
        with Store.open(self.cache) as store:
            store.record_installed(
                str(self.root / switch),
                [InstalledRecord(package.name, package.version, manifest.key, manifest.output, digest)],
            )

    def damage_manifest(self, manifest: Manifest) -> Path:
        path = self.cache / "manifests" / manifest.key[:2] / manifest.key / f"{manifest.output}.json"
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"1.0", b"1.1"))
        return path


def hook_fields() -> str:
    """Our hooks as they stand in opam's configuration."""
    return "".join(f"{field}: [{print_value(our_command(field))}]\n" for field in OURS)
