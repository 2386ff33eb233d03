"""Ends requests that take too long in all, however the server spreads its bytes.

A time-out of a socket starts anew with each byte, so a server that sends one every few seconds holds a client
for ever. A request is made within a :class:`Term`; one thread shuts the connection of those that are over.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK_SECONDS = 0.25
_current = threading.local()


class Term:
    """The time that one request has.

    Args:
        seconds: From now on.

    Attributes:
        expired: Whether it was ended.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._end = time.monotonic() + seconds
        self._left: float | None = None
        self._connection: socket.socket | None = None

    def renew(self, seconds: float) -> None:
        """Give it more time, from now on."""
        self._end = time.monotonic() + seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock: what we do with the bytes is not the server's time."""
        self._left = self._end - time.monotonic()
        try:
            yield
        finally:
            self._end, self._left = time.monotonic() + self._left, None

    def uses(self, connection: socket.socket) -> None:
        """Say which connection to shut when the time is over."""
        self.close()
        # http.client closes its own as soon as a head says that the connection ends with the body
        self._connection = connection.dup()
        if self.expired:
            self._shut()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def end_if_over(self, now: float) -> None:
        """Shut the connection when the time is over."""
        if self._left is None and now > self._end:
            self.expired = True
            self._shut()

    def _shut(self) -> None:
        if self._connection is not None:
            with suppress(OSError):  # it is closed already
                self._connection.shutdown(socket.SHUT_RDWR)


class Watch:
    """Looks after the terms of all requests of one transport, in a thread that ends when there are none."""

    def __init__(self) -> None:
        self._terms: set[Term] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def term(self, seconds: float) -> Iterator[Term]:
        """Give the block so much time for its requests."""
        term = Term(seconds)
        with self._lock:
            self._terms.add(term)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="remote-watch", daemon=True)
                self._thread.start()
        _current.term = term
        try:
            yield term
        finally:
            _current.term = None
            with self._lock:
                self._terms.discard(term)
                term.close()

    def _run(self) -> None:
        idle = 0
        while True:
            time.sleep(TICK_SECONDS)
            with self._lock:
                terms = list(self._terms)
                idle = 0 if terms else idle + 1
                if idle > 4:
                    self._thread = None
                    return
                now = time.monotonic()
                for term in terms:
                    term.end_if_over(now)


def current() -> Term | None:
    """Return the term that the calling thread is in."""
    return getattr(_current, "term", None)
