"""GitHub's answers as values: only the fields that are used, by GitHub's published schema."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from bot.domain.errors import UnavailableError
from bot.domain.history import (
    Actor,
    Comment,
    ContributedCommit,
    Contribution,
    PullRequest,
    Push,
    Review,
    SourcePullRequest,
)
from bot.formats import structs

_GITHUB_ADDRESS: Final = "noreply@github.com"
"""Committer of what is made on GitHub's pages and by its API, signed with GitHub's key."""

S = TypeVar("S", bound=msgspec.Struct)


class _User(msgspec.Struct):
    login: str
    type: str = "User"
    id: int = 0


class _Label(msgspec.Struct):
    name: str


class _Repository(msgspec.Struct):
    id: int


class _Branch(msgspec.Struct):
    ref: str
    sha: str
    repo: _Repository | None = None


class PullRequestRecord(msgspec.Struct):
    """Schema ``pull-request`` and ``pull-request-simple``."""

    number: int
    state: str
    title: str
    head: _Branch
    base: _Branch
    html_url: str = ""
    body: str | None = None
    user: _User | None = None
    merged_at: str | None = None
    merged_by: _User | None = None
    merge_commit_sha: str | None = None
    labels: list[_Label] = []
    mergeable: bool | None = None
    draft: bool = False
    closed_at: datetime | None = None


class ReviewRecord(msgspec.Struct):
    """Schema ``pull-request-review``."""

    state: str
    commit_id: str | None = None
    user: _User | None = None


class _Verification(msgspec.Struct, frozen=True):
    verified: bool = False


class _GitUser(msgspec.Struct, frozen=True):
    email: str = ""


class _GitCommit(msgspec.Struct, frozen=True):
    verification: _Verification = _Verification()
    committer: _GitUser | None = None


class _Parent(msgspec.Struct):
    sha: str


class CommitRecord(msgspec.Struct):
    """Schema ``commit``: accounts are null (or empty) where GitHub knows none."""

    sha: str
    author: dict[str, Any] | None = None
    committer: dict[str, Any] | None = None
    commit: _GitCommit = _GitCommit()
    parents: list[_Parent] = []


class ActivityRecord(msgspec.Struct):
    """Schema ``activity``."""

    after: str
    activity_type: str
    actor: _User | None = None
    timestamp: datetime | None = None


class _Account(msgspec.Struct):
    login: str


class _GitActor(msgspec.Struct):
    user: _Account | None = None


class _AssociatedPullRequest(msgspec.Struct, rename="camel"):
    number: int
    title: str
    merged: bool
    head_ref_name: str = ""
    author: _Account | None = None


class _AssociatedPullRequests(msgspec.Struct):
    nodes: list[_AssociatedPullRequest | None] | None = None


class ChangeRecord(msgspec.Struct, rename="camel"):
    """A GraphQL ``Commit`` with the pull requests that GitHub associates with it."""

    oid: str
    author: _GitActor | None = None
    associated_pull_requests: _AssociatedPullRequests | None = None


class CheckOutput(msgspec.Struct):
    """The output of schema ``check-run``."""

    title: str | None = None
    summary: str | None = None
    text: str | None = None


class _App(msgspec.Struct):
    id: int


class CheckRunRecord(msgspec.Struct):
    """Schema ``check-run``."""

    id: int
    name: str
    status: str
    output: CheckOutput
    conclusion: str | None = None
    app: _App | None = None


class CommentRecord(msgspec.Struct):
    """Schema ``issue-comment``."""

    id: int
    body: str = ""
    user: _User | None = None


class _WrittenComment(msgspec.Struct):
    id: int
    created_at: datetime
    updated_at: datetime
    issue_url: str
    body: str = ""
    user: _User | None = None
    performed_via_github_app: _App | None = None


class DeploymentRecord(msgspec.Struct):
    """Schema ``deployment``."""

    id: int
    creator: _User | None = None


class DeploymentStatusRecord(msgspec.Struct):
    """Schema ``deployment-status``."""

    state: str
    description: str = ""


def read(data: object, kind: type[S]) -> S:
    """Convert an answer; UnavailableError if it is not what GitHub documents."""
    try:
        return structs.convert(data, kind)
    except msgspec.ValidationError as error:
        raise UnavailableError(f"GitHub answered something else than a {kind.__name__}") from error


def actor(user: _User | None) -> Actor:
    """An account; a deleted one is nobody, and no person."""
    if user is None:
        return Actor("", is_person=False)
    return Actor(user.login, is_person=user.type == "User", id=user.id)


def pull_request(data: object) -> PullRequest:
    """A pull request from either of its schemas."""
    record = read(data, PullRequestRecord)
    return PullRequest(
        number=record.number,
        is_open=record.state == "open",
        merged=record.merged_at is not None,
        title=record.title,
        body=record.body or "",
        author=actor(record.user),
        head_branch=record.head.ref,
        head=record.head.sha,
        head_is_local=bool(
            record.head.repo and record.base.repo and record.head.repo.id == record.base.repo.id
        ),
        base_branch=record.base.ref,
        base=record.base.sha,
        merge_commit=record.merge_commit_sha if record.merged_at else None,
        merged_by=actor(record.merged_by) if record.merged_by else None,
        labels=frozenset(label.name for label in record.labels),
        mergeable=record.mergeable,
        is_draft=record.draft,
        closed_at=record.closed_at,
        url=record.html_url,
    )


def comment(data: object) -> Comment:
    """A comment; GitHub tells by two times alone whether it was edited."""
    record = read(data, _WrittenComment)
    number = record.issue_url.rpartition("/")[2]
    author = actor(record.user)
    # An App that a person lets write for them writes under that person's name.
    is_person = author.is_person and record.performed_via_github_app is None
    return Comment(
        id=record.id,
        pull_request=int(number) if number.isdecimal() else 0,
        author=Actor(author.login, is_person=is_person, id=author.id),
        body=record.body,
        at=record.created_at,
        is_edited=record.updated_at != record.created_at,
    )


def review(data: object) -> Review:
    """A review; one on a commit that is gone counts for no head."""
    record = read(data, ReviewRecord)
    return Review(actor(record.user), record.state.upper(), record.commit_id or "")


def contributed(data: object) -> ContributedCommit:
    """A commit of a pull request."""
    record = read(data, CommitRecord)
    author, committer = _account(record.author), _account(record.committer)
    is_by_github = _is_by_github(record)
    signed = record.commit.verification.verified
    return ContributedCommit(
        record.sha,
        author,
        author if is_by_github else committer,
        (author if is_by_github else committer) if signed else None,
        tuple(parent.sha for parent in record.parents),
    )


def _is_by_github(record: CommitRecord) -> bool:
    """Whether GitHub made it for its author: its own committer is nobody's account.

    Anybody may write that address into a commit, so it counts with GitHub's signature alone.
    """
    committer = record.commit.committer
    return (
        record.commit.verification.verified
        and committer is not None
        and committer.email == _GITHUB_ADDRESS
    )


def deletion(data: object) -> datetime | None:
    """When a branch was deleted; None: something else happened to it."""
    record = read(data, ActivityRecord)
    return record.timestamp if record.activity_type == "branch_deletion" else None


def push(data: object) -> Push | None:
    """A branch that somebody moved; None: it was deleted."""
    record = read(data, ActivityRecord)
    if record.activity_type == "branch_deletion":
        return None
    creates = record.activity_type == "branch_creation"
    return Push(actor(record.actor), record.after, creates=creates)


def contribution(data: object) -> Contribution:
    """A commit and the pull request that brought it first."""
    record = read(data, ChangeRecord)
    associated = record.associated_pull_requests
    found = [one for one in (associated.nodes if associated else None) or [] if one]
    # A release branch is merged by a later pull request than the one in which it was reviewed.
    first = min(found, key=lambda one: (not one.merged, one.number), default=None)
    return Contribution(
        record.oid,
        record.author.user.login if record.author and record.author.user else None,
        SourcePullRequest(
            first.number,
            first.title,
            first.merged,
            first.author.login if first.author else None,
            first.head_ref_name,
        )
        if first
        else None,
    )


def _account(account: dict[str, Any] | None) -> Actor | None:
    """The account that an address belongs to."""
    if not account or not isinstance(account.get("login"), str) or account["login"] == "web-flow":
        return None
    return actor(read(account, _User))
