"""GitHub: what people see and do there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from bot.domain.environments import GitHubRepository
from bot.domain.history import (
    Actor,
    Check,
    Comment,
    ContributedCommit,
    Contribution,
    DeploymentReport,
    FileWrite,
    GitHubFacts,
    MergeRefusal,
    PullRequest,
    Push,
    Review,
)
from bot.domain.oci import Digest
from bot.ports.effects import effect
from bot.ports.keys import CommitKey


class GitHub(Protocol):
    """GitHub's API, with a token of one repository and the permissions of one request."""

    def login(self) -> str:
        """The account that our commits, comments and checks come from: ``<app>[bot]``."""
        ...

    def facts(self, repository: GitHubRepository) -> GitHubFacts:
        """Id and default branch; NotFoundError if the App is not installed there."""
        ...

    def pull_request(self, repository: GitHubRepository, number: int) -> PullRequest:
        """One pull request as it is now."""
        ...

    def pull_requests(
        self, repository: GitHubRepository, *, state: str, head: str = ""
    ) -> Sequence[PullRequest]:
        """Pull requests (``open``, ``closed``), newest first.

        With ``head`` only those from that branch of the repository itself, never from a fork.
        """
        ...

    def pull_requests_of(self, repository: GitHubRepository, commit: str) -> Sequence[PullRequest]:
        """Pull requests that GitHub connects with a commit: merged as it, containing it, open."""
        ...

    def reviews(self, repository: GitHubRepository, number: int) -> Sequence[Review]:
        """Submitted reviews, the newest 2,000, oldest first."""
        ...

    def contributed(self, repository: GitHubRepository, number: int) -> Sequence[ContributedCommit]:
        """The commits of a pull request with the accounts behind them."""
        ...

    def contributions(
        self, repository: GitHubRepository, commits: Sequence[str]
    ) -> Sequence[Contribution]:
        """Authors and pull requests of many commits; those that GitHub does not know are left out.

        A few requests for hundreds of them.
        """
        ...

    def people_of(self, repository: GitHubRepository, commit: str) -> ContributedCommit:
        """A commit with the accounts behind it."""
        ...

    def pushes(self, repository: GitHubRepository, ref: str) -> Sequence[Push] | None:
        """Who moved a whole ref, the newest 100, newest first; None: GitHub does not tell."""
        ...

    def deletions(self, repository: GitHubRepository, branch: str) -> Sequence[datetime]:
        """When a branch was deleted, as far as GitHub tells; of its newest 100 moves."""
        ...

    def in_team(self, repository: GitHubRepository, team: str, login: str) -> bool | None:
        """Whether the account is an active member of ``organization/team`` now.

        None: GitHub shows no such team, so nobody knows.

        The repository says which installation is asked.
        """
        ...

    def can_write(self, repository: GitHubRepository, who: Actor) -> bool | None:
        """Whether the account (and not another that has its name now) may write there now.

        None: GitHub does not say.
        """
        ...

    def comment(self, repository: GitHubRepository, number: int) -> Comment | None:
        """One comment on an issue or pull request as it is now; None: there is none."""
        ...

    def attestations(self, repository: GitHubRepository, digest: Digest) -> Sequence[bytes]:
        """Sigstore bundles about a digest that workflows left with GitHub; nobody verified them."""
        ...

    @effect("write the commit")
    def write_commit(
        self,
        repository: GitHubRepository,
        base: str,
        base_tree: str,
        files: Sequence[FileWrite],
        message: str,
    ) -> str:
        """A verified commit on ``base``, which has ``base_tree``; no branch names it yet."""
        ...

    @effect("move the branch")
    def set_branch(
        self, repository: GitHubRepository, branch: str, commit: str, *, is_there: bool
    ) -> None:
        """Make a branch of ours name the commit; `is_there` says whether it probably exists."""
        ...

    @effect("open the pull request")
    def open_pull_request(
        self, repository: GitHubRepository, *, head: str, base: str, title: str, body: str
    ) -> PullRequest:
        """Open it, or find the open one of this head and base."""
        ...

    @effect("edit the pull request")
    def edit_pull_request(
        self, repository: GitHubRepository, number: int, *, title: str, body: str
    ) -> None:
        """Bring title and body to what they should say."""
        ...

    @effect("close the pull request")
    def close_pull_request(self, repository: GitHubRepository, number: int) -> None:
        """Close without merging."""
        ...

    @effect("merge the pull request")
    def merge_pull_request(
        self, repository: GitHubRepository, number: int, *, head: str, base: str, title: str
    ) -> str | MergeRefusal:
        """Merge exactly this head into ``base``, in a way that is allowed; the merge commit."""
        ...

    @effect("label the pull request")
    def add_labels(self, repository: GitHubRepository, number: int, labels: Sequence[str]) -> None:
        """Add labels; those that are there stay."""
        ...

    @effect("request reviewers")
    def request_reviewers(
        self, repository: GitHubRepository, number: int, teams: Sequence[str]
    ) -> None:
        """Ask teams of the organisation for a review."""
        ...

    @effect("label the held pull request")
    def set_label(
        self, repository: GitHubRepository, number: int, label: str, *, is_there: bool
    ) -> None:
        """Put one label on a pull request, or take it off."""
        ...

    @effect("react to the comment")
    def react(self, repository: GitHubRepository, comment: int, content: str) -> None:
        """React to a comment; the same reaction twice is one."""
        ...

    @effect("write the comment")
    def set_comment(
        self,
        repository: GitHubRepository,
        number: int,
        marker: str,
        body: str,
        *,
        begins: bool = True,
    ) -> None:
        """One comment of ours per marker: written once, edited afterwards, only when different.

        Where it does not stand yet and this does not begin it, nothing is written.
        """
        ...

    @effect("set the check")
    def set_check(self, repository: GitHubRepository, check: Check) -> None:
        """One check run of ours per name and commit, written only when different."""
        ...

    @effect("report the deployment")
    def report_deployment(self, repository: GitHubRepository, report: DeploymentReport) -> None:
        """One deployment per (environment, commit) and its newest state."""
        ...

    @effect("write the publication")
    def write_publication(
        self,
        repository: GitHubRepository,
        *,
        base_tree: str,
        files: Sequence[FileWrite],
        without: str,
        tree: str,
        parent: str,
        message: str,
        key: CommitKey | None = None,
    ) -> str:
        """A verified commit of ``base_tree`` with these files and without one top folder.

        By GitHub's signature for the App, or by that of ``key``. IntegrityError if GitHub arrives
        at another tree than ``tree``.
        """
        ...

    @effect("move the environment ref")
    def set_environment_ref(
        self, repository: GitHubRepository, ref: str, commit: str, *, create: bool
    ) -> None:
        """Fast-forward (or create) an environment ref; never by force."""
        ...
