"""Reading a catalogue: it came from elsewhere, so everything wrong with it is gathered and told at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from opambin.errors import BadDataError
from opambin.model import ConeKey, Digest, OutputId, PackageName, Version
from opambin.publish.catalogue import (
    MAX_NUMBER,
    Archive,
    Build,
    Catalogue,
    ContentKind,
    Dependency,
    LeftOut,
    Licence,
    Mode,
    Platform,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import StrEnum

_HEX64 = re.compile(r"[0-9a-f]{64}")
_HEX128 = re.compile(r"[0-9a-f]{128}")
_ARCHIVE = re.compile(r"archives/[0-9a-f]{2}/[0-9a-f]{62}\.tar\.gz")
_NAME = re.compile(r"[A-Za-z0-9_+-]+")
_VERSION = re.compile(r"[A-Za-z0-9_+.~-]+")
_TOLD = 20  # problems that one error names


def read(document: dict[str, Any], what: str) -> Catalogue:
    """Make a catalogue of the JSON object that one is.

    Raises:
        BadDataError: Members are missing or wrong; the first are named.
    """
    reader = _Reader()
    found = Catalogue(
        base_url=reader.text(document, "base-url"),
        mode=Mode(reader.one_of(document, "mode", Mode)),
        serial=reader.number(document, "serial"),
        time=reader.number(document, "time"),
        rules=reader.matching(document, "rules", _HEX64),
        index_sha256=reader.matching(document, "index-sha256", _HEX64),
        builds=tuple(reader.rows(document, "builds", reader.build)),
        left_out=tuple(reader.rows(document, "left-out", reader.left_out)),
    )
    if reader.problems:
        raise BadDataError(what, "; ".join(reader.problems[:_TOLD]))
    return found


class _Reader:
    """Reads members, gathers what is wrong, and gives something of the right type in its place."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def _member(self, row: dict[str, Any], name: str, fits: Callable[[Any], bool], instead: Any) -> Any:  # noqa: ANN401
        value = row.get(name)
        if fits(value):
            return value
        self.problems.append(f"{row.get('name', '')} {name}: {value!r:.60}".strip())
        return instead

    def text(self, row: dict[str, Any], name: str) -> str:
        return str(self._member(row, name, lambda value: isinstance(value, str), ""))

    def matching(self, row: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
        return str(
            self._member(row, name, lambda v: isinstance(v, str) and bool(pattern.fullmatch(v)), "0" * 64)
        )

    def one_of(self, row: dict[str, Any], name: str, values: type[StrEnum]) -> str:
        known = [str(value) for value in values]
        return str(self._member(row, name, lambda value: value in known, known[0]))

    def number(self, row: dict[str, Any], name: str) -> int:
        return int(self._member(row, name, lambda v: type(v) is int and 0 <= v < MAX_NUMBER, 0))

    def texts(self, row: dict[str, Any], name: str) -> tuple[str, ...]:
        fits = lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value)  # noqa: E731
        return tuple(self._member(row, name, fits, []))

    def truth(self, row: dict[str, Any], name: str) -> bool:
        return bool(self._member(row, name, lambda value: isinstance(value, bool), False))

    def rows(self, row: dict[str, Any], name: str, read: Callable[[dict[str, Any]], Any]) -> list[Any]:
        fits = lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value)  # noqa: E731
        return [read(item) for item in self._member(row, name, fits, [])]

    def _row(self, row: dict[str, Any], name: str) -> dict[str, Any]:
        return dict(self._member(row, name, lambda value: isinstance(value, dict), {}))

    def left_out(self, row: dict[str, Any]) -> LeftOut:
        return LeftOut(
            PackageName(self.matching(row, "name", _NAME)),
            Version(self.matching(row, "version", _VERSION)),
            ConeKey(self.matching(row, "key", _HEX64)),
            OutputId(self.matching(row, "output", _HEX64)),
            self.text(row, "reason"),
        )

    def _archive(self, row: dict[str, Any]) -> Archive | None:
        if row.get("archive") is None:
            return None
        found = self._row(row, "archive")
        return Archive(
            self.matching(found, "path", _ARCHIVE),
            self.matching(found, "sha256", _HEX64),
            self.matching(found, "sha512", _HEX128),
            self.number(found, "size"),
        )

    def _dependency(self, row: dict[str, Any]) -> Dependency:
        return Dependency(
            PackageName(self.matching(row, "name", _NAME)),
            Version(self.matching(row, "published", _VERSION)),
            self.truth(row, "post"),
        )

    def _licence(self, row: dict[str, Any]) -> Licence:
        return Licence(
            self.texts(row, "declared"),
            self.text(row, "expression"),
            self.text(row, "verdict"),
            self.texts(row, "files"),
        )

    def build(self, row: dict[str, Any]) -> Build:
        platform = self._row(row, "platform")
        seconds = self._member(row, "seconds", lambda v: type(v) in (int, float) and 0 <= v < MAX_NUMBER, 0.0)
        return Build(
            name=PackageName(self.matching(row, "name", _NAME)),
            version=Version(self.matching(row, "version", _VERSION)),
            published=Version(self.matching(row, "published", _VERSION)),
            kind=ContentKind(self.one_of(row, "kind", ContentKind)),
            key=ConeKey(self.matching(row, "key", _HEX64)),
            output=OutputId(self.matching(row, "output", _HEX64)),
            outputs=self.number(row, "outputs"),
            platform=Platform(*(self.text(platform, it) for it in ("arch", "os", "distribution", "version"))),
            compiler=self.text(row, "compiler"),
            archive=self._archive(row),
            opam=Digest(self.matching(row, "opam", _HEX64)),
            files=self.number(row, "files"),
            size=self.number(row, "size"),
            dependencies=tuple(self.rows(row, "dependencies", self._dependency)),
            licence=self._licence(self._row(row, "licence")),
            synopsis=self.text(row, "synopsis"),
            homepage=self.text(row, "homepage"),
            max_prefix=None if row.get("max_prefix") is None else self.number(row, "max_prefix"),
            helper=self.truth(row, "helper"),
            built_at=self.number(row, "built_at"),
            seconds=float(seconds),
            published_at=self.number(row, "published_at"),
            serial=self.number(row, "serial"),
        )
