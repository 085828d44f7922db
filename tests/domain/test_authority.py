from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from bot.domain.authority import Attribution, Authorised, Unauthorised, authority, stricter
from bot.domain.environments import Approvals
from bot.domain.history import Actor, ContributedCommit, PullRequest, Review

HEAD, OLDER = "a" * 40, "b" * 40
TEAM = Approvals(1, ("acme/release-managers",))
ANYBODY = Approvals(1)
BOT = Actor("lockkeeper[bot]", is_person=False)


def pull_request(author: Actor = BOT) -> PullRequest:
    return PullRequest(
        number=7,
        is_open=False,
        merged=True,
        title="Promote",
        body="",
        author=author,
        head_branch="lockkeeper/prod/payments",
        head=HEAD,
        head_is_local=True,
        base_branch="main",
        base="c" * 40,
        merge_commit="d" * 40,
        merged_by=Actor("dana", is_person=True),
    )


def review(
    login: str, state: str = "APPROVED", commit: str = HEAD, *, person: bool = True
) -> Review:
    return Review(Actor(login, is_person=person), state, commit)


def attribution(
    *reviews: Review,
    asked_by: Sequence[str] = ("dana",),
    teams: Mapping[str, frozenset[str]] | None = None,
    writers: Sequence[str] = (),
    commits: Sequence[ContributedCommit] = (),
    author: Actor = BOT,
) -> Attribution:
    members = {"acme/release-managers": frozenset({"rita", "rob", "dana", "ci[bot]"})}
    return Attribution(
        merge="d" * 40,
        pull_request=pull_request(author),
        reviews=reviews,
        commits=commits,
        asked_by=frozenset(asked_by),
        teams=members if teams is None else teams,
        writers=frozenset(writers),
    )


@pytest.mark.parametrize(
    ("given", "approved"),
    [
        pytest.param(attribution(), (), id="nobody"),
        pytest.param(attribution(review("rita")), ("rita",), id="a member of the team"),
        pytest.param(attribution(review("sam")), (), id="somebody outside of the team"),
        pytest.param(attribution(review("dana")), (), id="who asked for it"),
        pytest.param(attribution(review("ci[bot]", person=False)), (), id="an App"),
        pytest.param(attribution(review("rita", commit=OLDER)), (), id="on an older head"),
        pytest.param(attribution(review("rita", "DISMISSED")), (), id="dismissed"),
        pytest.param(
            attribution(review("rita"), review("rita", "CHANGES_REQUESTED")), (), id="taken back"
        ),
        pytest.param(
            attribution(review("rita", "CHANGES_REQUESTED"), review("rita")),
            ("rita",),
            id="changed their mind",
        ),
        pytest.param(
            attribution(review("rita"), review("rita", "COMMENTED")),
            ("rita",),
            id="commented afterwards",
        ),
        pytest.param(
            attribution(review("rita"), review("rita", commit=OLDER)),
            (),
            id="the last word is on an older head",
        ),
        pytest.param(
            attribution(review("rita"), commits=[ContributedCommit(HEAD, "rita", "web-flow")]),
            (),
            id="author of a commit",
        ),
        pytest.param(
            attribution(review("rita"), commits=[ContributedCommit(HEAD, "sam", "rita")]),
            (),
            id="committer of a commit",
        ),
        pytest.param(
            attribution(review("rita"), author=Actor("rita", is_person=True)),
            (),
            id="author of the pull request",
        ),
        pytest.param(attribution(review("rita"), review("rob")), ("rita", "rob"), id="two members"),
        pytest.param(
            attribution(review("rita"), teams={"acme/release-managers": frozenset()}),
            (),
            id="left the team",
        ),
    ],
)
def test_who_counts_where_a_team_must_approve(
    given: Attribution, approved: tuple[str, ...]
) -> None:
    verdict = authority(given, TEAM, needed=True)

    if approved:
        assert verdict == Authorised(7, approved)
    else:
        assert isinstance(verdict, Unauthorised)
        assert verdict.reason.startswith("0 of 1 required approvals")
        assert "acme/release-managers" in verdict.remedy


@pytest.mark.parametrize(("writers", "counts"), [(["rita"], True), ([], False)])
def test_without_a_team_whoever_may_write_counts(writers: list[str], *, counts: bool) -> None:
    verdict = authority(attribution(review("rita"), writers=writers), ANYBODY, needed=True)

    assert isinstance(verdict, Authorised) is counts


def test_two_approvals_are_two_people() -> None:
    twice = attribution(review("rita"), review("rita"))

    verdict = authority(twice, Approvals(2, TEAM.teams), needed=True)

    assert isinstance(verdict, Unauthorised)
    assert verdict.reason.startswith("1 of 2 required approvals")


def test_a_change_without_a_pull_request_has_no_authority_where_it_is_needed() -> None:
    pushed = Attribution("d" * 40, None)

    verdict = authority(pushed, Approvals(0), needed=True)

    assert isinstance(verdict, Unauthorised)
    assert "ddddddd" in verdict.reason


def test_where_no_authority_is_needed_none_is_asked_for() -> None:
    assert authority(Attribution("d" * 40, None), ANYBODY, needed=False) == Authorised(0, ())
    assert authority(attribution(), ANYBODY, needed=False) == Authorised(7, ())


def test_no_approvals_may_be_enough_if_a_pull_request_brought_it() -> None:
    assert authority(attribution(), Approvals(0), needed=True) == Authorised(7, ())


@pytest.mark.parametrize(
    ("before", "today", "expected"),
    [
        (Approvals(2), Approvals(1), Approvals(2)),
        (Approvals(1), Approvals(2), Approvals(2)),
        (TEAM, Approvals(0), TEAM),
        (Approvals(0), TEAM, TEAM),
        (Approvals(1, ("acme/old",)), TEAM, TEAM),
    ],
)
def test_the_stricter_of_both_rules_holds(
    before: Approvals, today: Approvals, expected: Approvals
) -> None:
    assert stricter(before, today) == expected
