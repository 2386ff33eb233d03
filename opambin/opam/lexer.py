"""Tokens of an opam file.

A token is a piece of the text itself; its kind shows in its first character. That keeps the common case
one call into the regular expression engine. Offsets are found again only when an error needs them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_WORD = r"[A-Za-z0-9_-]++"
_BLANK = r"[ \t\n]*+(?:(?:\r\n|#[^\n]*+)[ \t\n]*+)*+"
_STRING = r'"""(?:[^"\\]++|\\.|"(?!""))*+"""' r'|"(?!"")(?:[^"\\]++|\\.)*+"'
_TOKEN = (
    _STRING
    # Identifiers and numbers; the parser checks them. A variable after a colon has a letter.
    + rf"|{_WORD}(?:\+{_WORD})*+(?::(?=[0-9_-]*+[A-Za-z]){_WORD})?"
    + r"|=[+:]=?|[+:]=|!=|[<>]=?"
    # Of a string without end, everything, so that it is not scanned again from its middle. The end of
    # the text is an empty token. Any other character is one too, for the parser to refuse.
    + r'|".*|\Z|.'
)
_SCANNER = re.compile(f"{_BLANK}({_TOKEN})", re.DOTALL)
_WHOLE_STRING = re.compile(_STRING, re.DOTALL)
_COMMENT_EDGE = re.compile(r"\(\*|\*\)")
_ESCAPE = re.compile(
    r"""\\(?:
        (?P<newline>\r?\n[ \t]*)
      | (?P<char>[\\"' nrtb])
      | (?P<decimal>[0-9]{3})
      | x(?P<hex>[0-9a-fA-F]{2})
      | (?P<illegal>.?)
    )""",
    re.DOTALL | re.VERBOSE,
)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b"}


class Token(NamedTuple):
    """A token and where it starts in the text."""

    text: str
    offset: int


class EscapeError(ValueError):
    """A string holds an escape sequence that opam does not know."""


def tokens(text: str) -> list[str]:
    """Split a text into tokens; the last one is empty and stands for the end.

    Strings are kept as written, with quotes and escapes. What can't be a token is kept too: an
    unterminated string is ``"``, an unterminated comment ``(*``, any other character itself.
    """
    if "(*" in text:
        return [token.text for token in located_tokens(text)]
    found: list[str] = _SCANNER.findall(text)
    if len(found) > 1 and _is_unterminated(found[-2]):
        found[-2] = '"'
    return found


def located_tokens(text: str) -> list[Token]:
    """Do what :func:`tokens` does, with offsets and with nested ``(* *)`` comments; slower."""
    found: list[Token] = []
    position = 0
    while match := _SCANNER.match(text, position):
        position = match.end()
        start = match.start(1)
        token = Token(match[1], start)
        if text.startswith("(*", start):
            end = _end_of_comment(text, start)
            if end is not None:
                position = end
                continue
            token = Token("(*", start)
            position = len(text)
        elif position == len(text) and _is_unterminated(match[1]):
            token = Token('"', start)
        found.append(token)
        if not token.text:
            break
    return found


def _is_unterminated(token: str) -> bool:
    return token.startswith('"') and not _WHOLE_STRING.fullmatch(token)


def _end_of_comment(text: str, start: int) -> int | None:
    """Return the offset after the comment that starts at ``start``, or None if it never ends."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "(*" else -1
        if not depth:
            return edge.end()
    return None


def unquote(token: str) -> str:
    """Return the content of a string token.

    Raises:
        EscapeError: It holds an illegal escape sequence.
    """
    body = token[3:-3] if token.startswith('"""') else token[1:-1]
    if "\\" not in body:
        return body
    content = _ESCAPE.sub(_unescape, body)
    # A number above 127 is one byte, and several of them may spell one character.
    return content.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _unescape(match: re.Match[str]) -> str:
    kind, value = match.lastgroup, match[match.lastgroup or 0]
    if kind == "newline":
        return ""
    if kind == "char":
        return _CONTROL.get(value, value)
    code = int(value, 16 if kind == "hex" else 10) if kind != "illegal" else 256
    if code > 255:
        raise EscapeError(f"illegal escape sequence {match[0]!r}")
    return chr(code) if code < 128 else chr(0xDC00 + code)
