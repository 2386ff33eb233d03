"""The pages of a published repository in a browser: typed into, read by a screen reader, looked at."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import published_samples as samples
import pytest
from chromium import PROGRAM, Browser, Look

from opambin.publish.pages.signatures import Signatory, Signed
from opambin.publish.pages.site import write_pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not PROGRAM, reason="no chromium"),
]
OWNER = Signatory("", (("release", "ab" * 32),), 1)
SIGNED = Signed(OWNER.keys, 1, '["opam-bin" "verify-update"]', OWNER)
PHONE = Look(360, 740)
RESULTS = "[...document.querySelectorAll('#results a')].map(it => it.textContent)"
STATUS = "document.getElementById('status').textContent"
HOSTILE = "<img src=x onerror=alert(1)>"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the name is the base class's
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a small repository and one of 700 packages."""
    root = tmp_path_factory.mktemp("pages")
    for name, catalogue in (("small", samples.small()), ("large", samples.large(700))):
        hostile = samples.build("hostile", "1", synopsis=HOSTILE)
        full = samples.catalogue([*catalogue.builds, hostile], catalogue.left_out)
        write_pages(root / name, full, signed=SIGNED, names=lambda it: [*samples.files(it.name), HOSTILE])
        (root / name / "opam-bin-index.json").write_bytes(full.render())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(running: Browser) -> Iterator[Browser]:
    """A browser in which nothing went wrong: no error, no refused script, style or request."""
    running.told.clear()
    yield running
    running.ask("0")  # what is still on its way
    assert running.told == []


def test_search_as_you_type(browser: Browser, address: str) -> None:
    browser.open(f"{address}/large/index.html")
    assert (
        browser.ask("performance.getEntriesByType('resource').filter(it => /txt/.test(it.name)).length") == 0
    )
    browser.press("/")
    assert browser.ask("document.activeElement.id") == "q"
    browser.type("lwt")
    found = browser.wait_for(f"{RESULTS}.length && {RESULTS}")
    assert found[0] == "lwt"
    assert len(found) == 50
    assert "the first 50 are shown" in browser.wait_for(STATUS)
    assert browser.ask("document.querySelector('#results mark').textContent") == "lwt"
    assert browser.ask("document.querySelector('[data-front]').hidden")
    browser.type("_ppx")
    assert browser.wait_for(f"{RESULTS}[0] === 'lwt_ppx' && {RESULTS}")[0] == "lwt_ppx"
    assert browser.ask("location.search") == "?q=lwt_ppx"
    browser.press("Escape")
    assert browser.ask("document.querySelector('#q').value") == ""
    assert not browser.ask("document.querySelector('[data-front]').hidden")


def test_words_are_searched_and_several_terms_all_count(browser: Browser, address: str) -> None:
    browser.open(f"{address}/small/index.html?q=async+lwt")
    assert browser.wait_for(f"{RESULTS}.length && {RESULTS}") == ["lwt_ppx"]
    browser.open(f"{address}/small/index.html?q=no-such-thing")
    assert browser.wait_for(STATUS) == "No package matches."


def test_keys_walk_through_results_and_open_one(browser: Browser, address: str) -> None:
    browser.open(f"{address}/small/index.html?q=ocaml")
    first, second = browser.wait_for(f"{RESULTS}.length > 2 && {RESULTS}")[:2]
    browser.ask("document.querySelector('#q').focus()")
    for key, text in (("ArrowDown", first), ("ArrowDown", second), ("ArrowUp", first)):
        browser.press(key)
        assert browser.ask("document.activeElement.textContent") == text
    browser.press("ArrowUp")
    assert browser.ask("document.activeElement.id") == "q"
    browser.press("Enter")
    browser.wait_for(f"location.pathname.endsWith('/p/{first}.html') && document.readyState === 'complete'")


def test_a_package_page_finds_other_packages(browser: Browser, address: str) -> None:
    browser.open(f"{address}/small/pages/p/dune.html")
    browser.press("/")
    browser.type("zarith")
    browser.press("Enter")
    browser.wait_for(f"location.pathname.endsWith('index.html') && {RESULTS}[0] === 'zarith'")


def test_what_packages_say_is_only_text(browser: Browser, address: str) -> None:
    browser.open(f"{address}/small/index.html?q=onerror")
    browser.wait_for(f"{RESULTS}[0] === 'hostile'")
    assert HOSTILE in browser.ask("document.querySelector('#results').textContent")
    assert browser.ask("document.querySelector('#results img')") is None
    browser.open(f"{address}/small/pages/p/hostile.html")
    assert browser.ask("document.querySelectorAll('main img').length") == 1  # the badge


def test_a_script_in_a_page_would_not_run(running: Browser, address: str) -> None:
    running.open(f"{address}/small/pages/p/dune.html")
    added = "const it = document.createElement('script'); it.textContent = 'window.ran = 1'"
    running.ask(f"(() => {{ try {{ {added}; document.body.append(it) }} catch {{ return 0 }} }})()")
    assert running.ask("window.ran") is None
    assert (
        running.ask("(() => { try { document.body.innerHTML = '<p>'; return 1 } catch { return 2 } })()") == 2
    )


def test_commands_are_copied(browser: Browser, address: str) -> None:
    browser.open(f"{address}/small/pages/p/lwt.html")
    browser.ask("document.addEventListener('copy', () => { window.copied = String(getSelection()) })")
    browser.ask("navigator.clipboard.writeText = async () => { throw 0 }")  # as without a permission
    browser.ask("document.querySelectorAll('button.copy')[1].click()")
    assert browser.wait_for("window.copied") == "opam install lwt.5.9.0"
    assert "Copied" in browser.wait_for("document.getElementById('told').textContent")


def test_everything_can_be_read_without_scripts(browser: Browser, address: str) -> None:
    browser.open(f"{address}/large/index.html", Look(scripts=False))
    shown = browser.accessible()
    assert not [name for role, name in shown if role in ("searchbox", "button")]
    assert ("link", "L") in shown
    browser.open(f"{address}/large/pages/all/l.html", Look(scripts=False))
    assert ("link", "lwt_ppx") in browser.accessible()


def test_a_screen_reader_finds_its_way(browser: Browser, address: str) -> None:
    browser.open(f"{address}/small/pages/p/lwt_ppx.html")
    shown = browser.accessible()
    roles = [role for role, _ in shown]
    for role in ("banner", "main", "contentinfo", "navigation", "search", "searchbox"):
        assert role in roles, role
    headings = [name for role, name in shown if role == "heading"]
    assert headings[0] == "lwt_ppx"
    assert "Dependencies" in headings
    assert next(name for role, name in shown if role == "link") == "Skip to the content"
    assert not [pair for pair in shown if pair[0] in ("link", "button", "searchbox", "image") and not pair[1]]
    assert shown.count(("link", "ppxlib")) == 1  # in the list; the drawing of the graph is hidden
    browser.press("Tab")
    assert browser.ask("document.activeElement.className") == "skip"
    browser.wait_for("document.activeElement.getBoundingClientRect().top >= 0")


@pytest.mark.parametrize("page", ["index.html", "pages/p/lwt.html", "pages/verify.html", "pages/all/l.html"])
def test_nothing_is_wider_than_a_phone(browser: Browser, address: str, page: str) -> None:
    browser.open(f"{address}/small/{page}", PHONE)
    assert browser.ask("document.documentElement.scrollWidth") <= PHONE.width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", ["index.html", "pages/p/lwt_ppx.html", "pages/verify.html"])
def test_text_stands_out_from_its_ground(
    browser: Browser, address: str, page: str, tmp_path: Path, *, dark: bool
) -> None:
    browser.open(f"{address}/small/{page}", Look(dark=dark))
    weak = browser.ask(CONTRAST)
    assert weak == []
    ground = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 384) == dark
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "page.png").stat().st_size > 20_000  # not empty


CONTRAST = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((it) => it / 255)
    .map((it) => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4)
    .reduce((sum, it, at) => sum + it * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = parse(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const weak = [];
  for (const element of document.querySelectorAll('body *:not(svg *)')) {
    const text = [...element.childNodes].some((it) => it.nodeType === 3 && it.data.trim());
    if (!text || !element.checkVisibility() || element.closest('noscript')) continue;
    const [one, other] = [light(parse(getComputedStyle(element).color)), light(ground(element))].sort();
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) weak.push(`${element.tagName} ${element.textContent.slice(0, 40)} ${ratio.toFixed(2)}`);
  }
  return weak;
})()
"""
"""What has less contrast than WCAG asks for (AA, 4.5 to 1)."""
