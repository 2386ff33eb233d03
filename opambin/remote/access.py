"""How remotes are used: with which rights, time-outs, and environment for credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Access:
    """How a remote is to be opened.

    Attributes:
        write: Whether something will be written.
        environ: The environment: credentials, proxies, home directory. The process's own is never looked at.
        connect_seconds: How long a connection may take.
        answer_seconds: How long the server may be silent, and how long a small answer may take altogether.
        workers: How many requests of a batch are under way at once.
        plain_http: Whether a registry may be spoken to without TLS. On this machine itself it always may.
    """

    write: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    connect_seconds: float = 3.0
    answer_seconds: float = 10.0
    workers: int = 8
    plain_http: bool = False
