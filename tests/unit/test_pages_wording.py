from __future__ import annotations

import shlex
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opambin.publish.pages import wording
from opambin.remote.protocol import check_name

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        pytest.param("lwt", "lwt", id="plain"),
        pytest.param("a\nb\tc", "a b c", id="lines and tabs"),
        pytest.param("gpj.\u202etxt", "gpj.�txt", id="right-to-left override"),
        pytest.param("a\u200bb", "a�b", id="no width"),
        pytest.param("a\x00\x1b[31mb", "a��[31mb", id="control characters"),
        pytest.param("é ü λ", "é ü λ", id="letters of other languages"),
        pytest.param("\ud800", "�", id="half of a pair"),
    ],
)
def test_what_hides_is_shown(text: str, seen: str) -> None:
    assert wording.visible(text) == seen


def test_a_long_text_is_cut() -> None:
    assert wording.visible("abcdef", 4) == "abc…"
    assert wording.visible("abcd", 4) == "abcd"


@patient
@given(st.text())
def test_a_text_is_always_one_line(text: str) -> None:
    assert len(wording.visible(text).splitlines()) <= 1


@patient
@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_two_names_never_share_a_page(pair: list[str]) -> None:
    one, other = map(wording.file_of, pair)
    assert one != other


@patient
@given(st.text())
def test_the_file_of_a_page_is_a_name_on_every_remote(name: str) -> None:
    made = wording.file_of(name)
    assert quote(made) == made
    check_name(f"pages/p/{made}/{made}.html")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param("lwt_ppx", "lwt_ppx", id="as it is"),
        pytest.param("lwt+bin", "lwt.-2b.bin", id="plus"),
        pytest.param("5.9.0", "5.9.0", id="version"),
        pytest.param("../x", "x.--2e..-2e..-2f.x", id="to the folder above"),
        pytest.param("..", "x.--2e..-2e.", id="the folder above"),
        pytest.param("-rf", "x.--2d.rf", id="option"),
        pytest.param("x.--2d.rf", "x.-2e.--2d.rf", id="what an escape looks like"),
    ],
)
def test_files_of_pages(name: str, file: str) -> None:
    assert wording.file_of(name) == file


@pytest.mark.parametrize("name", ["a" * 60, "", "+" * 20])
def test_what_is_no_file_name_becomes_a_digest(name: str) -> None:
    made = wording.file_of(name)
    assert made.startswith("x.---")
    assert len(made) == 5 + 40


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        pytest.param("https://example.org/a?b=c#d", True, id="https"),
        pytest.param("http://example.org", True, id="http"),
        pytest.param("javascript:alert(1)", False, id="script"),
        pytest.param("JaVaScRiPt:alert(1)", False, id="script in odd letters"),
        pytest.param("data:text/html,x", False, id="data"),
        pytest.param("//example.org", False, id="no scheme"),
        pytest.param("https:", False, id="no host"),
        pytest.param("https://a b", False, id="space"),
        pytest.param('https://a"onclick=x', False, id="quote"),
        pytest.param("https://a\n", False, id="line end"),
        pytest.param("https://[", False, id="not an address"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_addresses_that_links_may_have(address: str, *, fine: bool) -> None:
    assert wording.web_address(address) == (address if fine else "")


@pytest.mark.parametrize("text", ["lwt", "lwt.5.9.0", "ocaml+bin.4.14.2~rc1", "0install", "_x"])
def test_packages_of_commands(text: str) -> None:
    assert wording.is_package(text)


@pytest.mark.parametrize("text", ["", "-rf", "a b", "a;b", "a\n", "$(x)", "é", "--yes"])
def test_what_is_no_package_comes_into_no_command(text: str) -> None:
    assert not wording.is_package(text)


@patient
@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_command_is_one_line_and_each_word_stays_one(words: list[str]) -> None:
    made = wording.command(*words)
    assert "\n" not in made
    assert shlex.split(made) == [wording.visible(word) for word in words]


@pytest.mark.parametrize(
    ("name", "letter"), [("Lwt", "l"), ("0install", "0"), ("", "0"), ("élan", "0"), ("_x", "0")]
)
def test_letters_of_the_list(name: str, letter: str) -> None:
    assert wording.letter_of(name) == letter
