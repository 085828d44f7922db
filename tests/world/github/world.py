"""A whole GitHub on this machine: REST, GraphQL, git over HTTP, signed webhooks.

    world = GitHubWorld(tmp_path / "github")
    world.start()
    world.add_organization("acme")
    rita = world.add_user("rita")
    manifests = world.add_repository("acme/manifests", files={"README.md": "hello"})
    app = world.create_app("http://127.0.0.1:8000/webhook", "s", {"contents": "write"}, ["push"])
    world.install(app, [manifests])
    rita.push(manifests, "feature", {"README.md": "hello, world"})

It is made like GitHub Enterprise Server: pages and git at ``world.url``, REST at ``/api/v3``,
GraphQL at ``/api/graphql``. Under it is real git. Every request, answer and webhook is held
against GitHub's published schemas where they are at hand; what differs is in ``violations``.
"""

from __future__ import annotations

import itertools
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.contract.validator import Contract, Exchange
from tests.world.github.behaviour import checks, events, merging, pulls, registering
from tests.world.github.clock import Clock, MovableClock
from tests.world.github.faults import Fault, Faults, When
from tests.world.github.gitstore import WEB_FLOW, BareRepository, FileChanges
from tests.world.github.people import User
from tests.world.github.records import (
    Account,
    Actor,
    App,
    BranchRules,
    CheckSuite,
    Installation,
    NewApp,
    Permissions,
    Repository,
    Team,
    node_id,
)
from tests.world.github.server import Server
from tests.world.github.state import State
from tests.world.github.webhooks import Webhooks

CI_APP_ID = 15368
"""The id of GitHub Actions on github.com."""


class GitHubWorld:
    """The local GitHub; its address is known from the start and stays over stop and start."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock | None = None,
        port: int = 0,
        contract: Contract | None = None,
    ) -> None:
        """Lay out an empty GitHub whose repositories are below ``directory``.

        With a ``contract`` everything that goes in or out is checked against GitHub's schemas.
        """
        numbers = itertools.count(1001)
        self._contract = contract
        self.violations: list[str] = []
        """What differed from GitHub's schemas so far: a request is the client's fault, an answer
        or a webhook the world's."""
        self.clock: Clock = clock or MovableClock()
        self.webhooks = Webhooks(self.clock, lambda: next(numbers), self._watch_webhook)
        self.state = State(
            web=f"http://127.0.0.1:{port or _free_port()}",
            directory=directory,
            clock=self.clock,
            webhooks=self.webhooks,
            new_id=lambda: next(numbers),
            after_push=[checks.request_suites, pulls.follow_push, merging.follow_push],
            after_gate=[merging.look_again],
        )
        self.faults = Faults()
        self.server = Server(
            self.state, self.faults, self._watch, self._watch_graphql, self.violations.append
        )
        self._ghost = registering.add_account(self.state, "ghost", "User")
        registering.add_account(self.state, "web-flow", "User").address = WEB_FLOW[1]
        self._ci = registering.register(
            self.state,
            "github-actions",
            self._ghost,
            permissions={"checks": "write"},
            events=(),
            number=CI_APP_ID,
        ).app

    def _watch(self, exchange: Exchange) -> None:
        if self._contract is not None:
            self.violations += self._contract.check_exchange(exchange)

    def _watch_graphql(
        self, document: str, variables: dict[str, Any], data: dict[str, Any] | None
    ) -> None:
        if self._contract is not None:
            self.violations += self._contract.check_graphql(document, variables, data)

    def _watch_webhook(self, event: str, payload: dict[str, Any]) -> None:
        if self._contract is not None:
            self.violations += self._contract.check_webhook(event, payload)

    # --- life -------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Root of the pages and of git."""
        return self.state.web

    @property
    def api_url(self) -> str:
        """Root of the REST API."""
        return self.state.api

    @property
    def graphql_url(self) -> str:
        """Address of the GraphQL API."""
        return f"{self.state.web}/api/graphql"

    @property
    def requests(self) -> list[tuple[str, str, int]]:
        """(method, path, status) of every API request so far."""
        return self.server.requests

    def start(self) -> None:
        """Open the address and begin to deliver webhooks."""
        self.server.start()
        self.webhooks.start()

    def stop(self) -> None:
        """Be down; everything is kept for the next start."""
        self.server.stop()
        self.webhooks.stop()

    # --- who there is -----------------------------------------------------------------------

    def add_organization(self, login: str, *, base_role: str = "write") -> Account:
        """Add an organization; ``base_role`` is what its members may do in its repositories."""
        organization = registering.add_account(self.state, login, "Organization")
        organization.base_role = base_role
        return organization

    def add_user(self, login: str, *, outsider: bool = False) -> User:
        """Add a person, a member of every organization that there is unless an outsider."""
        account = registering.add_account(self.state, login, "User")
        account.token = "ghp_" + secrets.token_hex(18)
        for other in self.state.accounts.values():
            if other.type == "Organization" and not outsider:
                other.members.add(login)
        return User(self.state, account)

    def add_team(self, organization: str, slug: str, members: Iterable[User | str]) -> Team:
        """Add a team; its members become members of the organization."""
        owner = self.state.account(organization)
        logins = {one.login if isinstance(one, User) else one for one in members}
        owner.members |= logins
        team = Team(self.state.new_id(), owner, slug, logins, self.clock())
        self.state.teams[owner.login, slug] = team
        return team

    # --- repositories -----------------------------------------------------------------------

    def add_repository(
        self,
        full_name: str,
        *,
        default_branch: str = "main",
        files: FileChanges | None = None,
        private: bool = True,
    ) -> Repository:
        """Add a repository with a first commit; ``files={}`` leaves it empty."""
        login, _, name = full_name.partition("/")
        owner = self.state.account(login)
        number, now = self.state.new_id(), self.clock()
        git = BareRepository(self.state.directory / f"{number}.git", default_branch)
        repository = Repository(
            number, owner, name, default_branch, private, git, now, now, updated_at=now
        )
        self.state.repositories[full_name.lower()] = repository
        content: FileChanges = {"README.md": f"# {name}\n"} if files is None else files
        if content:
            tree = git.with_files(None, content)
            commit = git.write_commit(tree, (), "First commit", self._ghost.signature(now))
            git.write_ref(f"refs/heads/{default_branch}", commit, None)
        return repository

    def fork(self, repository: str | Repository, user: User) -> Repository:
        """Let a person fork a repository; ``user`` may push there and open pull requests."""
        parent = self._found(repository)
        fork = self.add_repository(
            f"{user.login}/{parent.name}",
            default_branch=parent.default_branch,
            files={},
            private=parent.private,
        )
        fork.parent = parent
        for name, target in parent.git.refs("refs/heads/").items():
            fork.git.fetch(parent.git, name)
            fork.git.write_ref(name, target, None)
        return fork

    def repository(self, full_name: str) -> Repository:
        """Return a repository."""
        return self.state.repository(full_name)

    def protect(
        self,
        repository: str | Repository,
        branch: str,
        *,
        approvals: int = 0,
        checks: tuple[str, ...] = (),
        merge_queue: bool = False,
        dismiss_stale: bool = False,
        last_push: bool = False,
        check_source: int | None = None,
        up_to_date: bool = False,
    ) -> None:
        """Put a ruleset on a branch: changes through pull requests, with approvals and checks."""
        self._found(repository).rules[branch] = BranchRules(
            approvals,
            checks,
            pull_request=True,
            merge_queue=merge_queue,
            dismiss_stale=dismiss_stale,
            last_push=last_push,
            check_source=check_source,
            up_to_date=up_to_date,
        )

    def restrict(
        self, repository: str | Repository, pattern: str, *, bypass: Iterable[NewApp | App] = ()
    ) -> None:
        """Put a ruleset on branches that only these Apps may create, move and delete."""
        self._found(repository).rules[pattern] = BranchRules(
            pull_request=False, restricted=True, bypass=frozenset(one.id for one in bypass)
        )

    def rename(self, repository: str | Repository, new_name: str) -> None:
        """Rename a repository; the old name redirects: 301 for GET, 307 for the rest."""
        found = self._found(repository)
        with self.state.lock:
            old_name = found.name
            del self.state.repositories[found.full_name.lower()]
            self.state.old_names[found.full_name.lower()] = found
            found.name = new_name
            self.state.repositories[found.full_name.lower()] = found
            changes = {"repository": {"name": {"from": old_name}}}
            fields = {"action": "renamed", "changes": changes}
            events.publish(self.state, found, self._ghost, "repository", fields)

    def _found(self, repository: str | Repository) -> Repository:
        return repository if isinstance(repository, Repository) else self.repository(repository)

    # --- Apps -------------------------------------------------------------------------------

    def create_app(
        self,
        webhook_url: str,
        secret: str,
        permissions: Permissions,
        events: Iterable[str],
        *,
        slug: str = "lockkeeper",
        owner: str | None = None,
    ) -> NewApp:
        """Register an App; without a webhook address nothing is sent."""
        organizations = (a for a in self.state.accounts.values() if a.type == "Organization")
        return registering.register(
            self.state,
            slug,
            self.state.account(owner) if owner else next(organizations, self._ghost),
            permissions=permissions,
            events=tuple(events),
            webhook_url=webhook_url,
            webhook_secret=secret,
        )

    def install(
        self,
        app: NewApp | App,
        repositories: Iterable[str | Repository] | None,
        *,
        account: str | None = None,
    ) -> Installation:
        """Install an App on repositories of one owner; None: on all of ``account``."""
        record = app.app if isinstance(app, NewApp) else app
        chosen = None if repositories is None else [self._found(one) for one in repositories]
        owner = self.state.account(account) if account else (chosen or [])[0].owner
        with self.state.lock:
            installation = Installation(
                self.state.new_id(), record, owner, chosen, dict(record.permissions), self.clock()
            )
            self.state.installations[installation.id] = installation
            covered = [r for r in self.state.repositories.values() if installation.covers(r)]
            fields = {"repositories": [_listed(r) for r in covered]}
            events.publish_installation(
                self.state, installation, self._ghost, "installation", "created", fields
            )
        return installation

    def add_to_installation(self, installation: Installation, repository: str | Repository) -> None:
        """Let an installation cover one more repository."""
        found = self._found(repository)
        installation.repositories = [*(installation.repositories or []), found]
        self._tell_repositories(installation, "added", found)

    def remove_from_installation(
        self, installation: Installation, repository: str | Repository
    ) -> None:
        """Take a repository away from an installation."""
        found = self._found(repository)
        installation.repositories = [r for r in installation.repositories or [] if r is not found]
        self._tell_repositories(installation, "removed", found)

    def _tell_repositories(
        self, installation: Installation, action: str, repository: Repository
    ) -> None:
        fields: dict[str, object] = {
            "repository_selection": installation.selection,
            "repositories_added": [],
            "repositories_removed": [],
            "requester": None,
        }
        fields[f"repositories_{action}"] = [_listed(repository)]
        events.publish_installation(
            self.state, installation, self._ghost, "installation_repositories", action, fields
        )

    def suspend(self, installation: Installation) -> None:
        """Suspend an installation: its tokens stop working."""
        installation.suspended_at, installation.suspended_by = self.clock(), self._ghost
        events.publish_installation(
            self.state, installation, self._ghost, "installation", "suspend", {}
        )

    def unsuspend(self, installation: Installation) -> None:
        """Let a suspended installation work again."""
        installation.suspended_at = installation.suspended_by = None
        events.publish_installation(
            self.state, installation, self._ghost, "installation", "unsuspend", {}
        )

    def uninstall(self, installation: Installation) -> None:
        """Remove an installation."""
        del self.state.installations[installation.id]
        events.publish_installation(
            self.state, installation, self._ghost, "installation", "deleted", {}
        )

    # --- what happens by itself -------------------------------------------------------------

    def complete_checks(
        self,
        repository: str | Repository,
        commit: str,
        *,
        name: str = "build",
        conclusion: str = "success",
    ) -> CheckSuite:
        """Let a CI (GitHub Actions) finish on a commit."""
        found = self._found(repository)
        with self.state.lock:
            actor = Actor(self._ci.bot, self._ci)
            return checks.complete(self.state, found, actor, self._ci, commit, name, conclusion)

    def fail(
        self,
        method: str,
        path: str,
        status: int,
        *,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        when: When = "before",
        message: str = "Server Error",
        body: Mapping[str, object] | None = None,
    ) -> Fault:
        """Let the next ``times`` matching requests fail; see ``Fault``."""
        fault = Fault(method, path, status, times, when, headers or {}, message, body)
        self.faults.add(fault)
        return fault

    def just_before(self, method: str, path: str, happens: Callable[[], object]) -> None:
        """Let something happen just before the next matching request is looked at."""
        self.faults.add(Fault(method, path, 0, meanwhile=happens))


def _listed(repository: Repository) -> dict[str, object]:
    return {
        "id": repository.id,
        "node_id": node_id("R", repository.id),
        "name": repository.name,
        "full_name": repository.full_name,
        "private": repository.private,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
