from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from bot.domain.environments import Approvals
from bot.domain.gates import Closed
from bot.domain.jobs import JobState
from bot.domain.memory import HoldKind
from bot.domain.standing import OpenPromotion, Standing, StandingFacts, State, standing

THEN = datetime(2026, 11, 28, 8, tzinfo=UTC)
OLD, NEW = "registry/api@sha256:0" + "0" * 63, "registry/api@sha256:1" + "1" * 63
FACTS = StandingFacts("prod", "payments", wished=NEW, shown=NEW)
OPEN = OpenPromotion(
    7, "https://github.example/acme/deploy/pull/7", THEN, Approvals(), merges_itself=False
)


def job(state: str, summary: str = "", *, due: datetime | None = None) -> JobState:
    return JobState("deliver:1:prod:payments", state, 1, due, summary, THEN)


def hold(kind: HoldKind = HoldKind.PERSON) -> Closed:
    return Closed("ada", "too many errors", THEN, None, "`lockkeeper unhold prod payments`", kind)


def test_a_hold_names_who_why_since_when_and_the_way_out() -> None:
    found = standing(replace(FACTS, closed=hold()))

    assert found == Standing(
        State.HELD,
        "the end of a hold (held by ada since 2026-11-28 08:00 UTC: too many errors)",
        THEN,
        who="`lockkeeper unhold prod payments`",
    )
    assert found.sentence == (
        "held since 2026-11-28 08:00 UTC; waits for the end of a hold (held by ada since "
        "2026-11-28 08:00 UTC: too many errors); who can: `lockkeeper unhold prod payments`"
    )


def test_a_failure_says_its_words_and_the_command_that_tries_again() -> None:
    found = standing(replace(FACTS, deliver=job("failed", "no such manifest")))

    assert found.state is State.FAILED
    assert found.since == THEN
    assert found.waits_for == "no such manifest"
    assert "`lockkeeper retry deliver:1:prod:payments`" in found.who


@pytest.mark.parametrize(
    ("opened", "words"),
    [
        (OPEN, "somebody who merges it"),
        (replace(OPEN, approvals=Approvals(1)), "1 approval and a merge"),
        (replace(OPEN, approvals=Approvals(1), lacking="0 of 1: sre"), "0 of 1: sre"),
        (
            replace(OPEN, approvals=Approvals(1), is_approved=True),
            "somebody who merges it, which is approved",
        ),
        (
            replace(OPEN, approvals=Approvals(2, ("acme/sre", "acme/leads"))),
            "2 approvals of acme/sre or acme/leads and a merge",
        ),
        (
            replace(OPEN, verdict="not_evaluated"),
            (
                "somebody who merges it; the policy is not evaluated: "
                "the pull request says whether that blocks"
            ),
        ),
        (replace(OPEN, merges_itself=True), "the bot's own merge, which GitHub does not take yet"),
        (
            replace(OPEN, verdict="fail", blocks=True),
            "the policy, whose verdict is fail: the pull request says why",
        ),
    ],
)
def test_an_open_promotion_says_whom_it_waits_for_with_the_link(
    opened: OpenPromotion, words: str
) -> None:
    found = standing(replace(FACTS, pull_request=opened))

    assert (found.state, found.waits_for) == (State.PROPOSED, words)
    assert (found.since, found.link) == (THEN, opened.url)


def test_a_draft_and_an_edited_promotion_name_the_way_out() -> None:
    draft = standing(replace(FACTS, pull_request=replace(OPEN, is_draft=True)))
    edited = standing(replace(FACTS, pull_request=replace(OPEN, is_edited=True)))

    assert "Ready for review" in draft.who
    assert "`/update`" in edited.who


def test_what_runs_and_is_revoked_is_told_in_every_state() -> None:
    found = standing(replace(FACTS, revoked="stolen"))

    assert found.sentence == "published; what runs is revoked: stolen"


def test_a_delivery_says_the_words_of_the_look_that_is_not_over() -> None:
    due = THEN + timedelta(minutes=5)
    waits = job("waiting", "the registry is away", due=due)

    found = standing(replace(FACTS, shown=OLD, deliver=waits))

    assert found.state is State.DELIVERING
    assert (found.waits_for, found.until) == ("the registry is away", due)
    assert "next at 2026-11-28 08:05 UTC" in found.sentence
    assert found.since == THEN


def test_nobody_says_published_where_open_pull_requests_cannot_be_listed() -> None:
    found = standing(replace(FACTS, unseen="GitHub answered 502"))

    assert found.state is State.UNKNOWN
    assert "GitHub answered 502" in found.waits_for


JOBS = st.none() | st.sampled_from(["queued", "running", "waiting", "failed"]).map(job)


@given(
    st.builds(
        StandingFacts,
        st.just("prod"),
        st.just("payments"),
        wished=st.sampled_from(["", OLD, NEW]),
        shown=st.sampled_from(["", OLD, NEW]),
        closed=st.none() | st.just(hold()),
        pull_request=st.none()
        | st.builds(
            replace,
            st.just(OPEN),
            is_draft=st.booleans(),
            is_edited=st.booleans(),
            blocks=st.booleans(),
            merges_itself=st.booleans(),
            verdict=st.sampled_from(["", "pass", "fail", "not_evaluated"]),
            approvals=st.builds(Approvals, st.integers(0, 3), st.sampled_from([(), ("acme/x",)])),
        ),
        unseen=st.sampled_from(["", "GitHub answered 502"]),
        propose=JOBS,
        deliver=JOBS,
        publish=JOBS,
    )
)
def test_every_state_but_the_two_at_rest_says_what_it_waits_for_and_who_can(
    facts: StandingFacts,
) -> None:
    found = standing(facts)

    at_rest = found.state in {State.PUBLISHED, State.EMPTY}
    assert at_rest == (not found.waits_for)
    assert at_rest == (not found.who)
    assert found.sentence.startswith(str(found.state))
    if found.state is State.PUBLISHED:
        assert facts.wished == facts.shown
