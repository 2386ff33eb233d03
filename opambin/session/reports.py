"""What the hooks of a package want the user to hear: opam hides what they print, unless they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opambin.session.folder import Session

FILE = "reports"


def add(session: Session, problems: Iterable[str]) -> None:
    """Keep lines until the session ends; builds run in parallel, and each line is one write."""
    with (session.folder / FILE).open("a", encoding="utf-8", errors="surrogateescape", buffering=1) as file:
        for problem in problems:
            file.write(" ".join(problem.split()) + "\n")


def read(session: Session) -> list[str]:
    """Return the lines kept, each once."""
    try:
        text = (session.folder / FILE).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return []
    return list(dict.fromkeys(text.splitlines()))
