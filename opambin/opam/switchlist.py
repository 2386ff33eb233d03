"""The switches that a root knows: ``installed-switches`` and ``switch`` of its configuration.

opam has no command for it that would not also make or remove the switch. Only the two fields are written
anew; everything else in the file keeps its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opambin.errors import BadDataError, UnavailableError
from opambin.opam.configlock import replace_locked
from opambin.opam.lexer import located_tokens
from opambin.opam.parser import parse
from opambin.opam.statefile import read_text, strings_field, strings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from opambin.opam.lexer import Token

LIST = "installed-switches"
CURRENT = "switch"
_ATTEMPTS = 5
"""How often somebody else may change the configuration between our reading and writing it."""
_OPENING = frozenset("[({")
_CLOSING = frozenset("])}")


def known(config: str) -> tuple[str, ...]:
    """Return the switches that a configuration names."""
    return strings_of(parse(config, "config"), LIST)


def added(config: str, name: str) -> str:
    """Return a configuration that also knows switch ``name``, as the first one, as opam does it."""
    names = known(config)
    return config if name in names else _with(config, LIST, [name, *names])


def removed(config: str, name: str) -> str:
    """Return a configuration that does not know switch ``name``; it must not be the current one."""
    return _with(config, LIST, [other for other in known(config) if other != name])


def is_local(name: str) -> bool:
    """Tell whether a switch is a local one, which opam refuses to make the current one of the root."""
    return "/" in name


def renamed(config: str, old: str, new: str, *, current: bool = False) -> str:
    """Return a configuration where switch ``old`` is called ``new``.

    When it is the current one it stays that; as a local switch it can't, and then none is.

    Args:
        config: The text.
        old: Its name.
        new: Its new name.
        current: Make it the current one, whatever was.
    """
    names = [new if name == old else name for name in known(config)]
    text = _with(config, LIST, names if new in names else [new, *names])
    if current or strings_of(parse(text, "config"), CURRENT) == (old,):
        text = _with(text, CURRENT, [] if is_local(new) else [new])
    return text


def edit(root: Path, change: Callable[[str], str]) -> None:
    """Change the configuration of a root under opam's lock.

    Args:
        root: opam's root.
        change: Gives the new text for the old one; may be called again when somebody else was faster.

    Raises:
        UnavailableError: The lock is not to be had, or the file can't be written.
        BadDataError: The configuration can't be read.
    """
    path = root / "config"
    for _ in range(_ATTEMPTS):
        before = read_text(path)
        after = change(before)
        if after == before or replace_locked(path, _bytes(before), _bytes(after)):
            return
    raise UnavailableError(f"{path} is changed by others all the time; try again later")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _with(config: str, field: str, values: Sequence[str]) -> str:
    """Write one field anew; at the end when it was not there."""
    new = strings_field(field, values, always_list=False)
    start, end = _span(config, field)
    if start == end and config and not config.endswith("\n"):
        new = f"\n{new}"
    text = config[:start] + new + config[end:].removeprefix("\n" if start < end else "")
    if strings_of(parse(text, "config"), field) != tuple(values):
        raise BadDataError("opam's configuration", f"{field} can't be written")
    return text


def _span(config: str, field: str) -> tuple[int, int]:
    """Return where a field of the top level begins and where its value ends.

    Where there is no such field, that is the end of the file twice.
    """
    found = located_tokens(config)
    depth = 0
    for at, token in enumerate(found):
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
        elif depth == 0 and token.text == field and found[at + 1].text == ":":
            return token.offset, _end_of_value(found, at + 2)
    return len(config), len(config)


def _end_of_value(found: list[Token], at: int) -> int:
    """Return the offset after a value that is a string or a bracketed list."""
    depth = 0
    for token in found[at:]:
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth <= 0:
            return token.offset + len(token.text)
    raise BadDataError("opam's configuration", "a list without end")
