"""What in a bundle may be believed, before anything of it is used.

Its statements are signed; the list of what an installation installs is not. So the list counts only as far as
a statement that is believed is about the same package: otherwise who made the file could have opam build
anything that its repository knows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError, MisuseError
from opambin.exchange import names
from opambin.remote.bundle import BundleRemote
from opambin.trust.envelope import Envelope
from opambin.trust.policy import Question, Untrusted, judge

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opambin.trust.policy import Policy


@dataclass(frozen=True, slots=True)
class Belief:
    """What a policy makes of a bundle.

    Attributes:
        path: The bundle.
        packages: What the statements that are believed are about, as ``NAME.VERSION``.
        reasons: How those are signed that are not, as what follows "it is".
        wrong: Whether a statement is not what it should be, which is told where it is looked for.
    """

    path: Path
    packages: frozenset[str]
    reasons: frozenset[str]
    wrong: bool

    def check_useful(self) -> None:
        """Refuse a bundle where the policy leaves nothing.

        Raises:
            MisuseError: No statement is believed; the message says who has signed, and what to do.
        """
        if self.packages or self.wrong or not self.reasons:
            return
        signed = "; ".join(sorted(self.reasons))
        raise MisuseError(
            f"nothing is taken from it: it is {signed}. 'opam-bin key trust KEY' with the public key of who"
            " made it lets it count; --unsigned behind the name of the file takes it as it is"
        )

    def check_named(self, named: Iterable[str]) -> None:
        """Refuse a list that names other packages than are vouched for.

        Raises:
            BadDataError: It does.
        """
        for package in named:
            if package not in self.packages:
                raise BadDataError(
                    self.path, f"it names {package}, about which no trusted key has signed anything in it"
                )


def look(path: Path, policy: Policy) -> Belief:
    """Judge every statement of a bundle.

    Raises:
        OpambinError: It is no bundle, or can't be read.
    """
    packages, reasons, wrong = set(), set(), False
    bundle = BundleRemote(path)
    try:
        for entry in bundle.entries(names.KEYS):
            slot = names.slot_of(entry.name)
            if slot is None:
                continue
            data = bundle.get(entry.name, limit=names.MAX_STATEMENT_BYTES) or b""
            try:
                envelope = Envelope.from_json(data, entry.name)
                verdict = judge(envelope, policy, Question(slot[0], int(time.time())), entry.name)
            except BadDataError:
                wrong = True
                continue
            if isinstance(verdict, Untrusted):
                reasons.add(verdict.reason)
            else:
                packages.add(str(verdict.statement.package))
    finally:
        bundle.close()
    return Belief(path, frozenset(packages), frozenset(reasons), wrong)
