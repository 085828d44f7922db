from __future__ import annotations

from hypothesis import given, strategies as st

from bot.domain.following import Standing, followers
from bot.domain.source_refs import SourceRef

COMMITS = "abcde"
"""In the order of their age."""

standings = st.lists(st.sampled_from(["", *COMMITS]), min_size=1, max_size=5).map(
    lambda commits: [
        Standing(f"e{number}", commit, SourceRef("main"), commit)
        for number, commit in enumerate(commits)
    ]
)
published = st.sets(st.tuples(st.sampled_from(COMMITS), st.sampled_from(["e0", "e1", "e2", "e3"])))


@given(standings, published)
def test_a_set_goes_on_exactly_if_all_have_published_it(
    found: list[Standing], once: set[tuple[str, str]]
) -> None:
    def is_newer(one: Standing, other: Standing) -> bool:
        return one.commit > other.commit

    def has_passed(one: Standing, other: Standing) -> bool:
        return (one.commit, other.environment) in once and is_newer(other, one)

    result = followers(found, has_passed, is_newer)

    for one in result:
        own = one.standing
        lacks = [
            other.environment
            for other in found
            if other.commit != own.commit
            and not ((own.commit, other.environment) in once and other.commit > own.commit)
        ]
        assert list(one.missing) == lacks
    whole = [one.standing.commit for one in result if not one.missing]
    assert len(whole) <= 1  # of those that may go on, the newest alone
    assert len({one.standing.commit for one in result}) == len(result)
    if any(not one.commit for one in found):
        assert not whole  # what nobody knows is never taken for published


def test_of_one_environment_what_stands_there_goes_on() -> None:
    one = Standing("stage", "a", SourceRef("main"), "a")

    [found] = followers([one], lambda *_: False, lambda *_: False)

    assert (found.standing, found.missing) == (one, ())
