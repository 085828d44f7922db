"""Which pull requests are the bot's own promotions, and of what."""

from __future__ import annotations

from collections.abc import Iterator
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
    return head_branch(environment, application) + ROLLBACK_SUFFIX


@dataclass(frozen=True, slots=True)
class Promotion:
    """A pull request that promotes, or brings back, an application in an environment."""

    environment: Environment
    application: Application
    pull_request: PullRequest
    is_rollback: bool


def promotion_in(view: View, pull_request: PullRequest) -> Promotion | None:
    """What a pull request promotes, open or not; None: it is not one of the bot's own.

    The bot opened it, from a branch of this repository, onto the default branch.
    """
    is_ours = pull_request.author.login == view.ports.github.login()
    if not (is_ours and pull_request.head_is_local):
        return None
    if pull_request.base_branch != view.default_branch:
        return None
    name = pull_request.head_branch.removesuffix(ROLLBACK_SUFFIX)
    first, _, rest = name.partition("/")
    environment, _, application = rest.partition("/")
    found = view.pipeline.environments.get(environment)
    promoted = view.pipeline.applications.get(application)
    if first != "lockkeeper" or found is None or promoted is None:
        return None
    is_rollback = name != pull_request.head_branch
    return Promotion(found, promoted, pull_request, is_rollback)


def open_promotions(view: View) -> Iterator[Promotion]:
    """The open ones of a manifests repository."""
    for one in view.ports.github.pull_requests(view.repository, state="open"):
        found = promotion_in(view, one)
        if found is not None:
            yield found
