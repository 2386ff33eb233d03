"""URLs of remotes: what they may look like."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from opambin.errors import MisuseError

KINDS = "a directory, file:///…, http(s)://…, s3://BUCKET/PREFIX, oci://HOST/REPOSITORY or bundle:FILE"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PATHS = frozenset({"", "bundle"})  # what follows is a path as it stands, blanks included
MAX_URL_CHARACTERS = 2_000


def check_url(url: str) -> str:
    """Return ``url`` when it can be one of a remote.

    Raises:
        MisuseError: It can't; the message says what is wrong.
    """
    scheme = scheme_of(url)
    blank = " " in url and scheme not in _PATHS
    if not url or len(url) > MAX_URL_CHARACTERS or not url.isprintable() or blank:
        raise MisuseError(f"not a remote: {url!r:.200}; a remote is {KINDS}")
    if scheme == "":
        if not url.startswith("/"):
            raise MisuseError(f"not a remote: {url!r}; a directory is named with its whole path")
        return url
    checks = {
        "file": _check_file, "bundle": _check_bundle, "http": _check_host, "https": _check_host,
        "s3": _check_host, "oci": _check_registry,
    }  # fmt: skip
    if scheme not in checks:
        raise MisuseError(f"not a remote: {url!r}; a remote is {KINDS}")
    checks[scheme](url)
    return url


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case; "" for a path."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def without_secrets(url: str) -> str:
    """Return a URL without the password, or token, that it may have."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/@]*@", r"\1", url)


def _check_file(url: str) -> None:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise MisuseError(f"not a remote: {url!r}; a directory is file:///PATH, or just its path")


def _check_bundle(url: str) -> None:
    if not url.partition(":")[2].startswith("/"):
        raise MisuseError(f"not a remote: {url!r}; a bundle is bundle:/PATH, with the whole path of the file")


def _check_host(url: str) -> None:
    parts = _split(url)
    if not parts.hostname or parts.query or parts.fragment:
        raise MisuseError(f"not a remote: {without_secrets(url)!r}; it needs a host, and takes no ? and no #")


def _check_registry(url: str) -> None:
    _check_host(url)
    repository = _split(url).path.strip("/")
    part = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    if not re.fullmatch(f"{part}(?:/{part})*", repository):
        raise MisuseError(f"not a remote: {url!r}; a registry is oci://HOST/REPOSITORY, in lower case")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise MisuseError(f"not a remote: {without_secrets(url)!r}; {error}") from error
    return parts
