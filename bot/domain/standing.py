"""Where an application stands in an environment, and what it waits for: one pure function of facts.

>>> standing(StandingFacts("prod", wished="sha256:1f", shown="sha256:1f")).state
'published'
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from bot.domain.environments import Approvals
from bot.domain.jobs import JobState
from bot.domain.memory import Hold


class State(StrEnum):
    """What people call it, in the order of precedence."""

    HELD = "held"
    """A person or the bot stopped it."""
    FAILED = "failed"
    """Somebody must change something before it goes on."""
    PROPOSED = "proposed"
    """A promotion pull request is open."""
    DELIVERING = "delivering"
    """The default branch names something that the environment ref does not show yet."""
    WAITING = "waiting"
    """An image is awaited, or its publication in the environment below."""
    PUBLISHED = "published"
    """The environment ref shows what the default branch names, and nothing newer is under way."""
    EMPTY = "nothing promoted yet"
    """The default branch names no digest there."""
    UNKNOWN = "not known"
    """GitHub does not say now whether a promotion is open."""


@dataclass(frozen=True, slots=True)
class OpenPromotion:
    """The open promotion pull request of an application in an environment."""

    number: int
    url: str
    since: datetime | None
    """When the bot wrote its head, UTC; None: somebody else did."""
    approvals: Approvals
    merges_itself: bool
    verdict: str = ""
    """Of the policy: ``fail`` and ``not_evaluated`` may block; empty: nobody asked."""
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class StandingFacts:
    """Everything that decides it; looked up by `bot.facts.status`."""

    environment: str
    application: str = ""
    wished: str = ""
    """What the default branch says at one place: a digest, or empty."""
    shown: str = ""
    """What the environment ref shows there."""
    hold: Hold | None = None
    pull_request: OpenPromotion | None = None
    unseen: str = ""
    """Why nobody can say now whether a promotion is open; empty: `pull_request` is the answer."""
    propose: JobState | None = None
    deliver: JobState | None = None
    publish: JobState | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer; every text is for people."""

    state: State
    waits_for: str = ""
    """Whom or what, and the way out where a person has to act."""
    since: datetime | None = None
    """UTC; None: nobody knows."""
    link: str = ""


def standing(facts: StandingFacts) -> Standing:
    """The first state that holds, as `State` lists them."""
    failed = _failed(facts)
    if facts.hold is not None:
        return Standing(State.HELD, _held(facts, facts.hold), facts.hold.at)
    if failed is not None:
        return Standing(
            State.FAILED, f"{failed.summary}; then `lockkeeper retry {failed.key}`", failed.since
        )
    if facts.pull_request is not None:
        opened = facts.pull_request
        return Standing(State.PROPOSED, _needed(opened), opened.since, opened.url)
    if facts.wished and facts.wished != facts.shown:
        return _pending(State.DELIVERING, facts.deliver, facts.publish)
    if facts.unseen:
        return Standing(State.UNKNOWN, f"GitHub, to list the open pull requests: {facts.unseen}")
    if facts.propose is not None and facts.propose.state == "waiting":
        return _pending(State.WAITING, facts.propose)
    return Standing(State.PUBLISHED if facts.wished else State.EMPTY)


def _failed(facts: StandingFacts) -> JobState | None:
    """A look that ended; the one nearest to the environment ref first."""
    for job in (facts.publish, facts.deliver, facts.propose):
        if job is not None and job.state == "failed":
            return job
    return None


def _held(facts: StandingFacts, hold: Hold) -> str:
    subject = " ".join(part for part in (facts.environment, hold.scope.application) if part)
    return f"`lockkeeper unhold {subject}` (held by {hold.actor}: {hold.reason})"


def _needed(opened: OpenPromotion) -> str:
    if opened.blocks:
        said = opened.verdict.replace("_", " ")
        return f"the policy, whose verdict is {said}: the pull request says why"
    if opened.verdict == "not_evaluated":
        rest = _needed(replace(opened, verdict=""))
        return f"{rest}; the policy is not evaluated: the pull request says whether that blocks"
    if opened.merges_itself:
        return "the bot's own merge, which GitHub does not take yet"
    count, teams = opened.approvals.count, opened.approvals.teams
    if not count:
        return "somebody who merges it"
    whose = f" of {' or '.join(teams)}" if teams else ""
    return f"{count} approval{'s' if count > 1 else ''}{whose} and a merge"


def _pending(state: State, *jobs: JobState | None) -> Standing:
    """What the first look that is not over says; its own words are complete sentences."""
    for job in jobs:
        if job is not None:
            words = job.summary or f"a look that is {job.state}"
            due = f"; next look at {job.due:%Y-%m-%dT%H:%M:%SZ}" if job.due is not None else ""
            return Standing(state, words + due, job.since)
    return Standing(state, "the next look, which nothing has asked for yet")
