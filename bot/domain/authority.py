"""Who was entitled to cause a delivery: the merged pull request and its approvals.

The digest's change is attributed by GitHub's record of the merge, never by a commit message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    asked_by: frozenset[str] = frozenset()
    """Logins that asked for the promotion: merged or pushed the trigger, gave the command."""
    teams: Mapping[str, frozenset[str]] | None = None
    """Team -> the approving logins that are in it now."""
    writers: frozenset[str] = frozenset()
    """The approving logins that may write to the manifests repository now."""


@dataclass(frozen=True, slots=True)
class Authorised:
    """The change may be delivered."""

    pull_request: int
    """0 where no authority is needed and none was found."""
    approved_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unauthorised:
    """The change must not be delivered until somebody does something."""

    reason: str
    remedy: str


def authority(
    attribution: Attribution, required: Approvals, *, needed: bool
) -> Authorised | Unauthorised:
    """Judge a merge by the approvals that its environment asks for.

    An approval counts if a person gave it on the merged head, is in a named team (where teams
    are named) or may write, and neither asked for the promotion, nor pushed to the branch, nor
    wrote a commit in it.

    Args:
        attribution: What GitHub says.
        required: The stricter of the rules before the merge and today's.
        needed: Whether the environment needs authority at all.
    """
    pull_request = attribution.pull_request
    if pull_request is None:
        if not needed:
            return Authorised(0, ())
        return Unauthorised(
            f"commit {attribution.merge[:7]} changed digests without a merged pull request",
            "revert it and merge a pull request instead",
        )
    counted = sorted(_counted(attribution, pull_request, required))
    if len(counted) >= required.count or not needed:
        return Authorised(pull_request.number, tuple(counted))
    who = " or ".join(required.teams) if required.teams else "somebody with write access"
    return Unauthorised(
        f"{len(counted)} of {required.count} required approvals on the merged head of "
        f"pull request {pull_request.number}",
        f"{who}, neither its author nor who asked for it, approves it; then retry",
    )


def _counted(
    attribution: Attribution, pull_request: PullRequest, required: Approvals
) -> frozenset[str]:
    involved = attribution.asked_by | {pull_request.author.login}
    for commit in attribution.commits:
        involved |= {login for login in (commit.author, commit.committer) if login}
    standing = _standing(attribution.reviews)
    approving = {
        login
        for login, review in standing.items()
        if review.state == "APPROVED"
        and review.author.is_person
        and review.commit == pull_request.head
        and login not in involved
    }
    if required.teams:
        members = attribution.teams or {}
        approving &= {login for team in required.teams for login in members.get(team, ())}
    else:
        approving &= attribution.writers
    return frozenset(approving)


def _standing(reviews: Sequence[Review]) -> dict[str, Review]:
    """Each person's last word: a comment does not take an approval back, a rejection does."""
    standing: dict[str, Review] = {}
    for review in reviews:
        if review.state != "COMMENTED":
            standing[review.author.login] = review
    return standing


def stricter(before: Approvals, today: Approvals) -> Approvals:
    """Rules are not loosened by the merge that they judge: both must pass.

    Where both name teams, today's are asked (a renamed team must not block for ever) with the
    larger count.
    """
    return Approvals(max(before.count, today.count), today.teams or before.teams)
