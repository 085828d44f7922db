"""Freeze windows: when nothing new goes into an environment, by the clocks of the people there.

    Window(Moment.parse("fri 16:00"), Moment.parse("mon 08:00"), "Europe/Berlin", "weekend")

Wall clocks jump twice a year. A window that begins or ends at a time that a clock skips, or shows
twice, is taken at its widest: it begins at the earlier moment and ends at the later one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from bot.domain.errors import RejectedError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HORIZON: Final = timedelta(days=400)
"""An opening that is further away is none that anybody waits for."""
_WEEK: Final = 7


class BadWindowError(RejectedError):
    """A window that nobody can understand."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of day, of each day, of one weekday, or of one date."""

    minute: int
    """Of the day; 1440 is its end."""
    weekday: int | None = None
    """From Monday, 0."""
    date: date | None = None

    @classmethod
    def parse(cls, text: str, *, ends: bool = False) -> Self:
        """Read ``16:00``, ``fri 16:00`` or ``2026-12-20 16:00``, or a day without a time.

        That one is the whole day: its beginning, or where a window ``ends`` its end.

        Raises:
            BadWindowError: it is none of them.
        """
        day, _, clock = text.strip().lower().rpartition(" ")
        if clock in DAYS or _DATE.fullmatch(clock):
            day, clock = clock, "24:00" if ends else "00:00"
        found = _CLOCK.fullmatch(clock)
        if found is None:
            raise BadWindowError(f"not a time: {text[:40]!r}")
        minute = int(found[1]) * 60 + int(found[2]) if found[1] else 24 * 60
        if not day:
            return cls(minute)
        if day in DAYS:
            return cls(minute, weekday=DAYS.index(day))
        if _DATE.fullmatch(day):
            try:
                return cls(minute, date=date.fromisoformat(day))
            except ValueError as error:
                raise BadWindowError(f"no such date: {day}") from error
        raise BadWindowError(f"not a weekday ({', '.join(DAYS)}) or a date: {day[:40]!r}")

    @property
    def kind(self) -> str:
        """What it repeats by."""
        if self.date is not None:
            return "date"
        return "day" if self.weekday is None else "weekday"

    def __str__(self) -> str:
        clock = f"{self.minute // 60:02}:{self.minute % 60:02}"
        if self.date is not None:
            return f"{self.date.isoformat()} {clock}"
        return clock if self.weekday is None else f"{DAYS[self.weekday]} {clock}"


class Span(NamedTuple):
    """One time that a window is closed, UTC: from the first moment until the second."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """When nothing new goes into an environment."""

    begins: Moment
    ends: Moment
    time_zone: str
    """Of the IANA database, for example ``Europe/Berlin``."""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.begins.kind != self.ends.kind:
            raise BadWindowError(
                f"`from` is a time of a {self.begins.kind}, `until` one of a {self.ends.kind}"
            )
        if self.begins == self.ends or self._minutes() == 0:
            raise BadWindowError("`from` and `until` are the same moment")
        if self.begins.date and self.ends.date and _later(self.begins, self.ends):
            raise BadWindowError("it ends before it begins")
        _zone(self.time_zone)

    def covering(self, now: datetime) -> Span | None:
        """The time that it is closed for now; None: it is open."""
        found = [one for one in self._spans(now) if one.start <= now < one.end]
        return max(found, key=lambda one: one.end, default=None)

    def _spans(self, now: datetime) -> Iterator[Span]:
        today = now.astimezone(_zone(self.time_zone)).date()
        for day in self._first_days(today):
            yield Span(
                _utc(day, timedelta(minutes=self.begins.minute), self.time_zone, latest=False),
                _utc(day, self._length() + self._until(), self.time_zone, latest=True),
            )

    def _until(self) -> timedelta:
        return timedelta(minutes=self.ends.minute)

    def _first_days(self, today: date) -> Sequence[date]:
        """Days near today on which it may have begun."""
        if self.begins.date is not None:
            return (self.begins.date,)
        if self.begins.weekday is None:
            return tuple(today + timedelta(days=d) for d in (-2, -1, 0, 1))
        monday = today - timedelta(days=today.weekday())
        first = monday + timedelta(days=self.begins.weekday)
        return tuple(first + timedelta(days=_WEEK * week) for week in (-2, -1, 0, 1))

    def _minutes(self) -> int:
        """How long it is by a clock that never jumps: 24:00 is the next day's beginning."""
        return self._length() // timedelta(minutes=1) + self.ends.minute - self.begins.minute

    def _length(self) -> timedelta:
        """Days between the day on which it begins and that on which it ends."""
        if self.begins.date is not None and self.ends.date is not None:
            return self.ends.date - self.begins.date
        wraps = self.ends.minute <= self.begins.minute
        if self.begins.weekday is None or self.ends.weekday is None:
            return timedelta(days=int(wraps))
        days = (self.ends.weekday - self.begins.weekday) % _WEEK
        return timedelta(days=days or (_WEEK if wraps else 0))

    def __str__(self) -> str:
        return f"{self.begins} to {self.ends} {self.time_zone}"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A window is closed."""

    window: Window
    since: datetime
    until: datetime | None
    """The next opening, whichever windows follow on this one; None: none within a year."""


def frozen(windows: Sequence[Window], now: datetime) -> Frozen | None:
    """The window that is closed for longest now, and when all of them are open next."""
    found = [(span, one) for one in windows if (span := one.covering(now)) is not None]
    if not found:
        return None
    span, window = max(found, key=lambda one: one[0].end)
    return Frozen(window, span.start, _opening(windows, now))


def _opening(windows: Sequence[Window], now: datetime) -> datetime | None:
    at = now
    while at - now < _HORIZON:
        ends = [span.end for one in windows if (span := one.covering(at)) is not None]
        if not ends:
            return at
        at = max(ends)
    return None


def _later(one: Moment, other: Moment) -> bool:
    return (one.date or date.min, one.minute) > (other.date or date.min, other.minute)


def _utc(day: date, after: timedelta, zone: str, *, latest: bool) -> datetime:
    """A time on people's clocks; of two that the clock may mean, the earlier or later one.

    What lies outside the calendar is its first or last moment: for ever.
    """
    try:
        wall = datetime.combine(day, datetime.min.time()) + after
        both = [wall.replace(tzinfo=_zone(zone), fold=fold).astimezone(UTC) for fold in (0, 1)]
    except OverflowError:
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        return first if day.year == date.min.year else last
    return max(both) if latest else min(both)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        if name in time_zones():
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass  # said below
    raise BadWindowError(f"no time zone {name[:60]!r} is known on this machine")


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """Names of time zones that this machine knows."""
    return frozenset(available_timezones())
