"""Where this installation came from, as what pip is told to install the same on another machine.

pip and its kin leave ``direct_url.json`` beside an installation that did not come from an index by name:
https://packaging.python.org/specifications/direct-url/ (PEP 610).
"""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

from opambin.errors import BadDataError

PROJECT = "opambin"
RECORD = "direct_url.json"


def own_requirement() -> str:
    """Return what pip is told to install; empty when this one came from a place on this machine.

    Where object stores can be used here, so they can there (the extra ``s3``).

    Raises:
        BadDataError: The record of the installation can't be read.
    """
    name = f"{PROJECT}[s3]" if importlib.util.find_spec("obstore") else PROJECT
    try:
        record = metadata.distribution(PROJECT).read_text(RECORD)
    except metadata.PackageNotFoundError:  # run from a checkout
        return ""
    return name if record is None else requirement(name, record)


def requirement(name: str, record: str) -> str:
    """Return what pip is told, from the text of a ``direct_url.json``; empty for what is on this machine.

    Raises:
        BadDataError: It is none.
    """
    try:
        content = json.loads(record)
    except ValueError as error:
        raise BadDataError(RECORD, "no JSON") from error
    match content:
        case {"url": str(url), "dir_info": dict()}:
            return ""
        case {"url": str(url), "vcs_info": {"vcs": str(vcs), "commit_id": str(commit)}}:
            place = f"{vcs}+{url}@{commit}"
        case {"url": str(url), "archive_info": dict()}:
            place = url
        case _:
            raise BadDataError(RECORD, "not a record of an installation")
    if urlsplit(url).scheme in {"", "file"}:
        return ""
    fragment = "&".join(_fragment(content))
    return f"{name} @ {place}{'#' if fragment else ''}{fragment}"


def _fragment(content: dict[str, Any]) -> list[str]:
    """Return what follows the ``#``: the folder in the repository, the digest of the archive."""
    found = []
    match content:
        case {"archive_info": {"hashes": {"sha256": str(digest)}}}:
            found.append(f"sha256={digest}")
    match content:
        case {"subdirectory": str(folder)} if folder:
            found.append(f"subdirectory={folder}")
    return found
