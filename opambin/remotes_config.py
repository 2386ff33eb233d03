"""The remotes that a user has configured: ``remotes.yaml``, or ``OPAMBIN_REMOTE`` for machines without files.

The file lies beside the configuration and is a list::

    - name: team
      url: https://cache.example.org/opam
      priority: 10
      write: true
      trust: {mode: any, keys: [ci], role: release, threshold: 1, snapshot: optional}

All but name and URL may be left out; ``docs/configuration.md`` says what holds then. What is wrong is told
all at once. Secrets have no place in it: passwords are in ``~/.netrc``, in docker's configuration, or in the
environment.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from opambin import yamlfile
from opambin.config import REMOTES_VARIABLE, remotes_file
from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.keyring import TRUSTED_VARIABLE
from opambin.remote.urls import check_url, scheme_of, without_secrets
from opambin.replacing import replace_file
from opambin.trust.policy import Mode, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_BYTES = 1_000_000
MAX_REMOTES = 100
MAX_PRIORITY = 1_000
ENVIRONMENT_PRIORITY = 1_000_000  # what is in the environment comes first
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MEMBERS = ("name", "url", "priority", "write", "plain-http", "trust")
_TRUST = ("mode", "keys", "role", "threshold", "snapshot")
_SNAPSHOT = ("required", "optional")
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word counts at a remote.

    Attributes:
        mode: How many signatures it needs.
        keys: Names of the trusted keys that count; empty: all of them.
        role: What they have to be for.
        threshold: How many have to sign, for :attr:`Mode.THRESHOLD`.
        snapshot: Whether the remote has to vouch for its state.
    """

    mode: Mode = Mode.ANY
    keys: tuple[str, ...] = ()
    role: Role = Role.RELEASE
    threshold: int = 1
    snapshot: bool = False

    def describe(self) -> str:
        """Return it in words."""
        if self.mode is Mode.UNSIGNED:
            return "unsigned allowed"
        count = "one" if self.mode is Mode.ANY else str(self.threshold)
        keys = f"of {', '.join(self.keys)}" if self.keys else "of the trusted keys"
        wanted = "" if self.role is Role.RELEASE else f", {self.role} is enough"
        return f"signed by {count} {keys}{wanted}{', snapshot required' if self.snapshot else ''}"


@dataclass(frozen=True, slots=True)
class Configured:
    """One remote as the user has configured it.

    Attributes:
        name: For people.
        url: Where it is.
        priority: The highest is asked first; equal ones in the order of the list.
        write: Whether it is pushed to.
        trust: Whose word counts there.
        plain_http: Whether a registry on another machine is spoken to without TLS.
    """

    name: str
    url: str
    priority: int = 0
    write: bool = False
    trust: Trust = Trust()
    plain_http: bool = False


def configured(environ: Mapping[str, str]) -> list[Configured]:
    """Return the configured remotes, the preferred one first; the environment's come before the file's.

    Whoever gives trusted keys in the environment wants signatures from its remotes, directories included.

    Raises:
        BadDataError: The file is no YAML, or no list.
        MisuseError: Something in it is wrong, or others could write it.
        UnavailableError: It can't be read.
    """
    given = [
        Configured(
            "environment" if number == 1 else f"environment-{number}",
            check_url(url),
            ENVIRONMENT_PRIORITY - number,
            write=True,
            trust=Trust() if environ.get(TRUSTED_VARIABLE) else default_trust(url),
        )
        for number, url in enumerate(environ.get(REMOTES_VARIABLE, "").split(), 1)
    ]
    return sorted([*given, *read(environ)], key=lambda it: -it.priority)


def default_trust(url: str) -> Trust:
    """Return what a remote needs when nothing is said: a directory nothing, everything else a signature."""
    return Trust(Mode.UNSIGNED) if scheme_of(url) in {"", "file"} else Trust()


def read(environ: Mapping[str, str]) -> list[Configured]:
    """Read the file, in its order; none is an empty list. Raises as :func:`configured` does."""
    path = remotes_file(environ)
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            data = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
    # it says whom to trust
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in {os.geteuid(), 0}:
        raise MisuseError(f"{path} belongs to others, or can be written by them: chown and chmod go-w it")
    if len(data) > MAX_BYTES:
        raise BadDataError(path, "too large", expected=f"<= {MAX_BYTES} bytes", observed="more")
    return parse(data, path)


def parse(data: bytes, path: object) -> list[Configured]:
    """Read the bytes of the file.

    Raises:
        BadDataError: No YAML, or no list.
        MisuseError: Something in it is wrong; all problems are in the message.
    """
    document = yamlfile.parse(data, path)
    rows = [] if document.content is None else document.content
    if not isinstance(rows, list):
        raise BadDataError(path, "not a list of remotes", expected="- name: …", observed=repr(rows)[:60])
    problems: list[str] = []
    found = [
        _Row(row, f"line {document.line_of(number)}", problems).remote()
        for number, row in enumerate(rows[:MAX_REMOTES], 1)
    ]
    if len(rows) > MAX_REMOTES:
        problems.append(f"more than {MAX_REMOTES} remotes")
    names = [entry.name for entry in found if entry is not None]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"two remotes have the name {name}" for name in twice]
    if problems:
        raise MisuseError(f"{path} can't be used: {'; '.join(problems)}")
    return [entry for entry in found if entry is not None]


def add(environ: Mapping[str, str], entry: Configured) -> None:
    """Add a remote to the file.

    Raises:
        MisuseError: It can't be one, or there is one of that name.
        OpambinError: The file can't be read or written.
    """
    problems: list[str] = []
    _Row(_plain(entry), "", problems).remote()
    if problems:
        raise MisuseError("; ".join(problems))
    before = read(environ)
    if entry.name in {known.name for known in before}:
        raise MisuseError(f"there is a remote {entry.name} already: opam-bin remote remove {entry.name}")
    _write(environ, [*before, entry])


def remove(environ: Mapping[str, str], name: str) -> Configured:
    """Remove a remote from the file, and return what it was; raises as :func:`add` does."""
    before = read(environ)
    for entry in before:
        if entry.name == name:
            _write(environ, [known for known in before if known is not entry])
            return entry
    names = ", ".join(known.name for known in before) or "none"
    raise MisuseError(f"there is no remote {name!r:.80} in {remotes_file(environ)}; there are: {names}")


def render(entries: Iterable[Configured]) -> bytes:
    """Return the bytes of a file with these remotes."""
    import yaml

    rows = [_plain(entry) for entry in entries]
    text: str = yaml.safe_dump(rows, sort_keys=False, allow_unicode=True)
    return text.encode()


def _plain(entry: Configured) -> dict[str, Any]:
    row: dict[str, Any] = {"name": entry.name, "url": entry.url}
    if entry.priority:
        row["priority"] = entry.priority
    if entry.write:
        row["write"] = True
    if entry.plain_http:
        row["plain-http"] = True
    trust: dict[str, Any] = {"mode": str(entry.trust.mode)}
    if entry.trust.mode is not Mode.UNSIGNED:
        trust |= {"keys": list(entry.trust.keys), "role": str(entry.trust.role)}
    if entry.trust.mode is Mode.THRESHOLD:
        trust["threshold"] = entry.trust.threshold
    if entry.trust.snapshot:
        trust["snapshot"] = "required"
    return {**row, "trust": trust}


def _write(environ: Mapping[str, str], entries: list[Configured]) -> None:
    path = remotes_file(environ)
    data = render(entries)
    parse(data, path)  # what we write, we can read
    replace_file(path, data)


class _Row:
    """One entry of the file, being checked; every problem is added to the list."""

    def __init__(self, row: object, where: str, problems: list[str]) -> None:
        self._problems = problems
        self._where = where
        self._is_mapping = isinstance(row, dict)
        self._row = self._mapping(row, _MEMBERS, "")
        if isinstance(self._row.get("name"), str):
            self._where = f"{f'{where}: ' if where else ''}remote {self._row['name']!r:.80}"

    def remote(self) -> Configured | None:
        """Return the remote; None when something was wrong."""
        before = len(self._problems)
        if not self._is_mapping:
            return None
        name, url = self._row.get("name"), self._row.get("url")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._wrong("name", name, "a name: letters, digits, and . _ - after the first")
        self._check_url(url)
        priority = self._number("priority", 0, -MAX_PRIORITY, MAX_PRIORITY, self._row)
        write, plain = self._flag("write"), self._flag("plain-http")
        trust = self._trust(url if isinstance(url, str) else "https:")
        if len(self._problems) > before:
            return None
        return Configured(str(name), str(url), priority, write, trust, plain)

    def _trust(self, url: str) -> Trust:
        default = default_trust(url)
        if self._row.get("trust") is None:
            return default
        row = self._mapping(self._row["trust"], _TRUST, "trust: ")
        mode = self._member(Mode, "mode", row, Mode.ANY if row.keys() - {"mode"} else default.mode)
        role = self._member(Role, "role", row, default.role)
        keys = row.get("keys", [])
        if not isinstance(keys, list) or not all(isinstance(key, str) and key for key in keys):
            self._wrong("trust: keys", keys, "a list of names of keys")
            keys = []
        threshold = self._number("threshold", 1, 1, 100, row)
        if mode is Mode.THRESHOLD and keys and threshold > len(set(keys)):
            self._wrong("trust: threshold", threshold, f"possible with {len(set(keys))} keys")
        snapshot = row.get("snapshot", "optional")
        if snapshot not in _SNAPSHOT:
            self._wrong("trust: snapshot", snapshot, f"one of {', '.join(_SNAPSHOT)}")
        if mode is Mode.UNSIGNED and keys:
            self._problems.append(f"{self._where}: trust: keys are named, and the mode is unsigned")
        return Trust(mode, tuple(keys), role, threshold, snapshot == "required")

    def _check_url(self, url: object) -> None:
        if not isinstance(url, str):
            self._wrong("url", url, "a URL")
            return
        try:
            check_url(url)
        except MisuseError as error:
            self._problems.append(f"{self._where}: {error}")
            return
        if scheme_of(url) not in {"", "file", "bundle"} and urlsplit(url).username is not None:
            shown = without_secrets(url)
            self._problems.append(f"{self._where}: {shown}: a password belongs into ~/.netrc, not here")

    def _mapping(self, row: object, members: tuple[str, ...], where: str) -> dict[str, Any]:
        if not isinstance(row, dict):
            self._problems.append(f"{self._where}: {where}{row!r:.60} is no mapping of {', '.join(members)}")
            return {}
        for name in row:
            if name not in members:
                self._problems.append(
                    f"{self._where}: {where}there is no {name!r:.60}; there are: {', '.join(members)}"
                )
        return {str(name): value for name, value in row.items()}

    def _member(self, kind: type[E], name: str, row: dict[str, Any], default: E) -> E:
        value = row.get(name, str(default))
        if value in list(kind):
            return kind(value)
        self._wrong(f"trust: {name}", value, f"one of {', '.join(kind)}")
        return default

    def _number(self, name: str, default: int, least: int, most: int, row: dict[str, Any]) -> int:
        value = row.get(name, default)
        if type(value) is int and least <= value <= most:
            return value
        self._wrong(name, value, f"a number from {least} to {most}")
        return default

    def _flag(self, name: str) -> bool:
        value = self._row.get(name, False)
        if type(value) is not bool:
            self._wrong(name, value, "true or false")
        return value is True

    def _wrong(self, name: str, value: object, allowed: str) -> None:
        self._problems.append(f"{self._where}: {name}: {value!r:.60} is not {allowed}")
