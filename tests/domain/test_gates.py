"""The one gate: who stops what, and what passes all the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from bot.domain.freezes import Moment, Window
from bot.domain.gates import Action, Direction, GateFacts, direction, gate
from bot.domain.memory import Hold, HoldKind, Scope

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)  # a Saturday
WEEKEND = Window(Moment.parse("sat 00:00"), Moment.parse("mon 08:00"), "UTC", "weekend")
FACTS = GateFacts(NOW, "prod", "payments")


def hold(kind: HoldKind, application: str = "", until: datetime | None = None) -> Hold:
    return Hold(Scope(1, "prod", application), "too many errors", "ada", NOW, kind, until)


def test_nothing_stops_what_nobody_stopped() -> None:
    assert all(gate(action, FACTS) is None for action in Action)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("going", Direction)
def test_a_person_s_hold_stops_everything(action: Action, going: Direction) -> None:
    found = gate(action, replace(FACTS, direction=going, holds=[hold(HoldKind.PERSON)]))

    assert found is not None
    assert found.words == "held by ada since 2026-11-28 12:00 UTC: too many errors"
    assert "unhold" in found.way_out


@pytest.mark.parametrize("kind", [HoldKind.ROLLBACK, HoldKind.FREEZE])
def test_a_rollback_passes_where_only_newer_things_are_stopped(kind: HoldKind) -> None:
    facts = replace(FACTS, holds=[hold(kind)], windows=[WEEKEND])

    for action in (Action.MERGE, Action.DELIVER, Action.PUBLISH):
        assert gate(action, facts) is not None
        assert gate(action, replace(facts, direction=Direction.BACK)) is None


def test_a_freeze_lets_people_propose_and_review() -> None:
    facts = replace(FACTS, windows=[WEEKEND], holds=[hold(HoldKind.FREEZE)])

    assert gate(Action.PROPOSE, facts) is None


def test_the_state_names_the_next_opening() -> None:
    found = gate(Action.MERGE, replace(FACTS, windows=[WEEKEND]))

    assert found is not None
    assert found.words == (
        "frozen by the calendar since 2026-11-28 00:00 UTC until 2026-11-30 08:00 UTC: weekend"
    )


def test_a_freeze_that_is_over_stops_nothing() -> None:
    over = hold(HoldKind.FREEZE, until=NOW)

    assert gate(Action.PUBLISH, replace(FACTS, holds=[over])) is None


def test_what_a_person_has_to_end_is_told_before_what_ends_by_itself() -> None:
    facts = replace(FACTS, holds=[hold(HoldKind.BOT)], windows=[WEEKEND])

    found = gate(Action.PUBLISH, facts)

    assert found is not None
    assert found.kind is HoldKind.BOT


def test_a_hold_of_another_application_stops_nothing() -> None:
    other = hold(HoldKind.PERSON, "billing")

    assert gate(Action.DELIVER, replace(FACTS, holds=[other])) is None
    assert gate(Action.PUBLISH, replace(FACTS, application="", holds=[other])) is None


@pytest.mark.parametrize(
    ("shown", "running", "expected"),
    [
        (1, 3, Direction.BACK),
        (3, 1, Direction.FORWARD),  # what was taken back does not come again as a rollback
        (2, 2, Direction.FORWARD),
        (None, 3, Direction.FORWARD),
        (1, None, Direction.FORWARD),
    ],
)
def test_back_is_only_what_was_there_before_what_runs(
    shown: int | None, running: int | None, expected: Direction
) -> None:
    assert direction(shown, running) is expected


KINDS = st.sampled_from(list(HoldKind))
HOLDS = st.builds(
    hold,
    KINDS,
    st.sampled_from(["", "payments", "billing"]),
    st.none() | st.timedeltas(timedelta(days=-2), timedelta(days=2)).map(NOW.__add__),
)


@given(st.lists(HOLDS, max_size=4), st.sampled_from(list(Action)), st.integers(0, 1))
def test_for_every_hold_and_action_going_back_is_stopped_by_no_more(
    holds: list[Hold], action: Action, weekends: int
) -> None:
    facts = replace(FACTS, holds=holds, windows=[WEEKEND] * weekends)
    back = gate(action, replace(facts, direction=Direction.BACK))

    assert back is None or gate(action, facts) is not None
    more = gate(action, replace(facts, holds=[*holds, hold(HoldKind.PERSON)]))
    assert more is not None
