"""Every error that opambin raises, under one base.

One branch per kind of fault, because callers react to the kind:

* :class:`BadDataError`: bytes that are not what they claim to be. Always reported.
* :class:`UnavailableError`: something that is needed is not there (a tool, space, a network).
* :class:`CannotRelocateError`: a snapshot can't be moved to the wanted prefix.
* :class:`MisuseError`: the user asked for something that can't be done as asked.
* :class:`IncompleteError`: a package must not stay as it was installed.
"""

from __future__ import annotations

from typing import ClassVar


class OpambinError(Exception):
    """Base of all errors raised by opambin.

    Attributes:
        exit_code: What the command line exits with when this error ends it.
    """

    exit_code: ClassVar[int] = 1


class BadDataError(OpambinError):
    """Bytes that are not what they claim to be: wrong digest, length, version or syntax.

    Args:
        what: What was looked at, usually a path.
        problem: What is wrong with it, in words.
        expected: What should have been there, when that can be said.
        observed: What was there instead.
    """

    exit_code = 3

    def __init__(
        self, what: object, problem: str, *, expected: object = None, observed: object = None
    ) -> None:
        self.what = str(what)
        self.problem = problem
        self.expected = expected
        self.observed = observed
        message = f"{what}: {problem}"
        if expected is not None:
            message += f" (expected {expected}{'' if observed is None else f', found {observed}'})"
        super().__init__(message)


class UnavailableError(OpambinError):
    """Something that is needed is missing: a program, a switch, disk space, a permission."""

    exit_code = 4


class CannotRelocateError(OpambinError):
    """A file can't be moved to the wanted prefix.

    Args:
        path: The file, relative to the prefix.
        reason: Why not, in words.
    """

    exit_code = 5

    def __init__(self, path: object, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class MisuseError(OpambinError):
    """The user asked for something that can't be done as asked."""

    exit_code = 2


class IncompleteError(OpambinError):
    """Some live files of a package were written and others, which must fit to them, were not.

    Its exit code is the one that makes opam take the package out again.
    """

    exit_code = 10
