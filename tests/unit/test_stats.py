from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from cli_runs import Cli

from opambin.errors import MisuseError
from opambin.reports import plots, statspage
from opambin.reports.stats import NOT_SAID, TOGETHER, beginning, collect, day_of, outcomes
from opambin.store.records import IN_SESSION, Event, Result
from opambin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DAY = 86400
NOON = 1_700_000_000 - 1_700_000_000 % DAY + DAY // 2  # of 2023-11-14, UTC
NOW = datetime(2023, 11, 20, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>&\"'"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    return Cli(monkeypatch, capsys, tmp_path)


def event(
    result: Result,
    package: str = "a.1",
    time: int = NOON,
    *,
    reason: str = "",
    seconds: float = 0,
    prefix: str = "/s",
) -> Event:
    size = 1000 if result is Result.HIT else 0
    return Event(time, prefix, package, "k", result, reason, seconds, size, size // 10)


def hit(package: str = "a.1", time: int = NOON, seconds: float = 8, reason: str = "") -> Event:
    return event(Result.HIT, package, time, seconds=seconds, reason=reason)


def miss(package: str = "a.1", time: int = NOON, reason: str = "no snapshot") -> Event:
    return event(Result.MISS, package, time, reason=reason)


def built(package: str = "a.1", time: int = NOON, reason: str = "", seconds: float = 5) -> Event:
    return event(Result.BUILT, package, time, reason=reason, seconds=seconds)


EVENTS = [
    hit("a.1", NOON, 8),
    hit("b.2.1", NOON + 1, 2, IN_SESSION),
    miss("c.1", NOON + 2, "the key is new"),
    built("c.1", NOON + 60, "no snapshot has this key", 30),
    hit("a.2", NOON + 2 * DAY, 4),
    event(Result.REFUSED, "d.1", NOON + 2 * DAY, reason="outside its prefix"),
]


def test_numbers() -> None:
    found = collect(EVENTS)
    assert found.total.as_dict() == {
        "hits": 3,
        "misses": 2,
        "hit_rate": 0.6,
        "saved_seconds": 14,
        "spent_seconds": 30,
        "restored_bytes": 3000,
        "saved_source_bytes": 200,
        "avoidable_source_bytes": 100,
    }
    assert {day.isoformat(): (it.hits, it.misses) for day, it in found.days.items()} == {
        "2023-11-14": (2, 1),
        "2023-11-16": (1, 1),
    }
    assert list(found.packages) == ["c", "a", "b", "d"]
    assert (found.packages["a"].hits, found.packages["a"].saved_seconds) == (2, 12)
    assert {reason: it.misses for reason, it in found.reasons.items()} == {
        "outside its prefix": 1,
        "the key is new": 1,
    }
    for part in ("days", "packages", "reasons"):
        rows = found.as_dict()[part]
        assert isinstance(rows, list)
        if part != "reasons":
            assert sum(row["hits"] for row in rows) == 3
        assert sum(row["misses"] for row in rows) == 2


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([miss(), built()], [(False, "no snapshot")], id="built after a miss"),
        pytest.param([miss(), hit(time=NOON + 9)], [(True, "")], id="the hooks restored what the door left"),
        pytest.param([miss()], [(False, "no snapshot")], id="nobody saw it being built"),
        pytest.param([miss(reason="")], [(False, NOT_SAID)], id="no reason"),
        pytest.param(
            [miss(), built(time=NOON + TOGETHER + 1, reason="r")],
            [(False, "no snapshot"), (False, "r")],
            id="too late to be the same run",
        ),
        pytest.param(
            [miss(), miss(time=NOON + 5, reason="again"), built(time=NOON + 9)],
            [(False, "no snapshot"), (False, "again")],
            id="the latest miss counts",
        ),
        pytest.param(
            [miss(), event(Result.BUILT, prefix="/t", reason="r")],
            [(False, "no snapshot"), (False, "r")],
            id="another switch",
        ),
        pytest.param([built(reason="r"), hit(time=NOON + 1)], [(False, "r"), (True, "")], id="then restored"),
    ],
)
def test_events_of_one_run_are_one_outcome(events: Sequence[Event], expected: list[tuple[bool, str]]) -> None:
    assert [(it.hit, it.reason) for it in outcomes(events)] == expected


@pytest.mark.parametrize(
    ("text", "day"),
    [
        pytest.param("2026-03-01", date(2026, 3, 1), id="a date"),
        pytest.param("today", date(2026, 3, 15), id="today"),
        pytest.param(" Yesterday", date(2026, 3, 14), id="yesterday"),
        pytest.param("7d", date(2026, 3, 8), id="days"),
        pytest.param("30 days", date(2026, 2, 13), id="more days"),
        pytest.param("0d", date(2026, 3, 15), id="no days"),
    ],
)
def test_days(text: str, day: date) -> None:
    assert day_of(text, date(2026, 3, 15)) == day


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "7", "-1d", "99999d 1", "1e9d"])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(MisuseError, match="is no day"):
        day_of(text, date(2026, 3, 15))


def test_far_back_is_no_day() -> None:
    with pytest.raises(MisuseError):
        day_of("99999d", date(200, 1, 1))


def test_a_day_begins_at_midnight() -> None:
    assert beginning(date(2023, 11, 14)) == NOON - DAY // 2


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0, [0, 1]),
        (1, [0, 0.5, 1]),
        (4, [0, 1, 2, 3, 4]),
        (7, [0, 2, 4, 6, 8]),
        (10, [0, 5, 10]),
        (0.03, [0, 0.01, 0.02, 0.03]),
        (12345, [0, 5000, 10000, 15000]),
    ],
)
def test_ticks(highest: float, expected: list[float]) -> None:
    assert plots.ticks(highest) == pytest.approx(expected)


def shapes(svg: str, style: str) -> list[dict[str, str]]:
    return [it.attrib for it in ElementTree.fromstring(svg).iter("rect") if it.get("class") == style]  # noqa: S314 - ours


PICTURE = plots.Picture("p", "A <title>", lambda value: f"{value:g} <u>")


def test_columns_stand_on_each_other_in_proportion() -> None:
    svg = plots.columns(
        PICTURE, ["<b>", "x"], [plots.Series("up", "a", [4, 0]), plots.Series("on it", "b", [2, 8])]
    )
    ((first,), (second, third)) = shapes(svg, "a"), shapes(svg, "b")
    high = plots.HEIGHT - plots.TOP - plots.BOTTOM
    assert [float(it["height"]) for it in (first, second, third)] == pytest.approx([high / 2, high / 4, high])
    assert float(second["y"]) + float(second["height"]) == pytest.approx(float(first["y"]))
    assert "<b>" not in svg
    assert "<u>" not in svg


def test_bars_are_in_proportion_and_long_labels_are_cut() -> None:
    svg = plots.bars(PICTURE, ["l" * 200, HOSTILE], plots.Series("s", "b", [10, 5]))
    first, second = (float(it["width"]) for it in shapes(svg, "b"))
    assert first == pytest.approx(2 * second)
    assert "l" * 77 + "…" in svg
    assert "<script" not in svg
    assert plots.bars(PICTURE, [], plots.Series("s", "b", [])).startswith("<svg")


class Page(HTMLParser):
    """Collects what matters of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "style")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_all_and_runs_nothing() -> None:
    events = [*EVENTS, hit(f"{HOSTILE}.1", NOON + 3 * DAY, 9), built("e.1", NOON + 3 * DAY, HOSTILE)]
    text = statspage.page(collect(events), NOW)
    page = Page(text)
    assert "script" not in page.tags
    assert page.addresses == []
    assert "url(" not in text
    assert "<script" not in text
    assert HOSTILE in page.text
    assert page.tags.count("table") == page.tags.count("svg") == 4
    assert page.tags.count("h1") == 1
    for words in (
        "57%",
        "of 7 packages restored",
        "23 s",
        "of building saved",
        "2023-11-14",
        "the key is new",
    ):
        assert words in page.text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert ElementTree.fromstring(svg).get("role") == "img"  # noqa: S314 - ours


def test_a_page_of_nothing() -> None:
    page = Page(statspage.page(collect([]), NOW))
    assert "Nothing was installed" in page.text
    assert "svg" not in page.tags


def test_a_page_without_hits() -> None:
    page = Page(statspage.page(collect([built(reason="r")]), NOW))
    assert "None was restored." in page.text
    assert page.tags.count("table") == 4


@pytest.mark.parametrize(
    ("days", "columns", "labels"),
    [
        pytest.param([0], 1, ("Nov 14", "Nov 14"), id="one day"),
        pytest.param([0, 30], 31, ("Nov 14", "Dec 14"), id="a month"),
        pytest.param([0, 100], 15, ("2023-11-14", "2024-02-20"), id="by week"),
        pytest.param([0, 2000], 6, ("2023-11-14", "2028-11-07"), id="by year"),
    ],
)
def test_long_times_share_columns(days: list[int], columns: int, labels: tuple[str, str]) -> None:
    found = statspage.columns_of(collect([hit(time=NOON + day * DAY) for day in days]))
    assert len(found) == columns
    assert (found[0][0], found[-1][0]) == labels
    assert sum(tally.hits for _, tally in found) == len(days)


def test_the_time_before_the_first_event_is_drawn() -> None:
    assert len(statspage.columns_of(collect([hit()], date(2023, 11, 10)))) == 5


def fill(cli: Cli) -> None:
    with Store.open(cli.cache) as store:
        store.record_events(EVENTS)


def test_the_command(cli: Cli) -> None:
    fill(cli)
    done = cli("stats")
    assert done.code == 0
    assert "5 packages: 3 restored, 2 not (60% hits)" in done.out
    assert "Saved: 14 s of building, 200 B of downloads" in done.out
    assert "downloaded 100 B of sources for nothing" in done.out
    assert re.search(r"2023-11-14 +2 +1 +10 s +100 B +30 s", done.out)
    assert re.search(r"a +2 +0 +12 s", cli("stats", "--by", "package").out)
    assert re.search(r"1 +30 s +the key is new", cli("stats", "--by=reason").out)


def test_the_command_since_a_day(cli: Cli) -> None:
    fill(cli)
    found = cli("stats", "--since", "2023-11-16", "--json").json
    assert found["since"] == "2023-11-16"
    assert (found["total"]["hits"], found["total"]["misses"]) == (1, 1)
    assert [row["day"] for row in found["days"]] == ["2023-11-16"]
    assert "Nothing was installed with opam-bin since" in cli("stats", "--since", "today").out
    assert cli("stats", "--since", "soon").code == 2


def test_the_command_without_a_store(cli: Cli) -> None:
    done = cli("stats", "--json")
    assert (done.code, done.json["total"]["hits"]) == (0, 0)
    assert not cli.cache.exists()


def test_the_command_writes_a_page(cli: Cli) -> None:
    fill(cli)
    done = cli("stats", "--html", "page.html")
    assert (done.code, done.out) == (0, "Written: page.html\n")
    assert "of 5 packages restored" in (cli.folder / "page.html").read_text("utf-8")
    refused = cli("stats", "--html", "none/page.html")
    assert (refused.code, refused.out) == (4, "")
    assert "none/page.html can't be written" in refused.err
    assert list(cli.folder.glob(".page*")) == []
