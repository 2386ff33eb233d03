from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import pytest

from opambin.errors import BadDataError, UnavailableError
from opambin.remote.batch import in_batch
from opambin.remote.pools import is_loopback, proxy_for
from opambin.remote.watch import Watch, current


def test_a_connection_is_shut_when_the_time_is_over() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        start = time.monotonic()
        with Watch().term(0.3) as term:
            assert current() is term
            term.uses(ours)
            assert ours.recv(1) == b""
        assert term.expired
        assert time.monotonic() - start < 2
        assert current() is None


def test_what_is_done_in_time_is_left_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        watch = Watch()
        with watch.term(0.3) as term:
            term.uses(ours)
            for _ in range(4):
                time.sleep(0.15)
                term.renew(0.3)
            with term.paused():
                time.sleep(0.6)
        assert not term.expired
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"


def test_a_connection_that_is_made_too_late() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Watch().term(0.01) as term:
        end = time.monotonic() + 5
        while not term.expired and time.monotonic() < end:
            time.sleep(0.05)
        term.uses(ours)
        assert ours.recv(1) == b""


def test_the_thread_ends_when_there_is_nothing_to_watch() -> None:
    watch = Watch()
    with watch.term(5):
        pass
    end = time.monotonic() + 10
    while any(thread.name == "remote-watch" for thread in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(thread.name == "remote-watch" for thread in threading.enumerate())
    with watch.term(5):
        assert any(thread.name == "remote-watch" for thread in threading.enumerate())


def test_a_batch_asks_for_a_name_once() -> None:
    asked: list[str] = []

    def read(name: str) -> bytes:
        asked.append(name)
        return name.encode()

    answers = in_batch(read, ["a", "b", "a", "c", "d", "e", "b"], 3)
    assert dict(answers) == {name: name.encode() for name in "abcde"}
    assert sorted(asked) == list("abcde")


@pytest.mark.parametrize("workers", [1, 4])
def test_a_batch_ends_with_the_first_failure_of_the_remote(workers: int) -> None:
    asked: list[str] = []

    def read(name: str) -> bytes:
        asked.append(name)
        raise UnavailableError("down")

    with pytest.raises(UnavailableError):
        in_batch(read, [str(number) for number in range(100)], workers)
    assert len(asked) <= workers


def test_a_batch_goes_on_after_bad_data() -> None:
    def read(name: str) -> bytes:
        if name == "b":
            raise BadDataError(name, "wrong")
        return b"x"

    for names in ("abc", "abcdefgh"):
        answers = in_batch(read, names, 3)
        assert answers["b"] is None
        assert list(answers.faults) == ["b"]
        assert sum(data == b"x" for data in answers.values()) == len(names) - 1


@pytest.mark.parametrize(
    ("environ", "scheme", "host", "expected"),
    [
        pytest.param({}, "https", "h", None, id="none"),
        pytest.param({"https_proxy": "http://p:1"}, "https", "h", "http://p:1", id="https"),
        pytest.param({"HTTPS_PROXY": "p:1"}, "https", "h", "http://p:1", id="upper case, no scheme"),
        pytest.param({"https_proxy": "http://p"}, "http", "h", None, id="another scheme"),
        pytest.param({"HTTP_PROXY": "http://p"}, "http", "h", None, id="set by whom a CGI serves"),
        pytest.param({"http_proxy": "http://p"}, "http", "h", "http://p", id="http"),
        pytest.param({"all_proxy": "http://p"}, "http", "h", "http://p", id="all"),
        pytest.param({"all_proxy": "http://p", "no_proxy": "x, h"}, "http", "h", None, id="no_proxy"),
        pytest.param({"all_proxy": "http://p", "no_proxy": ".d.org"}, "http", "h.d.org", None, id="domain"),
        pytest.param({"all_proxy": "http://p", "no_proxy": "d.org"}, "http", "ad.org", "http://p", id="no"),
        pytest.param({"all_proxy": "http://p", "no_proxy": "*"}, "http", "h", None, id="everything"),
        pytest.param({"all_proxy": "http://p"}, "http", "127.0.0.1", None, id="this machine"),
    ],
)
def test_proxies(environ: dict[str, str], scheme: str, host: str, expected: str | None) -> None:
    assert proxy_for(environ, scheme, host) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
    ],
)
def test_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_read_that_hangs_keeps_no_program_from_ending() -> None:
    """A hard mount of a file server that is gone holds every thread that looks at it."""
    program = (
        "import threading, time\n"
        "from opambin.remote.batch import in_batch\n"
        "names = [str(number) for number in range(20)]\n"
        "hang = lambda name: time.sleep(600)\n"
        "thread = threading.Thread(target=in_batch, args=(hang, names, 4), daemon=True)\n"
        "thread.start(); thread.join(0.3); print(threading.active_count())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "6\n"  # it does hang
