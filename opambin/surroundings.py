"""What a build sees beside its dependencies, and the key that follows from it: values."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from opambin.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opambin.model import ConeKey


@dataclass(frozen=True, slots=True)
class Platform:
    """The machine, in opam's words: values of ``arch``, ``os``, ``os-distribution`` and ``os-version``."""

    arch: str
    os: str
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a build sees beside its dependencies.

    Attributes:
        platform: The machine.
        variables: opam's global and switch variables, as text.
        environment: The process environment that builds inherit.
        system_files: Path to md5 of the compiler outside of opam, empty when there is none.
    """

    platform: Platform
    variables: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    system_files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keyed:
    """The key of a package, or why it has none.

    Attributes:
        key: None when it can't be known from metadata.
        inputs: The canonical text that was hashed; empty when there is no key or it was on record.
        reason: Why there is no key.
    """

    key: ConeKey | None
    inputs: str = ""
    reason: str = ""
