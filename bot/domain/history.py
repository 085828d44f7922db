"""What git and GitHub say of commits, pull requests and people; facts, not judgements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class GitCommit:
    """A commit as git stores it."""

    id: str
    tree: str
    parents: tuple[str, ...]
    committed_at: datetime
    """Committer time, UTC."""
    subject: str
    author: str
    """Author's name: text from outside."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file of a commit's tree."""

    mode: str
    """``100644``, ``100755``, ``120000`` (symbolic link) or ``160000`` (submodule)."""
    blob: str

    @property
    def is_file(self) -> bool:
        """Whether it has a content of its own: a link's text and a submodule's commit are none."""
        return self.mode.startswith("100")


@dataclass(frozen=True, slots=True)
class FileWrite:
    """A file to write into a tree."""

    path: str
    mode: str
    content: bytes | None
    """None: the file is taken away."""


@dataclass(frozen=True, slots=True)
class PathChange:
    """A path that differs between two trees; None: not there."""

    before: TreeEntry | None
    after: TreeEntry | None


@dataclass(frozen=True, slots=True)
class GitHubFacts:
    """What GitHub says of a repository."""

    id: int
    default_branch: str
    full_name: str
    merge_methods: tuple[str, ...] = ("squash", "merge", "rebase")
    """Ways that the repository allows, best first; all where GitHub does not tell us."""


@dataclass(frozen=True, slots=True)
class MergeRefusal:
    """GitHub does not merge a pull request now."""

    words: str
    """GitHub's own."""
    is_queued: bool = False
    """It stands in the merge queue, which merges it."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody on GitHub."""

    login: str
    is_person: bool
    """False for Apps and bots."""
    id: int = 0
    """The account's number: names change and are given to others. 0: GitHub names no account."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as the API shows it now."""

    number: int
    is_open: bool
    merged: bool
    title: str
    body: str
    author: Actor
    head_branch: str
    head: str
    """Head commit."""
    head_is_local: bool
    """Whether the head branch is in the same repository (no fork)."""
    base_branch: str
    base: str
    merge_commit: str | None
    merged_by: Actor | None
    labels: frozenset[str] = frozenset()
    mergeable: bool | None = None
    """None while GitHub computes it."""
    is_draft: bool = False
    closed_at: datetime | None = None
    """UTC; None: it is open."""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """A submitted review."""

    author: Actor
    state: str
    """APPROVED, CHANGES_REQUESTED, COMMENTED, DISMISSED."""
    commit: str
    """The head that it was given on."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a pull request as the API shows it now."""

    id: int
    pull_request: int
    author: Actor
    body: str
    """Text from outside."""
    at: datetime
    """When it was written, UTC."""
    is_edited: bool
    """Whoever may write can edit another's comment."""


@dataclass(frozen=True, slots=True)
class ContributedCommit:
    """A commit of a pull request and the accounts behind it.

    Author and committer are addresses that anybody may write into a commit. Only a signature that
    GitHub has verified says whose it is.
    """

    id: str
    author: Actor | None
    """Whom the author's address belongs to; None: to no account."""
    committer: Actor | None
    signed_by: Actor | None = None
    """Whose signature GitHub has verified; for what was made on GitHub's pages, who made it."""
    parents: tuple[str, ...] = ()

    @property
    def is_linked(self) -> bool:
        """Whether both addresses belong to accounts."""
        return self.author is not None and self.committer is not None


@dataclass(frozen=True, slots=True)
class Push:
    """Somebody moved a branch."""

    actor: Actor
    after: str
    """What it names since then."""
    creates: bool = False
    """The branch was not there before."""


@dataclass(frozen=True, slots=True)
class SourcePullRequest:
    """A pull request that a source commit belongs to."""

    number: int
    title: str
    """Text from outside."""
    merged: bool
    author: str | None
    """Login."""
    branch: str = ""
    """Where it came from, perhaps in a fork; empty: not known. Text from outside."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """A commit, who wrote it and how it came into its repository, as far as GitHub knows."""

    commit: str
    author: str | None
    """Login; None: no account has the commit's address."""
    pull_request: SourcePullRequest | None
    """The merged one that brought it, else an open one; None: none, so nobody was asked."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The branch head that asked for a promotion, and who brought it there."""

    branch: str
    commit: str
    login: str = ""
    """Of the commit's author; empty: GitHub knows no account."""
    name: str = ""
    """As git has it: text from outside; empty: nobody knows."""
    pull_request: int = 0
    """The merged one that brought it; 0: none, or nobody knows."""


@dataclass(frozen=True, slots=True)
class WatchedChange:
    """A file that reviewers want to see, and what happened to it."""

    path: str
    """Text from outside."""
    what: str
    """``added``, ``changed`` or ``removed``."""


class CheckState(StrEnum):
    """How a check run reads on GitHub; only IN_PROGRESS is not an end."""

    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    NEUTRAL = "neutral"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Check:
    """A check run: what people read on a commit."""

    name: str
    commit: str
    state: CheckState
    title: str
    summary: str
    """Markdown, escaped."""
    text: str = ""
    """More of it, below the summary."""


@dataclass(frozen=True, slots=True)
class DeploymentReport:
    """One line of the timeline on a source commit."""

    environment: str
    """As GitHub shows it: ``lockkeeper/prod``."""
    commit: str
    state: str
    """queued, in_progress, success, failure or inactive."""
    description: str
    payload: Mapping[str, str] = field(default_factory=dict)
