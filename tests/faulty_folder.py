"""A server that misbehaves in one way of one's choice; it serves a folder over HTTP, with ranges."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAULTS = (
    "error",
    "forbidden",
    "truncated",
    "longer",
    "wrong",
    "another",
    "reset",
    "drip",
    "loop",
    "page",
)


class Faulty:
    """What the server does.

    Attributes:
        root: The folder.
        fault: One of :data:`FAULTS`; empty: everything is right.
        only: The fault concerns names that begin so.
        requests: Paths that were asked for.
        url: Where it answers.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fault = ""
        self.only = ""
        self.requests: list[str] = []
        self.url = ""

    def content(self, name: str) -> bytes | None:
        """Return what a name holds, or pretends to."""
        path = self.root / name
        if not path.is_file():
            return None
        data = path.read_bytes()
        if not name.startswith(self.only):
            return data
        if self.fault == "wrong":
            return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
        if self.fault == "another":
            folder = self.root / name.partition("/")[0]
            others = [it for it in sorted(folder.rglob("*")) if it.is_file() and it != path]
            return others[0].read_bytes() if others else data
        if self.fault == "longer":
            return data + bytes(5000)
        return data


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        faulty = self.server.faulty
        name = self.path.lstrip("/")
        faulty.requests.append(name)
        fault = faulty.fault if name.startswith(faulty.only) else ""
        data = faulty.content(name)
        if fault in ("error", "forbidden"):
            self._say(500 if fault == "error" else 403, b"no")
        elif fault == "loop":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault == "page":
            self._say(200, b"<html>please log in</html>" * 100)
        elif data is None:
            self._say(404, b"no such thing")
        else:
            self._send(data, fault)

    def _send(self, data: bytes, fault: str) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        whole = len(data)
        self.send_response(206 if found else 200)
        if found:
            start, end = int(found[1]), int(found[2] or whole - 1)
            data = data[start : end + 1]
            self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{whole}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault in ("truncated", "reset"):
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif fault == "drip":
            for byte in data:
                self.wfile.write(bytes([byte]))
                time.sleep(0.5)
        else:
            self.wfile.write(data)

    def _say(self, status: int, words: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    faulty: Faulty

    def handle_error(self, *_: object) -> None:
        pass  # clients that leave are what this is for


@contextmanager
def serving(root: Path) -> Iterator[Faulty]:
    """Serve a folder on a free port of this machine."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.faulty = faulty = Faulty(root)
        faulty.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield faulty
        finally:
            server.shutdown()
            thread.join()
