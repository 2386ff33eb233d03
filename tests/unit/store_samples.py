"""Manifests for the tests of the store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from opambin.model import (
    Bound,
    BuildRecord,
    ConeKey,
    Digest,
    Edit,
    ExtraFile,
    FileEntry,
    FileType,
    Import,
    Kind,
    Manifest,
    Occurrence,
    OutputId,
    Package,
    PackageName,
    Symbol,
    Version,
)

if TYPE_CHECKING:
    from opambin.store.store import Store

TEXT = b"#!/bin/sh\necho hello\n"


def sha(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def full_manifest() -> Manifest:
    """One of everything that a manifest can hold."""
    digest = Digest(sha("object"))
    where = Occurrence(Kind.BLOCK, 24, 200, True, (8, 16), ".data")
    other = Occurrence(Kind.TEXT, 600, None, False)
    return Manifest(
        key=ConeKey(sha("key")),
        output=OutputId(sha("output")),
        package=Package(PackageName("ocamlfind"), Version("1.9.6~x+y")),
        opam='opam-version: "2.0"\n',
        inputs='{"format":1}',
        files=(
            FileEntry("bin", FileType.DIRECTORY, 0o755),
            FileEntry(
                "bin/ocamlfind", FileType.FILE, 0o755, digest, 900, "", (where, other), sha("identity")
            ),
            FileEntry("bin/same", FileType.FILE, 0o755, digest, 900, "", (), digest, "bin/ocamlfind"),
            FileEntry("lib/undecodable-\udcff", FileType.FILE, 0o644, digest, 900),
            FileEntry("share/link", FileType.SYMLINK, target="../nowhere"),
        ),
        edits=(Edit("lib/ocaml/ld.conf", ("/a/b", "")),),
        config='opam-version: "2.0"',
        install=None,
        extra_files=(ExtraFile("fix.patch", digest, 900), ExtraFile("sub/other", Digest(sha("other")), 1)),
        provides=(Symbol("cmi", "Findlib", sha("crc")[:32]),),
        imports=(
            Import(PackageName("ocaml"), OutputId(sha("o")), (Symbol("so", "libm.so.6"),)),
            Import(PackageName("x"), None),
        ),
        bound=(Bound("bin/ocamlfind", "copied through registers", 40), Bound("bin/same", "unknown")),
        prefix="/home/me/.opam/5.1",
        build=BuildRecord(12.5, 1_700_000_000, 30, True, False, "2.1.2", 12345),
    )


def stored_manifest(store: Store, name: str = "demo", data: bytes = TEXT, build: str = "1") -> Manifest:
    """A manifest of two files whose objects are in ``store``; not added."""
    digest, size = store.objects.put_bytes(data, executable=False)
    program, length = store.objects.put_bytes(data, executable=True)
    return Manifest(
        key=ConeKey(sha(f"key of {name}")),
        output=OutputId(sha(f"output {build} of {name}")),
        package=Package(PackageName(name), Version("1.0")),
        opam="",
        inputs="{}",
        files=(
            FileEntry("bin/demo", FileType.FILE, 0o755, program, length),
            FileEntry("lib/demo/data", FileType.FILE, 0o644, digest, size),
        ),
    )
