"""The service that a registry sends its clients to for tokens, as docker's specification has it.

https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/: GET with a password or without,
POST with an identity token. The tokens are real (JWT, signed with ES256, the certificate in ``x5c``), and the
registry verifies them itself. Who asks without a password gets what :attr:`Issuer.anonymous` allows.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import servers
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICE, ISSUER = "a registry", "its tokens"
IDENTITY = "identity-token-of-ci"


@dataclass
class Issuer:
    """What it does, and what it was asked.

    Attributes:
        url: Where it answers.
        certificate: What the registry trusts.
        anonymous: What one may do without a password.
        seconds: How long a token is really good; the registry allows a minute more.
        asked: User (empty: none), and what was to be done, for each token that was asked for.
    """

    url: str
    certificate: bytes
    key: ec.EllipticCurvePrivateKey
    anonymous: frozenset[str] = frozenset()
    seconds: int = 300
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def authentication(self) -> str:
        """Return what a registry's configuration says about it; the certificate is to be in ``{folder}``."""
        token = {"realm": f"{self.url}/token", "service": SERVICE, "issuer": ISSUER}
        lines = [f"    {name}: {value}" for name, value in token.items()]
        return "\n".join(["auth:", "  token:", *lines, "    rootcertbundle: {folder}/issuer.pem", ""])

    def token(self, user: str, scope: str) -> str:
        """Return a token for what may be done of what is asked for."""
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed = [it for it in actions.split(",") if user or it in self.anonymous]
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 120,
            "exp": now + self.seconds,
            "jti": uuid.uuid4().hex,
            "access": [{"type": kind, "name": name, "actions": allowed}] if allowed else [],
        }
        der = x509.load_pem_x509_certificate(self.certificate).public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = f"{_code(json.dumps(header).encode())}.{_code(json.dumps(claims).encode())}"
        pair = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_code(b''.join(it.to_bytes(32, 'big') for it in pair))}"


def _code(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        question = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        code = self.headers.get("Authorization", "")
        user = ""
        if code:
            user, _, password = base64.b64decode(code.partition(" ")[2]).decode().partition(":")
            if (user, password) != (servers.USER, servers.PASSWORD):
                self._say(401, {"errors": [{"code": "UNAUTHORIZED"}]})
                return
        self._give(user, question, "token")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        question = {name: values[0] for name, values in parse_qs(body).items()}
        if (question["grant_type"], question["refresh_token"]) != ("refresh_token", IDENTITY):
            self._say(400, {"error": "invalid_grant"})
            return
        self._give(servers.USER, question, "access_token")

    def _give(self, user: str, question: dict[str, str], name: str) -> None:
        issuer = self.server.issuer
        if question["service"] != SERVICE:
            self._say(400, {"error": "another service"})
            return
        issuer.asked.append((user, question["scope"].rpartition(":")[2]))
        self._say(200, {name: issuer.token(user, question["scope"]), "expires_in": 300})

    def _say(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    issuer: Issuer


@contextmanager
def issuing(*, anonymous: frozenset[str] = frozenset()) -> Iterator[Issuer]:
    """Run the service on a free port of this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    with _Server(("127.0.0.1", 0), _Handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        server.issuer = issuer = Issuer(url, _certificate(key), key, anonymous)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def registry(
    folder: Path, *, anonymous: frozenset[str] = frozenset()
) -> Iterator[tuple[servers.Running, Issuer]]:
    """Run a registry that wants tokens, and the service that gives them."""
    folder.mkdir(parents=True, exist_ok=True)
    with issuing(anonymous=anonymous) as issuer:
        (folder / "issuer.pem").write_bytes(issuer.certificate)
        with servers.registry(folder, auth=issuer.authentication.format(folder=folder)) as server:
            yield server, issuer


def _certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)
