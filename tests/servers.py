"""Real servers on free ports of this machine, while a block lasts: nginx, docker-registry, moto's S3.

Use: ``with nginx(folder, dav=True) as server: … server.url …``. What they write is in a folder of the test.
"""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_SECONDS = 30
DAV_MODULE = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
_held: list[int] = []  # locks of ports
USER, PASSWORD = "ci", "secret:with:colons"


@dataclass(frozen=True, slots=True)
class Running:
    """A server.

    Attributes:
        url: Where it answers, without a slash at the end.
        port: On 127.0.0.1.
        root: The folder that it serves, or keeps its data in.
        log: What it said.
        pid: Of its process.
    """

    url: str
    port: int
    root: Path
    log: Path
    pid: int

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def requests(self) -> list[str]:
        """Return the lines of its access log (nginx)."""
        return (self.log.parent / "access.log").read_text().splitlines()

    def stop_answering(self) -> None:
        """Let it accept connections, and say nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def answer_again(self) -> None:
        """Undo :meth:`stop_answering`."""
        os.kill(self.pid, signal.SIGCONT)


def program(*names: str) -> str:
    """Return the first program that is installed; the test is skipped when none is."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if found:
            return found
    pytest.skip(f"no {names[0]}")


def free_port() -> int:
    """Return a port that nobody listens on, and no other run of these tests will take.

    The kernel gives out the ports above 32767 for connections; two runs at once agree by a lock that lasts as
    long as the process.
    """
    folder = Path(tempfile.gettempdir()) / f"opambin-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _held.append(lock)
        return port


@contextmanager
def nginx(
    root: Path, *, dav: bool = False, password: bool = False, tls: bool = False, extra: str = ""
) -> Iterator[Running]:
    """Serve a folder with nginx.

    Args:
        root: The folder; made if it is not there. What nginx keeps for itself is beside it.
        dav: Whether PUT, DELETE, MKCOL and (where the module is installed) PROPFIND are allowed.
        password: Whether :data:`USER` has to come with :data:`PASSWORD`.
        tls: Whether it speaks https, with a certificate of its own (:func:`certificate`).
        extra: More lines for the ``location`` that has it all.
    """
    binary = program("nginx")
    root.mkdir(parents=True, exist_ok=True)
    own = root.parent / f"{root.name}.nginx"
    own.mkdir(exist_ok=True)
    lists = dav and DAV_MODULE.exists()
    port = free_port()
    lines = [f"root {root};", "dav_methods PUT DELETE MKCOL MOVE;" if dav else "", extra]
    if lists:
        lines.append("dav_ext_methods PROPFIND OPTIONS;")
    if password:
        code = subprocess.run(
            ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True
        )
        (own / "htpasswd").write_text(f"{USER}:{code.stdout}")
        lines.append(f'auth_basic "opam-bin"; auth_basic_user_file {own}/htpasswd;')
    paths = "".join(
        f"{kind}_temp_path {own}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    if tls:
        _certify(own)
        paths += f"ssl_certificate {own}/tls.pem; ssl_certificate_key {own}/tls.key;"
    user = "user root;" if os.geteuid() == 0 else ""
    text = f"""
{f"load_module {DAV_MODULE};" if lists else ""}
{user} worker_processes 1; daemon off; pid {own}/pid; error_log {own}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log {own}/access.log; {paths}
  sendfile on; tcp_nopush on; client_max_body_size 0; default_type application/octet-stream;
  keepalive_requests 100000;
  server {{ listen 127.0.0.1:{port}{" ssl" if tls else ""}; location / {{ {" ".join(lines)} }} }}
}}
"""
    (own / "nginx.conf").write_text(text)
    command = [binary, "-p", str(own), "-e", f"{own}/error.log", "-c", f"{own}/nginx.conf"]
    with _running(command, port, root, own / "output.log") as server:
        yield dataclasses.replace(server, url=server.url.replace("http:", "https:")) if tls else server


def certificate(server: Running) -> Path:
    """Return the certificate of an nginx with TLS."""
    return server.log.parent / "tls.pem"


def _certify(folder: Path) -> None:
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(command, capture_output=True, check=True)


@contextmanager
def registry(
    folder: Path, *, password: bool = False, delete: bool = True, auth: str = ""
) -> Iterator[Running]:
    """Run Debian's docker-registry with its data in ``folder``.

    Args:
        folder: Everything is there; made if it is not.
        password: Whether :data:`USER` has to come with :data:`PASSWORD`.
        delete: Whether anybody may delete.
        auth: What its configuration says about authentication, in place of that.
    """
    binary = program("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    if password:
        code = _bcrypt(PASSWORD)
        (folder / "htpasswd").write_text(f"{USER}:{code}\n")
        auth = f"auth:\n  htpasswd:\n    realm: opam-bin\n    path: {folder}/htpasswd\n"
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\n"
        f"  delete:\n    enabled: {str(delete).lower()}\nhttp:\n  addr: 127.0.0.1:{port}\n{auth}"
    )
    with _running([binary, "serve", f"{folder}/config.yml"], port, folder, folder / "output.log") as server:
        yield server


@contextmanager
def s3(folder: Path, bucket: str = "cache", *, public: bool = False) -> Iterator[Running]:
    """Run moto's server, an S3 endpoint in memory, with an empty bucket; ``public``: anyone may read it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    command = [sys.executable, "-W", "ignore", "-c", code]
    with _running(command, port, folder, folder / "output.log") as server:
        request = urllib.request.Request(f"{server.url}/{bucket}", method="PUT")  # noqa: S310 - http, ours
        urllib.request.urlopen(request, timeout=START_SECONDS).close()  # noqa: S310 - same
        if public:
            _publish_bucket(server.url, bucket)
        yield server


def _publish_bucket(url: str, bucket: str) -> None:
    what = {"Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", **what}]}
    body, headers = json.dumps(policy).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/{bucket}?policy", body, headers, method="PUT")  # noqa: S310 - http, ours
    urllib.request.urlopen(request, timeout=START_SECONDS).close()  # noqa: S310 - same


def s3_environ(server: Running) -> dict[str, str]:
    """Return the environment in which S3 is that server."""
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }


def docker_config(folder: Path, host: str, user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """Write a docker configuration with a login, and return the environment that leads there."""
    folder.mkdir(parents=True, exist_ok=True)
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    return {"DOCKER_CONFIG": str(folder)}


@contextmanager
def _running(command: Sequence[str], port: int, root: Path, log: Path) -> Iterator[Running]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait(process, port, log)
        yield Running(f"http://127.0.0.1:{port}", port, root, log, process.pid)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not answer: {log.read_text(errors='replace')[-2000:]}")


def _bcrypt(password: str) -> str:
    """Return a bcrypt hash, the only kind that docker-registry takes; the system's crypt knows it."""
    import ctypes
    import ctypes.util

    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = b"$2b$05$" + base64.b64encode(os.urandom(16), b"./")[:22]
    found: bytes | None = library.crypt(password.encode(), salt)
    if not found or not found.startswith(b"$2b$"):
        pytest.skip("the system's crypt knows no bcrypt")
    return found.decode()
