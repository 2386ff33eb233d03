"""A web server on the loopback interface that counts what it is asked for, and can go out of service."""

import functools
import http.server
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files while the owner is in service, 503 after that; every request is noted."""

    def __init__(self, owner: "Server", *args: object, **options: object) -> None:
        self._owner = owner
        super().__init__(*args, **options)  # type: ignore[arg-type]  # passed through as the server gives them

    def send_head(self) -> object:  # type: ignore[override]  # called by do_GET and do_HEAD, whose answer we alter
        self._owner.requests.append(self.path)
        if not self._owner.in_service:
            self.send_error(503, "out of service")
            return None
        return super().send_head()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        with self._owner.log.open("a") as log:
            log.write(f"{self.log_date_time_string()} {format % args}\n")


class Server:
    """Serve ``folder`` on a free port of 127.0.0.1 until the block ends.

    Attributes:
        requests: The paths that were asked for, oldest first.
        in_service: When unset, every request is answered 503, and still counted.
        log: The request log.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        """Bind the port; nothing is served before the block is entered."""
        self.requests: list[str] = []
        self.in_service = True
        self.log = log
        log.write_text("")
        handler = functools.partial(_Handler, self, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The address of the folder, without trailing slash."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
