"""How the new source commits came into their repository: by which pull requests, of whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.domain.environments import GitHubRepository
from bot.domain.errors import RejectedError
from bot.domain.history import Contribution, GitCommit
from bot.ports.github import GitHub


def source_changes(
    github: GitHub,
    repository: GitHubRepository,
    commits: Sequence[GitCommit] | None,
    head: str = "",
) -> Mapping[str, Contribution] | None:
    """Commit -> what GitHub knows of it; None: nobody knows, which is not "no pull request".

    A refusal never fails a promotion: the commits are shown as git has them.

    Args:
        github: where the source repository is.
        repository: the source repository.
        commits: new ones; None: they cannot be listed.
        head: the commit that asked, which may be none of them; empty: nobody has to know.
    """
    asked = dict.fromkeys(commit.id for commit in commits or ())
    asked |= {head: None} if head else {}
    if not asked:
        return None
    try:
        found = github.contributions(repository, list(asked))
    except RejectedError:
        return None
    return {one.commit: one for one in found}
