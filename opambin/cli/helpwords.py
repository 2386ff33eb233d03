"""Whether words that are opam's ask for our help."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def wants_help(args: Sequence[str]) -> bool:
    """Tell whether the words ask for help; what stands behind ``--`` is no option."""
    options = args[: args.index("--")] if "--" in args else args
    return "--help" in options or "-h" in options
