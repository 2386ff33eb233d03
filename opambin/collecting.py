"""How often Python looks for cycles among the objects of a command."""

from __future__ import annotations

import gc

ALLOCATIONS = 200_000
"""New objects between two looks. Python's own 700 makes it look hundreds of times while a plan is made, which
takes a fifth of the time, at values that hold no cycles and live as long as the command does."""


def collect_seldom() -> None:
    """Let this process, which is a command's or a hook's, look for cycles as rarely as is good for it."""
    gc.set_threshold(ALLOCATIONS)
