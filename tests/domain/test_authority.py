from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from bot.domain.authority import Attribution, Authorised, Unauthorised, authority
from bot.domain.environments import Approvals
from bot.domain.history import Actor, ContributedCommit, PullRequest, Review

HEAD, OLDER = "a" * 40, "b" * 40
TEAM = Approvals(1, ("acme/release-managers",))
ANYBODY = Approvals(1)
BOT = Actor("lockkeeper[bot]", is_person=False, id=1)
ID = {"rita": 2, "rob": 3, "dana": 4, "sam": 5, "ci[bot]": 6}


def person(login: str) -> Actor:
    return Actor(login, is_person=True, id=ID[login])


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
        merged_by=person("dana"),
    )


def review(
    login: str, state: str = "APPROVED", commit: str = HEAD, *, person: bool = True
) -> Review:
    return Review(Actor(login, is_person=person, id=ID[login]), state, commit)


def attribution(
    *reviews: Review,
    asked_by: Sequence[str] = ("dana",),
    teams: Mapping[str, frozenset[int]] | None = None,
    writers: Sequence[str] = (),
    commits: Sequence[ContributedCommit] = (),
    author: Actor = BOT,
) -> Attribution:
    members = {"acme/release-managers": frozenset(ID.values()) - {ID["sam"]}}
    return Attribution(
        merge="d" * 40,
        pull_request=pull_request(author),
        reviews=reviews,
        commits=commits,
        asked_by=frozenset(ID[one] for one in asked_by),
        teams=members if teams is None else teams,
        writers=frozenset(ID[one] for one in writers),
    )


def signed(author: str, by: str = "") -> ContributedCommit:
    return ContributedCommit(HEAD, person(author), person(author), person(by or author))


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
            attribution(review("rita"), commits=[signed("sam", by="rita")]),
            (),
            id="signed a commit in another's name",
        ),
        pytest.param(
            attribution(review("rita"), commits=[signed("rita")]),
            (),
            id="signed a commit",
        ),
        pytest.param(
            attribution(review("rita"), author=person("rita")),
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
    verdict = authority(given, [TEAM], needed=True)

    if approved:
        assert verdict == Authorised(7, approved)
    else:
        assert isinstance(verdict, Unauthorised)
        assert verdict.reason.startswith("0 of 1 required approvals")
        assert "acme/release-managers" in verdict.remedy


@pytest.mark.parametrize(("writers", "counts"), [(["rita"], True), ([], False)])
def test_without_a_team_whoever_may_write_counts(writers: list[str], *, counts: bool) -> None:
    verdict = authority(attribution(review("rita"), writers=writers), [ANYBODY], needed=True)

    assert isinstance(verdict, Authorised) is counts


def test_two_approvals_are_two_people() -> None:
    twice = attribution(review("rita"), review("rita"))

    verdict = authority(twice, [Approvals(2, TEAM.teams)], needed=True)

    assert isinstance(verdict, Unauthorised)
    assert verdict.reason.startswith("1 of 2 required approvals")


def test_a_change_without_a_pull_request_has_no_authority_where_it_is_needed() -> None:
    pushed = Attribution("d" * 40, None)

    verdict = authority(pushed, [Approvals(0)], needed=True)

    assert isinstance(verdict, Unauthorised)
    assert "ddddddd" in verdict.reason


def test_where_no_authority_is_needed_none_is_asked_for() -> None:
    assert authority(Attribution("d" * 40, None), [ANYBODY], needed=False) == Authorised(0, ())
    assert authority(attribution(), [ANYBODY], needed=False) == Authorised(7, ())


def test_no_approvals_may_be_enough_if_a_pull_request_brought_it() -> None:
    assert authority(attribution(), [Approvals(0)], needed=True) == Authorised(7, ())


def test_two_rules_are_two_sets_and_never_mixed() -> None:
    """Approvals satisfy the rules before the merge and today's: the teams of each, its count."""
    mine = Approvals(1, ("acme/mine",))
    of_mine = attribution(
        review("sam"),
        teams={"acme/release-managers": frozenset(), "acme/mine": frozenset({ID["sam"]})},
    )
    of_both = attribution(
        review("sam"),
        review("rita"),
        teams={
            "acme/release-managers": frozenset({ID["rita"]}),
            "acme/mine": frozenset({ID["sam"]}),
        },
    )

    assert isinstance(authority(of_mine, [TEAM, mine], needed=True), Unauthorised)
    assert isinstance(authority(of_mine, [mine, TEAM], needed=True), Unauthorised)
    assert authority(of_both, [TEAM, mine], needed=True) == Authorised(7, ("rita", "sam"))


def test_a_count_of_one_rule_is_not_met_by_the_team_of_the_other() -> None:
    teams = {"acme/release-managers": frozenset({ID["rita"]}), "acme/mine": frozenset({ID["sam"]})}
    given = attribution(review("rita"), review("sam"), teams=teams)

    verdict = authority(
        given, [Approvals(2, TEAM.teams), Approvals(1, ("acme/mine",))], needed=True
    )

    assert isinstance(verdict, Unauthorised)
    assert verdict.reason.startswith("1 of 2")


@pytest.mark.parametrize(("unknown", "authorised"), [(0, True), (1, False)])
def test_who_asked_and_is_not_known_is_never_nobody(unknown: int, *, authorised: bool) -> None:
    given = replace(attribution(review("rita")), unknown_askers=unknown)

    assert isinstance(authority(given, [TEAM], needed=True), Authorised) is authorised


def test_one_approval_more_makes_up_for_an_unknown_asker() -> None:
    given = replace(attribution(review("rita"), review("rob")), unknown_askers=1)

    assert isinstance(authority(given, [TEAM], needed=True), Authorised)


def test_an_address_in_a_commit_takes_nobodys_approval_away() -> None:
    framed = ContributedCommit(OLDER, person("rita"), person("rita"))
    given = replace(
        attribution(review("rita"), commits=[framed]), pushed_by=frozenset({ID["dana"]})
    )

    assert authority(given, [TEAM], needed=True) == Authorised(7, ("rita",))


def test_who_pushed_cannot_approve_whatever_the_address_says() -> None:
    spoofed = ContributedCommit(OLDER, person("sam"), person("sam"))
    given = replace(
        attribution(review("rita"), commits=[spoofed]), pushed_by=frozenset({ID["rita"]})
    )

    assert isinstance(authority(given, [TEAM], needed=True), Unauthorised)


@pytest.mark.parametrize("pushed_by", [None, frozenset({5})])
@pytest.mark.parametrize("author", [None, "sam"])
def test_a_commit_that_belongs_to_no_account_has_no_authority(
    pushed_by: frozenset[int] | None, author: str | None
) -> None:
    unlinked = ContributedCommit(OLDER, person(author) if author else None, None)
    given = replace(attribution(review("rita"), commits=[unlinked]), pushed_by=pushed_by)

    verdict = authority(given, [TEAM], needed=True)

    assert isinstance(verdict, Unauthorised)
    assert "belongs to no account" in verdict.reason


def test_a_merge_that_is_not_what_was_approved_has_no_authority() -> None:
    given = replace(attribution(review("rita")), flaw="it holds something else")

    assert authority(given, [TEAM], needed=True) == Unauthorised(
        "it holds something else", "revert it and merge a pull request instead"
    )


def test_a_deleted_account_approves_nothing() -> None:
    given = attribution(Review(Actor("ghost", is_person=True, id=0), "APPROVED", HEAD))

    assert isinstance(authority(given, [Approvals(1)], needed=True), Unauthorised)


def test_a_name_that_another_account_has_now_is_another_person() -> None:
    """Dana asked, then renamed herself; somebody new is called dana and approves."""
    given = attribution(
        Review(Actor("dana", is_person=True, id=99), "APPROVED", HEAD),
        teams={"acme/release-managers": frozenset({99})},
    )

    assert authority(given, [TEAM], needed=True) == Authorised(7, ("dana",))
