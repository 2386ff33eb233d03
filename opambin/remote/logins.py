"""Logins for registries, from the file that ``docker login`` writes and the helpers that it names."""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opambin.errors import MisuseError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FILE_BYTES = 1_000_000
HELPER_SECONDS = 20
_TOKEN_USER = "<token>"  # noqa: S105 - what helpers say in place of a user when they return a token


@dataclass(frozen=True, slots=True)
class Login:
    """A login.

    Attributes:
        user: Name; empty where there is only a token.
        password: Or what a registry takes for one.
        token: An identity token, to be exchanged for others; empty where there is none.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def login_for(host: str, environ: Mapping[str, str]) -> Login | None:
    """Return the login for a registry; None when there is none.

    Args:
        host: With its port, if it has one.
        environ: Says where the file is (``DOCKER_CONFIG``, ``REGISTRY_AUTH_FILE``, ``HOME``).

    Raises:
        MisuseError: The file can't be read.
        UnavailableError: The program that keeps the login does not give it.
    """
    path = config_path(environ)
    content = _read(path) if path is not None else {}
    helper = _section(content, "credHelpers").get(host) or content.get("credsStore")
    if isinstance(helper, str) and helper:
        found = _ask(helper, host, environ)
        if found is not None:
            return found
    for name, entry in _section(content, "auths").items():
        if isinstance(entry, dict) and _host_of(name) == host:
            return _entry(path, name, entry)
    return None


def config_path(environ: Mapping[str, str]) -> Path | None:
    """Return where the file would be; None when there is no home."""
    if environ.get("REGISTRY_AUTH_FILE"):
        return Path(environ["REGISTRY_AUTH_FILE"])
    if environ.get("DOCKER_CONFIG"):
        return Path(environ["DOCKER_CONFIG"]) / "config.json"
    return Path(environ["HOME"]) / ".docker" / "config.json" if environ.get("HOME") else None


def _host_of(name: str) -> str:
    """Return the host that a key of the file is for: docker writes URLs, too."""
    return re.sub(r"^https?://", "", name).partition("/")[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise MisuseError(f"{path} can't be read: {error.strerror}") from error
    try:
        content = json.loads(data) if len(data) <= MAX_FILE_BYTES else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise MisuseError(f"{path} is no configuration of docker")
    return content


def _section(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _entry(path: Path | None, name: str, entry: dict[str, Any]) -> Login | None:
    token = entry.get("identitytoken")
    token = token if isinstance(token, str) else ""
    code = entry.get("auth")
    if not isinstance(code, str) or not code:
        return Login(token=token) if token else None
    try:
        user, colon, password = base64.b64decode(code, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise MisuseError(f"{path}: the login for {name} can't be read") from error
    if not colon:
        raise MisuseError(f"{path}: the login for {name} has no password")
    return Login(user, password.rstrip("\0"), token)


def _ask(helper: str, key: str, environ: Mapping[str, str]) -> Login | None:
    """Ask the program that keeps the logins; None when it has none."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", helper):
        raise MisuseError(f"docker's configuration names a strange credential helper: {helper!r:.60}")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=key,
            capture_output=True,
            text=True,
            timeout=HELPER_SECONDS,
            env=dict(environ),
            check=False,
        )
    except FileNotFoundError as error:
        raise UnavailableError(f"docker's configuration names {program}, which is not installed") from error
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise UnavailableError(f"{program} does not answer: {error}") from error
    if done.returncode != 0:
        if "not found" in done.stdout.lower() + done.stderr.lower():
            return None
        raise UnavailableError(f"{program} fails with exit code {done.returncode}")
    try:
        found = json.loads(done.stdout)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(f"{program} gives no login") from error
    return Login(token=secret) if user == _TOKEN_USER else Login(user, secret)
