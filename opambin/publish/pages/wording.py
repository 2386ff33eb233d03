"""Text from packages, made fit to be read, to be part of an address, and to be copied into a shell.

Whatever a package says of itself (names, versions, licences, summaries, file names) is hostile until it went
through here. HTML is escaped by the templates; this is about what escaping leaves: letters that are not
seen or turn the line around, addresses that run code, names that are more than a file's name, and commands.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from hashlib import sha256
from urllib.parse import urlsplit

MOST_LETTERS_OF_FILE = 48  # of a page's name, before its extension; names of remotes stop at 120 bytes
_PLAIN = re.compile(r"[\x20-\x7e]*")
_PACKAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+.~-]*")
_NOT_OF_FILE = re.compile(r"[^A-Za-z0-9_.-]|\A-|(?<![A-Za-z0-9])\.|\.(?![A-Za-z0-9])")
_NOT_SEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode's categories of characters that don't show or that change how others are shown."""


def visible(text: str, most: int | None = None) -> str:
    """Return a text of one line in which everything that is there can be seen.

    Args:
        text: Anybody's.
        most: Letters after which it is cut.
    """
    if not _PLAIN.fullmatch(text):
        text = " ".join(text.split())
        text = "".join("\ufffd" if unicodedata.category(letter) in _NOT_SEEN else letter for letter in text)
    if most is not None and len(text) > most:
        return text[: most - 1].rstrip() + "…"
    return text


def file_of(name: str) -> str:
    """Return the name, without extension, of a page: a part of a path on disk, in an address, on any remote.

    Two names never share a file. What is no letter, digit, ``_`` or ``-`` becomes ``.-HEX.``, but for a ``.``
    between letters and digits; at the start, ``x.--HEX.``; what is too long, ``x.---`` and a digest.
    """
    spelled = _NOT_OF_FILE.sub(_in_digits, name)
    if not 0 < len(spelled) <= MOST_LETTERS_OF_FILE:
        return f"x.---{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
    return spelled


def _in_digits(found: re.Match[str]) -> str:
    return f"{'.-' if found.start() else 'x.--'}{ord(found.group()):02x}."


def letter_of(name: str) -> str:
    """Return the letter under which a package is listed: ``a`` to ``z``, or ``0`` for everything else."""
    first = name[:1].lower()
    return first if first.isascii() and first.isalpha() else "0"


def web_address(text: str) -> str:
    """Return an address that a link may have, or nothing: only http and https, with a host."""
    if not _PLAIN.fullmatch(text) or any(letter in text for letter in " \"'<>\\`{}|^"):
        return ""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return ""
    return text if parts.scheme in {"http", "https"} and host else ""


def is_package(text: str) -> bool:
    """Tell whether opam knows such names, versions or ``NAME.VERSION``, and doesn't take it for an option.

    Only then is a command with it shown.
    """
    return bool(_PACKAGE.fullmatch(text))


def command(*words: str) -> str:
    """Return a command to copy: every word quoted for the shell, on one line."""
    return shlex.join(visible(word) for word in words)
