"""Why a repository is refused: one kind for each attack, in words for people and a code for programs."""

from __future__ import annotations

import re
from enum import StrEnum

from opambin.errors import BadDataError, OpambinError, UnavailableError


class Kind(StrEnum):
    """What is wrong with a repository."""

    TAMPERED = "tampered"
    """A file is not what was signed."""
    ROLLED_BACK = "rolled back"
    """It is older than what was seen before."""
    MIXED = "mixed"
    """Its parts are of different times."""
    UNSIGNED = "unsigned"
    """Too few of the keys that have to have signed it."""
    EXPIRED = "expired"
    """It was not signed anew in time: abandoned, or held back by someone."""
    INCOMPLETE = "incomplete"
    """A file that was signed is not there."""
    DAMAGED = "damaged"
    """It can't be read."""


class RefusedError(BadDataError):
    """A repository that does not verify.

    Args:
        kind: What is wrong.
        what: The file, or the repository.
        problem: In words.
        expected: What should have been there, when that can be said.
        observed: What was there instead.
    """

    def __init__(
        self, kind: Kind, what: object, problem: str, *, expected: object = None, observed: object = None
    ) -> None:
        self.kind = kind
        super().__init__(what, f"{kind}: {problem}", expected=expected, observed=observed)


class ExpiredError(RefusedError):
    """A repository whose signatures are too old; a new attempt later may succeed."""

    exit_code = 6


_VERSIONS = (
    (re.compile(r"New (timestamp|snapshot) version"), Kind.ROLLED_BACK, "older than what was seen before"),
    (re.compile(r"Expected \S+\.json version"), Kind.ROLLED_BACK, "older than what was seen before"),
    (re.compile(r"New snapshot is missing info"), Kind.ROLLED_BACK, "lacks what was there before"),
    (re.compile(r"Expected root version"), Kind.ROLLED_BACK, "its roots do not follow each other"),
)


def translated(error: Exception, where: str) -> OpambinError:
    """Return our error for one of python-tuf's.

    Args:
        error: Raised by its client.
        where: The repository, for people.
    """
    from tuf.api import exceptions

    detail = " ".join(str(error).split())[:300]
    for pattern, kind, problem in _VERSIONS:
        if isinstance(error, exceptions.RepositoryError) and pattern.match(detail):
            return RefusedError(kind, where, f"{problem} ({detail})")
    match error:
        case exceptions.ExpiredMetadataError():
            return ExpiredError(
                Kind.EXPIRED,
                where,
                f"{detail.removeprefix('New ')}: it was not signed anew in time, or someone holds newer "
                "states back; try again later, and tell the publisher",
            )
        case exceptions.UnsignedMetadataError():
            return RefusedError(Kind.UNSIGNED, where, f"too few valid signatures ({detail})")
        case exceptions.LengthOrHashMismatchError() | exceptions.BadVersionNumberError():
            return RefusedError(Kind.MIXED, where, f"metadata of different times ({detail})")
        case exceptions.DownloadHTTPError() | exceptions.DownloadLengthMismatchError():
            return RefusedError(Kind.INCOMPLETE, where, f"metadata is missing or too long ({detail})")
        case exceptions.DownloadError():
            cause = error.__cause__
            return (
                cause if isinstance(cause, OpambinError) else UnavailableError(f"{where}: {cause or detail}")
            )
        case _:
            return RefusedError(
                Kind.DAMAGED, where, f"metadata can't be read ({detail or type(error).__name__})"
            )
