"""The http remote against servers that misbehave, over real sockets."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import faulty as fault
import pytest
from faulty import faulty
from remote_contract import DIGITS, SLOT, RemoteContract, drop

from opambin.errors import BadDataError, UnavailableError
from opambin.remote.access import Access
from opambin.remote.faults import RefusedError, RemoteDownError
from opambin.remote.guard import Guarded
from opambin.remote.http import HttpRemote
from opambin.remote.protocol import FORMAT, FORMAT_NAME, UNKNOWN_TIME, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faulty import Call, Faulty

    from opambin.remote.protocol import Remote

QUICK = Access(write=True, connect_seconds=0.5, answer_seconds=0.7, workers=4)
BIG = bytes(range(251)) * 4000  # 1,004,000 bytes
ARCHIVE = "archives/ab/cd.tar.zst"


@pytest.fixture
def server() -> Iterator[Faulty]:
    with faulty({f"/{SLOT}": b"statement", f"/{ARCHIVE}": BIG}) as running:
        yield running


@pytest.fixture
def remote(server: Faulty) -> Iterator[HttpRemote]:
    made = HttpRemote(server.url, QUICK)
    yield made
    made.close()


def fetched(remote: Remote, size: int = len(BIG)) -> bytes:
    pieces: list[bytes] = []
    assert remote.fetch(ARCHIVE, pieces.append, size=size)
    return b"".join(pieces)


# --- answers that come in the end


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_an_error_of_the_server_is_asked_again(server: Faulty, remote: HttpRemote, code: int) -> None:
    server.plan = [fault.status(code), fault.status(code, "Retry-After: soon")]
    assert remote.get(SLOT, limit=100) == b"statement"
    assert len(server.seen) == 3


def test_a_server_may_ask_us_to_wait_but_not_for_hours(server: Faulty) -> None:
    remote = HttpRemote(server.url, Access(answer_seconds=8))
    server.plan = [fault.status(429, "Retry-After: 3600"), fault.status(503, "Retry-After: 0")]
    start = time.monotonic()
    assert remote.get(SLOT, limit=100) == b"statement"
    assert 1.9 < time.monotonic() - start < 6
    remote.close()


def test_through_a_proxy(server: Faulty) -> None:
    """It is asked for the whole URL, with its own password, and gets nothing of ours."""
    proxy = server.url.replace("//", "//me:pro%40xy@")
    remote = HttpRemote("http://cache.invalid/base", Access(environ={"http_proxy": proxy}))
    server.content["http://cache.invalid/base/x"] = b"1"
    assert remote.get("x", limit=1) == b"1"
    assert server.seen[0].headers["proxy-authorization"] == "Basic bWU6cHJvQHh5"
    assert "authorization" not in server.seen[0].headers
    assert "secret" not in remote.url
    remote.close()


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(fault.reset, id="reset"),
        pytest.param(fault.truncated(4), id="truncated"),
        pytest.param(fault.raw(b""), id="hangs up"),
        pytest.param(fault.raw(b"HTTP/1.1 200 OK\r\nContent-Le"), id="truncated head"),
        pytest.param(fault.raw(b"\x16\x03\x01 not http\r\n\r\n"), id="no http"),
    ],
)
def test_what_breaks_off_is_asked_again(
    server: Faulty, remote: HttpRemote, bad: Callable[[Call], None]
) -> None:
    server.plan = [bad, bad]
    assert remote.get(SLOT, limit=100) == b"statement"


def test_a_download_goes_on_where_it_broke_off(server: Faulty, remote: HttpRemote) -> None:
    server.plan = [fault.truncated(300_000), fault.resumed_and_truncated(200_000), fault.reset]
    assert fetched(remote) == BIG
    assert [asked.headers.get("range") for asked in server.seen][:2] == [None, "bytes=300000-"]
    assert server.seen[-1].headers["range"].startswith("bytes=")


def test_a_server_without_ranges_sends_it_again_and_no_byte_comes_twice(
    server: Faulty, remote: HttpRemote
) -> None:
    server.plan = [fault.truncated(300_000), fault.no_ranges]
    assert fetched(remote) == BIG
    server.plan = [fault.no_ranges]
    assert remote.get(ARCHIVE, limit=10, span=Span(500, 10)) == BIG[500:510]


def test_an_answer_without_a_length(server: Faulty, remote: HttpRemote) -> None:
    server.always = fault.without_length
    assert remote.get(SLOT, limit=100) == b"statement"
    assert fetched(remote) == BIG


# --- answers that can't be right


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        pytest.param(fault.says_length(len(BIG) - 1), "wrong length", id="shorter"),
        pytest.param(fault.other_content(BIG + b"x"), "wrong length", id="longer"),
        pytest.param(fault.other_content(b""), "wrong length", id="empty"),
        pytest.param(fault.endless(), "wrong length", id="endless"),
        pytest.param(fault.endless("Transfer-Encoding: chunked"), "wrong length", id="endless chunks"),
    ],
)
def test_a_download_of_another_length(
    server: Faulty, remote: HttpRemote, bad: Callable[[Call], bool | None], words: str
) -> None:
    server.always = bad
    with pytest.raises(BadDataError, match=words):
        fetched(remote)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("Content-Range: bytes 300000-400000/1004001", id="another total"),
        pytest.param("Content-Range: bytes 400000-1003999/1004000", id="a later part"),
        pytest.param("Content-Range: nonsense", id="nonsense"),
        pytest.param("X: y", id="nothing said"),
    ],
)
def test_another_part_than_asked_for(server: Faulty, remote: HttpRemote, answer: str) -> None:
    server.plan = [fault.truncated(300_000), fault.status(206, answer)]
    with pytest.raises(BadDataError, match=r"wrong|without saying"):
        fetched(remote)


def test_it_was_replaced_by_something_shorter(server: Faulty, remote: HttpRemote) -> None:
    server.plan = [fault.truncated(300_000), fault.status(416)]
    with pytest.raises(BadDataError, match="wrong length"):
        fetched(remote)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(fault.other_content(b"x" * 102), id="announced"),
        pytest.param(fault.endless(), id="endless"),
        pytest.param(fault.endless("Transfer-Encoding: chunked"), id="endless chunks"),
    ],
)
def test_no_answer_is_longer_than_the_limit(
    server: Faulty, remote: HttpRemote, bad: Callable[[Call], bool | None]
) -> None:
    server.always = bad
    with pytest.raises(BadDataError, match="too long"):
        remote.get(SLOT, limit=100)
    with pytest.raises(BadDataError, match="too long"):
        remote.get(SLOT, limit=100, span=Span(1))


def test_the_body_of_an_error_does_not_hold_us(server: Faulty, remote: HttpRemote) -> None:
    server.always = fault.raw(b"HTTP/1.1 404 No\r\n\r\n" + b"x" * 10_000_000)
    assert remote.get(SLOT, limit=100) is None


# --- no answers


def down(call: Callable[[], object], words: str, seconds: float) -> None:
    start = time.monotonic()
    with pytest.raises(RemoteDownError, match=words):
        call()
    assert time.monotonic() - start < seconds


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        pytest.param(fault.silent, "no answer within 0.7 s", id="silent"),
        pytest.param(fault.drip(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500), "too slowly", id="head drips"),
        pytest.param(fault.drip(fault.head(200, 100) + b"x" * 100, 0.03), "too slowly", id="body drips"),
        pytest.param(
            fault.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 500, 0.01),
            "too slowly",
            id="length of a chunk drips",
        ),
    ],
)
def test_a_slow_server_costs_one_time_out(
    server: Faulty, remote: HttpRemote, bad: Callable[[Call], None], words: str
) -> None:
    server.always = bad
    guarded = Guarded(remote)
    down(lambda: guarded.get_many([f"keys/{number}" for number in range(300)], limit=100), words, 3)
    down(lambda: guarded.get(SLOT, limit=100), words, 0.05)
    down(lambda: guarded.fetch(ARCHIVE, drop, size=1), words, 0.05)
    assert len(server.seen) <= 2 * QUICK.workers


def test_nobody_listens() -> None:
    import servers

    remote = HttpRemote(f"http://127.0.0.1:{servers.free_port()}", QUICK)
    down(lambda: remote.get(SLOT, limit=100), "no connection", 2)


def test_a_name_that_is_not_looked_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead name server holds getaddrinfo for half a minute."""
    asked = threading.Event()

    def dead(*_: object, **__: object) -> None:
        asked.wait(20)
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", dead)
    guarded = Guarded(HttpRemote("http://cache.invalid", QUICK))
    down(lambda: guarded.get_many([f"keys/{number}" for number in range(50)], limit=1), "no connection", 2)
    asked.set()


def test_no_such_host() -> None:
    remote = HttpRemote("http://no-such-host.invalid", QUICK)
    down(lambda: remote.get(SLOT, limit=100), "no such host|no connection", 5)


def test_the_server_keeps_saying_500(server: Faulty) -> None:
    remote = HttpRemote(server.url, Access(answer_seconds=3))
    server.always = fault.status(500)
    down(lambda: remote.get(SLOT, limit=100), "500 Internal Server Error", 5)
    assert len(server.seen) == 4


@pytest.mark.parametrize("bad", [fault.truncated(100), fault.reset])
def test_a_download_that_gets_nowhere(
    server: Faulty, remote: HttpRemote, bad: Callable[[Call], None]
) -> None:
    server.always = bad
    down(lambda: fetched(remote), "breaks off", 30)


def test_a_download_of_a_byte_for_each_connection(server: Faulty, remote: HttpRemote) -> None:
    server.always = fault.resumed_and_truncated(1)
    down(lambda: fetched(remote), "breaks off after 4 of", 10)
    assert len(server.seen) == 4


def test_heads_without_a_length(server: Faulty, remote: HttpRemote) -> None:
    """A server that makes its answers as it goes says no length, and has no body for HEAD."""

    def answer(call: Call) -> bool | None:
        if call.asked.method == "GET":
            return fault.well(call)
        call.send(fault.head(200 if call.asked.method == "HEAD" else 204, None))
        return None

    server.always = answer
    assert remote.put(SLOT, b"x") is False
    assert remote.put(SLOT, b"x", replace=True)


def test_a_large_upload_may_take_longer_than_a_connection(server: Faulty) -> None:
    """It was sent with one call, which had to be done within the time for connecting."""

    server.reads_slowly = True
    remote = HttpRemote(server.url, Access(connect_seconds=0.5, answer_seconds=5))
    data = b"x" * 12_000_000
    start = time.monotonic()
    assert remote.put("big", data, replace=True)
    assert time.monotonic() - start > 1
    assert server.content["/big"] == data
    remote.close()


def test_a_download_that_drips(server: Faulty, remote: HttpRemote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opambin.remote.download.WINDOW_SECONDS", 0.5)
    server.always = fault.drip(fault.head(200, len(BIG)) + BIG, 0.01)
    down(lambda: fetched(remote), "too slowly", 3)


def test_the_time_we_need_ourselves_is_not_the_servers(
    remote: HttpRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opambin.remote.download.WINDOW_SECONDS", 0.5)
    pieces: list[bytes] = []

    def slowly(piece: bytes) -> None:
        if not pieces:
            time.sleep(1.5)
        pieces.append(piece)

    assert remote.fetch(ARCHIVE, slowly, size=len(BIG))
    assert b"".join(pieces) == BIG


# --- refusals


@pytest.mark.parametrize(("code", "words"), [(401, "credentials"), (403, "not allowed")])
def test_refused(server: Faulty, remote: HttpRemote, code: int, words: str) -> None:
    server.always = fault.status(code)
    with pytest.raises(RefusedError, match=f"{words}.*{code}") as caught:
        remote.get(SLOT, limit=100)
    assert not caught.value.writing
    with pytest.raises(RefusedError, match=words):
        fetched(remote)
    with pytest.raises(RefusedError, match=words) as caught:
        remote.put(SLOT, b"x", replace=True)
    assert caught.value.writing


def test_who_may_not_list_gets_403_for_what_is_not_there(server: Faulty, remote: HttpRemote) -> None:
    """Public buckets behave so; the name that is always there tells."""

    def hides(call: Call) -> bool:
        return fault.well(call) if call.found else fault.status(403)(call)

    server.content[f"/{FORMAT_NAME}"] = FORMAT
    server.always = hides
    assert remote.fetch("archives/a", drop, size=1) is False
    assert remote.get("archives/a", limit=1, span=Span(0, 1)) is None
    assert fetched(remote) == BIG
    assert dict(remote.get_many(["a", "b", SLOT], limit=100)) == {"a": None, "b": None, SLOT: b"statement"}


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        pytest.param(405, "takes no writes", RefusedError, id="no PUT"),
        pytest.param(413, "larger than the server takes", UnavailableError, id="too large"),
        pytest.param(507, "no space", UnavailableError, id="full"),
        pytest.param(400, "400 Bad Request", UnavailableError, id="anything else"),
    ],
)
def test_writes_that_fail(
    server: Faulty, remote: HttpRemote, code: int, words: str, kind: type[Exception]
) -> None:
    server.always = fault.status(code)
    with pytest.raises(kind, match=words):
        remote.put("x", b"x", replace=True)


def test_a_write_is_sent_again_from_its_beginning(server: Faulty, remote: HttpRemote, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(BIG)
    server.plan = [fault.well, fault.status(503), fault.reset]
    assert remote.put("new", tmp_path / "archive")
    assert server.content["/new"] == BIG
    assert server.seen[-1].headers["if-none-match"] == "*"


def test_a_server_that_honours_the_condition(server: Faulty, remote: HttpRemote) -> None:
    server.plan = [fault.status(404), fault.status(412)]
    assert remote.put("new", b"x") is False


# --- redirects


def test_redirected(server: Faulty, remote: HttpRemote) -> None:
    server.content["/elsewhere"] = b"moved"
    for code in (301, 302, 303, 307, 308):
        server.plan = [fault.redirect("/elsewhere", code)]
        assert remote.get(SLOT, limit=100) == b"moved"


def test_credentials_stay_with_their_host(server: Faulty) -> None:
    """Another port is another server; the name of the host is the same."""
    with faulty({"/stolen": b"statement"}) as other:
        remote = HttpRemote(server.url.replace("//", "//me:secret@"), QUICK)
        server.plan = [fault.redirect(f"/{SLOT}")]
        assert remote.get(SLOT, limit=100) == b"statement"
        assert [("authorization" in asked.headers) for asked in server.seen] == [True, True]
        server.plan = [fault.redirect(f"{other.url}/stolen")]
        assert remote.get(SLOT, limit=100) == b"statement"
        assert "authorization" not in other.seen[0].headers
        server.plan = [fault.redirect(f"{other.url}/stolen")]
        other.plan = [fault.redirect(f"{server.url}/{SLOT}")]
        assert remote.get(SLOT, limit=100) == b"statement"
        assert "authorization" not in server.seen[-1].headers  # nor when it leads back
        assert "secret" not in remote.url
        remote.close()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        pytest.param("/again", "more than 5 redirects", id="in a circle"),
        pytest.param("file:///etc/passwd", "not http", id="a file"),
        pytest.param("ftp://x/y", "not http", id="ftp"),
        pytest.param("http://host:port/", "no URL", id="no port"),
    ],
)
def test_redirects_that_are_not_followed(server: Faulty, remote: HttpRemote, target: str, words: str) -> None:
    server.always = fault.redirect(target)
    down(lambda: remote.get(SLOT, limit=100), words, 3)


def test_never_from_https_to_http(remote: HttpRemote) -> None:
    from opambin.remote.transport import Request

    asked = Request("GET", "https://host/x")
    with pytest.raises(RemoteDownError, match="refused"):
        remote._transport._check_redirect(asked, "https://host/x", "http://host/x")


def test_writes_are_not_redirected(server: Faulty, remote: HttpRemote) -> None:
    server.always = fault.redirect("/elsewhere", 307)
    with pytest.raises(RefusedError, match="redirects writes"):
        remote.put("x", b"x", replace=True)


# --- credentials


def test_a_password_from_netrc(server: Faulty, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    remote = HttpRemote(server.url, Access(environ={"HOME": str(tmp_path)}))
    remote.get(SLOT, limit=100)
    assert server.seen[0].headers["authorization"] == "Basic bWU6c2VjcmV0"
    remote.close()


# --- listing


def listing(*entries: str) -> bytes:
    responses = "".join(f"<D:response>{entry}</D:response>" for entry in entries)
    return f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">{responses}</D:multistatus>'.encode()


def test_a_server_that_can_not_list(server: Faulty, remote: HttpRemote) -> None:
    server.always = fault.status(405)
    with pytest.raises(UnavailableError, match="can't list"):
        list(remote.entries("keys"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"<html>", "no XML", id="no xml"),
        pytest.param(b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "document type", id="a bomb"),
    ],
)
def test_listings_that_are_none(server: Faulty, remote: HttpRemote, body: bytes, words: str) -> None:
    server.always = fault.raw(fault.head(207, len(body)) + body)
    with pytest.raises(BadDataError, match=words):
        list(remote.entries("keys"))


def test_a_listing_without_end(server: Faulty, remote: HttpRemote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder has three more."""
    monkeypatch.setattr("opambin.remote.http.MAX_FOLDERS", 200)
    kind = "<D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat>"

    def deeper(call: Call) -> bool:
        body = listing(*(f"<D:href>{call.asked.path}{name}/</D:href>{kind}" for name in "abc"))
        call.send(fault.head(207, len(body)) + body)
        return True

    server.always = deeper
    with pytest.raises(BadDataError, match="without end"):
        list(remote.entries("keys"))
    assert len(server.seen) <= 200


def test_a_listing_does_not_leave_out_what_can_not_be_read(server: Faulty, remote: HttpRemote) -> None:
    kind = "<D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat>"

    def act(call: Call) -> bool:
        if call.asked.path.endswith("/c/"):
            return fault.status(403)(call)
        names = "abcdef" if call.asked.path == "/keys/" else ""
        body = listing(*(f"<D:href>{call.asked.path}{name}/</D:href>{kind}" for name in names))
        call.send(fault.head(207, len(body)) + body)
        return True

    server.always = act
    with pytest.raises(RefusedError, match="listing is not allowed"):
        list(remote.entries("keys"))


def test_a_listing_that_leads_astray(server: Faulty, remote: HttpRemote) -> None:
    folder = "<D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat>"
    body = listing(
        f"<D:href>/keys/</D:href>{folder}",
        f"<D:href>/elsewhere/</D:href>{folder}",
        f"<D:href>/keys/../..</D:href>{folder}",
        f"<D:href>http://other/keys/x/</D:href>{folder}",
        f"<D:href>/keys/a/b/</D:href>{folder}",
        "<D:href>/keys/good</D:href><D:propstat><D:prop><D:getcontentlength>5</D:getcontentlength>"
        "<D:getlastmodified>Wed, 25 Nov 2026 18:13:47 GMT</D:getlastmodified></D:prop></D:propstat>",
        "<D:href>/keys/.hidden</D:href>",
        "<D:href>/keys/timeless</D:href>",
    )
    server.plan = [fault.raw(fault.head(207, len(body)) + body)]
    found = list(remote.entries("keys"))
    assert [entry.name for entry in found if not re.search("x", entry.name)] == ["keys/good", "keys/timeless"]
    assert found[1].modified == UNKNOWN_TIME  # so gc does not take it for old
    assert (found[0].size, found[0].modified) == (5, 1795630427.0)


def test_threads_share_few_connections(server: Faulty, remote: HttpRemote) -> None:
    before = threading.active_count()
    remote.get_many([f"keys/{number}" for number in range(40)], limit=100)
    assert len(server.seen) == 40
    assert threading.active_count() <= before + QUICK.workers + 1


class TestPlainServer(RemoteContract):
    """A server with nothing but GET, HEAD, PUT and ranges."""

    lists = False
    one_winner = False

    @pytest.fixture
    def remote(self) -> Iterator[Remote]:
        def deletes(call: Call) -> bool:
            if call.asked.method == "DELETE":
                call.server.content.pop(call.asked.path, None)
                call.send(fault.head(204, 0))
                return True
            if call.asked.method == "MKCOL":
                return fault.status(405)(call)
            return fault.well(call)

        with faulty() as server:
            server.always = deletes
            made = HttpRemote(f"{server.url}/base", QUICK)
            yield made
            made.close()


assert len(DIGITS) == 10_240
