"""What the local GitHub keeps: accounts, Apps, repositories and what happens in them.

Plain records. What may change them, and what follows from a change (webhooks, closed pull
requests), is in ``behaviour``; how they look as JSON is in ``views``.
"""

from __future__ import annotations

import base64
import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.world.github.errors import not_found
from tests.world.github.gitstore import BareRepository, Signature

Permissions = dict[str, str]
"""Permission name to ``read`` or ``write``, e.g. ``{"contents": "write"}``."""

ROLES = ("read", "triage", "write", "maintain", "admin")
"""Repository roles, weakest first (docs: Repository roles for an organization)."""


def node_id(prefix: str, number: int) -> str:
    """Return the global node id of a thing, e.g. ``PR_kgDOAAAH`` (docs: Using global node IDs)."""
    return f"{prefix}_" + base64.urlsafe_b64encode(number.to_bytes(6, "big")).decode().rstrip("=")


@dataclass(slots=True, eq=False)
class Account:
    """A person, an organization, or the bot of an App."""

    id: int
    login: str
    type: str
    """``User``, ``Organization`` or ``Bot``."""
    created_at: datetime
    address: str = ""
    """An e-mail address of its own."""
    token: str = field(default="", repr=False)
    members: set[str] = field(default_factory=set)
    """Logins of an organization's members."""
    base_role: str = "write"
    """What members may do in every repository of the organization."""

    @property
    def node_id(self) -> str:
        """The global node id."""
        return node_id({"Organization": "O", "Bot": "BOT"}.get(self.type, "U"), self.id)

    @property
    def email(self) -> str:
        """The address under which GitHub knows the account's commits."""
        return self.address or f"{self.id}+{self.login}@users.noreply.github.com"

    def signature(self, at: datetime) -> Signature:
        """Sign a commit as this account."""
        return Signature(self.login, self.email, at)


@dataclass(slots=True, eq=False)
class Team:
    """A team of an organization."""

    id: int
    organization: Account
    slug: str
    members: set[str]
    created_at: datetime


@dataclass(slots=True, eq=False)
class App:
    """A registered GitHub App."""

    id: int
    slug: str
    owner: Account
    bot: Account
    client_id: str
    public_key: str
    webhook_url: str
    webhook_secret: str = field(repr=False)
    permissions: Permissions
    events: tuple[str, ...]
    created_at: datetime
    webhook_active: bool = True


@dataclass(frozen=True, slots=True)
class NewApp:
    """A registered App and the key that GitHub shows once."""

    id: int
    slug: str
    private_key: str = field(repr=False)
    """PEM, PKCS#1, as GitHub hands it out."""
    webhook_secret: str = field(repr=False)
    app: App


@dataclass(slots=True, eq=False)
class Installation:
    """An App on an account."""

    id: int
    app: App
    account: Account
    repositories: list[Repository] | None
    """None: all of the account."""
    permissions: Permissions
    created_at: datetime
    suspended_at: datetime | None = None
    suspended_by: Account | None = None

    @property
    def selection(self) -> str:
        """``all`` or ``selected``."""
        return "all" if self.repositories is None else "selected"

    def covers(self, repository: Repository) -> bool:
        """Tell whether the App is installed on ``repository``."""
        if self.repositories is None:
            return repository.owner is self.account
        return repository in self.repositories


@dataclass(slots=True, eq=False)
class InstallationToken:
    """A token of an installation, perhaps narrowed to repositories and permissions."""

    value: str = field(repr=False)
    installation: Installation
    permissions: Permissions
    repositories: list[Repository] | None
    """None: all of the installation."""
    expires_at: datetime

    def covers(self, repository: Repository) -> bool:
        """Tell whether the token opens ``repository``."""
        if not self.installation.covers(repository):
            return False
        return self.repositories is None or repository in self.repositories


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a person, or an App's bot."""

    account: Account
    app: App | None = None


@dataclass(slots=True, eq=False)
class Label:
    """A label of a repository."""

    id: int
    name: str
    color: str = "ededed"
    description: str = ""


@dataclass(slots=True, eq=False)
class Review:
    """A submitted review of a pull request."""

    id: int
    author: Account
    state: str
    """``APPROVED``, ``CHANGES_REQUESTED``, ``COMMENTED`` or ``DISMISSED``."""
    body: str
    commit: str
    submitted_at: datetime


@dataclass(slots=True, eq=False)
class Comment:
    """A comment on a pull request."""

    id: int
    pull: PullRequest
    author: Account
    app: App | None
    body: str
    created_at: datetime
    updated_at: datetime
    reactions: list[tuple[int, Account, str, datetime]] = field(default_factory=list)
    """(id, who, content such as ``eyes``, when)."""


@dataclass(slots=True, eq=False)
class AutoMerge:
    """A wish to merge as soon as the rules allow it."""

    by: Account
    method: str
    title: str | None
    message: str | None


@dataclass(slots=True, eq=False)
class PullRequest:
    """A pull request; ``head_repository`` is the repository itself or a fork of it."""

    id: int
    number: int
    repository: Repository
    head_repository: Repository
    author: Account
    title: str
    body: str | None
    head_ref: str
    head: str
    base_ref: str
    base: str
    """Tip of the base branch when the head last moved."""
    created_at: datetime
    updated_at: datetime
    draft: bool = False
    state: str = "open"
    closed_at: datetime | None = None
    closed_by: Account | None = None
    merged_at: datetime | None = None
    merged_by: Account | None = None
    merge_commit: str | None = None
    labels: list[Label] = field(default_factory=list)
    requested_users: list[Account] = field(default_factory=list)
    requested_teams: list[Team] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    auto_merge: AutoMerge | None = None
    final_commits: tuple[str, ...] = ()
    """What it brought, oldest first, remembered when it was merged."""
    final_base: str = ""
    """Merge base at the time of the merge."""
    test_merge: tuple[str, str, str | None] | None = None
    """(base, head, commit) of the last test merge; no commit: conflict."""
    unknown_mergeability: int = 0
    """So many more looks answer ``mergeable: null``."""

    @property
    def node_id(self) -> str:
        """The global node id."""
        return node_id("PR", self.id)

    @property
    def merged(self) -> bool:
        """Whether it was merged."""
        return self.merged_at is not None


@dataclass(slots=True, eq=False)
class CheckSuite:
    """The check runs of one App for one commit."""

    id: int
    app: App
    commit: str
    branch: str | None
    status: str
    conclusion: str | None
    created_at: datetime
    updated_at: datetime
    runs: list[CheckRun] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class CheckRun:
    """A check run; ``output`` and ``actions`` as they were sent."""

    id: int
    suite: CheckSuite
    name: str
    commit: str
    status: str
    conclusion: str | None
    started_at: datetime | None
    completed_at: datetime | None
    details_url: str | None
    external_id: str | None
    output: dict[str, Any] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class DeploymentStatus:
    """One status of a deployment."""

    id: int
    creator: Account
    app: App | None
    state: str
    description: str
    environment: str
    environment_url: str
    log_url: str
    created_at: datetime


@dataclass(slots=True, eq=False)
class Deployment:
    """A deployment of a commit to an environment."""

    id: int
    creator: Account
    app: App | None
    commit: str
    ref: str
    task: str
    payload: Any
    environment: str
    description: str | None
    transient: bool
    production: bool
    created_at: datetime
    updated_at: datetime
    statuses: list[DeploymentStatus] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class BranchRules:
    """What a ruleset demands of a branch (docs: Available rules for rulesets)."""

    approvals: int = 0
    checks: tuple[str, ...] = ()
    pull_request: bool = True
    """Changes must be made through a pull request."""
    merge_queue: bool = False
    dismiss_stale: bool = False
    last_push: bool = False
    """The approval of whoever pushed last does not count."""
    check_source: int | None = None
    """The id of the App that must set the checks; None: anybody."""
    up_to_date: bool = False
    """A head must contain the tip of its base."""
    restricted: bool = False
    """Creations, updates and deletions are for those in the bypass list alone."""
    bypass: frozenset[int] = frozenset()
    """Ids of the Apps that the ruleset always lets past."""

    def stops(self, app: App | None) -> bool:
        """Tell whether the ruleset holds for what this App does; None: a person."""
        return app is None or app.id not in self.bypass


@dataclass(slots=True, eq=False)
class QueueEntry:
    """A pull request in the merge queue and the commit that its group is tested at."""

    id: int
    pull: PullRequest
    by: Account
    base: str
    head: str
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class Activity:
    """A ref that somebody moved (schema ``activity``)."""

    id: int
    actor: Account
    ref: str
    before: str
    after: str
    kind: str
    at: datetime


@dataclass(slots=True, eq=False)
class Repository:
    """A repository: a real bare git repository and everything around it."""

    id: int
    owner: Account
    name: str
    default_branch: str
    private: bool
    git: BareRepository
    created_at: datetime
    pushed_at: datetime
    updated_at: datetime
    parent: Repository | None = None
    """What it is a fork of."""
    roles: dict[str, str] = field(default_factory=dict)
    """Login to role, where it differs from the organization's base role."""
    archived: bool = False
    delete_branch_on_merge: bool = False
    merge_methods: set[str] = field(default_factory=lambda: {"merge", "squash", "rebase"})
    labels: dict[str, Label] = field(default_factory=dict)
    rules: dict[str, BranchRules] = field(default_factory=dict)
    pulls: dict[int, PullRequest] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)
    check_suites: dict[int, CheckSuite] = field(default_factory=dict)
    check_runs: dict[int, CheckRun] = field(default_factory=dict)
    deployments: dict[int, Deployment] = field(default_factory=dict)
    attestations: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    """Sigstore bundles by the digest that they are about."""
    queue: list[QueueEntry] = field(default_factory=list)
    verified: set[str] = field(default_factory=set)
    """Commits that GitHub made itself and therefore signed."""
    activities: list[Activity] = field(default_factory=list)
    """Oldest first."""

    @property
    def full_name(self) -> str:
        """``owner/name``."""
        return f"{self.owner.login}/{self.name}"

    @property
    def node_id(self) -> str:
        """The global node id."""
        return node_id("R", self.id)

    def rules_of(self, branch: str) -> BranchRules | None:
        """Return the ruleset of a branch: the one of its name, else one whose pattern fits."""
        fitting = (r for pattern, r in self.rules.items() if fnmatch.fnmatchcase(branch, pattern))
        return self.rules.get(branch) or next(fitting, None)

    def head(self, branch: str) -> str | None:
        """Return the tip of ``branch``."""
        return self.git.ref(f"refs/heads/{branch}")

    def pull(self, number: int) -> PullRequest:
        """Return a pull request or answer 404."""
        if number not in self.pulls:
            raise not_found()
        return self.pulls[number]

    def open_pulls(self) -> Iterator[PullRequest]:
        """Iterate over the open pull requests."""
        return (pull for pull in list(self.pulls.values()) if pull.state == "open")

    def role_of(self, account: Account) -> str | None:
        """Return what a person may do here; None: not even read a private repository."""
        if account.login in self.roles:
            return self.roles[account.login]
        if account is self.owner:
            return "admin"
        return self.owner.base_role if account.login in self.owner.members else None

    def allows(self, account: Account, role: str) -> bool:
        """Tell whether a person has at least ``role``."""
        held = self.role_of(account)
        return held is not None and ROLES.index(held) >= ROLES.index(role)
