"""GitHub's budgets: silence, what is left of an hour, and content that notifies people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from bot.adapters.github.pace import Pace, Urgency, urgency
from bot.adapters.github.remembered import Kept, Key, Remembered
from bot.domain.errors import UnavailableError
from bot.domain.metrics import GITHUB_REMAINING, GITHUB_RESETS, GITHUB_SILENCE

OPEN, CHECK = "POST /repos/acme/deploy/pulls", "POST /repos/acme/deploy/check-runs"


@dataclass
class Clock:
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


def waits(pace: Pace, request: str, of: Urgency = Urgency.REPORT, account: str = "acme") -> float:
    """Seconds that a request has to wait; 0: it may be sent."""
    with urgency(of):
        try:
            pace.admit(account, request)
        except UnavailableError as error:
            return error.retry_after or 0
    return 0


def test_silence_is_kept_by_one_installation_alone_and_ends() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.silence("acme", 60)
    pace.silence("acme", 5)

    assert waits(pace, CHECK, Urgency.DELIVERY) == 60
    assert waits(pace, CHECK, account="other") == 0
    clock.at += timedelta(seconds=61)
    assert waits(pace, CHECK) == 0


def test_the_last_requests_of_an_hour_are_for_deliveries() -> None:
    clock = Clock()
    pace = Pace(clock)
    reset = str(int((clock.at + timedelta(minutes=10)).timestamp()))

    def left(number: int) -> list[bool]:
        names = ("remaining", "limit", "reset")
        said = zip(names, (str(number), "5000", reset), strict=True)
        pace.heard("acme", {f"x-ratelimit-{name}": value for name, value in said})
        return [waits(pace, CHECK, one) == 0 for one in Urgency]

    assert left(1000) == [True, True, True]
    assert left(400) == [False, True, True]
    assert left(100) == [False, False, True]
    assert waits(pace, CHECK) == 600
    clock.at += timedelta(minutes=11)
    assert waits(pace, CHECK) == 0


@pytest.mark.parametrize(("of", "number"), [(Urgency.REPORT, 56), (Urgency.DELIVERY, 80)])
def test_no_more_content_than_github_takes_in_a_minute(of: Urgency, number: int) -> None:
    clock = Clock()
    pace = Pace(clock)

    assert [waits(pace, OPEN, of) for _ in range(number + 1)] == [0] * number + [60]
    assert waits(pace, CHECK, of) == 0
    clock.at += timedelta(seconds=60)
    assert waits(pace, OPEN, of) == 0


def test_a_server_of_ones_own_has_no_limit_for_content() -> None:
    pace = Pace(Clock(), limits_content=False)

    assert not any(waits(pace, OPEN) for _ in range(200))


@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from(list(Urgency))), max_size=700))
def test_in_no_minute_and_no_hour_is_more_sent_than_allowed(
    steps: list[tuple[int, Urgency]],
) -> None:
    clock = Clock()
    pace = Pace(clock)
    sent: list[datetime] = []
    for seconds, of in steps:
        clock.at += timedelta(seconds=seconds / 10)
        if not waits(pace, OPEN, of):
            sent.append(clock.at)

    for length, most in ((timedelta(minutes=1), 80), (timedelta(hours=1), 500)):
        for at in sent:
            assert sum(at - length < one <= at for one in sent) <= most


@pytest.mark.parametrize("text", ["", "-1", "x", "9" * 40, "٣"])
def test_odd_headers_say_nothing(text: str) -> None:
    pace = Pace(Clock())
    names = ("remaining", "limit", "reset")
    pace.heard("acme", {f"x-ratelimit-{name}": text for name in names})

    assert waits(pace, CHECK) == 0


def test_answers_are_remembered_by_what_is_used_and_fits() -> None:
    kept = Remembered()

    def key(number: int) -> Key:
        return ("token", f"/{number}", ())

    for number in range(40):
        kept.put(key(number), Kept("e", {}, "x" * 256 * 1024))
        kept.get(key(0))
    kept.put(key(50), Kept("e", {}, "x" * 256 * 1025))
    kept.put(key(51), Kept("", {}, "x"))

    there = [number for number in range(52) if kept.get(key(number))]
    assert there == [0, *range(9, 40)]
    kept.put(key(0), Kept("f", {}, "y"))
    assert kept.get(key(0)) == Kept("f", {}, "y")


def test_what_is_sent_waits_and_is_limited_is_counted_by_account() -> None:
    counted: list[tuple[str, str]] = []
    pace = Pace(Clock(), counted=lambda account, outcome: counted.append((account, outcome)))

    pace.admit("acme", CHECK)
    pace.silence("acme", 60)
    with pytest.raises(UnavailableError):
        pace.admit("acme", CHECK)
    pace.admit("other", CHECK)

    assert counted == [("acme", "sent"), ("acme", "limited"), ("acme", "waited"), ("other", "sent")]


def test_budgets_are_told_as_the_last_answers_said() -> None:
    clock = Clock()
    pace = Pace(clock)
    reset = int((clock.now() + timedelta(minutes=30)).timestamp())
    left = {"x-ratelimit-remaining": "1250", "x-ratelimit-limit": "5000"}

    pace.heard("acme", {**left, "x-ratelimit-reset": str(reset)})
    pace.silence("other", 90)

    told = {(one.metric, one.labels[0]): one.value for one in pace.budgets()}
    assert told[GITHUB_REMAINING, "acme"] == 0.25
    assert told[GITHUB_RESETS, "acme"] == reset
    assert told[GITHUB_SILENCE, "acme"] == 0
    assert told[GITHUB_SILENCE, "other"] == 90
    assert told[GITHUB_RESETS, "other"] == 0
