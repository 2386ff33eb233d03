"""Promotion: one more signature on statements, typically for release on what a CI job has signed for staging.

Only what one of the trusted keys has signed (a key for staging will do) is promoted, unless the user says
that unsigned statements may be, too. A slot is replaced by the same statement with one more signature.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.exchange import bundling, names
from opambin.trust.envelope import Envelope
from opambin.trust.policy import Mode, Policy, Question, Role, Untrusted, judge
from opambin.trust.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opambin.model import ConeKey, Package
    from opambin.remote.protocol import Remote
    from opambin.trust.keys import SecretKey


@dataclass(slots=True)
class Promoted:
    """What was signed.

    Attributes:
        signed: Packages whose statements have one more signature.
        before: Packages whose statements had it.
        refused: Package, or slot, to why it was not signed.
    """

    signed: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Promoter:
    """Signs statements.

    Attributes:
        secret: The key.
        policy: Whose signatures are worth another one.
        globs: On ``NAME`` or ``NAME.VERSION``; empty: all.
        unsigned: Whether statements without any signature are signed.
    """

    secret: SecretKey
    policy: Policy
    globs: tuple[str, ...] = ()
    unsigned: bool = False

    def sign(self, name: str, data: bytes, done: Promoted) -> bytes | None:
        """Return a slot with one more signature; None when it stays as it is."""
        slot = names.slot_of(name)
        if slot is None:
            return None
        mode = Mode.UNSIGNED if self.unsigned else Mode.ANY
        policy = replace(self.policy, mode=mode, role=Role.STAGING, state_required=False)
        try:
            envelope = Envelope.from_json(data, name)
            package = Statement.read(envelope, name).package
            if not self._wants(package):  # nobody has vouched for this name yet: it may leave out, no more
                return None
            verdict = judge(envelope, policy, Question(slot[0], int(time.time())), name)
        except BadDataError as error:
            done.refused[name] = str(error)
            return None
        if isinstance(verdict, Untrusted):
            done.refused[f"{package} ({name})"] = verdict.reason
            return None
        new = envelope.with_signature(self.secret).to_json()
        (done.before if new == data else done.signed).append(str(package))
        return None if new == data else new

    def _wants(self, package: Package) -> bool:
        called = (str(package), str(package.name))
        return not self.globs or any(fnmatchcase(it, glob) for it in called for glob in self.globs)


def on_remote(remote: Remote, promoter: Promoter, keys: Iterable[ConeKey] | None = None) -> Promoted:
    """Sign the statements of a remote.

    Args:
        remote: Opened for writing.
        promoter: Signs.
        keys: Where to look; None: everywhere, which takes a remote that can list.

    Raises:
        UnavailableError: The remote can't list, or can't be written.
    """
    done = Promoted()
    if keys is None:
        slots = [entry.name for entry in remote.entries(names.KEYS)]
    else:
        slots = [names.slot(key, number) for key in keys for number in range(names.MAX_SLOTS)]
    for name, data in remote.get_many(slots, limit=names.MAX_STATEMENT_BYTES).items():
        new = promoter.sign(name, data, done) if data is not None else None
        if new is not None:
            remote.put(name, new, replace=True)
    return done


def in_bundle(path: Path, promoter: Promoter) -> Promoted:
    """Sign the statements of a bundle, which is written anew; raises as :func:`bundling.rewrite` does."""
    done = Promoted()
    bundling.rewrite(path, lambda name, data: promoter.sign(name, data, done))
    return done
