"""What a WebDAV server says about a folder (RFC 4918, PROPFIND)."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from opambin.errors import BadDataError, MisuseError
from opambin.remote.protocol import UNKNOWN_TIME, Entry, check_name

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

HEADERS = {"Depth": "1", "Content-Type": "application/xml"}
QUESTION = (
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop>'
    b"<resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>"
)
MAX_LISTING_BYTES = 32_000_000  # of one folder; an entry takes about 500


def members(body: bytes, url: str, folder: str) -> tuple[list[Entry], list[str]]:
    """Return the files, and the names of the folders, directly in a folder.

    Args:
        body: What the server answered.
        url: What it was asked, with a slash at the end.
        folder: The name of that in the remote; "" for all of it.

    Raises:
        BadDataError: It is no such answer.
    """
    base = unquote(urlsplit(url).path)
    files, folders = [], []
    for response in _parse(body, url):
        path = unquote(urlsplit(urljoin(url, _text(response, "href"))).path)
        own = path.removeprefix(base).strip("/")
        if not path.startswith(base) or not own or "/" in own:
            continue  # the folder itself, or something that was not asked for
        name = f"{folder}/{own}" if folder else own
        with suppress(MisuseError):  # what can't be a name of a remote is none of our files
            if response.find(".//{DAV:}collection") is not None:
                folders.append(check_name(name))
            else:
                files.append(Entry(check_name(name), _size(response), _modified(response)))
    return sorted(files, key=lambda entry: entry.name), sorted(folders)


def _parse(body: bytes, url: str) -> list[Element]:
    from xml.etree import ElementTree

    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:  # nothing that we ask for has them; bombs do
        raise BadDataError(url, "a listing with a document type")
    try:
        found = ElementTree.fromstring(body)  # noqa: S314 - bounded, and without entities (above)
    except ElementTree.ParseError as error:
        raise BadDataError(url, f"a listing that is no XML: {error}") from error
    return found.findall("{DAV:}response")


def _text(response: Element, tag: str) -> str:
    found = response.find(f".//{{DAV:}}{tag}")
    return (found.text or "").strip() if found is not None else ""


def _size(response: Element) -> int:
    text = _text(response, "getcontentlength")
    return int(text) if text.isascii() and text.isdigit() else 0


def _modified(response: Element) -> float:
    try:
        found = parsedate_to_datetime(_text(response, "getlastmodified"))
        return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError):
        return UNKNOWN_TIME
