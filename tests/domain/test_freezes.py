"""Windows by the clocks of people: days, weeks, dates, and the two nights a year that are odd."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from bot.domain.freezes import BadWindowError, Moment, Window, frozen

BERLIN = "Europe/Berlin"


def window(begins: str, ends: str, zone: str = BERLIN) -> Window:
    return Window(Moment.parse(begins), Moment.parse(ends), zone, "quiet")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


WEEKEND = window("fri 16:00", "mon 08:00")


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-27T14:59", None),  # a Friday, 15:59 in Berlin
        ("2026-11-27T15:00", "2026-11-30T07:00"),
        ("2026-11-30T06:59", "2026-11-30T07:00"),
        ("2026-11-30T07:00", None),
        ("2026-07-03T14:00", "2026-07-06T06:00"),  # in summer an hour earlier
    ],
)
def test_a_weekend_by_the_clock_of_berlin(now: str, until: str | None) -> None:
    found = frozen([WEEKEND], at(now))

    assert (found.until if found else None) == (at(until) if until else None)


@pytest.mark.parametrize(
    ("now", "is_closed"),
    [("2026-11-28T21:00", True), ("2026-11-29T04:59", True), ("2026-11-29T05:00", False)],
)
def test_a_night_goes_over_midnight(now: str, *, is_closed: bool) -> None:
    assert (frozen([window("22:00", "06:00")], at(now)) is not None) is is_closed


def test_the_calendar_has_its_first_and_last_day() -> None:
    december = window("2026-12-19 00:00", "2027-01-06 24:00")

    assert frozen([december], at("2026-12-18T22:59")) is None
    found = frozen([december], at("2026-12-24T12:00"))
    assert found is not None
    assert found.until == at("2027-01-06T23:00")
    assert frozen([december], at("2027-01-06T23:00")) is None


def test_a_day_without_a_time_is_the_whole_day() -> None:
    sunday = Window(Moment.parse("sun"), Moment.parse("sun", ends=True), "UTC")
    december = Window(Moment.parse("2026-12-19"), Moment.parse("2027-01-06", ends=True), "UTC")

    assert frozen([sunday], at("2026-11-28T23:59")) is None
    found = frozen([sunday], at("2026-11-29T00:00"))
    assert found is not None
    assert found.until == at("2026-11-30T00:00")
    later = frozen([december], at("2026-12-24T00:00"))
    assert later is not None
    assert later.until == at("2027-01-07T00:00")


def test_the_next_opening_is_behind_all_windows_that_follow() -> None:
    night, weekend = window("20:00", "09:00"), window("fri 18:00", "mon 00:00")

    found = frozen([weekend, night], at("2026-11-27T18:00"))

    assert found is not None
    assert found.until == at("2026-11-30T08:00")  # Monday, 09:00 in Berlin


def test_what_never_opens_has_no_opening() -> None:
    found = frozen([window("00:00", "12:00"), window("12:00", "24:00")], at("2026-11-27T18:00"))

    assert found is not None
    assert found.until is None


def test_a_clock_that_skips_an_hour_begins_early() -> None:
    """On 29 March 2026 Berlin has no 02:30: 01:30 UTC would be 03:30 there."""
    found = frozen([window("02:30", "05:00")], at("2026-03-29T00:45"))

    assert found is not None
    assert (found.since, found.until) == (at("2026-03-29T00:30"), at("2026-03-29T03:00"))


def test_a_clock_that_shows_an_hour_twice_ends_late() -> None:
    """On 25 October 2026 Berlin has 02:30 twice: at 00:30 and at 01:30 UTC."""
    found = frozen([window("00:00", "02:30")], at("2026-10-25T01:15"))

    assert found is not None
    assert found.until == at("2026-10-25T01:30")


@pytest.mark.parametrize(
    ("begins", "ends"),
    [("fri 16:00", "08:00"), ("08:00", "08:00"), ("2026-12-20 08:00", "2026-12-19 08:00")],
)
def test_ends_that_do_not_fit_are_refused(begins: str, ends: str) -> None:
    with pytest.raises(BadWindowError):
        window(begins, ends)


@pytest.mark.parametrize("text", ["", "25:00", "8:00", "fry 08:00", "2026-02-30 08:00", "24:01"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(BadWindowError):
        Moment.parse(text)


def test_a_zone_that_nobody_knows_is_refused() -> None:
    with pytest.raises(BadWindowError, match="Berlin"):
        window("08:00", "09:00", "Europe/../Berlin")


CLOCKS = st.integers(0, 23 * 60 + 59).map(lambda m: f"{m // 60:02}:{m % 60:02}")
WEEKDAYS = st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"])
ZONES = st.sampled_from([BERLIN, "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])


@given(
    st.lists(st.tuples(WEEKDAYS, CLOCKS, WEEKDAYS, CLOCKS, ZONES), min_size=1, max_size=3),
    st.integers(0, 2 * 365 * 24 * 60).map(lambda m: at("2026-01-01T00:00") + timedelta(minutes=m)),
)
def test_for_every_window_the_opening_is_the_first_open_moment(
    given_windows: list[tuple[str, str, str, str, str]], now: datetime
) -> None:
    windows = [
        window(f"{first} {begins}", f"{last} {ends}", zone)
        for first, begins, last, ends, zone in given_windows
        if (first, begins) != (last, ends)
    ]
    found = frozen(windows, now)
    if found is None or found.until is None:
        return
    assert found.since <= now < found.until
    assert frozen(windows, found.until) is None
    step = (found.until - now) / 20
    assert all(frozen(windows, now + n * step) is not None for n in range(20))
    assert frozen(windows, found.until - timedelta(microseconds=1)) is not None
