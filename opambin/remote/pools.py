"""urllib3's connections, made known to the watch; one pool for each host."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, InvalidHeader, ReadTimeoutError
from urllib3.util.retry import Retry

from opambin.remote.watch import current

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse
    from urllib3._base_connection import BaseHTTPConnection, BaseHTTPSConnection

    from opambin.remote.access import Access

RETRIED = frozenset({429, 500, 502, 503, 504})
MAX_WAIT_SECONDS = 2.0  # a server may ask for hours
BACKOFF_SECONDS = 0.1  # then twice as long each time


class _WholeHead(http.client.HTTPResponse):
    """An answer whose head has to be whole: http.client takes one that breaks off for complete."""

    def begin(self) -> None:
        super().begin()
        if self.headers.defects:
            raise http.client.RemoteDisconnected("the head of the answer breaks off")


class _Known:
    """What our two kinds of connections have in common: the watch can shut them.

    The duplicate of the socket stays the same under TLS, and shutting it shuts the connection itself.
    """

    response_class: Any = _WholeHead
    host: str
    port: int
    timeout: Any
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        _look_up(self, self.host, self.port, self.timeout)
        made: socket.socket = super()._new_conn()  # type: ignore[misc]  # the other base has it
        self._handle = made.dup()
        self._tell()
        return made

    def getresponse(self) -> Any:  # noqa: ANN401 - urllib3's type depends on its version
        self._tell()
        found = super().getresponse()  # type: ignore[misc]  # the other base has it
        term = current()
        if term is not None and term.expired:  # what was shut looks like the end of a head
            found.close()
            raise TimeoutError
        return found

    def close(self) -> None:
        super().close()  # type: ignore[misc]  # the other base has it
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _tell(self) -> None:
        term = current()
        if term is not None and self._handle is not None:
            term.uses(self._handle)


def _look_up(connection: object, host: str, port: int, seconds: object) -> None:
    """Look a name up within the time for connecting; the system's own patience is many times that.

    Raises:
        ConnectTimeoutError: It took longer. Other failures are left to the connection itself.
    """
    if not isinstance(seconds, (int, float)) or is_loopback(host):
        return

    def ask() -> None:
        with suppress(OSError, UnicodeError):
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    thread = threading.Thread(target=ask, name="remote-name", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise ConnectTimeoutError(connection, "the name is not looked up in time")


class _Plain(_Known, HTTPConnection):
    pass


class _Secure(_Known, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls: type[BaseHTTPConnection] = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls: type[BaseHTTPSConnection] = _Secure


class Again(Retry):
    """urllib3's retries, but none after a time-out: a slow server costs its time once."""

    def increment(self, *args: Any, **kwargs: Any) -> Again:  # noqa: ANN401 - handed on as they are
        """Count one more, or raise."""
        error = kwargs.get("error")
        term = current()
        if isinstance(error, (ConnectTimeoutError, ReadTimeoutError)) or (term and term.expired and error):
            raise error
        return super().increment(*args, **kwargs)

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return how long a server asks us to wait, in seconds; not longer than we like."""
        try:
            asked = super().get_retry_after(response)
        except InvalidHeader:
            return None
        return None if asked is None else min(asked, MAX_WAIT_SECONDS)


def retries() -> Again:
    """Return how often a request is tried again: resets, and answers that say "later"."""
    return Again(
        total=3,
        connect=1,
        redirect=0,
        other=0,
        allowed_methods=None,  # all that we send may be sent twice
        status_forcelist=RETRIED,
        backoff_factor=BACKOFF_SECONDS,
        raise_on_status=False,
        raise_on_redirect=False,
    )


def manager(access: Access, scheme: str, host: str) -> urllib3.PoolManager:
    """Return the pools for a host, through the proxy that the environment names for it."""
    options: dict[str, Any] = {
        "num_pools": 8,
        "maxsize": max(4, access.workers * 2),
        "timeout": urllib3.Timeout(connect=access.connect_seconds, read=access.answer_seconds),
    }
    if ca_file := _ca_file(access.environ):
        options["ca_certs"] = ca_file
    proxy = proxy_for(access.environ, scheme, host)
    if proxy and (user := urlsplit(proxy).username) is not None:
        login = f"{unquote(user)}:{unquote(urlsplit(proxy).password or '')}"
        options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login)
    found = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    found.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return found


def _ca_file(environ: Mapping[str, str]) -> str | None:
    """Return the file with the certificates to trust, where the system's are not to be used or not found."""
    named = environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE")
    if named:
        return named
    system = ssl.get_default_verify_paths()
    if system.cafile or system.capath:
        return None
    try:
        import certifi  # an interpreter that was not built for this system
    except ImportError:
        return None
    return certifi.where()


def proxy_for(environ: Mapping[str, str], scheme: str, host: str) -> str | None:
    """Return the URL of the proxy to go through; none for this machine."""
    if is_loopback(host):
        return None
    proxies = {
        kind: environ.get(f"{kind}_proxy") or environ.get(f"{kind.upper()}_PROXY") or ""
        for kind in ("https", "all", "no")
    }
    proxies["http"] = environ.get("http_proxy", "")  # not HTTP_PROXY: a CGI program gets it from its client
    found = proxies[scheme] or proxies["all"]
    if not found or _passes_by(host, proxies["no"]):
        return None
    return found if "://" in found else f"http://{found}"


def _passes_by(host: str, exceptions: str) -> bool:
    """Say whether ``no_proxy`` names a host: itself, a domain that it is in, or everything."""
    for part in exceptions.split(","):
        name = part.strip().lstrip(".").lower()
        if name == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return True
    return False


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False
