from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import servers
from click import BadParameter
from click.testing import CliRunner
from faulty import faulty, no_ranges, status

from opambin.cli.remote import command
from opambin.errors import MisuseError, OpambinError
from opambin.remote.protocol import FORMAT, FORMAT_NAME

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "OPAMBIN_REMOTE", "OPAMBIN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(command, args, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == code, result.output
    return result.output


def test_added_listed_removed(home: Path) -> None:
    assert "No remote" in run("list")
    assert "unsigned allowed" in run("add", "near", str(home / "cache"), "--write")
    assert "signed by one of ci" in run("add", "team", "https://cache.example.org/x", "--key", "ci")
    strict = ("--threshold", "2", "--require-snapshot", "--priority", "7")
    run("add", "strict", "oci://registry.example.org/me/cache", *strict)
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines] == ["name", "strict", "near", "team"]
    found = json.loads(run("list", "--json"))
    assert found[0]["trust"] == {
        "mode": "threshold",
        "keys": [],
        "role": "release",
        "threshold": 2,
        "snapshot": "required",
    }
    assert found[1]["write"] is True
    assert "Removed near" in run("remove", "near")
    assert len(json.loads(run("list", "--json"))) == 2


def test_what_can_not_be_a_remote_is_not_blamed_on_the_file() -> None:
    """It was, even where there was none yet."""
    with pytest.raises(MisuseError, match=r"^remote 'x': not a remote: 'ftp://a'"):
        run("add", "x", "ftp://a")


def test_a_threshold_of_none_is_not_one() -> None:
    """It was taken for none given, and one key was enough."""
    with pytest.raises(BadParameter, match="not in the range"):
        run("add", "x", "https://cache.example.org", "--threshold", "0")


def test_a_key_that_is_not_trusted_yet_is_named() -> None:
    said = run("add", "x", "https://cache.example.org", "--key", "ci")
    assert "ci is not among the trusted keys yet: opam-bin key trust adds it.\n" in said


def test_passwords_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPAMBIN_REMOTE", "https://me:secret@cache.example.org/x")
    assert "secret" not in run("list") + run("list", "--json")


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(("add", "x", "nonsense"), id="url"),
        pytest.param(("add", "x y", "/srv"), id="name"),
        pytest.param(("add", "x", "/srv", "--priority", "5000"), id="priority"),
        pytest.param(("remove", "x"), id="nothing to remove"),
        pytest.param(("check", "x"), id="nothing to check"),
    ],
)
def test_misuse(args: tuple[str, ...]) -> None:
    with pytest.raises(MisuseError):
        run(*args)


def test_a_directory_is_checked(home: Path) -> None:
    run("add", "near", str(home / "cache"), "--write")
    text = run("check")
    assert "reading works" in text
    assert "nobody has written" in text
    assert "writing works" in text
    assert "unsigned allowed" in text
    assert not list((home / "cache").glob("opam-bin-check*"))
    (home / "cache" / FORMAT_NAME).write_bytes(FORMAT)
    [found] = json.loads(run("check", "--json"))
    assert (found["reads"], found["writes"], found["entries"], found["empty"]) == (True, True, 1, False)


def test_a_format_of_the_future(home: Path) -> None:
    (home / "cache").mkdir()
    (home / "cache" / FORMAT_NAME).write_bytes(b"opam-bin remote 2\n")
    assert "does not know" in run("check", str(home / "cache"), code=1)


def test_what_is_not_there(home: Path) -> None:
    assert "mounted" in run("check", str(home / "missing"), code=1)
    url = f"http://127.0.0.1:{servers.free_port()}"
    assert f"problem: {url}: no connection" in run("check", url, code=1)


def test_a_server_that_only_reads() -> None:
    with faulty({f"/{FORMAT_NAME}": FORMAT}) as server:
        server.always = lambda call: (no_ranges if call.asked.method == "GET" else status(405))(call)
        assert "can't list" in run("check", server.url)
        run("add", "it", server.url, "--write")
        text = run("check", "it", code=1)
    assert "reading works" in text
    assert "takes no writes" in text


def test_contradictions_are_told() -> None:
    import click

    with pytest.raises(click.UsageError):
        run("add", "x", "/srv", "--unsigned", "--key", "a")
    assert "unsigned" not in run("add", "y", "/srv", "--signed")
    assert issubclass(MisuseError, OpambinError)
