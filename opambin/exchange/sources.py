"""A remote together with what the user thinks of it: priority, rights, and whose word counts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opambin.errors import BadDataError
from opambin.remote.urls import scheme_of
from opambin.trust.envelope import Envelope
from opambin.trust.policy import Question, Untrusted, judge

if TYPE_CHECKING:
    from opambin.model import Manifest
    from opambin.remote.protocol import Remote
    from opambin.trust.policy import Policy


@dataclass(slots=True)
class Source:
    """One configured remote.

    Attributes:
        name: As the user calls it.
        remote: What it holds.
        policy: Whose signatures count.
        priority: The highest is asked first.
        write: Whether it is pushed to.
        silent: Why it is not asked any more; empty while it is.
    """

    name: str
    remote: Remote
    policy: Policy
    priority: int = 0
    write: bool = False
    silent: str = ""

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        return self.remote.url

    @property
    def label(self) -> str:
        """What it is called in a sentence: ``remote NAME``, or ``bundle FILE``."""
        return label(self.name, self.url)

    def says(self, data: bytes, manifest: Manifest) -> bool:
        """Tell whether a slot holds a statement about a snapshot that readers like this client would take."""
        what = f"statement about {manifest.package}"
        try:
            question = Question(manifest.key, int(time.time()))
            verdict = judge(Envelope.from_json(data, what), self.policy, question, what)
        except BadDataError:
            return False
        if isinstance(verdict, Untrusted):
            return False
        return verdict.statement.output == manifest.output and verdict.statement.package == manifest.package


def label(name: str, url: str) -> str:
    """Return what a remote is called in a sentence: ``remote NAME``, or ``bundle FILE``."""
    return f"{'bundle' if scheme_of(url) == 'bundle' else 'remote'} {name}"
