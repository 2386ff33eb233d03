"""A server that misbehaves as told, and a proxy that breaks connections to one that does not."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_HEADER = 65_536


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in, header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Faulty:
    """What a running server does, and what it saw.

    Attributes:
        port: Where it listens.
        content: What it serves, by path.
        plan: What to do with the next requests, the first one first; afterwards everything goes well.
        always: What to do with every request instead.
        reads_slowly: Whether it takes its time for the bodies of requests.
        seen: All requests.
    """

    port: int
    content: dict[str, bytes] = field(default_factory=dict)
    plan: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    reads_slowly: bool = False
    seen: list[Asked] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Call:
    """One request and the connection to answer it on."""

    server: Faulty
    asked: Asked
    connection: socket.socket

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.connection.sendall(data)

    @property
    def found(self) -> bytes:
        """What would be the right answer."""
        return self.server.content.get(self.asked.path, b"")


Fault: TypeAlias = "Callable[[Call], bool | None]"
"""Answers one request; returns True when the connection goes on."""


def head(status: int, length: int | None, *more: str) -> bytes:
    """Return the head of an answer."""
    lines = [f"HTTP/1.1 {status} Words", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def well(call: Call) -> bool:
    """Answer as a good server does, with ranges."""
    data = call.server.content.get(call.asked.path)
    if call.asked.method == "PUT":
        call.server.content[call.asked.path] = call.asked.body
        call.send(head(201, 0))
        return True
    if data is None:
        call.send(head(404, 0))
        return True
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.asked.headers.get("range", ""))
    if wanted is None:
        call.send(head(200, len(data), 'ETag: "one"') + (data if call.asked.method == "GET" else b""))
        return True
    start, end = int(wanted[1]), min(int(wanted[2] or len(data) - 1), len(data) - 1)
    if start >= len(data):
        call.send(head(416, 0))
        return True
    part = data[start : end + 1]
    call.send(head(206, len(part), f"Content-Range: bytes {start}-{end}/{len(data)}") + part)
    return True


def no_ranges(call: Call) -> bool:
    """Send all of it, whatever part was asked for."""
    call.send(head(200, len(call.found)) + call.found)
    return True


def status(code: int, *more: str) -> Callable[[Call], bool]:
    """Answer with a code."""

    def answer(call: Call) -> bool:
        call.send(head(code, 5, *more) + (b"words" if call.asked.method != "HEAD" else b""))
        return True

    return answer


def redirect(url: str, code: int = 302) -> Callable[[Call], bool]:
    """Send the client elsewhere."""
    return status(code, f"Location: {url}")


def truncated(keep: int) -> Callable[[Call], None]:
    """Announce all of it, send some, hang up."""

    def answer(call: Call) -> None:
        call.send(head(200, len(call.found)) + call.found[:keep])

    return answer


def resumed_and_truncated(keep: int) -> Callable[[Call], None]:
    """Answer the range that was asked for, send some of it, hang up."""

    def answer(call: Call) -> None:
        wanted = re.match(r"bytes=(\d+)", call.asked.headers.get("range", ""))
        start = int(wanted[1]) if wanted else 0
        data = call.found
        head_ = head(206, len(data) - start, f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}")
        call.send((head_ if start else head(200, len(data))) + data[start : start + keep])

    return answer


def says_length(length: int) -> Callable[[Call], None]:
    """Announce another length than it has."""

    def answer(call: Call) -> None:
        call.send(head(200, length) + call.found)

    return answer


def without_length(call: Call) -> None:
    """Send all of it and hang up; nobody knows whether that was the end."""
    call.send(head(200, None, "Connection: close") + call.found)


def other_content(data: bytes) -> Callable[[Call], bool]:
    """Send other bytes."""

    def answer(call: Call) -> bool:
        call.send(head(200, len(data)) + data)
        return True

    return answer


def raw(data: bytes) -> Callable[[Call], None]:
    """Send these bytes and hang up."""

    def answer(call: Call) -> None:
        call.send(data)

    return answer


def reset(call: Call) -> None:
    """Break the connection hard."""
    call.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(call: Call) -> None:
    """Say nothing until the client goes, or the server stops."""
    call.server.stopping.wait(30)


def drip(data: bytes, seconds: float = 0.05) -> Callable[[Call], None]:
    """Send these bytes, one at a time."""

    def answer(call: Call) -> None:
        for at in range(len(data)):
            call.send(data[at : at + 1])
            if call.server.stopping.wait(seconds):
                return

    return answer


def endless(*more: str) -> Callable[[Call], None]:
    """Send a body that does not end."""

    def answer(call: Call) -> None:
        call.send(head(200, None, *more))
        piece = b"x" * 65_536
        chunk = b"10000\r\n" + piece + b"\r\n"
        while not call.server.stopping.is_set():
            call.send(chunk if more else piece)

    return answer


@contextmanager
def faulty(content: dict[str, bytes] | None = None) -> Iterator[Faulty]:
    """Run such a server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Faulty(listener.getsockname()[1], dict(content or {}))
        with _accepting(listener, server.stopping, lambda it: _serve(server, it)):
            yield server


@contextmanager
def breaking_proxy(port: int, limits: list[int]) -> Iterator[int]:
    """Run a proxy that breaks each connection after so many bytes from the server; afterwards none.

    Args:
        port: Of the server, on this machine.
        limits: For the first connections, in bytes; those that carry less are not broken, and count as well.

    Yields:
        The port of the proxy.
    """
    left = list(limits)

    def carry(client: socket.socket) -> None:
        limit = left.pop(0) if left else None
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_pump, args=(client, server, None))
            back.start()
            _pump(server, client, limit)
            back.join()

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        _accepting(listener, threading.Event(), carry),
    ):
        yield listener.getsockname()[1]


def _pump(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    """Carry bytes until there are no more, or enough; then both connections end."""
    carried = 0
    with suppress(OSError):
        while data := source.recv(65_536):
            if limit is not None and carried + len(data) > limit:
                target.sendall(data[: limit - carried])
                break
            carried += len(data)
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def _accepting(
    listener: socket.socket, stopping: threading.Event, work: Callable[[socket.socket], None]
) -> Iterator[None]:
    """Do some work with each connection, in a thread of its own, while the block lasts."""
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def run(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            work(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=run, args=(connection,)))
                threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield
    finally:
        stopping.set()
        listener.shutdown(socket.SHUT_RDWR)
        threads[0].join()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def _serve(server: Faulty, connection: socket.socket) -> None:
    while (asked := _read(server, connection)) is not None:
        server.seen.append(asked)
        act = server.always or (server.plan.pop(0) if server.plan else well)
        if not act(Call(server, asked, connection)):
            return


def _read(server: Faulty, connection: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece or len(data) > MAX_HEADER:
            return None
        data += piece
    top, _, body = data.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path, _ = first.split(" ")
    pieces, left = [body], int(headers.get("content-length", 0)) - len(body)
    while left > 0:
        piece = connection.recv(65_536)
        if not piece:
            return None
        pieces.append(piece)
        left -= len(piece)
        if server.reads_slowly:
            server.stopping.wait(0.01)
    return Asked(method, path, headers, b"".join(pieces))
