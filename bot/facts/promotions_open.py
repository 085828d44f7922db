"""Which pull requests are the bot's own promotions, and of what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.environments import Application, Environment
from bot.domain.history import PullRequest
from bot.facts.snapshot import View

BRANCHES: Final = "lockkeeper"
"""In front of every branch that the bot proposes on."""
ROLLBACK_SUFFIX = ".rollback"
"""Behind the branch of a promotion: no name of an application has a full stop."""


def head_branch(environment: Environment, application: Application) -> str:
    """The branch that promotions of an application to an environment live on."""
    return lane_branch(environment, application.lane)


def lane_branch(environment: Environment, lane: str) -> str:
    """The same, of an application or of a group of them."""
    return f"{BRANCHES}/{environment.name}/{lane}"


def rollback_branch(environment: Environment, application: Application) -> str:
    """The branch that ways back of an application in an environment live on."""
    return lane_branch(environment, application.name) + ROLLBACK_SUFFIX


@dataclass(frozen=True, slots=True)
class Promotion:
    """A pull request that promotes, or brings back, an application in an environment."""

    environment: Environment
    application: Application
    pull_request: PullRequest
    is_rollback: bool


def promotions_in(view: View, pull_request: PullRequest) -> Sequence[Promotion]:
    """What a pull request promotes, open or not, each application of a group by itself.

    Empty: it is not one of the bot's own. The bot opens them from a branch of this repository,
    onto the default branch.
    """
    is_ours = pull_request.author.login == view.ports.github.login()
    if not (is_ours and pull_request.head_is_local):
        return ()
    if pull_request.base_branch != view.default_branch:
        return ()
    name = pull_request.head_branch.removesuffix(ROLLBACK_SUFFIX)
    first, _, rest = name.partition("/")
    environment, _, lane = rest.partition("/")
    found = view.pipeline.environments.get(environment)
    is_rollback = name != pull_request.head_branch
    if first != BRANCHES or found is None:
        return ()
    return [
        Promotion(found, one, pull_request, is_rollback)
        for one in _promoted(view, found, pull_request, lane, alone=is_rollback)
    ]


def _promoted(
    view: View, environment: Environment, pull_request: PullRequest, lane: str, *, alone: bool
) -> Sequence[Application]:
    """Of a group those that the head is of by our record, else all."""
    applications = view.pipeline.applications.values()
    members = [one for one in applications if (one.name if alone else one.lane) == lane]
    if len(members) < 2:  # noqa: PLR2004 - no group, so nothing to tell apart
        return members
    heads = view.ports.memory.heads_at(view.id, pull_request.head)
    names = {one.scope.application for one in heads if one.scope.environment == environment.name}
    return [one for one in members if one.name in names] or members


def open_promotions(view: View) -> Iterator[Promotion]:
    """The open ones of a manifests repository."""
    for one in view.ports.github.pull_requests(view.repository, state="open"):
        yield from promotions_in(view, one)


def superseded_key(view: View, number: int) -> str:
    """Names the audit's entry that the bot itself closed a pull request."""
    return f"superseded:{view.id}:{number}"


def note_superseded(view: View, number: int, environment: str) -> None:
    """Remember that the bot closes a pull request, before it does: it is nobody's refusal."""
    facts = {"pull_request": str(number)}
    once = superseded_key(view, number)
    view.ports.audit.append("superseded", view.scope(environment), facts, once=once)
