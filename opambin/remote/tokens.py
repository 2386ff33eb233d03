"""How one proves to a registry who one is: its challenge, and the tokens that it sends us to get."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from opambin.remote.credentials import basic
from opambin.remote.faults import RefusedError
from opambin.remote.pools import is_loopback
from opambin.remote.transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from opambin.remote.logins import Login
    from opambin.remote.transport import Transport

MAX_TOKEN_BYTES = 100_000
DEFAULT_SECONDS = 60.0  # what a token lasts when the answer does not say
FOR_EVER = 1e9  # seconds
MARGIN_SECONDS = 10.0  # so much before its end a token is no longer used


class Keyring:
    """The values of ``Authorization`` for one repository, by what is to be done there.

    Args:
        transport: Where questions go through.
        repository: Name of the repository.
        login: Returns our login, or None; asked when the registry first wants one.
    """

    def __init__(self, transport: Transport, repository: str, login: Callable[[], Login | None]) -> None:
        self._transport = transport
        self._repository = repository
        self._login = login
        self._held: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def held(self, actions: str) -> str | None:
        """Return what was obtained before, if it still lasts.

        Args:
            actions: ``pull``, or ``pull,push`` and so on.
        """
        value, end = self._held.get(actions, ("", 0.0))
        return value if time.monotonic() < end - MARGIN_SECONDS else None

    def obtain(self, challenge: str, actions: str, refused: str | None) -> str | None:
        """Answer a registry that said 401.

        Args:
            challenge: Its header ``WWW-Authenticate``.
            actions: What is to be done.
            refused: What it did not take.

        Returns:
            What to send; None when we have nothing (better) to send.
        """
        with self._lock:  # the other threads of a batch wait for the one token
            known = self.held(actions)
            if known is not None and known != refused:
                return known
            kind, _, rest = challenge.partition(" ")
            if kind.lower() == "basic":
                value, seconds = self._password(), FOR_EVER
            elif kind.lower() == "bearer":
                value, seconds = self._token(parameters(rest), actions)
            else:
                value, seconds = "", 0.0
            if not value or value == refused:
                return None
            self._held[actions] = (value, time.monotonic() + seconds)
            return value

    def _password(self) -> str:
        login = self._login()
        return basic(login.user, login.password) if login and login.user else ""

    def _token(self, challenge: dict[str, str], actions: str) -> tuple[str, float]:
        """Get a token from where the registry sends us; ("", 0) when it gives none."""
        realm = challenge.get("realm", "")
        parts = urlsplit(realm)
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not safe:  # a registry must not make us send a password in the open
            reason = f"sends us to an unsafe place for a token: {realm[:100]!r}"
            raise RefusedError(self._transport.url, reason)
        scope = f"repository:{self._repository}:{actions}"
        question = {"service": challenge.get("service", ""), "scope": scope}
        login = self._login()
        if login is not None and login.token:
            question |= {"grant_type": "refresh_token", "client_id": "opam-bin", "refresh_token": login.token}
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            request = Request("POST", realm, form, urlencode(question).encode())
        else:
            secret = basic(login.user, login.password) if login is not None else None
            joint = "&" if parts.query else "?"
            request = Request("GET", f"{realm}{joint}{urlencode(question)}", secret=secret)
        answer = self._transport.read(request, limit=MAX_TOKEN_BYTES)
        if answer.status in {400, 401, 403}:
            return "", 0.0
        if answer.status != 200:
            raise self._transport.refuse(answer.status, "getting a token")
        return _parse(answer.body)


def parameters(text: str) -> dict[str, str]:
    """Read the parameters of a challenge: ``realm="…",service="…"``."""
    return {key.lower(): value for key, value in re.findall(r'([A-Za-z]+)="([^"]*)"', text[:4000])}


def _parse(body: bytes) -> tuple[str, float]:
    try:
        content = json.loads(body)
        token = content.get("token") or content.get("access_token")
        seconds = float(content.get("expires_in") or DEFAULT_SECONDS)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return "", 0.0
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
        return "", 0.0
    return f"Bearer {token}", seconds
