"""The values that the rooms of opambin hand to each other. All frozen; no I/O, no JSON, no opam syntax."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import NewType

from opambin.frozen import dataclass

PackageName = NewType("PackageName", str)
Version = NewType("Version", str)
ConeKey = NewType("ConeKey", str)
"""64 lower-case hexadecimal digits: sha256 of the canonical inputs of a package and its cone."""
OutputId = NewType("OutputId", str)
"""64 lower-case hexadecimal digits: sha256 of what a build produced, in placeholder form."""
Digest = NewType("Digest", str)
"""64 lower-case hexadecimal digits: sha256 of an object's bytes."""

PADDED_LENGTH = 200  # bytes; part of the snapshot format
PLACEHOLDER = b"/" + b"opam-bin-placeholder/" * 9 + b"x" * (PADDED_LENGTH - 1 - 21 * 9)
"""The spelling of the prefix in every stored object: an absolute path of 200 bytes that nobody has."""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package and its version, written ``name.version``."""

    name: PackageName
    version: Version

    @classmethod
    def parse(cls, text: str) -> Package:
        """Split ``name.version`` at the first dot.

        Raises:
            ValueError: ``text`` has no dot or an empty half.
        """
        name, dot, version = text.partition(".")
        if not (name and dot and version):
            raise ValueError(f"not a NAME.VERSION: {text!r}")
        return cls(PackageName(name), Version(version))

    def __str__(self) -> str:
        return f"{self.name}.{self.version}"


class Kind(StrEnum):
    """How one occurrence of the prefix is held in a file, and so how it is rewritten.

    In-place kinds never change the length of the file; the others may.
    """

    TEXT = "text"
    """Plain bytes of a text file or of a header that may have any length."""
    CSTRING = "cstring"
    """Bytes of a fixed-size region: the new prefix is slash-padded to the length of the old one."""
    BLOCK = "block"
    """An OCaml string block in the data of an ELF file: header, bytes, pad byte are rewritten."""
    MARSHAL = "marshal"
    """A string of a marshalled value, which is written again with its lengths and sizes."""
    DUNE_SITE = "dune-site"
    """A dune-site placeholder after installation: ``=<n>:<value>`` padded with spaces."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One place of an object where the placeholder stands.

    Attributes:
        kind: How it is held.
        offset: Of the first byte of the placeholder in the object, in bytes.
        capacity: The longest prefix that fits, in bytes; None when any length does.
        functional: False when nothing breaks if it is stale (debug information).
        anchor: Numbers that the format's module wants to find its structure again
            (offset of the block header, of the marshalled value, ...); its meaning belongs to ``kind``.
        where: Section, member or field, for people.
    """

    kind: Kind
    offset: int
    capacity: int | None = None
    functional: bool = True
    anchor: tuple[int, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """Why a snapshot can't be moved freely.

    Attributes:
        path: The file, relative to the prefix.
        reason: What was found, in words.
        max_prefix: The longest prefix it can be moved to, in bytes; None when it can't be moved at all
            and belongs to the prefix that it was built at.
    """

    path: str
    reason: str
    max_prefix: int | None = None


class FileType(StrEnum):
    """What a path in a snapshot is."""

    FILE = "file"
    SYMLINK = "symlink"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A path that a package installed.

    Attributes:
        path: Relative to the prefix, with ``/``.
        type: What it is.
        mode: Permission bits (0o7777); 0 for symlinks.
        digest: Of the object, for files.
        size: Of the object, in bytes, for files.
        target: Of a symlink, in placeholder form.
        occurrences: Where the placeholder stands in the object, by rising offset.
        identity: sha256 of the object without what differs between equal builds (debug
            sections, build-ids, archive indexes); enters the output id.
        hardlink: The first path of the snapshot that is the same inode, when there is one.
    """

    path: str
    type: FileType
    mode: int = 0
    digest: Digest | None = None
    size: int = 0
    target: str = ""
    occurrences: tuple[Occurrence, ...] = ()
    identity: str = ""
    hardlink: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines that a package added to a text file which another package owns.

    Attributes:
        path: Relative to the prefix.
        added: The lines, without line ends, in placeholder form, in file order.
    """

    path: str
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """Something that an output provides or imports.

    Attributes:
        kind: ``cmi`` (interface), ``cmx`` (implementation), ``so`` (soname), ``file`` (md5 of a system file),
            ``lib`` (shared library of the system; the value is the versions of symbols),
            ``var`` (opam variable ``package:name``).
        name: Unit, soname, path or variable.
        value: Its CRC or value; empty where the name says it all.
    """

    kind: str
    name: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class Import:
    """What an output needs from one run-time dependency.

    Attributes:
        provider: The dependency.
        output: The output of it that was there at capture; the same output always satisfies the import.
        symbols: What is needed of it when it is another output.
    """

    provider: PackageName
    output: OutputId | None
    symbols: tuple[Symbol, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtraFile:
    """A file that came with a package's definition (``files/`` in its repository).

    Attributes:
        name: Its path below ``files/``.
        digest: Of the object.
        size: In bytes.
    """

    name: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """How a snapshot came to be; never part of the key or of the output id.

    Attributes:
        seconds: Duration of the source build, from the package's first hook to its last; 0 when unknown.
        built_at: Seconds since 1970, UTC.
        prefix_length: Of the prefix that it was built at, in bytes.
        padded: Whether it was built under the padded spelling.
        adopted: True when it was captured from a switch built without our hooks.
        opam_version: Of the opam that built it.
        source_bytes: Of the source archive in opam's download cache; 0 when unknown.
    """

    seconds: float = 0.0
    built_at: int = 0
    prefix_length: int = 0
    padded: bool = True
    adopted: bool = False
    opam_version: str = ""
    source_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot: everything that is needed to put a package back, and to say where it came from.

    Attributes:
        key: The cone key it answers to.
        output: Digest of what the build produced.
        package: Name and version.
        opam: The opam file it was built from, as ``opam show --raw`` gave it.
        inputs: The canonical inputs whose sha256 is ``key`` (JSON text); for ``explain``.
        files: What it installed, sorted by path.
        edits: What it added to files of others.
        config: Content of ``NAME.config`` in placeholder form, or None.
        install: Content of ``NAME.install`` in placeholder form, or None.
        extra_files: The files that came with its definition, sorted by name.
        provides: What it offers to others.
        imports: What it needs from its run-time dependencies.
        bound: Why it can't be moved freely; empty when it can.
        prefix: The prefix it was built at; kept only when it is bound to it.
        build: How it came to be.
    """

    key: ConeKey
    output: OutputId
    package: Package
    opam: str
    inputs: str
    files: tuple[FileEntry, ...] = ()
    edits: tuple[Edit, ...] = ()
    config: str | None = None
    install: str | None = None
    extra_files: tuple[ExtraFile, ...] = ()
    provides: tuple[Symbol, ...] = ()
    imports: tuple[Import, ...] = ()
    bound: tuple[Bound, ...] = ()
    prefix: str = ""
    build: BuildRecord = field(default_factory=BuildRecord)

    @property
    def objects(self) -> list[tuple[Digest, bool, int]]:
        """Digest, executable bit and size of every object that it needs."""
        found = [
            (entry.digest, bool(entry.mode & 0o111), entry.size)
            for entry in self.files
            if entry.digest is not None
        ]
        return found + [(extra.digest, False, extra.size) for extra in self.extra_files]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(entry.size for entry in self.files)
