"""Which pull request brought a commit of the default branch, and who approved it.

By GitHub's record of merges: a commit message names nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.authority import Attribution
from bot.domain.history import PullRequest
from bot.usecases.desk import View


def merged_pull_request(view: View, commit: str) -> PullRequest | None:
    """The one that GitHub merged as this commit (a rebase may end in a later one); None: none.

    That is a direct push, a bypass or a force push.
    """
    for pull_request in view.ports.github.pull_requests_of(view.repository, commit):
        merge = pull_request.merge_commit
        if not pull_request.merged or merge is None:
            continue
        if (
            pull_request.base_branch == view.default_branch
            and view.history.is_ancestor(commit, merge)
            and view.history.is_ancestor(merge, view.head)
        ):
            return pull_request
    return None


def attribution(view: View, commit: str, teams: Sequence[str]) -> Attribution:
    """Everything that GitHub says of how a commit of the default branch came to be.

    Args:
        view: the manifests repository.
        commit: one of the default branch's first parents.
        teams: ``organization/team`` whose members among the approving people are looked for.
    """
    github, repository = view.ports.github, view.repository
    found = merged_pull_request(view, commit)
    if found is None:
        return Attribution(commit, None)
    reviews = github.reviews(repository, found.number)
    approving = {r.author.login for r in reviews if r.state == "APPROVED" and r.author.is_person}
    return Attribution(
        merge=commit,
        pull_request=github.pull_request(repository, found.number),
        reviews=reviews,
        commits=github.contributed(repository, found.number),
        teams={
            team: frozenset(login for login in approving if github.in_team(repository, team, login))
            for team in teams
        },
        writers=frozenset(login for login in approving if github.can_write(repository, login)),
    )
