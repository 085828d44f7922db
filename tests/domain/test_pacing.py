from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, strategies as st

from bot.domain.memory import Scope, WrittenHead
from bot.domain.pacing import Write, circles, not_before, writes

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def written(*sets: str) -> list[Write]:
    """Sets by a letter each, a second apart."""
    return [Write(AT + number * SECOND, {"payments": one}) for number, one in enumerate(sets)]


def test_what_comes_back_is_counted() -> None:
    now, wanted = AT + 60 * SECOND, {"payments": "a"}

    assert circles(written(), wanted, now) == 0
    assert circles(written("a", "a", "a"), wanted, now) == 0  # files around it moved
    assert circles(written("b", "c", "d"), wanted, now) == 0
    assert circles(written("a", "b"), wanted, now) == 1
    assert circles(written("a", "b", "a", "a", "c"), wanted, now) == 2
    assert circles(written("a", "b", "a", "b"), wanted, now + timedelta(hours=2)) == 0


@given(st.lists(st.sampled_from("abc"), max_size=12))
def test_a_line_that_only_goes_forward_never_goes_in_circles(sets: list[str]) -> None:
    forward = sorted(sets)

    assert circles(written(*forward), {"payments": "d"}, AT + 60 * SECOND) == 0


@given(st.lists(st.floats(0, 60), min_size=1, max_size=60), st.integers(1, 30))
def test_however_many_ask_a_set_is_written_once_in_a_while(
    moments: list[float], seconds: int
) -> None:
    """Looks at any moments, each with another set: never two writes closer than that."""
    between, found = seconds * SECOND, written()
    for number, moment in enumerate(sorted(moments)):
        now, wanted = AT + moment * SECOND, {"payments": str(number)}
        first = not_before(found, wanted, between)
        if first is None or now >= first:
            found.append(Write(now, wanted))

    at = [one.at for one in found]
    assert all(later - earlier >= between for earlier, later in pairwise(at))
    assert len(found) <= 60 / seconds + 1


def test_the_same_set_is_written_again_at_once() -> None:
    assert not_before(written("a", "b"), {"payments": "b"}, 30 * SECOND) is None
    assert not_before(written("a", "b"), {"payments": "a"}, 30 * SECOND) == AT + 31 * SECOND
    assert not_before([], {"payments": "a"}, 30 * SECOND) is None


def test_a_commit_of_several_applications_is_one_write() -> None:
    def head(application: str, commit: str, source: str, second: int) -> tuple[str, WrittenHead]:
        scope, at = Scope(1, "stage", application), AT + second * SECOND
        return application, WrittenHead(scope, "b", commit, "m", "t", "main", source, at)

    found = writes([head("api", "2", "b", 5), head("api", "1", "a", 0), head("web", "1", "c", 0)])

    assert found == [Write(AT, {"api": "a", "web": "c"}), Write(AT + 5 * SECOND, {"api": "b"})]
