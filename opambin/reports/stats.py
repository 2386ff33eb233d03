"""Statistics: what runs of the past hit, missed and saved, from the events that they recorded.

Rules:

* A package that the front door did not find and a hook then saw being built left two events; it counts as
  one miss. They belong together when the second follows within :data:`TOGETHER`.
* What building took when the snapshot was made is what restoring it saved.
* The source of what was restored in a session of opam was downloaded all the same: that saved nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from opambin.errors import MisuseError
from opambin.store.records import IN_SESSION, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opambin.store.records import Event

TOGETHER = 6 * 3600
"""Seconds; a command that builds for longer than that is rare."""
NOT_SAID = "not said"
K = TypeVar("K")
_DAYS = re.compile(r"^(\d{1,5})\s*d(?:ays?)?$")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one package in one run.

    Attributes:
        time: Seconds since 1970.
        name: Of the package.
        hit: Whether it was restored.
        reason: Why not; empty for hits.
        seconds: Of building: saved by a hit, spent by a miss (0 when nobody measured it).
        bytes: Of files that were restored.
        source_bytes: Of sources that did not have to be downloaded.
        avoidable: Of sources that were downloaded, and would not have been by ``opam-bin install``.
    """

    time: int
    name: str
    hit: bool
    reason: str = ""
    seconds: float = 0.0
    bytes: int = 0
    source_bytes: int = 0
    avoidable: int = 0


@dataclass(slots=True)
class Tally:
    """Sums over outcomes.

    Attributes:
        hits: Packages that were restored.
        misses: Packages that were not.
        saved_seconds: Of building.
        spent_seconds: Of building.
        restored_bytes: Of files.
        saved_bytes: Of sources that were not downloaded.
        avoidable_bytes: Of sources that were downloaded for nothing.
    """

    hits: int = 0
    misses: int = 0
    saved_seconds: float = 0.0
    spent_seconds: float = 0.0
    restored_bytes: int = 0
    saved_bytes: int = 0
    avoidable_bytes: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        if outcome.hit:
            self.hits += 1
            self.saved_seconds += outcome.seconds
        else:
            self.misses += 1
            self.spent_seconds += outcome.seconds
        self.restored_bytes += outcome.bytes
        self.saved_bytes += outcome.source_bytes
        self.avoidable_bytes += outcome.avoidable

    @property
    def total(self) -> int:
        """How many packages there were."""
        return self.hits + self.misses

    @property
    def rate(self) -> float:
        """The share of hits, 0 to 1."""
        return self.hits / self.total if self.total else 0.0

    def as_dict(self) -> dict[str, float]:
        """Return plain values for ``--json``."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "hit_rate": round(self.rate, 4),
            "saved_seconds": round(self.saved_seconds, 3),
            "spent_seconds": round(self.spent_seconds, 3),
            "restored_bytes": self.restored_bytes,
            "saved_source_bytes": self.saved_bytes,
            "avoidable_source_bytes": self.avoidable_bytes,
        }


@dataclass(frozen=True, slots=True)
class Statistics:
    """Everything that a report shows.

    Attributes:
        since: The first day that was asked for; None for all.
        total: Over everything.
        days: By day in the local zone, the oldest first; days on which nothing happened are left out.
        packages: By name, what saved or cost most first.
        reasons: Of misses, the most frequent first.
    """

    since: date | None
    total: Tally = field(default_factory=Tally)
    days: dict[date, Tally] = field(default_factory=dict)
    packages: dict[str, Tally] = field(default_factory=dict)
    reasons: dict[str, Tally] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return plain values for ``--json``."""
        return {
            "since": self.since.isoformat() if self.since else None,
            "total": self.total.as_dict(),
            "days": [{"day": day.isoformat(), **tally.as_dict()} for day, tally in self.days.items()],
            "packages": [{"package": name, **tally.as_dict()} for name, tally in self.packages.items()],
            "reasons": [{"reason": reason, **tally.as_dict()} for reason, tally in self.reasons.items()],
        }


def collect(events: Iterable[Event], since: date | None = None) -> Statistics:
    """Count events, which come in order of time.

    Args:
        events: From ``since`` on.
        since: Goes into the result as it is.
    """
    found = outcomes(events)
    total = Tally()
    for outcome in found:
        total.add(outcome)
    days = _grouped(found, lambda outcome: datetime.fromtimestamp(outcome.time).astimezone().date())
    packages = _grouped(found, lambda outcome: outcome.name)
    reasons = _grouped([it for it in found if not it.hit], lambda outcome: outcome.reason)
    return Statistics(
        since,
        total,
        dict(sorted(days.items())),
        dict(sorted(packages.items(), key=lambda it: (-it[1].saved_seconds - it[1].spent_seconds, it[0]))),
        dict(sorted(reasons.items(), key=lambda it: (-it[1].misses, it[0]))),
    )


def outcomes(events: Iterable[Event]) -> list[Outcome]:
    """Make one outcome of the events that tell of the same package in the same run."""
    found: list[Outcome] = []
    waiting: dict[tuple[str, str], tuple[int, Event]] = {}
    for event in events:
        place = (event.prefix, event.package)
        if event.result is Result.MISS:
            waiting[place] = (len(found), event)
            found.append(_outcome(event, event.reason))
            continue
        at, missed = waiting.pop(place, (-1, event))
        together = at >= 0 and event.time - missed.time <= TOGETHER
        # the reason for not finding it says more than the one for not keeping it
        outcome = _outcome(event, missed.reason if together else event.reason)
        if together:
            found[at] = outcome
        else:
            found.append(outcome)
    return found


def _outcome(event: Event, reason: str) -> Outcome:
    name = event.package.partition(".")[0]
    if event.result is not Result.HIT:
        return Outcome(event.time, name, hit=False, reason=reason or NOT_SAID, seconds=event.seconds)
    in_session = event.reason == IN_SESSION
    return Outcome(
        event.time,
        name,
        hit=True,
        seconds=event.seconds,
        bytes=event.bytes,
        source_bytes=0 if in_session else event.source_bytes,
        avoidable=event.source_bytes if in_session else 0,
    )


def _grouped(found: Sequence[Outcome], key: Callable[[Outcome], K]) -> dict[K, Tally]:
    groups: dict[K, Tally] = {}
    for outcome in found:
        groups.setdefault(key(outcome), Tally()).add(outcome)
    return groups


def day_of(text: str, today: date) -> date:
    """Read the day that ``--since`` names: ``2026-03-01``, ``today``, ``yesterday``, ``7d``.

    Raises:
        MisuseError: It is none.
    """
    word = text.strip().lower()
    back = {"today": 0, "yesterday": 1}.get(word)
    match = _DAYS.match(word)
    try:
        if back is not None or match:
            return today - timedelta(days=int(match[1]) if match else back or 0)
        return date.fromisoformat(word)
    except (ValueError, OverflowError) as error:
        raise MisuseError(
            f"{text!r} is no day: give one like 2026-03-01, 'yesterday', or a number of days like 7d"
        ) from error


def beginning(day: date) -> int:
    """Return when a day begins in the local zone, in seconds since 1970."""
    return int(datetime(day.year, day.month, day.day).astimezone().timestamp())
