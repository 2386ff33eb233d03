"""What must not leave the publisher's machine: looked for in every file before it is published; pure.

* Build directories (``…/.opam-switch/build/``) are in debug information of nearly every package. Nobody reads
  them, so the part before ``/.opam-switch`` is overwritten at the same length. So are the publisher's folders
  in ``.cmi`` and ``.cmt`` files, where compilers note how they were called.
* The publisher's home directory, user and host name, further texts that the publisher names, and what looks
  like a key or a token stop the publication; the place is told.

Not seen: what is compressed in another way than OCaml's own, or spelled in another way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from opambin.model import PLACEHOLDER
from opambin.relocate import camlobj, marshalheader
from opambin.relocate.spelling import BUILD_DIRECTORIES, BUILD_DIRECTORY_MARKER, pad

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NEUTRAL = b"/build"
"""What stands for the folder of a switch in the path of a build directory."""
_NO_PATH = re.compile(rb"[\x00-\x20\x7f\"'`:;,=<>()|\[\]{}\\]")
_MAX_PATH = 4096  # bytes
_SHORTEST = 4  # letters of a user or host name; shorter ones are found everywhere
_PUBLIC_HOMES = frozenset({b"/", b"/root", b"/nonexistent", b"/home", b"/var/empty"})
_PUBLIC_NAMES = frozenset(
    {
        "root",
        "user",
        "users",
        "admin",
        "build",
        "builder",
        "opam",
        "ocaml",
        "runner",
        "nobody",
        "test",
        "home",
    }
    | {"debian", "ubuntu", "alpine", "fedora", "localhost", "localdomain", "docker", "container", "host"}
)
"""Names that say nothing about anybody."""

_TOKENS = tuple(
    (needle, re.compile(pattern), what)
    for needle, pattern, what in (
        (b"PRIVATE KEY-----", rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----\s", "a private key"),
        (b"opam-bin-secret-1:", rb"opam-bin-secret-1:\S+", "a secret key of opam-bin"),
        (b"AKIA", rb"(?<![A-Z0-9])AKIA[A-Z2-7]{16}(?![A-Z0-9])", "an AWS key"),
        (b"ASIA", rb"(?<![A-Z0-9])ASIA[A-Z2-7]{16}(?![A-Z0-9])", "an AWS key"),
        (b"ghp_", rb"(?<!\w)ghp_\w{36}(?!\w)", "a GitHub token"),
        (b"gho_", rb"(?<!\w)gho_\w{36}(?!\w)", "a GitHub token"),
        (b"ghs_", rb"(?<!\w)ghs_\w{36}(?!\w)", "a GitHub token"),
        (b"github_pat_", rb"(?<!\w)github_pat_\w{40,}", "a GitHub token"),
        (b"glpat-", rb"(?<![\w-])glpat-[\w-]{20,}", "a GitLab token"),
        (b"xox", rb"(?<!\w)xox[abprs]-\d[\w-]{20,}", "a Slack token"),
        (b"npm_", rb"(?<!\w)npm_[A-Za-z0-9]{36}(?!\w)", "an npm token"),
        (b"AIza", rb"(?<!\w)AIza[\w-]{35}(?![\w-])", "a Google key"),
    )
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells who the publisher is.

    Attributes:
        homes: Directories: the home, opam's root, the store.
        users: User names.
        hosts: Host names, with and without domain.
        others: Further texts.
    """

    homes: tuple[bytes, ...] = ()
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    others: tuple[bytes, ...] = ()

    def needles(self) -> Iterator[tuple[bytes, re.Pattern[bytes], str]]:
        """Yield bytes to look for, the pattern that must match around them, and what they are."""
        for home in sorted(set(self.homes) - _PUBLIC_HOMES):
            yield home, re.compile(re.escape(home) + rb"(?![\w.+~-])"), "a directory of yours"
        for user in _telling(self.users):
            name = re.escape(user.encode())
            pattern = rb"(?<=/)%s(?=/)|(?<![\w.-])%s@(?=[\w-]+(?:\.local|\.lan|\.internal)?(?![\w.]))"
            yield user.encode(), re.compile(pattern % (name, name)), "your user name"
        for host in _telling(self.hosts):
            pattern = rb"(?<![\w.-])%s(?![\w-])" % re.escape(host.encode())
            yield host.encode(), re.compile(pattern), "the name of your machine"
        for text in self.others:
            yield text, re.compile(re.escape(text)), "a text that you keep private"


def _telling(names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if len(name) >= _SHORTEST and name.lower() not in _PUBLIC_NAMES})


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that must not be published.

    Attributes:
        path: The file, as ``PACKAGE:PATH``.
        offset: Of its first byte.
        what: What it is, in words.
        text: The beginning of it; not of keys and tokens.
    """

    path: str
    offset: int
    what: str
    text: str

    def __str__(self) -> str:
        shown = f" ({self.text})" if self.text else ""
        return f"{self.path}, byte {self.offset}: {self.what}{shown}"


class Scanner:
    """Looks through files; made once for a publication.

    Args:
        identity: What tells who the publisher is.
        accepted: Globs on ``PACKAGE:PATH`` of files in which anything may stand.
    """

    def __init__(self, identity: Identity, accepted: Sequence[str] = ()) -> None:
        self._personal = [(needle, pattern, what) for needle, pattern, what in identity.needles() if needle]
        self._accepted = tuple(accepted)
        self._folders = [
            (folder, re.compile(re.escape(folder) + rb"(?![\w.+~-])"))
            for folder in sorted(set(identity.homes) - _PUBLIC_HOMES, key=len, reverse=True)
        ]

    def cleaned(self, data: bytes) -> bytes:
        """Overwrite the paths that nobody reads; no length changes."""
        data = without_build_paths(data)
        if camlobj.is_informational(data):
            for folder, pattern in self._folders:
                if folder in data:
                    data = pattern.sub(_neutral(len(folder)), data)
        return data

    def findings(self, data: bytes, path: str) -> list[Finding]:
        """Return what must not be published, after build directories were overwritten."""
        if any(fnmatchcase(path, glob) for glob in self._accepted):
            return []
        found = list(self._in(data, path, 0))
        if marshalheader.may_be_compressed(data):
            for header, tokens in marshalheader.compressed_values(data, 0, len(data)):
                found += (
                    Finding(path, header.start, f"{item.what}, in a compressed value", item.text)
                    for item in self._in(tokens, path, 0)
                )
        return found

    def _in(self, data: bytes, path: str, base: int) -> Iterator[Finding]:
        for needle, pattern, what in self._personal:
            if needle in data:
                for match in pattern.finditer(data):
                    yield Finding(path, base + match.start(), what, match[0].decode("utf-8", "replace"))
        for needle, pattern, what in _TOKENS:
            if needle in data:
                for match in pattern.finditer(data):
                    yield Finding(path, base + match.start(), what, "")


def without_build_paths(data: bytes) -> bytes:
    """Overwrite the folder of the switch in the paths of build directories; no length changes."""
    at = data.find(BUILD_DIRECTORY_MARKER)
    if at < 0:
        return data
    changed: bytearray | None = None
    while at >= 0:
        start = _start(data, at)
        after = at + len(BUILD_DIRECTORY_MARKER)
        if start < at and data.startswith(BUILD_DIRECTORIES, after):
            changed = changed if changed is not None else bytearray(data)
            changed[start:at] = _neutral(at - start)
        at = data.find(BUILD_DIRECTORY_MARKER, after)
    return data if changed is None else bytes(changed)


def _start(data: bytes, end: int) -> int:
    """Return where the path that goes on at ``end`` begins; ``end`` where it is the placeholder's."""
    if data.endswith(PLACEHOLDER, 0, end):
        return end
    low = max(0, end - _MAX_PATH)
    window = data[low:end]
    boundary = max((match.end() for match in _NO_PATH.finditer(window)), default=0)
    slash = window.find(b"/", boundary)
    return low + slash if slash >= 0 else end


def _neutral(length: int) -> bytes:
    return pad(NEUTRAL, length) if length >= len(NEUTRAL) else b"/" * length
