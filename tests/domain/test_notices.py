"""Which events there are, who wants them, and that a message is nothing but text."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from bot.domain.metrics import Stands
from bot.domain.notices import LISTED, Event, Notice, Sink, foreign, message, notices_of, quiet

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROPOSED = Stands(
    "prod",
    "proposed",
    NOON,
    "pass",
    "payments",
    "1 approval of acme/release-managers and a merge",
    "https://github.com/acme/deploy/pull/7",
    awaits_people=True,
)
NOTICE = notices_of("acme/deploy", [PROPOSED])[0]


@pytest.mark.parametrize(
    ("stands", "events"),
    [
        (PROPOSED, {Event.WAITS}),
        (replace(PROPOSED, verdict="fail"), {Event.BLOCKED}),
        (replace(PROPOSED, awaits_people=False), set()),
        (replace(PROPOSED, state="held"), {Event.HELD}),
        (replace(PROPOSED, state="failed"), {Event.FAILED}),
        (replace(PROPOSED, state="published", published=("sha256:1",)), {Event.PUBLISHED}),
        (replace(PROPOSED, published=("sha256:1",)), {Event.WAITS, Event.PUBLISHED}),
        (replace(PROPOSED, state="not known"), set()),
        (replace(PROPOSED, state="delivering"), set()),
    ],
)
def test_a_state_is_the_events_that_people_ask_for(stands: Stands, events: set[Event]) -> None:
    assert {one.event for one in notices_of("acme/deploy", [stands])} == events


def identity(stands: Stands) -> str:
    return notices_of("acme/deploy", [stands])[-1].identity


def test_the_same_state_is_the_same_event_however_often_it_is_looked_at() -> None:
    later = replace(PROPOSED, waits_for="2 approvals and a merge")

    assert identity(later) == identity(PROPOSED)


def test_another_head_another_build_and_another_hold_are_news() -> None:
    held = replace(PROPOSED, state="held")
    again = timedelta(hours=1)

    assert identity(replace(PROPOSED, since=NOON + again)) != identity(PROPOSED)
    assert identity(replace(held, since=NOON + again)) != identity(held)


def test_a_sink_gets_what_it_asks_for() -> None:
    assert Sink("all").wants(NOTICE)
    assert Sink("mine", manifests=("Acme/Deploy",), environments=("p*",)).wants(NOTICE)
    assert not Sink("other", manifests=("acme/other",)).wants(NOTICE)
    assert not Sink("stage", environments=("stage", "dev")).wants(NOTICE)
    assert not Sink("failures", events=(Event.FAILED, Event.HELD)).wants(NOTICE)


@given(st.text(max_size=500))
def test_no_text_of_others_is_more_than_text(text: str) -> None:
    """A branch, an error or a hold's reason may hold mentions, links and markup."""
    notice = Notice(Event.HELD, "acme/deploy", text, text, "x", quiet(text))

    title, body = message([notice])

    for said in (title.removesuffix(" (acme/deploy)"), body):
        assert re.fullmatch(r"[A-Za-z0-9 ._/:+,;()=#'-]*", said)
        assert len(said) < 1000


def test_one_message_tells_of_many_and_says_what_it_leaves_out() -> None:
    many = [replace(NOTICE, application=f"app-{number}") for number in range(LISTED + 5)]

    title, body = message(many)

    assert title == f"Lockkeeper: {LISTED + 5} notices (acme/deploy)"
    assert body.count("waits for people") == LISTED
    assert body.endswith("and 5 more: lockkeeper status")


def test_a_message_about_one_says_what_and_where() -> None:
    assert message([NOTICE]) == (
        "payments waits for people in prod (acme/deploy)",
        "1 approval of acme/release-managers and a merge\nhttps://github.com/acme/deploy/pull/7",
    )


def test_a_foreign_commit_is_about_the_environment() -> None:
    notice = foreign("acme/deploy", "prod", "env/prod", "a" * 40)

    assert notice.title == "prod showed a foreign commit"
    assert notice.identity == "a" * 40
