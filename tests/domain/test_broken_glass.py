"""Who breaks the glass: two accounts, within an hour, for one commit, for four hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from bot.domain.broken_glass import OPEN_FOR, SECOND_WITHIN, broken
from bot.domain.memory import Asked, AskKind, Scope

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def said(
    account: int, minutes: int, commit: str = "c", kind: AskKind = AskKind.BREAK_GLASS
) -> Asked:
    at = NOW + timedelta(minutes=minutes)
    return Asked(
        Scope(1, "prod", "api"), kind, commit, f"u{account}", account, f"k{at}", at, "down"
    )


def test_two_accounts_break_it_for_four_hours() -> None:
    [found] = broken([said(1, 0), said(2, 5)], NOW + timedelta(minutes=5))

    assert (found.commit, found.by, found.reason) == ("c", ("u1", "u2"), "down")
    assert found.until - found.since == OPEN_FOR
    assert broken([said(1, 0), said(2, 5)], found.until) == []
    assert broken([said(1, 0), said(2, 5)], NOW) == [], "not before the second has said so"


@given(
    st.lists(
        st.builds(
            said,
            st.integers(0, 2),
            st.integers(0, 200),
            st.sampled_from(["c", "d"]),
            st.sampled_from(list(AskKind)),
        ),
        max_size=6,
    ),
    st.integers(0, 600),
)
def test_for_every_history_two_known_accounts_said_so_for_that_commit(
    asks: list[Asked], minutes: int
) -> None:
    asks = sorted(asks, key=lambda one: one.at)
    now = NOW + timedelta(minutes=minutes)
    for found in broken(asks, now):
        own = [a for a in asks if a.commit == found.commit and a.kind is AskKind.BREAK_GLASS]
        second = next(a for a in own if a.at == found.since and a.by == found.by[1])
        firsts = [a for a in own if a.by == found.by[0] and second.at - a.at <= SECOND_WITHIN]
        assert any(a.account not in {0, second.account} and a.at <= second.at for a in firsts)
        assert found.since <= now < found.until
