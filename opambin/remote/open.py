"""From a URL to a remote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from opambin.remote.access import Access
from opambin.remote.directory import DirectoryRemote
from opambin.remote.guard import Guarded
from opambin.remote.urls import check_url, scheme_of

if TYPE_CHECKING:
    from opambin.remote.protocol import Remote


def open_remote(url: str, access: Access | None = None) -> Guarded:
    """Return the remote at a URL. Nothing is asked of it yet.

    Args:
        url: A path of a directory, or one of the schemes of :data:`opambin.remote.urls.KINDS`.
        access: How it is to be used.

    Raises:
        MisuseError: There is no such kind of remote, or the URL can't be one.
        UnavailableError: What this kind needs is not installed.
    """
    return Guarded(_plain(check_url(url), access or Access()))


def _plain(url: str, access: Access) -> Remote:
    scheme = scheme_of(url)
    if scheme in {"", "file"}:
        path = url if not scheme else unquote(urlsplit(url).path)
        return DirectoryRemote(Path(path), write=access.write, workers=access.workers)
    if scheme in {"http", "https"}:
        from opambin.remote.http import HttpRemote

        return HttpRemote(url, access)
    if scheme == "s3":
        from opambin.remote.s3 import S3Remote

        return S3Remote(url, access)
    if scheme == "oci":
        from opambin.remote.oci import OciRemote

        return OciRemote(url, access)
    from opambin.remote.bundle import BundleRemote

    return BundleRemote(Path(url.partition(":")[2]))
