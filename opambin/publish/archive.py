"""Published archives: a snapshot as a ``.tar.gz`` that plain opam and ``install.sh`` can work with.

The same snapshot gives the same bytes: names are sorted; times, owners and the gzip header are fixed.
What is inside is described in ``docs/formats/published-archive.md``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from opambin.errors import BadDataError, CannotRelocateError
from opambin.model import PADDED_LENGTH, PLACEHOLDER, FileType
from opambin.publish import helped
from opambin.publish.catalogue import Archive, archive_path
from opambin.publish.edits import FileEdits
from opambin.publish.licences import is_licence_file
from opambin.publish.steps import file_edits, store_text, text_edits
from opambin.relocate import rendering

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opambin.model import Digest, FileEntry, Manifest, Occurrence
    from opambin.publish.edits import Item
    from opambin.publish.privacy import Finding, Scanner

FORMAT = 1
SCRIPT_NAME = "opam-bin.sh"
LIST_NAME = "opam-bin.edits"
TREE = "files"
LICENCES = "licences"
TIME = 946_684_800  # of every member; 2000-01-01: some tars complain about 1970
LEVEL = 6  # of gzip; 9 takes three times as long and saves 1 %
_CHUNK = 1 << 20  # bytes
_DOCUMENTS = ("doc/", "share/")
_UNUSABLE = frozenset("\n\r\\")  # in a name: what `read -r` and its like would not give back
_SCRIPT = Path(__file__).with_name("install.sh")


class Objects(Protocol):
    """Where the content of files comes from: the store's objects."""

    def path(self, digest: Digest, *, executable: bool, size: int) -> Path:
        """Return the path of a sound object."""


def script() -> str:
    """Return the script that travels in archives."""
    text = _SCRIPT.read_text(encoding="utf-8")
    return text.replace("@PLACEHOLDER@", PLACEHOLDER.decode()).replace("@PADDED@", str(PADDED_LENGTH))


@dataclass(frozen=True, slots=True)
class Written:
    """An archive that was written.

    Attributes:
        archive: Where it belongs in the repository, its digests and size.
        max_prefix: The longest prefix that its files can be installed at, in bytes; None for any.
        licences: The licence files in it.
        findings: What must not be published; then it is not to be used.
        helper: Whether it needs opam-bin at the installation.
    """

    archive: Archive
    max_prefix: int | None
    licences: tuple[str, ...]
    findings: tuple[Finding, ...]
    helper: bool = False


@dataclass(frozen=True, slots=True)
class Extras:
    """What else matters for an archive.

    Attributes:
        licences: Licence files from the source, by name; for packages that install none.
        helper: Whether files that the script can't move may be left to opam-bin.
    """

    licences: Mapping[str, bytes] = field(default_factory=dict)
    helper: bool = False


@dataclass
class _Run:
    """An archive in the making."""

    manifest: Manifest
    objects: Objects
    scanner: Scanner
    tar: tarfile.TarFile
    lines: list[str] = field(default_factory=list)
    swept: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)
    helped: dict[str, tuple[Occurrence, ...]] | None = None

    @property
    def top(self) -> str:
        """The one folder of the archive; opam steps into it."""
        return f"{self.manifest.package}"


def write(
    manifest: Manifest,
    objects: Objects,
    scanner: Scanner,
    into: BinaryIO,
    extras: Extras,
) -> Written:
    """Write the archive of a snapshot.

    Args:
        manifest: The snapshot.
        objects: Its files.
        scanner: Looks for what must not be published.
        into: Where to; what is there after an error is of no use.
        extras: What else matters.

    Raises:
        CannotRelocateError: A file can't be relocated by the script, or has a name that it can't handle.
        BadDataError: An object is damaged.
    """
    sink = _Sink(into)
    with (
        gzip.GzipFile("", "wb", LEVEL, sink, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT, bufsize=_CHUNK) as tar,
    ):
        run = _filled(_Run(manifest, objects, scanner, tar, helped={} if extras.helper else None), extras)
    sha256 = sink.sha256.hexdigest()
    found = Archive(archive_path(sha256), sha256, sink.sha512.hexdigest(), sink.size)
    told = tuple(run.licences), tuple(run.findings)
    return Written(found, longest_prefix(manifest), *told, bool(run.helped))


def examine(manifest: Manifest, objects: Objects, scanner: Scanner, extras: Extras) -> tuple[Finding, ...]:
    """Return what must not be published of a snapshot: what :func:`write` would find, without an archive.

    Raises:
        CannotRelocateError: A file can't be relocated by the script, or has a name that it can't handle.
        BadDataError: An object is damaged.
    """
    with tarfile.open(fileobj=_Nowhere(), mode="w|", format=tarfile.GNU_FORMAT, bufsize=_CHUNK) as tar:
        run = _filled(_Run(manifest, objects, scanner, tar, helped={} if extras.helper else None), extras)
    return tuple(run.findings)


def _filled(run: _Run, extras: Extras) -> _Run:
    _write_tree(run)
    _write_meta(run, extras.licences)
    _write_list(run)
    return run


def longest_prefix(manifest: Manifest) -> int | None:
    """Return the longest prefix that a snapshot can be moved to, in bytes; None for any."""
    limits = [rendering.longest_prefix(entry.occurrences) for entry in manifest.files]
    limits += [bound.max_prefix for bound in manifest.bound]
    return min((limit for limit in limits if limit is not None), default=None)


def holds_files(manifest: Manifest) -> bool:
    """Tell whether an archive of the snapshot puts anything into the prefix."""
    return bool(manifest.files or manifest.edits)


class _Sink(io.RawIOBase):
    """Counts and hashes what is written."""

    def __init__(self, into: BinaryIO) -> None:
        self._into = into
        self.sha256, self.sha512 = hashlib.sha256(), hashlib.sha512()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._into.write(data)
        self.sha256.update(data)
        self.sha512.update(data)
        self.size += len(data)
        return len(data)


class _Nowhere(io.RawIOBase):
    """Keeps nothing of what is written."""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return len(data)


def _write_tree(run: _Run) -> None:
    made: set[str] = set()
    for entry in run.manifest.files:
        _check_name(entry.path)
        parts = entry.path.split("/")
        for depth in range(1, len(parts)):
            _folder(run, "/".join(parts[:depth]), 0o755, made)
        if entry.type is FileType.DIRECTORY:
            _folder(run, entry.path, entry.mode, made)
        elif entry.type is FileType.SYMLINK:
            _link(run, entry)
        elif entry.hardlink:
            run.lines += [f"hl {entry.path}", f"of {entry.hardlink}"]
        else:
            _file(run, entry)


def _check_name(path: str) -> None:
    if path != path.strip() or _UNUSABLE & set(path):
        raise CannotRelocateError(path, "a name that a shell can't read from a list")


def _folder(run: _Run, path: str, mode: int, made: set[str]) -> None:
    if path not in made:
        made.add(path)
        _add(run, f"{TREE}/{path}", b"", mode, tarfile.DIRTYPE)


def _link(run: _Run, entry: FileEntry) -> None:
    if PLACEHOLDER.decode() in entry.target:
        run.lines += [f"ln {TREE}/{entry.path}", f"to {_items(store_text(entry.target))}"]
        return
    member = _member(run, f"{TREE}/{entry.path}", 0o777, tarfile.SYMTYPE)
    member.linkname = entry.target
    run.tar.addfile(member)


def _file(run: _Run, entry: FileEntry) -> None:
    if entry.digest is None:
        raise BadDataError(entry.path, "a file without a digest in its manifest")
    source = run.objects.path(entry.digest, executable=bool(entry.mode & 0o111), size=entry.size)
    stored = source.read_bytes()
    if hashlib.sha256(stored).hexdigest() != entry.digest:
        raise BadDataError(source, "the object has other bytes than its name says; run 'opam-bin verify'")
    content = run.scanner.cleaned(stored)
    run.licences += [entry.path] * (entry.path.startswith(_DOCUMENTS) and is_licence_file(entry.path))
    run.findings += run.scanner.findings(content, f"{run.manifest.package.name}:{entry.path}")
    try:
        edits = file_edits(content, entry.occurrences)
    except CannotRelocateError as error:
        if run.helped is None:
            raise CannotRelocateError(entry.path, str(error)) from error
        run.helped[f"{TREE}/{entry.path}"] = entry.occurrences
        edits = FileEdits()
    _edited(run, f"{TREE}/{entry.path}", content, entry.mode, edits)


def _edited(run: _Run, name: str, content: bytes, mode: int, edits: FileEdits) -> None:
    """Add a file, and note what is to be done to it; meanwhile its owner may write it."""
    writable = mode | (stat.S_IWUSR if edits.edits or edits.swept else 0)
    _add(run, name, content, writable)
    run.swept += [name] * edits.swept
    run.lines += edits.lines(name, len(content))
    if writable != mode:
        run.lines.append(f"mode {mode:04o} {name}")


def _write_meta(run: _Run, licences: Mapping[str, bytes]) -> None:
    manifest = run.manifest
    if manifest.config is not None:
        content = manifest.config.encode("utf-8", "surrogateescape")
        name = f"{manifest.package.name}.config"
        run.findings += run.scanner.findings(content, f"{manifest.package.name}:{name}")
        _edited(run, name, content, 0o644, text_edits(content))
    for edit in manifest.edits:
        _check_name(edit.path)
        run.lines.append(f"ed {edit.path}")
        run.lines += [f"add {_items(store_text(line))}" for line in edit.added]
    for name, content in sorted(licences.items()):
        run.licences.append(f"{LICENCES}/{name}")
        _add(run, f"{LICENCES}/{name}", content, 0o644)


def _write_list(run: _Run) -> None:
    limit = longest_prefix(run.manifest)
    head = [f"edits {FORMAT}"] + ([f"max {limit}"] if limit is not None else []) + list(_needs(run.manifest))
    lines = [*head, *(f"sed {name}" for name in run.swept), *run.lines]
    _add(run, LIST_NAME, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"), 0o644)
    if run.helped:
        _add(run, helped.NAME, helped.render(run.helped), 0o644)
    _add(run, SCRIPT_NAME, script().encode(), 0o755)


def _needs(manifest: Manifest) -> Iterator[str]:
    """Yield lines about what has to be on the machine: files of a system compiler, shared libraries."""
    own = [needed for needed in manifest.imports if needed.provider == manifest.package.name]
    for symbol in (symbol for needed in own for symbol in needed.symbols):
        if symbol.kind == "lib":
            yield f"lib {symbol.name}"
        elif symbol.kind == "file":
            _check_name(symbol.name)
            yield f"md5 {symbol.value or 'none'} {symbol.name}"


def _items(items: tuple[Item, ...]) -> str:
    return " ".join(map(str, items))


def _add(run: _Run, name: str, content: bytes, mode: int, kind: bytes = tarfile.REGTYPE) -> None:
    member = _member(run, name, mode, kind)
    member.size = len(content)
    run.tar.addfile(member, io.BytesIO(content))


def _member(run: _Run, name: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"{run.top}/{name}")
    member.type, member.mode, member.mtime = kind, mode & 0o777, TIME
    return member
