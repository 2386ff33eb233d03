from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from opambin.config import remotes_file
from opambin.errors import BadDataError, MisuseError, UnavailableError
from opambin.remotes_config import (
    Configured,
    Trust,
    add,
    configured,
    default_trust,
    parse,
    read,
    remove,
    render,
)
from opambin.trust.policy import Mode, Role

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


WHOLE = """
- name: team
  url: https://cache.example.org/opam
  priority: 10
  write: true
  trust: {mode: threshold, keys: [ci, release], role: staging, threshold: 2, snapshot: required}
- name: near
  url: /srv/cache
  priority: 20
- name: registry
  url: oci://registry.example.org:5000/opam
  plain-http: true
"""


def test_a_whole_file() -> None:
    assert parse(WHOLE.encode(), "x") == [
        Configured(
            "team",
            "https://cache.example.org/opam",
            10,
            True,
            Trust(Mode.THRESHOLD, ("ci", "release"), Role.STAGING, 2, True),
        ),
        Configured("near", "/srv/cache", 20, trust=Trust(Mode.UNSIGNED)),
        Configured("registry", "oci://registry.example.org:5000/opam", plain_http=True),
    ]


def test_what_is_written_is_read() -> None:
    entries = parse(WHOLE.encode(), "x")
    assert parse(render(entries), "x") == entries


@pytest.mark.parametrize("data", [b"", b"[]", b"# nothing\n"])
def test_no_remotes(data: bytes) -> None:
    assert parse(data, "x") == []


def test_only_directories_need_no_signature() -> None:
    assert default_trust("/srv/cache").mode is Mode.UNSIGNED
    assert default_trust("file:///srv/cache").mode is Mode.UNSIGNED
    for url in ("https://x", "http://x", "s3://x", "oci://x/y", "bundle:/x"):
        assert default_trust(url).mode is Mode.ANY


def test_a_named_key_means_that_signatures_are_wanted() -> None:
    [entry] = parse(b"[{name: a, url: /srv, trust: {keys: [ci]}}]", "x")
    assert entry.trust == Trust(Mode.ANY, ("ci",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("- 1", "no mapping", id="a number"),
        pytest.param("- {url: /x}", "name: None is not a name", id="no name"),
        pytest.param("- {name: -x, url: /x}", "is not a name", id="bad name"),
        pytest.param("- {name: a}", "url: None is not a URL", id="no url"),
        pytest.param("- {name: a, url: x}", "not a remote", id="bad url"),
        pytest.param("- {name: a, url: 'https://me:pw@h/'}", "netrc", id="password"),
        pytest.param("- {name: a, url: /x, priority: high}", "a number from", id="priority"),
        pytest.param("- {name: a, url: /x, priority: true}", "a number from", id="priority true"),
        pytest.param("- {name: a, url: /x, write: 1}", "true or false", id="write"),
        pytest.param("- {name: a, url: /x, wrte: true}", "there is no 'wrte'", id="unknown"),
        pytest.param("- {name: a, url: /x, trust: all}", "no mapping", id="trust"),
        pytest.param("- {name: a, url: /x, trust: {mode: some}}", "one of unsigned, any", id="mode"),
        pytest.param("- {name: a, url: /x, trust: {role: boss}}", "one of staging, release", id="role"),
        pytest.param("- {name: a, url: /x, trust: {keys: ci}}", "a list of names", id="keys"),
        pytest.param("- {name: a, url: /x, trust: {threshold: 0}}", "a number from 1", id="threshold"),
        pytest.param(
            "- {name: a, url: /x, trust: {mode: threshold, keys: [a], threshold: 2}}",
            "possible with 1 keys",
            id="threshold that can't be met",
        ),
        pytest.param(
            "- {name: a, url: /x, trust: {mode: unsigned, keys: [a]}}", "mode is unsigned", id="contradiction"
        ),
        pytest.param("- {name: a, url: /x, trust: {snapshot: yes}}", "required, optional", id="snapshot"),
        pytest.param("- {name: a, url: /x}\n- {name: a, url: /y}", "two remotes have the name a", id="twice"),
    ],
)
def test_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(MisuseError, match=words):
        parse(text.encode(), "remotes.yaml")


def test_it_is_said_where_something_is_wrong() -> None:
    text = "# ours\n- {name: a, url: /x}\n- name: b\n  url: nothing\n- 1\n"
    with pytest.raises(
        MisuseError, match=r"line 3: remote 'b': not a remote.*; line 5: 1 is no mapping of [^;]*$"
    ):
        parse(text.encode(), "remotes.yaml")
    with pytest.raises(BadDataError, match=r"^remotes.yaml: line 2: there is a tab"):
        parse(b"- name: a\n\turl: /x\n", "remotes.yaml")


def test_all_problems_at_once_and_no_password_in_them() -> None:
    text = "- {name: a, url: 'https://me:pw@h/', write: 1}\n- {name: b, url: nothing}\n"
    with pytest.raises(MisuseError) as caught:
        parse(text.encode(), "remotes.yaml")
    words = str(caught.value)
    assert "netrc" in words
    assert "write" in words
    assert "nothing" in words
    assert "me:pw" not in words


@pytest.mark.parametrize("data", [b"a: b", b"- [", b"\xff\xfe\x00", b"&a [*a, *a"])
def test_what_is_no_list(data: bytes) -> None:
    with pytest.raises(BadDataError):
        parse(data, "x")


def test_added_and_removed(environ: dict[str, str]) -> None:
    assert read(environ) == []
    add(environ, Configured("a", "/srv/a", trust=Trust(Mode.UNSIGNED)))
    add(environ, Configured("b", "https://b", 5))
    assert [entry.name for entry in configured(environ)] == ["b", "a"]
    assert remotes_file(environ).stat().st_mode & 0o777 == 0o644
    with pytest.raises(MisuseError, match="there is a remote a already"):
        add(environ, Configured("a", "/srv/c"))
    with pytest.raises(MisuseError, match="not a remote"):
        add(environ, Configured("c", "nonsense"))
    with pytest.raises(MisuseError, match="is not a name"):
        add(environ, Configured("c d", "/srv"))
    assert remove(environ, "a").url == "/srv/a"
    with pytest.raises(MisuseError, match="there are: b"):
        remove(environ, "a")
    assert [entry.name for entry in read(environ)] == ["b"]
    assert [path.name for path in remotes_file(environ).parent.iterdir()] == ["remotes.yaml"]


def test_with_trusted_keys_in_the_environment_its_folders_have_to_be_signed(environ: dict[str, str]) -> None:
    # Who named keys for a job got what nobody had signed, where the cache was a folder.
    given = {**environ, "OPAMBIN_REMOTE": "/srv/cache"}
    assert configured(given)[0].trust.mode is Mode.UNSIGNED
    assert configured({**given, "OPAMBIN_TRUSTED_KEYS": "some"})[0].trust.mode is Mode.ANY


def test_the_environment_comes_first(environ: dict[str, str]) -> None:
    add(environ, Configured("a", "/srv/a", 1000))
    environ["OPAMBIN_REMOTE"] = "https://one /srv/two"
    found = configured(environ)
    assert [(entry.name, entry.url) for entry in found] == [
        ("environment", "https://one"),
        ("environment-2", "/srv/two"),
        ("a", "/srv/a"),
    ]
    assert [entry.trust.mode for entry in found][:2] == [Mode.ANY, Mode.UNSIGNED]
    assert found[0].write
    environ["OPAMBIN_REMOTE"] = "nonsense"
    with pytest.raises(MisuseError, match="not a remote"):
        configured(environ)


def test_a_file_that_others_can_write(environ: dict[str, str]) -> None:
    """It says whom to trust."""
    add(environ, Configured("a", "/srv/a"))
    remotes_file(environ).chmod(0o666)
    with pytest.raises(MisuseError, match="can be written"):
        read(environ)


def test_a_folder_in_place_of_the_file(environ: dict[str, str]) -> None:
    remotes_file(environ).mkdir(parents=True)
    with pytest.raises(UnavailableError, match="can't be read"):
        read(environ)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_can_not_be_written(environ: dict[str, str]) -> None:
    remotes_file(environ).parent.mkdir(parents=True, mode=0o500)
    with pytest.raises(UnavailableError, match="can't be written"):
        add(environ, Configured("a", "/srv/a"))


@pytest.mark.parametrize(
    ("trust", "words"),
    [
        (Trust(Mode.UNSIGNED), "unsigned allowed"),
        (Trust(), "signed by one of the trusted keys"),
        (Trust(Mode.THRESHOLD, ("a", "b"), Role.STAGING, 2, True),
         "signed by 2 of a, b, staging is enough, snapshot required"),
    ],
)  # fmt: skip
def test_in_words(trust: Trust, words: str) -> None:
    assert trust.describe() == words
