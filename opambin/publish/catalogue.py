"""What a published repository holds: ``opam-bin-index.json``, for pages, signatures, mirrors and us.

The format is described in ``docs/formats/published-repository.md``. Values in, values out; no I/O. What is
read came from elsewhere, so all that is wrong with it is told at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from opambin.errors import BadDataError

if TYPE_CHECKING:
    from opambin.model import ConeKey, Digest, OutputId, PackageName, Version

NAME = "opam-bin-index.json"
FORMAT = 1
MAX_BYTES = 256_000_000  # of the file; 10,000 packages take about 15 MB
MAX_NUMBER = 1 << 53  # what a reader in JavaScript still counts exactly


class Mode(StrEnum):
    """How the versions of a repository are spelled."""

    ALONE = "alone"
    """As in the source repository; one build of each; for use without another repository."""
    MIXED = "mixed"
    """``VERSION+bin+SERIAL+HASH``, beside a source repository; several builds of each."""


class ContentKind(StrEnum):
    """What stands behind a published package."""

    BINARY = "binary"
    """An archive with what a build had installed."""
    DEFINITION = "definition"
    """The definition alone, of what installs nothing: virtual packages, most ``conf-*``."""


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """The machines that a build is for, in opam's words."""

    arch: str
    os: str
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A file that opam downloads.

    Attributes:
        path: Relative to the base URL: ``archives/AB/REST.tar.gz``, the sha256 split after two digits.
        sha256: Of its bytes.
        sha512: Of its bytes.
        size: In bytes.
    """

    path: str
    sha256: str
    sha512: str
    size: int


@dataclass(frozen=True, slots=True, order=True)
class Dependency:
    """A published package that must be there.

    Attributes:
        name: Its name.
        published: Its version in this repository.
        post: It is wanted with the package, not before it.
    """

    name: PackageName
    published: Version
    post: bool = False


@dataclass(frozen=True, slots=True)
class Licence:
    """What is known of the licence.

    Attributes:
        declared: The field ``license`` of the definition, as written.
        expression: The same as one SPDX expression; empty where it can't be read, or there is none.
        verdict: ``allowed``, or ``not needed`` where nothing of the package is given away.
        files: The licence files in the archive.
    """

    declared: tuple[str, ...]
    expression: str
    verdict: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Build:
    """One published build.

    Attributes:
        name: Of the package.
        version: Of the package, as in its source repository.
        published: The version under which it stands in this repository.
        kind: What is behind it.
        key: The cone key of the snapshot.
        output: The output id of the snapshot.
        outputs: How many different outputs of this key the publisher had seen; 1 says that no build differed.
        platform: What it is for.
        compiler: ``NAME.VERSION`` of the compiler below it, or empty.
        archive: What opam downloads; None for a definition alone.
        opam: sha256 of its opam file in this repository.
        files: How many files it installs.
        size: Their bytes.
        dependencies: Sorted by name.
        licence: Of the package.
        synopsis: One line of text.
        homepage: URL or empty.
        max_prefix: The longest prefix that it can be installed at, in bytes; None for any.
        helper: Whether it needs opam-bin at installation.
        built_at: Seconds since 1970.
        seconds: Duration of its build from source; 0 when unknown.
        published_at: Seconds since 1970.
        serial: Of the publication that brought it.
    """

    name: PackageName
    version: Version
    published: Version
    kind: ContentKind
    key: ConeKey
    output: OutputId
    outputs: int
    platform: Platform
    compiler: str
    archive: Archive | None
    opam: Digest
    files: int
    size: int
    dependencies: tuple[Dependency, ...]
    licence: Licence
    synopsis: str
    homepage: str
    max_prefix: int | None
    helper: bool
    built_at: int
    seconds: float
    published_at: int
    serial: int

    @property
    def opam_path(self) -> str:
        """Where its opam file is, relative to the repository."""
        return f"packages/{self.name}/{self.name}.{self.published}/opam"


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A snapshot that was to be published and is not.

    Attributes:
        name: Of the package.
        version: Of the package.
        key: Of the snapshot.
        output: Of the snapshot.
        reason: In words.
    """

    name: PackageName
    version: Version
    key: ConeKey
    output: OutputId
    reason: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All of a published repository.

    Attributes:
        base_url: Where it is served, without slash at the end.
        mode: How versions are spelled.
        serial: Of the publication; rises by one with each that changes something.
        time: Of the publication, in seconds since 1970.
        rules: sha256 of what else decides on the content: formats, options, licence policy.
        index_sha256: Of ``index.tar.gz``.
        builds: Sorted by name, published version.
        left_out: Sorted.
    """

    base_url: str
    mode: Mode
    serial: int
    time: int
    rules: str
    index_sha256: str
    builds: tuple[Build, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def render(self) -> bytes:
        """Return the bytes of the file: sorted names, one build a line, ASCII."""
        head = {
            "opam-bin-published": FORMAT,
            "base-url": self.base_url,
            "mode": str(self.mode),
            "serial": self.serial,
            "time": self.time,
            "rules": self.rules,
            "index-sha256": self.index_sha256,
        }
        lines = [f"{_dump(name)}:{_dump(value)}" for name, value in sorted(head.items())]
        for title, rows in (("builds", self.builds), ("left-out", self.left_out)):
            inner = ",\n".join(_dump(asdict(row)) for row in rows)
            lines.append(f'"{title}":[\n{inner}\n]' if rows else f'"{title}":[]')
        return ("{" + ",\n".join(lines) + "}\n").encode("ascii")

    @classmethod
    def parse(cls, data: bytes, what: str = NAME) -> Catalogue:
        """Read the file.

        Raises:
            BadDataError: It is not such a file; the first problems are named.
        """
        if len(data) > MAX_BYTES:
            raise BadDataError(what, "too large", expected=f"at most {MAX_BYTES} bytes", observed=len(data))
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadDataError(what, f"no JSON: {error}") from error
        if not isinstance(document, dict) or document.get("opam-bin-published") != FORMAT:
            observed = document.get("opam-bin-published") if isinstance(document, dict) else document
            raise BadDataError(
                what, "not a catalogue of this version", expected=FORMAT, observed=repr(observed)[:60]
            )
        from opambin.publish.catalogue_reader import read

        return read(document, what)


def archive_path(sha256: str) -> str:
    """Return where an archive lies in a repository."""
    return f"archives/{sha256[:2]}/{sha256[2:]}.tar.gz"


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
