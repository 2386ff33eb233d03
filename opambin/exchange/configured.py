"""The remotes that a user has configured: ``remotes.yaml``, or ``OPAMBIN_REMOTE`` for machines without files.

The file lies beside the configuration and is a list::

    - name: team
      url: https://cache.example.org/opam
      priority: 10
      write: true
      trust: {mode: any, keys: [ci], role: release, threshold: 1, snapshot: optional}

All but name and URL may be left out. Directories need no signatures by default; everything else needs one by
any
trusted key. ``keys`` limits which of the trusted ones count. What is wrong is told all at once.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opambin.config import config_folder
from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.remote.urls import check_url, scheme_of
from opambin.trust.policy import Mode, Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "remotes.yaml"
VARIABLE = "OPAMBIN_REMOTE"
MAX_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MEMBERS = frozenset({"name", "url", "priority", "write", "trust"})
_TRUST = frozenset({"mode", "keys", "role", "threshold", "snapshot"})


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


@dataclass(frozen=True, slots=True)
class Configured:
    """One remote as the user has configured it.

    Attributes:
        name: For people.
        url: Where it is.
        priority: The highest is asked first; equal ones in the order of the list.
        write: Whether it is pushed to.
        trust: Whose word counts there.
    """

    name: str
    url: str
    priority: int = 0
    write: bool = False
    trust: Trust = Trust()


def configured(environ: Mapping[str, str]) -> list[Configured]:
    """Return the configured remotes, the preferred one first; the environment's come before the file's.

    Raises:
        BadDataError: The file is no YAML, or no list.
        MisuseError: Something in it is wrong, or others could write it.
        UnavailableError: It can't be read.
    """
    given = [
        Configured(
            f"environment-{number}" if number > 1 else "environment", url, 1_000_000 - number, True, trust
        )
        for number, url in enumerate(environ.get(VARIABLE, "").split(), 1)
        for trust in [default_trust(check_url(url))]
    ]
    return sorted([*given, *read(environ)], key=lambda it: -it.priority)


def default_trust(url: str) -> Trust:
    """Return what a remote needs when nothing is said: a directory nothing, everything else a signature."""
    return Trust(Mode.UNSIGNED) if scheme_of(url) in ("", "file") else Trust()


def path_of(environ: Mapping[str, str]) -> Path:
    """Return where the file is."""
    return config_folder(environ) / FILE


def read(environ: Mapping[str, str]) -> list[Configured]:
    """Read the file; none is an empty list. Raises as :func:`configured` does."""
    path = path_of(environ)
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            data = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnavailableError(f"{path} can't be read: {error.strerror}") from error
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or status.st_uid not in (os.geteuid(), 0):
        raise MisuseError(f"{path} belongs to, or can be written by others: chown and chmod go-w it")
    if len(data) > MAX_BYTES:
        raise BadDataError(path, "too large", expected=f"<= {MAX_BYTES} bytes", observed="more")
    return parse(data, path)


def parse(data: bytes, path: object) -> list[Configured]:
    """Read the bytes of the file.

    Raises:
        BadDataError: No YAML, or no list.
        MisuseError: Something in it is wrong; all problems are in the message.
    """
    import yaml

    try:
        content = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadDataError(path, f"not a YAML file: {' '.join(str(error).split())}") from error
    rows = [] if content is None else content
    if not isinstance(rows, list):
        raise BadDataError(path, "not a list of remotes", expected="- name: …", observed=repr(content)[:60])
    problems: list[str] = []
    found = [_one(row, f"entry {number}", problems) for number, row in enumerate(rows, 1)]
    known: set[str] = set()
    for entry in found:
        if entry is not None and entry.name in known:
            problems.append(f"two remotes have the name {entry.name}")
        known.add(entry.name if entry is not None else "")
    if problems:
        raise MisuseError(f"{path} can't be used: {'; '.join(problems)}")
    return [entry for entry in found if entry is not None]


def _one(row: object, where: str, problems: list[str]) -> Configured | None:
    if not isinstance(row, dict) or not row.keys() <= _MEMBERS:
        problems.append(f"{where}: not a mapping of {', '.join(sorted(_MEMBERS))}")
        return None
    before = len(problems)
    name, url = row.get("name"), row.get("url")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems.append(f"{where}: {name!r:.80} is no name")
    if isinstance(url, str):
        try:
            check_url(url)
        except MisuseError as error:
            problems.append(f"{where}: {error}")
    else:
        problems.append(f"{where}: no url")
    priority, write = row.get("priority", 0), row.get("write", False)
    if type(priority) is not int:
        problems.append(f"{where}: priority: {priority!r:.40} is no number")
    if type(write) is not bool:
        problems.append(f"{where}: write: {write!r:.40} is neither true nor false")
    trust = _trust(row.get("trust", {}), url if isinstance(url, str) else "https:", where, problems)
    if len(problems) > before or trust is None:
        return None
    return Configured(str(name), str(url), priority, write, trust)


def _trust(row: object, url: str, where: str, problems: list[str]) -> Trust | None:
    default = default_trust(url)
    if row is None or row == {}:
        return default
    if not isinstance(row, dict) or not row.keys() <= _TRUST:
        problems.append(f"{where}: trust: not a mapping of {', '.join(sorted(_TRUST))}")
        return None
    before = len(problems)
    mode = _member(Mode, row.get("mode", str(default.mode)), f"{where}: trust: mode", problems)
    role = _member(Role, row.get("role", str(default.role)), f"{where}: trust: role", problems)
    keys, threshold = row.get("keys", []), row.get("threshold", 1)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        problems.append(f"{where}: trust: keys: not a list of names")
    if type(threshold) is not int or threshold < 1:
        problems.append(f"{where}: trust: threshold: {threshold!r:.40} is no number of keys")
    snapshot = row.get("snapshot", "optional")
    if snapshot not in ("required", "optional"):
        problems.append(f"{where}: trust: snapshot: {snapshot!r:.40} is neither required nor optional")
    if len(problems) > before or mode is None or role is None:
        return None
    return Trust(mode, tuple(keys), role, threshold, snapshot == "required")


def _member(kind: Any, value: object, where: str, problems: list[str]) -> Any:  # noqa: ANN401 - Mode or Role
    if value in list(kind):
        return kind(value)
    problems.append(f"{where}: {value!r:.40} is none of {', '.join(kind)}")
    return None
