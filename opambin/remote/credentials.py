"""User and password for a host: from the URL, or from ``~/.netrc``."""

from __future__ import annotations

import base64
import netrc
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from opambin.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Mapping


def basic(user: str, password: str) -> str:
    """Return the value of a header ``Authorization``."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def authorization(url: str, environ: Mapping[str, str]) -> str | None:
    """Return the value of the header ``Authorization`` for a URL; None when there are no credentials.

    Raises:
        MisuseError: The file with passwords can't be read.
    """
    parts = urlsplit(url)
    if parts.username is not None:
        return basic(unquote(parts.username), unquote(parts.password or ""))
    home = environ.get("HOME")
    named = environ.get("NETRC") or (f"{home}/.netrc" if home else "")
    if not named or not Path(named).is_file():
        return None
    try:
        found = netrc.netrc(named).authenticators(parts.hostname or "")
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
        reason = error.msg if isinstance(error, netrc.NetrcParseError) else error
        raise MisuseError(f"{named}: {reason}") from error
    return basic(found[0] or "", found[2] or "") if found else None
