"""Snapshots in a store, for the tests of publishing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from opambin.model import (
    PLACEHOLDER,
    BuildRecord,
    ConeKey,
    Digest,
    FileEntry,
    FileType,
    Import,
    Kind,
    Manifest,
    Occurrence,
    OutputId,
    Package,
    PackageName,
    Version,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.store.store import Store

PLATFORM = {"arch": "x86_64", "os": "linux", "os-distribution": "debian", "os-version": "12"}
OPAM = """\
opam-version: "2.0"
synopsis: "A sample"
license: "MIT"
depends: [{depends}]
build: ["make"]
url {{ src: "https://example.org/{name}.tgz" checksum: "sha256={digits}" }}
"""


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Samples:
    """Makes snapshots and puts them into a store."""

    store: Store
    made: dict[str, Manifest] = field(default_factory=dict)
    clock: int = 1_700_000_000

    def add(
        self,
        package: str,
        *below: str,
        build: str = "1",
        opam: str = "",
        files: Mapping[str, bytes] | tuple[FileEntry, ...] | None = None,
        **changes: object,
    ) -> Manifest:
        """Add a snapshot; ``below`` are packages that were added before, ``NAME.VERSION``."""
        name, _, version = package.partition(".")
        needed = {self.made[it].package.name: self.made[it] for it in below}
        depends = " ".join(f'"{it}"' for it in needed)
        self.clock += 10
        manifest = Manifest(
            key=ConeKey(sha(f"key {package} {build} {[it.key for it in needed.values()]}")),
            output=OutputId(sha(f"output {package} {build}")),
            package=Package(PackageName(name), Version(version)),
            opam=opam or OPAM.format(depends=depends, name=name, digits=sha(package)),
            inputs=json.dumps(
                {
                    **PLATFORM,
                    "name": name,
                    "version": version,
                    "dependencies": {it: manifest.key for it, manifest in needed.items()},
                    "flags": {},
                    "variables": {},
                }
            ),
            files=tuple(self._files(files if files is not None else {f"lib/{name}/META": b"x"})),
            imports=tuple(Import(it, manifest.output) for it, manifest in sorted(needed.items())),
            build=BuildRecord(built_at=self.clock, prefix_length=20),
        )
        manifest = replace(manifest, **changes)  # type: ignore[arg-type]  # what tests change
        self.store.add(manifest)
        self.made[package] = manifest
        return manifest

    def _files(self, files: Mapping[str, bytes] | tuple[FileEntry, ...]) -> list[FileEntry]:
        if isinstance(files, tuple):
            return list(files)
        found = []
        for path, content in sorted(files.items()):
            digest, size = self.store.objects.put_bytes(content, executable=False)
            places = [at for at in range(len(content)) if content.startswith(PLACEHOLDER, at)]
            occurrences = tuple(Occurrence(Kind.TEXT, at) for at in places)
            found.append(FileEntry(path, FileType.FILE, 0o644, Digest(digest), size, "", occurrences, digest))
        return found


VIRTUAL = 'opam-version: "2.0"\nsynopsis: "Nothing"\n'
