from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.store import MIGRATIONS, NoticeStore, migrate, open_database
from bot.domain.notices import Event, Notice, Sink
from bot.ports.notices import NoticeRows

pytest_plugins = ["tests.world.postgres"]

MANIFESTS = "acme/deploy"
OPS = Sink("ops")
HELD = Notice(Event.HELD, MANIFESTS, "prod", "payments", "since noon", "held by ada")


@dataclass
class Clock:
    at: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    opened = open_database(url)
    migrate(opened, "store", MIGRATIONS)
    yield opened
    opened.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rows(database: sa.Engine, clock: Clock) -> NoticeRows:
    return NoticeStore(database, clock, b"secret of this bot")


def told(rows: NoticeRows, sink: Sink = OPS) -> list[Notice]:
    """Take what is due, and say that it was told."""
    taken = rows.take(sink.name, 100)
    rows.sent(taken)
    return [one.notice for one in taken]


def test_what_was_so_before_the_first_look_is_not_told(rows: NoticeRows) -> None:
    rows.note(OPS, MANIFESTS, [HELD])
    rows.note(OPS, MANIFESTS, [HELD])

    assert told(rows) == []


def test_news_is_told_once_however_often_it_is_seen(rows: NoticeRows) -> None:
    rows.note(OPS, MANIFESTS, [])
    for _ in range(3):
        rows.note(OPS, MANIFESTS, [HELD])

    assert told(rows) == [HELD]
    rows.note(OPS, MANIFESTS, [HELD])
    assert told(rows) == []


def test_the_next_event_of_the_kind_is_news_and_takes_the_place_of_one_that_waits(
    rows: NoticeRows,
) -> None:
    rows.note(OPS, MANIFESTS, [])
    rows.note(OPS, MANIFESTS, [HELD])
    again = replace(HELD, identity="since two", text="held by bob")
    rows.note(OPS, MANIFESTS, [again])

    assert told(rows) == [again]


def test_each_sink_application_environment_and_repository_is_one_of_its_own(
    rows: NoticeRows,
) -> None:
    others = [
        replace(HELD, application="billing"),
        replace(HELD, environment="stage"),
        replace(HELD, event=Event.FAILED),
    ]
    rows.note(OPS, MANIFESTS, [])
    rows.note(OPS, "other/deploy", [])
    rows.note(OPS, MANIFESTS, [HELD, *others])
    elsewhere = replace(HELD, manifests="other/deploy")
    rows.note(OPS, "other/deploy", [elsewhere])
    rows.note(Sink("late"), MANIFESTS, [HELD])

    assert {(one.manifests, one.environment, one.application, one.event) for one in told(rows)} == {
        (one.manifests, one.environment, one.application, one.event)
        for one in (HELD, *others, elsewhere)
    }
    assert told(rows, Sink("late")) == []


def test_a_digest_waits_and_then_tells_everything(rows: NoticeRows, clock: Clock) -> None:
    sink = replace(OPS, digest=timedelta(minutes=15))
    rows.note(sink, MANIFESTS, [])
    rows.note(sink, MANIFESTS, [HELD])
    clock.at += timedelta(minutes=14)
    rows.note(sink, MANIFESTS, [HELD, replace(HELD, application="billing")])

    early = told(rows)
    clock.at += timedelta(minutes=1)

    assert early == []
    assert [one.application for one in told(rows)] == ["payments", "billing"]


def test_what_somebody_has_taken_nobody_else_takes_until_he_is_dead(
    rows: NoticeRows, clock: Clock
) -> None:
    rows.note(OPS, MANIFESTS, [])
    rows.note(OPS, MANIFESTS, [HELD])

    first = rows.take("ops", 10)
    second = rows.take("ops", 10)
    clock.at += timedelta(minutes=3)

    assert [one.notice for one in first] == [HELD]
    assert second == []
    assert [one.notice for one in rows.take("ops", 10)] == [HELD]


def test_what_failed_waits_and_counts(rows: NoticeRows, clock: Clock) -> None:
    rows.note(OPS, MANIFESTS, [])
    rows.note(OPS, MANIFESTS, [HELD])

    rows.again(rows.take("ops", 10), clock.at + timedelta(minutes=5))
    early = rows.take("ops", 10)
    clock.at += timedelta(minutes=5)

    assert early == []
    assert [one.attempts for one in rows.take("ops", 10)] == [1]


class Slow(NoticeStore):
    """A process that looked at what is known before another one told of it."""

    def _known(self, _sink: str, _manifests: str) -> dict[tuple[str, ...], str]:
        return {("ops", MANIFESTS, "", "", "begun"): "begun"}


def test_two_processes_tell_of_one_event_once(
    rows: NoticeRows, database: sa.Engine, clock: Clock
) -> None:
    rows.note(OPS, MANIFESTS, [])
    rows.note(OPS, MANIFESTS, [HELD])
    assert told(rows) == [HELD]

    Slow(database, clock, b"secret of this bot").note(OPS, MANIFESTS, [HELD])

    assert told(rows) == []


def test_a_newer_event_that_came_while_one_was_sent_is_still_told(rows: NoticeRows) -> None:
    rows.note(OPS, MANIFESTS, [])
    rows.note(OPS, MANIFESTS, [HELD])
    taken = rows.take("ops", 10)
    newer = replace(HELD, identity="since two")
    rows.note(OPS, MANIFESTS, [newer])

    rows.sent(taken)

    assert told(rows) == [newer]


def test_an_event_without_a_state_is_told_from_the_first_on(rows: NoticeRows) -> None:
    foreign = replace(HELD, event=Event.FOREIGN, application="", identity="a" * 40)

    rows.tell(OPS, foreign)
    rows.tell(OPS, foreign)

    assert told(rows) == [foreign]
    rows.tell(OPS, foreign)
    assert told(rows) == []


def test_rows_that_somebody_else_wrote_are_dropped(database: sa.Engine, clock: Clock) -> None:
    forger = NoticeStore(database, clock, b"another secret")
    forger.note(OPS, MANIFESTS, [])
    forger.note(OPS, MANIFESTS, [replace(HELD, text="click here")])
    rows = NoticeStore(database, clock, b"secret of this bot")

    assert rows.take("ops", 10) == []
    clock.at += timedelta(minutes=3)
    assert forger.take("ops", 10) == []


def test_a_row_that_was_copied_to_another_sink_is_dropped(
    database: sa.Engine, rows: NoticeRows
) -> None:
    rows.note(OPS, MANIFESTS, [])
    rows.note(OPS, MANIFESTS, [HELD])
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE lk_notice SET sink = 'public' WHERE done = 0"))

    assert rows.take("public", 10) == []
