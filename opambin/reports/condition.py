"""The condition of an installation as values; :mod:`opambin.reports.diagnosis` finds it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opambin.config import Config
    from opambin.exchange.memory import Standing
    from opambin.opam.root import Root
    from opambin.remotes_config import Configured
    from opambin.store.records import StoreSize


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is broken.

    Attributes:
        what: What is wrong.
        remedy: What to do about it; empty when the first part says it already.
    """

    what: str
    remedy: str = ""


class StoreState(StrEnum):
    """Whether a store can be used."""

    WRITABLE = "writable"
    READONLY = "read-only"
    ABSENT = "absent"
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class StoreCondition:
    """The store.

    Attributes:
        path: Where it is.
        state: Whether it can be used.
        snapshots: How many it has; None when that can't be said without walking it.
        packages: Of how many packages.
        bytes: Of all files of all snapshots; what they share is counted for each.
        free: Bytes of free space there.
        quarantined: How many damaged things were put aside.
        walked: What is on disk, when that was asked for.
    """

    path: str
    state: StoreState
    snapshots: int | None = None
    packages: int | None = None
    bytes: int | None = None
    free: int | None = None
    quarantined: int = 0
    walked: StoreSize | None = None


@dataclass(frozen=True, slots=True)
class OpamCondition:
    """The opam program.

    Attributes:
        program: Its path; None when there is none.
        version: What it calls itself; empty when unknown.
        supported: Whether we work with it.
    """

    program: str | None = None
    version: str = ""
    supported: bool = False


@dataclass(frozen=True, slots=True)
class HooksCondition:
    """Our hooks and the link for ``opam bin``.

    Attributes:
        installed: Whether any hook of ours is in opam's configuration.
        complete: Whether init would change nothing.
        lacks: What init would write: fields of the configuration and files.
        link: Path of the link.
        link_state: What is there, see :class:`opambin.setup.initialise.LinkState`.
        peers: Hooks of OCaml's opam-bin.
        others: Hooks of others, which we leave alone.
    """

    installed: bool
    complete: bool
    lacks: tuple[str, ...]
    link: str
    link_state: str
    peers: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransparentCondition:
    """The program that stands for opam.

    Attributes:
        shim: Its path.
        real: The opam that it stands for.
        program: The opam-bin that it calls.
        first: Whether it is what ``opam`` means here.
    """

    shim: str
    real: str
    program: str
    first: bool


@dataclass(frozen=True, slots=True)
class RemoteCondition:
    """A remote that is configured.

    Attributes:
        entry: As it is configured.
        standing: What became of questions to it; None where there is no store that remembers.
        problem: Why it can't be asked at all; empty when it can.
    """

    entry: Configured
    standing: Standing | None
    problem: str = ""


class SessionState(StrEnum):
    """What there is of an opam session in a switch."""

    NONE = "none"
    RUNNING = "running"
    LEFT_OVER = "left over"


@dataclass(frozen=True, slots=True)
class SwitchCondition:
    """A switch.

    Attributes:
        name: As opam calls it.
        prefix: Where it is.
        current: Whether it is the one that commands would work on here.
        excluded: The configured glob that leaves it alone; empty when none does.
        session: Whether an opam is working on it, or was and got killed.
        interrupted: Packages of a restore that got killed.
    """

    name: str
    prefix: str
    current: bool
    excluded: str
    session: SessionState
    interrupted: tuple[str, ...]


@dataclass
class Condition:
    """Everything together; parts that can't be looked at are None.

    Attributes:
        config: The configuration.
        store: The store.
        opam: The program.
        root: opam's root.
        hooks: What of us is in the root.
        transparent: The program that stands for opam; None when there is none.
        remotes: The configured remotes, the preferred one first.
        switches: All switches of the root, the current one among them.
        problems: What is broken.
        notes: What is no fault, but good to know.
    """

    opam: OpamCondition = field(default_factory=OpamCondition)
    config: Config | None = None
    store: StoreCondition | None = None
    root: Root | None = None
    hooks: HooksCondition | None = None
    transparent: TransparentCondition | None = None
    remotes: list[RemoteCondition] = field(default_factory=list)
    switches: list[SwitchCondition] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def blame(self, what: object, remedy: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(str(what), remedy))
