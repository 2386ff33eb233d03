"""The last resort for errors that nobody foresaw: one line for the user, the trace only when asked for."""

from __future__ import annotations

import os
import sys

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
VARIABLE = "OPAMBIN_DEBUG"


def report(error: BaseException) -> int:
    """Tell of a bug of ours on standard error.

    Args:
        error: What was raised and nobody caught.

    Returns:
        The exit code for it.
    """
    if os.environ.get(VARIABLE, "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    words = " ".join(str(error).split())
    told = f"{type(error).__name__}: {words}" if words else type(error).__name__
    sys.stderr.write(f"opam-bin: internal error: {told} (set {VARIABLE}=1 for the trace)\n")
    return EXIT_CODE
