"""The statistics as one page: it holds everything it needs, runs no script and asks no server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from opambin import __version__
from opambin.errors import UnavailableError
from opambin.reports import plots
from opambin.reports.stats import Tally
from opambin.resources import templates_directory
from opambin.summary import data_size, duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from opambin.reports.stats import Statistics

MOST_COLUMNS = 62
STEPS = (1, 7, 28, 364)
"""Days of a column; the smallest step that fits is taken."""
MOST_BARS = 12
UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


@dataclass(frozen=True, slots=True)
class Plot:
    """A part of the page.

    Attributes:
        heading: Its title.
        note: A sentence below it.
        legend: Style and name of each series; empty for one.
        svg: The drawing.
        head: The headings of its table.
        rows: Of its table; the first cell names the row.
    """

    heading: str
    note: str
    legend: tuple[tuple[str, str], ...]
    svg: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_page(path: Path, found: Statistics, now: datetime) -> None:
    """Write the page, so that a reader sees the old or the new one.

    Raises:
        UnavailableError: It can't be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(page(found, now), encoding="utf-8", errors="backslashreplace")
        beside.replace(path)
    except OSError as error:
        raise UnavailableError(f"{path} can't be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def page(found: Statistics, now: datetime) -> str:
    """Return the page.

    Args:
        found: The numbers.
        now: When it is made; with a zone.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_directory()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    total = found.total
    figures = (
        (f"{total.rate:.0%}", f"of {total.total:,} packages restored"),
        (duration(total.saved_seconds), "of building saved"),
        (data_size(total.saved_bytes), "of downloads saved"),
        (data_size(total.restored_bytes), "of files restored"),
    )
    drawn = (_per_day(found), _time_per_day(found), _packages(found), _reasons(found)) if total.total else ()
    return environment.get_template("stats.html").render(
        since=found.since,
        figures=figures if total.total else (),
        avoidable=data_size(total.avoidable_bytes) if total.avoidable_bytes else "",
        plots=[plot for plot in drawn if plot.rows],
        made=now.strftime("%Y-%m-%d %H:%M %Z"),
        version=__version__,
    )


def took(seconds: float) -> str:
    """Write a time for a table; a dash for none."""
    return duration(seconds) if seconds else "–"  # noqa: RUF001 - it is meant


def step_of(found: Statistics) -> int:
    """Return how many days a column stands for."""
    if not found.days:
        return STEPS[0]
    count = (max(found.days) - _first(found)).days + 1
    return next((step for step in STEPS if -(-count // step) <= MOST_COLUMNS), STEPS[-1])


def _first(found: Statistics) -> date:
    return min([*found.days, *([found.since] if found.since else [])])


def columns_of(found: Statistics) -> list[tuple[str, Tally]]:
    """Return the columns over time, empty days among them; many days share columns."""
    if not found.days:
        return []
    first, last, step = _first(found), max(found.days), step_of(found)
    count = (last - first).days + 1
    made: list[tuple[str, Tally]] = []
    for at in range(0, count, step):
        day = first + timedelta(days=at)
        made.append((_label(day, first, last), Tally()))
    for day, tally in found.days.items():
        into = made[(day - first).days // step][1]
        into.hits += tally.hits
        into.misses += tally.misses
        into.saved_seconds += tally.saved_seconds
        into.spent_seconds += tally.spent_seconds
    return made


def _columns_note(found: Statistics) -> str:
    step = step_of(found)
    return f"A column stands for {step} days." if step > 1 else ""


def _label(day: date, first: date, last: date) -> str:
    return day.isoformat() if first.year != last.year else f"{day:%b} {day.day}"


def _per_day(found: Statistics) -> Plot:
    shown = columns_of(found)
    series = (
        plots.Series("restored", "a", [tally.hits for _, tally in shown]),
        plots.Series("not restored", "b", [tally.misses for _, tally in shown]),
    )
    picture = plots.Picture("packages", "Packages by day", lambda value: f"{value:,.0f}")
    return Plot(
        "Packages by day",
        _columns_note(found),
        tuple((it.style, it.name) for it in series),
        plots.columns(picture, [label for label, _ in shown], series),
        ("Day", "Restored", "Not restored", "Hits"),
        tuple(
            (day.isoformat(), f"{it.hits:,}", f"{it.misses:,}", f"{it.rate:.0%}")
            for day, it in reversed(found.days.items())
        ),
    )


def _time_per_day(found: Statistics) -> Plot:
    shown = columns_of(found)
    highest = max((tally.saved_seconds + tally.spent_seconds for _, tally in shown), default=0.0)
    unit, size = next(((unit, size) for unit, size in UNITS if highest >= 2 * size), UNITS[-1])
    series = (
        plots.Series("saved", "a", [tally.saved_seconds / size for _, tally in shown]),
        plots.Series("spent", "b", [tally.spent_seconds / size for _, tally in shown]),
    )
    picture = plots.Picture(
        "time", "Building time saved and spent by day", lambda value: f"{value:.3g} {unit}"
    )
    return Plot(
        "Building time by day",
        f"What was saved is what building took when the snapshot was made. {_columns_note(found)}".strip(),
        tuple((it.style, it.name) for it in series),
        plots.columns(picture, [label for label, _ in shown], series),
        ("Day", "Saved", "Spent", "Downloads saved"),
        tuple(
            (
                day.isoformat(),
                took(it.saved_seconds),
                took(it.spent_seconds),
                data_size(it.saved_bytes),
            )
            for day, it in reversed(found.days.items())
        ),
    )


def _packages(found: Statistics) -> Plot:
    by_saving = sorted(found.packages.items(), key=lambda it: (-it[1].saved_seconds, it[0]))
    top = [(name, tally) for name, tally in by_saving if tally.hits][:MOST_BARS]
    series = plots.Series("saved", "a", [tally.saved_seconds for _, tally in top])
    picture = plots.Picture("savings", "Packages that saved the most building time", duration)
    return Plot(
        "Packages",
        "Those that saved the most building time." if top else "None was restored.",
        (),
        plots.bars(picture, [name for name, _ in top], series) if top else "",
        ("Package", "Restored", "Not restored", "Saved", "Spent"),
        tuple(
            (name, f"{it.hits:,}", f"{it.misses:,}", took(it.saved_seconds), took(it.spent_seconds))
            for name, it in by_saving
        ),
    )


def _reasons(found: Statistics) -> Plot:
    top: Sequence[tuple[str, Tally]] = list(found.reasons.items())[:MOST_BARS]
    series = plots.Series("packages", "b", [tally.misses for _, tally in top])
    picture = plots.Picture("reasons", "Why packages were not restored", lambda value: f"{value:,.0f}")
    return Plot(
        "Why packages were not restored",
        "",
        (),
        plots.bars(picture, [reason for reason, _ in top], series),
        ("Reason", "Packages", "Time spent"),
        tuple((reason, f"{it.misses:,}", took(it.spent_seconds)) for reason, it in found.reasons.items()),
    )
