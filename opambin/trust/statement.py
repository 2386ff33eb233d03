"""What is signed about one output: everything that decides what a machine gets, in one text.

A signature over an archive's digest alone would let whoever holds the remote serve a good archive of another
package, version, platform or dependency. So all of it is bound, and :meth:`Statement.differences` compares
it with the manifest before anything is used. The opam file is not bound: it is the user's repository's.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError
from opambin.model import ConeKey, OutputId, Package, PackageName, Version
from opambin.trust import document
from opambin.trust.payload import Shape, row_problems

if TYPE_CHECKING:
    from opambin.model import Manifest
    from opambin.trust.envelope import Envelope

TYPE = "application/vnd.opam-bin.snapshot.v1+json"
VERSION = 1
MAX_BYTES = 45_000  # fits an envelope of 64,000 with sixteen signatures

_NAME = re.compile(r"[A-Za-z0-9_+-]+")
_VERSION = re.compile(r"[A-Za-z0-9_+.~-]+")
_SHAPE = Shape(
    TYPE,
    "snapshot",
    VERSION,
    MAX_BYTES,
    counts=("manifest-size", "archive-size", "head-size", "time"),
    digests=("key", "output", "manifest-digest", "archive-digest", "head-digest"),
    texts=("key-algorithm", "platform", "builder"),
    others=("package", "package-version", "dependencies", "recipe-digest", "channel"),
)


class Channel(StrEnum):
    """What an output was built for. Who may release is decided by the client's keys, never by this word."""

    STAGING = "staging"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Packed:
    """The archive of an output.

    Attributes:
        digest: sha256 of all of it.
        size: In bytes.
        head_digest: sha256 of its head, which vouches for the frames after it.
        head_size: Of its head, in bytes.
    """

    digest: str
    size: int
    head_digest: str
    head_size: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a statement comes from.

    Attributes:
        builder: Who or what built it, in words.
        time: Of the statement, in seconds since 1970.
        channel: What it was built for.
    """

    builder: str
    time: int
    channel: Channel = Channel.STAGING


@dataclass(frozen=True, slots=True)
class Statement:
    """One output and everything it depends on.

    Attributes:
        key: The cone key that it answers to.
        key_algorithm: How that was computed.
        output: The output id.
        package: Name and version.
        platform: ``ARCH/OS/DISTRIBUTION/VERSION``.
        dependencies: Run-time dependencies and the output of each that was there at capture, sorted.
        manifest_digest: sha256 of the manifest's bytes.
        manifest_size: Of the manifest, in bytes.
        archive: The archive.
        recipe_digest: sha256 of our recipe for the package, or empty.
        origin: Builder, time and channel.
    """

    key: ConeKey
    key_algorithm: str
    output: OutputId
    package: Package
    platform: str
    dependencies: tuple[tuple[PackageName, OutputId | None], ...]
    manifest_digest: str
    manifest_size: int
    archive: Packed
    recipe_digest: str
    origin: Origin

    @classmethod
    def of(cls, manifest: Manifest, data: bytes, archive: Packed, origin: Origin) -> Statement:
        """Say what is true of a snapshot.

        Args:
            manifest: The snapshot.
            data: The manifest's bytes.
            archive: What it was packed into.
            origin: Builder, time and channel.

        Raises:
            BadDataError: The inputs of its key are not what they should be.
        """
        inputs = _inputs(manifest)
        return cls(
            key=manifest.key,
            key_algorithm=inputs["format"],
            output=manifest.output,
            package=manifest.package,
            platform=_platform(inputs),
            dependencies=_dependencies(manifest),
            manifest_digest=hashlib.sha256(data).hexdigest(),
            manifest_size=len(data),
            archive=archive,
            recipe_digest=inputs["recipe"],
            origin=origin,
        )

    def to_json(self) -> bytes:
        """Return the canonical form, which is what gets signed."""
        return _SHAPE.write(
            {
                "key": self.key,
                "key-algorithm": self.key_algorithm,
                "output": self.output,
                "package": self.package.name,
                "package-version": self.package.version,
                "platform": self.platform,
                "dependencies": [list(dependency) for dependency in self.dependencies],
                "manifest-digest": self.manifest_digest,
                "manifest-size": self.manifest_size,
                "archive-digest": self.archive.digest,
                "archive-size": self.archive.size,
                "head-digest": self.archive.head_digest,
                "head-size": self.archive.head_size,
                "recipe-digest": self.recipe_digest,
                "channel": self.origin.channel.value,
                "builder": self.origin.builder,
                "time": self.origin.time,
            }
        )

    @classmethod
    def read(cls, envelope: Envelope, what: object) -> Statement:
        """Read the payload of an envelope; whether it is signed is for :func:`~.policy.judge` to say.

        Raises:
            BadDataError: It is no statement of this kind and version.
        """
        body = _SHAPE.read(envelope, what, _problems)
        return cls(
            key=ConeKey(body["key"]),
            key_algorithm=body["key-algorithm"],
            output=OutputId(body["output"]),
            package=Package(PackageName(body["package"]), Version(body["package-version"])),
            platform=body["platform"],
            dependencies=tuple((PackageName(name), output) for name, output in body["dependencies"]),
            manifest_digest=body["manifest-digest"],
            manifest_size=body["manifest-size"],
            archive=Packed(
                body["archive-digest"], body["archive-size"], body["head-digest"], body["head-size"]
            ),
            recipe_digest=body["recipe-digest"],
            origin=Origin(body["builder"], body["time"], Channel(body["channel"])),
        )

    def differences(self, manifest: Manifest, data: bytes) -> list[str]:
        """Compare with the manifest that came in its archive; empty when it says the same.

        Args:
            manifest: The manifest, checked.
            data: Its bytes.
        """
        try:
            true = Statement.of(manifest, data, self.archive, self.origin)
        except BadDataError as error:
            return [str(error)]
        pairs = [(name, getattr(self, name), getattr(true, name)) for name in Statement.__dataclass_fields__]
        return [
            f"{name}: {said!s:.100} in the statement, {found!s:.100} in the manifest"
            for name, said, found in pairs
            if said != found
        ]


def _inputs(manifest: Manifest) -> dict[str, str]:
    wanted = ("format", "name", "version", "recipe", "arch", "os", "os-distribution", "os-version")
    try:
        inputs = json.loads(manifest.inputs)
        found = {name: inputs[name] for name in wanted}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadDataError(manifest.package, "the inputs of its key are not readable") from error
    if not all(type(value) is str for value in found.values()):
        raise BadDataError(manifest.package, "the inputs of its key are not readable")
    digest = hashlib.sha256(manifest.inputs.encode("utf-8", "surrogateescape")).hexdigest()
    if digest != manifest.key or (found["name"], found["version"]) != (
        manifest.package.name,
        manifest.package.version,
    ):
        raise BadDataError(
            manifest.package, "its inputs are not those of its key", expected=manifest.key, observed=digest
        )
    return found


def _platform(inputs: dict[str, str]) -> str:
    return "/".join(inputs[name] for name in ("arch", "os", "os-distribution", "os-version"))


def _dependencies(manifest: Manifest) -> tuple[tuple[PackageName, OutputId | None], ...]:
    return tuple(sorted({needed.provider: needed.output for needed in manifest.imports}.items()))


def _problems(body: dict[str, Any]) -> list[str]:
    problems = []
    for name, pattern in (("package", _NAME), ("package-version", _VERSION)):
        if type(body[name]) is not str or len(body[name]) > 200 or not pattern.fullmatch(body[name]):
            problems.append(f"{name}: {body[name]!r:.80} can't be one")
    if body["recipe-digest"] != "" and not document.is_hex64(body["recipe-digest"]):
        problems.append("recipe-digest: neither empty nor 64 hexadecimal digits")
    if body["channel"] not in [channel.value for channel in Channel]:
        problems.append(f"channel: {body['channel']!r:.40} is not known")
    rows = body["dependencies"]
    problems += row_problems("dependencies", rows, _is_dependency, "names and outputs", lambda row: row[0])
    sizes = body["head-size"], body["archive-size"]
    if all(map(document.is_count, sizes)) and not sizes[0] <= sizes[1]:
        problems.append("head-size: larger than the archive")
    return problems


def _is_dependency(row: object) -> bool:
    match row:
        case [str() as name, output]:
            return bool(_NAME.fullmatch(name)) and (output is None or document.is_hex64(output))
    return False
