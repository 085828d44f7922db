"""Which pull request brought a commit of the default branch, and who approved it.

By GitHub's record of merges: a commit message names nothing. A commit belongs to the pull request
whose merge it is, and to no other that happens to contain it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.domain.authority import Attribution
from bot.domain.environments import GitHubRepository
from bot.domain.errors import UnavailableError
from bot.domain.history import Actor, ContributedCommit, PullRequest, Review
from bot.ports.git import GitHistory
from bot.ports.github import GitHub

_COMMITS: Final = 250
"""GitHub lists no more of a pull request (documentation, "List commits on a pull request")."""
_PUSHES: Final = 100
"""Moves of a branch that GitHub tells about at once; of more, some are not known."""
_LATER: Final = 1000
_REBASED: Final = 30
"""Commits behind one that are asked for the pull request that both belong to."""


@dataclass(frozen=True, slots=True)
class DefaultBranch:
    """The default branch of a manifests repository, where merges are looked for."""

    github: GitHub
    repository: GitHubRepository
    history: GitHistory
    branch: str
    head: str
    is_own: Callable[[str], bool] = lambda _commit: False
    """Whether the bot wrote a commit, by its record: not every GitHub signs what its Apps write."""


def merged_pull_request(line: DefaultBranch, commit: str) -> PullRequest | None:
    """The one that GitHub merged as this commit (a rebase may end in a later one); None: none.

    That is a direct push, a bypass or a force push.
    """
    for pull_request in _merged(line, commit):
        merge = pull_request.merge_commit or ""
        if commit == merge or _is_rebased(line, pull_request, commit, merge):
            return pull_request
    return _rebased_with_later_ones(line, commit)


def _merged(line: DefaultBranch, commit: str) -> list[PullRequest]:
    """Those that GitHub connects with a commit and whose merge stands on the default branch."""
    return [
        one
        for one in line.github.pull_requests_of(line.repository, commit)
        if one.merged
        and one.merge_commit is not None
        and one.base_branch == line.branch
        and line.history.is_ancestor(one.merge_commit, line.head)
    ]


def _rebased_with_later_ones(line: DefaultBranch, commit: str) -> PullRequest | None:
    """The pull request that ends in one of the commits right behind this one.

    GitHub connects a rebased pull request with its last commit; others it may leave out.
    """
    later = line.history.first_parents(line.head, limit=_LATER, until=commit)
    for one in reversed(later[-_REBASED:]):
        if len(one.parents) != 1:
            return None
        found = [pull for pull in _merged(line, one.id) if pull.merge_commit == one.id]
        if found:
            return found[0] if _is_rebased(line, found[0], commit, one.id) else None
    return None


def _is_rebased(line: DefaultBranch, pull_request: PullRequest, commit: str, merge: str) -> bool:
    """Whether a commit is one that GitHub wrote to rebase the pull request, before its last one.

    Each is new, with the message and the author of the commit that it repeats. Somebody may write
    such a commit himself: what it brings has to stand in the pull request all the same.
    """
    if not line.history.is_ancestor(commit, merge) or not line.history.fetch_commit(
        pull_request.head
    ):
        return False
    own = line.github.contributed(line.repository, pull_request.number)
    chain = line.history.first_parents(merge, limit=len(own))
    for written, repeated in zip(chain, reversed(own), strict=False):
        if (
            len(written.parents) != 1
            or written.id == repeated.id
            or not line.history.has(repeated.id)
            or _words(line.history, written.id) != _words(line.history, repeated.id)
        ):
            return False
        if written.id == commit:
            return True
    return False


def _words(history: GitHistory, commit: str) -> tuple[str, str]:
    return history.commit(commit).author, history.message(commit)


def attribution(line: DefaultBranch, commit: str, teams: Sequence[str]) -> Attribution:
    """Everything that GitHub says of how a commit of the default branch came to be.

    Args:
        line: the default branch.
        commit: one of the default branch's first parents.
        teams: ``organization/team`` whose members among the approving people are looked for.
    """
    found = merged_pull_request(line, commit)
    if found is None:
        return Attribution(commit, None)
    if not line.history.fetch_commit(found.head):
        raise UnavailableError(f"the head of pull request {found.number} cannot be read now")
    details = line.github.pull_request(line.repository, found.number)
    merge = line.history.commit(found.merge_commit or "")
    known = _people(line, details, teams, base=merge.parents[0] if merge.parents else "")
    known = replace(known, merge=commit)
    return replace(known, flaw=known.flaw or _flaw(line.history, found))


def opened(line: DefaultBranch, pull_request: PullRequest, teams: Sequence[str]) -> Attribution:
    """What GitHub says of a pull request that is not merged, as if it were merged as it is."""
    return _people(line, pull_request, teams, base=line.head)


def _people(
    line: DefaultBranch, pull_request: PullRequest, teams: Sequence[str], *, base: str
) -> Attribution:
    """Who is behind a pull request and its approvals; ``base`` is what it is merged onto."""
    github, repository = line.github, line.repository
    reviews = github.reviews(repository, pull_request.number)
    contributed = github.contributed(repository, pull_request.number)
    approving = _approving(reviews)
    many = f"pull request {pull_request.number} has {_COMMITS} commits or more"
    return Attribution(
        merge=pull_request.head,
        pull_request=pull_request,
        reviews=reviews,
        commits=[one for one in contributed if _brings(line, one, base)],
        pushed_by=_pushed_by(line, pull_request),
        teams={
            team: frozenset(
                number
                for number, login in approving.items()
                if github.in_team(repository, team, login)
            )
            for team in dict.fromkeys(teams)
        },
        writers=frozenset(
            number
            for number, login in approving.items()
            if github.can_write(repository, Actor(login, is_person=True, id=number))
        ),
        flaw=many if len(contributed) >= _COMMITS else "",
    )


def _approving(reviews: Sequence[Review]) -> dict[int, str]:
    """Account -> its name now."""
    return {
        one.author.id: one.author.login
        for one in reviews
        if one.state == "APPROVED" and one.author.is_person
    }


def _brings(line: DefaultBranch, commit: ContributedCommit, base: str) -> bool:
    """Whether somebody has to answer for a commit: it is new there, not ours, and not empty."""
    is_there = bool(base) and line.history.is_ancestor(commit.id, base)
    return not (is_there or line.is_own(commit.id) or _is_empty(line.history, commit))


def _is_empty(history: GitHistory, commit: ContributedCommit) -> bool:
    """Whether a commit changes nothing, so that nobody need answer for it."""
    if len(commit.parents) != 1 or not history.has(commit.id):
        return False
    return history.commit(commit.id).tree == history.commit(commit.parents[0]).tree


def _pushed_by(line: DefaultBranch, pull_request: PullRequest) -> frozenset[int] | None:
    """Who moved the branch of a pull request since it was made; None: not everything is known."""
    if not pull_request.head_is_local:
        return None
    pushes = line.github.pushes(line.repository, f"refs/heads/{pull_request.head_branch}")
    if pushes is None or not any(one.after == pull_request.head for one in pushes):
        return None
    actors: set[int] = set()
    for one in pushes:
        if line.is_own(one.after):
            return frozenset(actors)  # what stood there before was written over by the bot
        actors.add(one.actor.id)
        if one.creates:
            return frozenset(actors)
    return frozenset(actors) if len(pushes) < _PUSHES else None


def _flaw(history: GitHistory, pull_request: PullRequest) -> str:
    """Why a merge is not what GitHub makes of the approved head.

    A squash and a rebase are written by GitHub alone; a merge commit may be pushed by anybody, and
    GitHub calls the pull request merged as soon as it contains the head.
    """
    merge = history.commit(pull_request.merge_commit or "")
    name = f"commit {merge.id[:7]}, the merge of pull request {pull_request.number},"
    if len(merge.parents) == 1:
        return ""
    if len(merge.parents) != 2 or merge.parents[1] != pull_request.head:  # noqa: PLR2004 - ours, theirs
        return f"{name} does not join the approved head alone"
    if history.merged_tree(merge.parents[0], pull_request.head) != merge.tree:
        return f"{name} holds something else than the approved head brings"
    return ""


def reviewed(line: DefaultBranch, pull_request: PullRequest) -> tuple[str, str]:
    """The two commits whose difference a merged pull request showed to its reviewers."""
    merge = line.history.commit(pull_request.merge_commit or "")
    base = merge.parents[0] if merge.parents else ""
    return (line.history.merge_base(base, pull_request.head) if base else ""), pull_request.head
