"""The port `bot.ports.premises.AppSetUp`: what GitHub says of the App, its installations and its rules.

Contract. Only reads; safe from any thread and safe to repeat. Answers are reduced to what a
finding needs: no text from GitHub but its own short refusals leaves this module.

Source: GitHub REST API documentation, "Apps", "Rules", "Branches".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, TypeVar

import github
import msgspec

from bot.adapters.github import permissions
from bot.adapters.github.calls import Answer, Calls, GitHubRefusedError, message_of, quoted
from bot.adapters.github.tokens import BadPrivateKeyError, Tokens
from bot.domain.doctor.app import NOBODY_ASKED, AppAnswer, DeliveryLog, WebhookAnswer
from bot.domain.doctor.branches import BranchRule, BranchRules
from bot.domain.doctor.members import Installation, RepositoryState
from bot.domain.environments import GitHubRepository
from bot.domain.errors import LimitExceededError, UnavailableError
from bot.formats import structs

T = TypeVar("T")
_SHOWN_DELIVERIES: Final = 30
_INSTALLATIONS: Final = 5
"""Accounts whose repositories are listed to find what a misspelt name could mean."""
_WHOLE: Final = "1 MiB"  # GitHub, "Get repository content"
_METHODS: Final = {
    "allow_merge_commit": "merge",
    "allow_squash_merge": "squash",
    "allow_rebase_merge": "rebase",
}


class _App(msgspec.Struct):
    id: int
    slug: str
    permissions: dict[str, str]
    events: list[str]


class _Installation(msgspec.Struct):
    id: int
    permissions: dict[str, str]
    events: list[str]
    suspended_at: str | None = None


class _Delivery(msgspec.Struct):
    event: str
    status: str
    status_code: int
    delivered_at: str


class _RequiredCheck(msgspec.Struct):
    context: str
    integration_id: int | None = None


class _Parameters(msgspec.Struct):
    required_approving_review_count: int = 0
    require_last_push_approval: bool = False
    required_status_checks: list[_RequiredCheck] = []


class _Rule(msgspec.Struct):
    type: str
    ruleset_id: int = 0
    parameters: _Parameters | None = None


class _ClassicCheck(msgspec.Struct):
    context: str
    app_id: int | None = None


class _ClassicChecks(msgspec.Struct):
    checks: list[_ClassicCheck] = []


class _Protection(msgspec.Struct):
    enabled: bool = False
    required_status_checks: _ClassicChecks | None = None


class _Branch(msgspec.Struct):
    protection: _Protection = msgspec.field(default_factory=_Protection)


@dataclass(frozen=True)
class GitHubSetUp:
    """The App's own view of GitHub."""

    calls: Calls
    tokens: Tokens

    def app(self) -> AppAnswer:
        """Who GitHub takes the App for; what it refuses is an answer too."""
        try:
            token = self.tokens.app()
        except BadPrivateKeyError as error:
            return AppAnswer(NOBODY_ASKED, str(error))
        answer = self.calls.send(token, "GET", "/app", allow=(401, 404))
        skew = self._skew(answer.headers)
        if answer.status != HTTPStatus.OK:
            return AppAnswer(answer.status, message_of(answer.data), skew)
        found = _read(answer, _App, "GET /app")
        events = frozenset(found.events)
        return AppAnswer(answer.status, "", skew, found.id, found.slug, found.permissions, events)

    def _skew(self, headers: Mapping[str, str]) -> timedelta | None:
        try:
            theirs = parsedate_to_datetime(headers.get("date", ""))
        except ValueError:
            return None
        if theirs.tzinfo is None:
            theirs = theirs.replace(tzinfo=UTC)
        return self.calls.clock.now().replace(microsecond=0) - theirs

    def deliveries(self) -> DeliveryLog:
        """Where webhooks go, and how the newest were answered."""
        config = self.calls.send(self.tokens.app(), "GET", "/app/hook/config", allow=(404,))
        url = str((config.data or {}).get("url") or "") if config.status == HTTPStatus.OK else ""
        if not url:
            return DeliveryLog("", ())
        answer = self.calls.send(
            self.tokens.app(),
            "GET",
            "/app/hook/deliveries",
            query={"per_page": str(_SHOWN_DELIVERIES)},
        )
        found = _read(answer, list[_Delivery], "GET /app/hook/deliveries")
        shown = [
            WebhookAnswer(one.event, one.status_code, one.status, one.delivered_at) for one in found
        ]
        return DeliveryLog(_without_query(url), shown)

    def visible(self) -> Sequence[str]:
        """Repositories that the App is installed on."""
        query = {"per_page": str(_INSTALLATIONS)}
        answer = self.calls.send(self.tokens.app(), "GET", "/app/installations", query=query)
        found = _read(answer, list[_Installation], "GET /app/installations")
        working = [one.id for one in found if one.suspended_at is None]
        return [name for number in working for name in self._repositories(number)]

    def _repositories(self, installation: int) -> list[str]:
        token = self.calls.send(
            self.tokens.app(),
            "POST",
            f"/app/installations/{installation}/access_tokens",
            body={"permissions": dict(permissions.READ_REPOSITORY)},
        ).data["token"]
        answer = self.calls.send(
            github.Auth.Token(token),
            "GET",
            "/installation/repositories",
            query={"per_page": "100"},
        )
        return [str(one["full_name"]) for one in answer.data["repositories"]]

    def installation(self, repository: GitHubRepository) -> Installation | None:
        """The installation that covers a repository."""
        path = f"/repos/{quoted(str(repository))}/installation"
        answer = self.calls.send(self.tokens.app(), "GET", path, allow=(404,))
        if answer.status != HTTPStatus.OK:
            return None
        found = _read(answer, _Installation, path)
        suspended = found.suspended_at is not None
        return Installation(found.id, found.permissions, frozenset(found.events), suspended)

    def repository(self, repository: GitHubRepository) -> RepositoryState:
        """The repository as the App sees it."""
        data = self._get(repository, permissions.READ_REPOSITORY, "").data
        told = {method: data[name] for name, method in _METHODS.items() if name in data}
        methods = frozenset(method for method, allowed in told.items() if allowed)
        return RepositoryState(
            str(data["full_name"]),
            str(data["default_branch"]),
            bool(data.get("archived")),
            methods if told else None,
        )

    def file(self, repository: GitHubRepository, path: str) -> bytes | None:
        """A file on the default branch, at most 1 MiB of it."""
        answer = self._get(
            repository, permissions.READ_CONTENTS, f"/contents/{quoted(path)}", allow=(404,)
        )
        if answer.status != HTTPStatus.OK:
            return None
        if answer.data.get("encoding") != "base64":
            raise LimitExceededError(f"{path} of {repository}", _WHOLE)
        try:
            return base64.b64decode(answer.data["content"])
        except binascii.Error as error:
            raise UnavailableError(f"GitHub answers {path} with something else") from error

    def rules(self, repository: GitHubRepository, branch: str) -> BranchRules:
        """Rules of rulesets, and whether an older protection rule is there too."""
        answer = self._get(
            repository,
            permissions.READ_REPOSITORY,
            f"/rules/branches/{quoted(branch)}",
            query={"per_page": "100"},
        )
        found = _read(answer, list[_Rule], "the rules of a branch")
        bypasses = {
            number: self._bypass(repository, number) for number in {one.ruleset_id for one in found}
        }
        rules = [_rule(one, bypasses[one.ruleset_id]) for one in found]
        classic = self._classic(repository, branch)
        if classic is None:
            return BranchRules(rules, exists=False)
        listed = classic.required_status_checks
        checks = {one.context: one.app_id for one in (listed.checks if listed else ())}
        return BranchRules(rules, classic.enabled and not rules, checks)

    def _bypass(self, repository: GitHubRepository, ruleset: int) -> str:
        """GitHub's word for whether the App passes; empty where it is not told."""
        path = f"/rulesets/{ruleset}"
        try:
            answer = self._get(repository, permissions.READ_REPOSITORY, path, allow=(404,))
        except GitHubRefusedError:
            return ""
        data = answer.data if answer.status == HTTPStatus.OK else {}
        return str(data.get("current_user_can_bypass") or "")

    def _classic(self, repository: GitHubRepository, branch: str) -> _Protection | None:
        path = f"/branches/{quoted(branch)}"
        answer = self._get(repository, permissions.READ_CONTENTS, path, allow=(404,))
        if answer.status != HTTPStatus.OK:
            return None
        return _read(answer, _Branch, "a branch").protection

    def tags(self, repository: GitHubRepository, name: str) -> Sequence[str]:
        """Tags of exactly this name."""
        path = f"/git/matching-refs/tags/{quoted(name)}"
        answer = self._get(repository, permissions.READ_CONTENTS, path)
        refs = [str(one["ref"]) for one in answer.data]
        return [name for ref in refs if ref == f"refs/tags/{name}"]

    def _get(
        self,
        repository: GitHubRepository,
        needed: Mapping[str, str],
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        allow: tuple[int, ...] = (),
    ) -> Answer:
        token = self.tokens.of(repository, needed)
        whole = f"/repos/{quoted(str(repository))}{path}"
        return self.calls.send(token, "GET", whole, query=query, allow=allow)


def _rule(found: _Rule, bypass: str) -> BranchRule:
    parameters = found.parameters or _Parameters()
    return BranchRule(
        kind=found.type,
        bypass=bypass,
        approvals=parameters.required_approving_review_count,
        last_push=parameters.require_last_push_approval,
        checks={one.context: one.integration_id for one in parameters.required_status_checks},
    )


def _read(answer: Answer, shape: type[T], request: str) -> T:
    try:
        return structs.convert(answer.data, shape)
    except msgspec.ValidationError:
        # Without the cause: its text may quote the answer.
        raise UnavailableError(f"GitHub answers {request} with something else") from None


def _without_query(url: str) -> str:
    """An address that people may see: a query can hold a secret."""
    return url.partition("?")[0]
