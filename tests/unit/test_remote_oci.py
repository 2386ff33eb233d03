"""The remote in a registry: names, manifests, logins, tokens. A real registry is in the integration tests."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import faulty as fault
import pytest
from faulty import faulty

from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.remote import ocimanifest
from opambin.remote.access import Access
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.logins import Login, login_for
from opambin.remote.oci import OciRemote
from opambin.remote.ocimanifest import digest_of, name_of, read_manifest, tag_of, write_manifest
from opambin.remote.tokens import parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faulty import Call, Faulty

KEY = "ab" * 32
SLOT = f"keys/ab/{KEY}/0"
ARCHIVE = "archives/ab/" + "c" * 62 + ".tar.zst"
NOW = 1_795_630_427.0

# --- names


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        (SLOT, f"keys__ab__{KEY}__0"),
        (ARCHIVE, "archives__ab__" + "c" * 62 + ".tar.zst"),
        ("snapshot.json", "snapshot.json"),
        ("a_b/c-d", "a_b__c-d"),
    ],
)
def test_tags_and_names(name: str, tag: str) -> None:
    assert tag_of(name) == tag
    assert len(tag) <= 128
    assert name_of(tag) == name


@pytest.mark.parametrize("name", ["a__b", "a_/b", "a/_b", "_a", "a_", "../x", ""])
def test_names_without_a_tag(name: str) -> None:
    with pytest.raises(MisuseError):
        tag_of(name)


@pytest.mark.parametrize("tag", ["a____b", "__a", "a__", ".a", "a___b"])
def test_tags_of_others(tag: str) -> None:
    assert name_of(tag) is None


# --- manifests


def test_a_small_content_is_in_its_manifest() -> None:
    body = write_manifest(SLOT, digest_of(b"statement"), 9, b"statement", NOW)
    assert body == write_manifest(SLOT, digest_of(b"statement"), 9, b"statement", NOW)
    found = read_manifest(body, "x")
    assert (found.inline, found.size, found.created) == (b"statement", 9, NOW)
    document = json.loads(body)
    assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert document["config"]["digest"] == digest_of(b"{}")
    assert document["layers"][0]["mediaType"] == "application/octet-stream"


def test_a_large_one_is_not() -> None:
    body = write_manifest(ARCHIVE, digest_of(b"x"), 1, None, NOW)
    assert read_manifest(body, "x").inline is None
    assert json.loads(body)["layers"][0]["mediaType"] == "application/vnd.opambin.archive.v1.tar+zstd"


def changed(**layer: object) -> bytes:
    document = json.loads(write_manifest(SLOT, digest_of(b"statement"), 9, b"statement", NOW))
    document["layers"][0].update(layer)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="no layers"),
        pytest.param(b'{"layers":[]}', id="no layer"),
        pytest.param(b'{"layers":5}', id="layers are a number"),
        pytest.param(b'{"layers":[{"digest":"sha256:x","size":1}]}', id="no digest"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(changed(digest="sha256:" + "0" * 64), id="data of another digest"),
        pytest.param(changed(size=8), id="data of another size"),
        pytest.param(changed(size=-1), id="negative size"),
        pytest.param(changed(size=True), id="no size"),
        pytest.param(changed(data="?"), id="no base64"),
        pytest.param(changed(data=5), id="data is a number"),
        pytest.param(changed(digest="sha512:" + "0" * 128), id="another hash"),
    ],
)
def test_manifests_that_are_none(body: bytes) -> None:
    with pytest.raises(BadDataError):
        read_manifest(body, "x")


@pytest.mark.parametrize("created", [None, 5, "yesterday", "2026-13-01"])
def test_a_time_that_is_none(created: object) -> None:
    document = json.loads(write_manifest(SLOT, digest_of(b"x"), 1, b"x", NOW))
    document["annotations"] = {ocimanifest.CREATED: created} if created else created
    assert read_manifest(json.dumps(document).encode(), "x").created == 0


# --- logins


def code(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def configure(folder: Path, content: object) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return {"DOCKER_CONFIG": str(folder), "PATH": str(folder)}


@pytest.mark.parametrize(
    "key", ["host.example:5000", "https://host.example:5000", "https://host.example:5000/v2/"]
)
def test_a_login_in_the_file(tmp_path: Path, key: str) -> None:
    environ = configure(tmp_path, {"auths": {key: {"auth": code("me", "pass:word")}}})
    assert login_for("host.example:5000", environ) == Login("me", "pass:word")
    assert login_for("host.example", environ) is None


def test_an_identity_token(tmp_path: Path) -> None:
    environ = configure(tmp_path, {"auths": {"host": {"identitytoken": "abc"}}})
    assert login_for("host", environ) == Login("", "", "abc")


def test_secrets_are_not_in_what_is_printed() -> None:
    assert "word" not in repr(Login("me", "word", "tokenword"))


def test_no_file_at_all(tmp_path: Path) -> None:
    assert login_for("host", {}) is None
    assert login_for("host", {"HOME": str(tmp_path)}) is None
    assert login_for("host", configure(tmp_path, {})) is None
    assert login_for("host", configure(tmp_path, {"auths": {"host": {}}, "credHelpers": 5})) is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", {"auths": {"host": {"auth": "?"}}}, {"auths": {"host": {"auth": "bWU="}}}],
)
def test_files_that_can_not_be_read(tmp_path: Path, content: object) -> None:
    with pytest.raises(MisuseError):
        login_for("host", configure(tmp_path, content))


def helper(folder: Path, lines: str) -> None:
    path = folder / "docker-credential-test"
    path.write_text(f"#!/bin/sh\nread host\n{lines}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("setting", [{"credHelpers": {"host": "test"}}, {"credsStore": "test"}])
def test_a_helper_is_asked(tmp_path: Path, setting: dict[str, object]) -> None:
    environ = configure(tmp_path, setting)
    helper(tmp_path, 'echo "{\\"Username\\":\\"me-at-$host\\",\\"Secret\\":\\"word\\"}"')
    assert login_for("host", environ) == Login("me-at-host", "word")
    helper(tmp_path, 'echo \'{"Username":"<token>","Secret":"abc"}\'')
    assert login_for("host", environ) == Login("", "", "abc")
    helper(tmp_path, "echo credentials not found in native keychain; exit 1")
    assert login_for("host", environ) is None


@pytest.mark.parametrize("lines", ["exit 3", "echo nonsense", "echo '{}'"])
def test_helpers_that_fail(tmp_path: Path, lines: str) -> None:
    environ = configure(tmp_path, {"credsStore": "test"})
    helper(tmp_path, lines)
    with pytest.raises(UnavailableError, match="docker-credential-test"):
        login_for("host", environ)


def test_a_helper_that_is_not_there_or_strange(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="not installed"):
        login_for("host", configure(tmp_path, {"credsStore": "absent"}))
    with pytest.raises(MisuseError, match="strange"):
        login_for("host", configure(tmp_path, {"credsStore": "../../bin/sh"}))


# --- tokens


def test_parameters_of_a_challenge() -> None:
    text = 'realm="https://x/token",service="registry",scope="repository:a:pull,push"'
    assert parameters(text) == {
        "realm": "https://x/token",
        "service": "registry",
        "scope": "repository:a:pull,push",
    }
    assert parameters("nonsense") == {}


class Guarded:
    """A registry that wants a token for everything; each token is good for so many requests."""

    def __init__(self, server: Faulty, lasts: int = 1000) -> None:
        self.given: list[str] = []
        self.left = lasts
        self.lasts = lasts
        self.expires = 300
        self.realm = f"{server.url}/token"
        server.always = self

    def __call__(self, call: Call) -> bool:
        if call.asked.path.startswith("/token"):
            if "authorization" not in call.asked.headers and call.asked.method == "GET":
                return fault.status(401)(call)
            self.given.append(call.asked.path + call.asked.body.decode())
            self.left = self.lasts
            answer = json.dumps({"token": f"t{len(self.given)}", "expires_in": self.expires}).encode()
            call.send(fault.head(200, len(answer)) + answer)
            return True
        if call.asked.headers.get("authorization") != f"Bearer t{len(self.given)}" or self.left <= 0:
            challenge = f'WWW-Authenticate: Bearer realm="{self.realm}",service="it"'
            return fault.status(401, challenge)(call)
        self.left -= 1
        return fault.well(call)


@pytest.fixture
def server() -> Iterator[Faulty]:
    body = write_manifest(SLOT, digest_of(b"statement"), 9, b"statement", NOW)
    with faulty({f"/v2/me/cache/manifests/{tag_of(SLOT)}": body}) as running:
        yield running


def open_with(server: Faulty, tmp_path: Path, entry: object) -> OciRemote:
    host = f"127.0.0.1:{server.port}"
    environ = configure(tmp_path, {"auths": {host: entry}} if entry else {})
    return OciRemote(f"oci://{host}/me/cache", Access(write=True, environ=environ, answer_seconds=2))


def test_a_token_is_got_once_and_used(server: Faulty, tmp_path: Path) -> None:
    guarded = Guarded(server)
    remote = open_with(server, tmp_path, {"auth": code("me", "word")})
    answers = remote.get_many([SLOT, *(f"keys/{number}" for number in range(30))], limit=100)
    assert answers[SLOT] == b"statement"
    assert sum(value is None for value in answers.values()) == 30
    assert guarded.given == ["/token?service=it&scope=repository%3Ame%2Fcache%3Apull"]
    remote.close()


def test_an_identity_token_is_exchanged(server: Faulty, tmp_path: Path) -> None:
    guarded = Guarded(server)
    remote = open_with(server, tmp_path, {"identitytoken": "abc"})
    assert remote.get(SLOT, limit=100) == b"statement"
    assert "refresh_token=abc" in guarded.given[0]
    remote.close()


def test_a_token_that_is_at_its_end_is_got_again(server: Faulty, tmp_path: Path) -> None:
    guarded = Guarded(server, lasts=2)
    remote = open_with(server, tmp_path, {"auth": code("me", "word")})
    for _ in range(5):
        assert remote.get(SLOT, limit=100) == b"statement"
    assert len(guarded.given) == 3
    remote.close()


def test_a_token_that_lasts_a_moment_is_not_kept(server: Faulty, tmp_path: Path) -> None:
    guarded = Guarded(server)
    guarded.expires = 5
    remote = open_with(server, tmp_path, {"auth": code("me", "word")})
    for _ in range(3):
        assert remote.get(SLOT, limit=100) == b"statement"
    assert len(guarded.given) == 3
    remote.close()


def test_no_login(server: Faulty, tmp_path: Path) -> None:
    Guarded(server)
    remote = open_with(server, tmp_path, None)
    with pytest.raises(RefusedError, match="docker login"):
        remote.get(SLOT, limit=100)
    with pytest.raises(RefusedError, match="docker login") as caught:
        remote.put("x", b"")
    remote.close()
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("realm", ["http://elsewhere.invalid/token", "ftp://x", "", "file:///etc/passwd"])
def test_a_password_is_not_sent_in_the_open(server: Faulty, tmp_path: Path, realm: str) -> None:
    Guarded(server).realm = realm
    remote = open_with(server, tmp_path, {"auth": code("me", "word")})
    with pytest.raises(RefusedError, match="unsafe place"):
        remote.get(SLOT, limit=100)
    remote.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense",
        b"[]",
        b'{"token":5}',
        b'{"token":"a\r\nX: y"}',
        b'{"expires_in":"x","token":"a"}',
    ],
)
def test_tokens_that_are_none(server: Faulty, tmp_path: Path, answer: bytes) -> None:
    guarded = Guarded(server)

    def act(call: Call) -> bool:
        return fault.other_content(answer)(call) if call.asked.path.startswith("/token") else guarded(call)

    server.always = act
    remote = open_with(server, tmp_path, {"auth": code("me", "word")})
    with pytest.raises(RefusedError):
        remote.get(SLOT, limit=100)
    remote.close()


# --- registries that lie


def test_a_blob_of_another_digest(server: Faulty, tmp_path: Path) -> None:
    server.content["/v2/me/cache/manifests/x"] = write_manifest("x", digest_of(b"good"), 4, None, NOW)
    server.content[f"/v2/me/cache/blobs/{digest_of(b'good')}"] = b"evil"
    remote = open_with(server, tmp_path, None)
    with pytest.raises(BadDataError, match="another digest"):
        remote.get("x", limit=100)
    remote.close()


def test_a_manifest_without_its_blob(server: Faulty, tmp_path: Path) -> None:
    server.content["/v2/me/cache/manifests/x"] = write_manifest("x", digest_of(b"good"), 4, None, NOW)
    remote = open_with(server, tmp_path, None)
    with pytest.raises(BadDataError, match="not there"):
        remote.fetch("x", print, size=4)
    with pytest.raises(UnavailableError):
        remote.get("x", limit=100)
    remote.close()


@pytest.mark.parametrize(
    ("tags", "more"),
    [
        pytest.param(b"nonsense", (), id="no list"),
        pytest.param(b'{"tags":["a"]}', ("Link: <http://elsewhere.invalid/>; rel=next",), id="elsewhere"),
        pytest.param(b'{"tags":["a"]}', ("Link: </v2/me/cache/tags/list?n=1000>; rel=next",), id="a circle"),
    ],
)
def test_lists_that_lead_astray(server: Faulty, tmp_path: Path, tags: bytes, more: tuple[str, ...]) -> None:
    def act(call: Call) -> bool:
        if "/tags/list" in call.asked.path:
            call.send(fault.head(200, len(tags), *more) + tags)
            return True
        return fault.well(call)

    server.always = act
    remote = open_with(server, tmp_path, None)
    with pytest.raises(BadDataError):
        list(remote.entries(""))
    remote.close()


def test_pages_of_the_list(server: Faulty, tmp_path: Path) -> None:
    def act(call: Call) -> bool:
        if "/tags/list" not in call.asked.path:
            return fault.well(call)
        first = "last=" not in call.asked.path
        tags = json.dumps({"tags": [tag_of(SLOT), "latest"] if first else None}).encode()
        more = ['Link: </v2/me/cache/tags/list?n=2&last=x>; rel="next"'] if first else []
        call.send(fault.head(200, len(tags), *more) + tags)
        return True

    server.always = act
    remote = open_with(server, tmp_path, None)
    assert [(it.name, it.size, it.modified) for it in remote.entries("keys")] == [(SLOT, 9, NOW)]
    remote.close()


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (fault.status(403), RefusedError),
        (fault.status(500), RemoteDownError),
        (fault.endless(), BadDataError),
    ],
)
def test_other_answers(
    server: Faulty, tmp_path: Path, bad: Callable[[Call], bool | None], kind: type[Exception]
) -> None:
    server.always = bad
    remote = open_with(server, tmp_path, None)
    with pytest.raises(kind):
        remote.get(SLOT, limit=100)
    remote.close()


def test_a_listing_does_not_leave_out_what_can_not_be_read(server: Faulty, tmp_path: Path) -> None:
    """What a list leaves out, gc takes for garbage."""
    names = [f"keys/{number}" for number in range(6)]
    tags = json.dumps({"tags": [tag_of(name) for name in names]}).encode()
    server.content["/v2/me/cache/tags/list?n=1000"] = tags
    for name in names:
        body = write_manifest(name, digest_of(b"x"), 1, b"x", NOW)
        server.content[f"/v2/me/cache/manifests/{tag_of(name)}"] = body
    remote = open_with(server, tmp_path, None)
    assert [entry.name for entry in remote.entries("keys")] == names
    server.content[f"/v2/me/cache/manifests/{tag_of(names[3])}"] = b"x" * 1_000_000
    with pytest.raises(BadDataError, match="too long"):
        list(remote.entries("keys"))
    remote.close()
