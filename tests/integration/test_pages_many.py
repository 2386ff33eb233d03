"""Ten thousand packages: how long the pages take, and the search in them."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import published_samples as samples
import pytest
from chromium import PROGRAM, Browser

from opambin.publish.pages.site import write_pages

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.slow]
COUNT = 10_000
MOST_SECONDS = 30.0  # for all pages, when nothing else wants the processors
MOST_AGAIN = 5.0  # seconds, when nothing has changed
MOST_KEYSTROKE = 100.0  # milliseconds from a letter to its results
SEARCH = """(async () => {
  const box = document.querySelector('#q'), took = [];
  box.focus();
  for (const text of ['l', 'lw', 'lwt', 'lwt s', 'lwt se', 'json', 'p', 'pp', 'ppx d', 'library for the']) {
    box.value = text;
    const start = performance.now();
    box.dispatchEvent(new Event('input'));
    await new Promise((done) => new MutationObserver(done)
      .observe(document.querySelector('#results'), { childList: true }));
    took.push(performance.now() - start);
  }
  return took.slice(1);
})()"""
"""Milliseconds for each search but the first, which fetches the index."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the name is the base class's
        pass


def used() -> float:
    """Return the processors' time of this process and its children, in seconds."""
    return sum(os.times()[:4])


@pytest.mark.skipif(not PROGRAM, reason="no chromium")
def test_ten_thousand_packages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue = samples.large(COUNT)
    root = tmp_path / "site"
    start, before = time.monotonic(), used()
    first = write_pages(root, catalogue, names=lambda build: samples.files(build.name))
    wall, busy = time.monotonic() - start, used() - before
    before = used()
    again = write_pages(root, catalogue)
    idle = used() - before
    assert first.written > 2 * COUNT
    assert again.written == 0
    (root / "opam-bin-index.json").write_bytes(catalogue.render())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Browser(tmp_path / "profile") as browser:
            browser.open(f"http://127.0.0.1:{server.server_port}/index.html")
            took = browser.ask(SEARCH)
        server.shutdown()
    sizes = [(root / path).stat().st_size for path in ("index.html", "pages/names.txt", "pages/words.txt")]
    figures = (
        f"\n  {first.written} files in {wall:.1f} s, {busy:.1f} s of processors; again {idle:.1f} s"
        f"\n  searches: {', '.join(f'{it:.0f} ms' for it in took)}; front page and index: {sizes} bytes"
    )
    with capsys.disabled():
        print(figures)  # noqa: T201 - who asks for this test wants to see them
    assert busy / len(os.sched_getaffinity(0)) <= MOST_SECONDS
    assert idle <= MOST_AGAIN
    assert sorted(took)[len(took) // 2] <= MOST_KEYSTROKE
