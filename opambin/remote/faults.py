"""What can be wrong with a remote as a whole, apart from wrong bytes."""

from __future__ import annotations

from opambin.errors import UnavailableError


class RemoteDownError(UnavailableError):
    """A remote can't be reached, or does not answer in time, or only with errors of its own.

    Args:
        url: Of the remote, without secrets.
        reason: In words.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"{url}: {reason}")


class RefusedError(UnavailableError):
    """A remote does not let us do that: no credentials, wrong ones, or none of the needed rights.

    Args:
        url: Of the remote, without secrets.
        reason: In words.
        writing: Whether it was a write that was refused.
    """

    def __init__(self, url: str, reason: str, *, writing: bool = False) -> None:
        self.url = url
        self.reason = reason
        self.writing = writing
        super().__init__(f"{url}: {reason}")
