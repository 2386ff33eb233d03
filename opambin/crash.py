"""The last resort for errors that nobody foresaw: one line for the user, the trace only when asked for."""

from __future__ import annotations

import errno
import os
import sys

from opambin.errors import UnavailableError

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
VARIABLE = "OPAMBIN_DEBUG"
MACHINE_FAULTS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENOMEM,
    }
)
"""What the system may answer at any place and is no bug of ours."""


def report(error: BaseException) -> int:
    """Tell on standard error of a bug of ours, or of a fault of the machine where nobody thought of it.

    Args:
        error: What was raised and nobody caught.

    Returns:
        The exit code for it.
    """
    if os.environ.get(VARIABLE, "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, FileNotFoundError) and _folder_is_gone():
        sys.stderr.write("opam-bin: the current directory is gone: change to another one\n")
        return UnavailableError.exit_code
    if isinstance(error, OSError) and error.errno in MACHINE_FAULTS:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"opam-bin: {where}{error.strerror}\n")
        return UnavailableError.exit_code
    words = " ".join(str(error).split())
    told = f"{type(error).__name__}: {words}" if words else type(error).__name__
    sys.stderr.write(f"opam-bin: internal error: {told} (set {VARIABLE}=1 for the trace)\n")
    return EXIT_CODE


def _folder_is_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same
    except FileNotFoundError:
        return True
    return False
