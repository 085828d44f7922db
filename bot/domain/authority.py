"""Who was entitled to cause a delivery: the merged pull request and its approvals.

The digest's change is attributed by GitHub's record of the merge, never by a commit message.
People are counted by the numbers of their accounts. An address in a commit is a claim: it neither
makes somebody the author nor takes anybody's approval away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.domain.environments import Approvals
from bot.domain.history import ContributedCommit, PullRequest, Review


@dataclass(frozen=True, slots=True)
class Attribution:
    """Everything that is known of how a merge came to be."""

    merge: str
    pull_request: PullRequest | None
    """The merged pull request that brought it; None: direct push, bypass or force push."""
    reviews: Sequence[Review] = ()
    commits: Sequence[ContributedCommit] = ()
    """Those of the pull request that change anything and are not Lockkeeper's own."""
    pushed_by: frozenset[int] | None = None
    """Accounts that moved its branch; None: GitHub does not tell."""
    asked_by: frozenset[int] = frozenset()
    """Accounts that asked for the promotion: merged or pushed the trigger, gave the command."""
    unknown_askers: int = 0
    """How many asked besides, of whom nobody knows who they are."""
    teams: Mapping[str, frozenset[int]] | None = None
    """Team -> the approving accounts that are in it now."""
    writers: frozenset[int] = frozenset()
    """The approving accounts that may write to the manifests repository now."""
    flaw: str = ""
    """Why the merge is not what was approved; empty: it is."""
    equal_heads: frozenset[str] = frozenset()
    """Commits that brought the same digests to the same places: an approval of one is of all."""


@dataclass(frozen=True, slots=True)
class Authorised:
    """The change may be delivered."""

    pull_request: int
    """0 where no authority is needed and none was found."""
    approved_by: tuple[str, ...]
    merged_by: str = field(default="", compare=False)
    """Who merged it, for people to read."""


@dataclass(frozen=True, slots=True)
class Unauthorised:
    """The change must not be delivered until somebody does something."""

    reason: str
    remedy: str


_ANEW = "revert it and merge a pull request instead"


def authority(
    attribution: Attribution,
    rules: Sequence[Approvals],
    *,
    needed: bool,
    waived_by: Sequence[str] = (),
) -> Authorised | Unauthorised:
    """Judge a merge by the approvals that its environment asks for.

    An approval counts if a person gave it on the merged head or on one that is equal, is in a
    named team (where teams are named) or may write, and neither asked for the promotion, nor
    pushed to the branch, nor signed a commit in it. Each of the rules has to be satisfied by
    itself: what was asked for before the merge and what is asked for today are never mixed.

    Whoever asked and is not known may be one of those who approve, so one approval more is
    needed for each.

    Args:
        attribution: What GitHub says.
        rules: What has to be satisfied, for example before the merge and today.
        needed: Whether the environment needs authority at all.
        waived_by: Two persons who broke the glass: the number of approvals is not asked for, and
            everything else is.
    """
    pull_request = attribution.pull_request
    number = pull_request.number if pull_request else 0
    if not needed:
        approved = _approved(attribution, pull_request, rules) if pull_request else ()
        return Authorised(number, approved, _merger(pull_request))
    if pull_request is None:
        return Unauthorised(
            f"commit {attribution.merge[:7]} came without a merged pull request", _ANEW
        )
    if attribution.flaw:
        return Unauthorised(attribution.flaw, _ANEW)
    if any(one.count for one in rules) and (stranger := _stranger(attribution)):
        return Unauthorised(
            f"commit {stranger.id[:7]} in pull request {number} belongs to no account that GitHub "
            "vouches for",
            "merge a pull request whose commits are signed, or pushed by whom their addresses name",
        )
    lacking = _lacking(attribution, pull_request, rules)
    if lacking is not None and waived_by:
        said = tuple(f"{name} (break-glass)" for name in waived_by)
        return Authorised(number, said, _merger(pull_request))
    approved = _approved(attribution, pull_request, rules)
    return lacking or Authorised(number, approved, _merger(pull_request))


def _merger(pull_request: PullRequest | None) -> str:
    merged_by = pull_request.merged_by if pull_request else None
    return merged_by.login if merged_by else ""


def _lacking(
    attribution: Attribution, pull_request: PullRequest, rules: Sequence[Approvals]
) -> Unauthorised | None:
    """The first rule that is not satisfied."""
    for required in rules:
        counted = _counted(attribution, pull_request, required)
        wanted = required.count + (attribution.unknown_askers if required.count else 0)
        if len(counted) >= wanted:
            continue
        who = " or ".join(required.teams) if required.teams else "somebody with write access"
        why = " (one more for each who asked and is not known)" if wanted > required.count else ""
        return Unauthorised(
            f"{len(counted)} of {wanted} required approvals{why} on the merged head of "
            f"pull request {pull_request.number}",
            f"{who}, neither its author nor who asked for it, approves it; then retry",
        )
    return None


def _stranger(attribution: Attribution) -> ContributedCommit | None:
    """A commit of which nobody knows whose it is."""
    for commit in attribution.commits:
        known_by_push = commit.is_linked and attribution.pushed_by is not None
        if commit.signed_by is None and not known_by_push:
            return commit
    return None


def _approved(
    attribution: Attribution, pull_request: PullRequest, rules: Sequence[Approvals]
) -> tuple[str, ...]:
    """Names of all whose approvals counted, for people."""
    counted = {number for one in rules for number in _counted(attribution, pull_request, one)}
    names = {review.author.id: review.author.login for review in attribution.reviews}
    return tuple(sorted(names[number] for number in counted))


def _counted(
    attribution: Attribution, pull_request: PullRequest, required: Approvals
) -> frozenset[int]:
    involved = attribution.asked_by | {0, pull_request.author.id}
    involved |= attribution.pushed_by or frozenset()
    involved |= {one.signed_by.id for one in attribution.commits if one.signed_by is not None}
    approving = {
        number
        for number, review in _standing(attribution.reviews).items()
        if review.state == "APPROVED"
        and review.author.is_person
        and review.commit in {pull_request.head, *attribution.equal_heads}
        and number not in involved
    }
    if required.teams:
        members = attribution.teams or {}
        approving &= {number for team in required.teams for number in members.get(team, ())}
    else:
        approving &= attribution.writers
    return frozenset(approving)


def _standing(reviews: Sequence[Review]) -> dict[int, Review]:
    """Each person's last word: a comment does not take an approval back, a rejection does."""
    standing: dict[int, Review] = {}
    for review in reviews:
        if review.state != "COMMENTED":
            standing[review.author.id] = review
    return standing
