"""Where an application stands in an environment, and what it waits for: one pure function of facts.

>>> standing(StandingFacts("prod", wished="sha256:1f", shown="sha256:1f")).state
'published'
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from bot.domain.environments import Approvals
from bot.domain.gates import Closed
from bot.domain.jobs import JobState
from bot.domain.memory import HoldKind


class State(StrEnum):
    """What people call it, in the order of precedence."""

    HELD = "held"
    """A person or the bot stopped it."""
    FROZEN = "frozen"
    """Nothing new comes for a while; a rollback passes."""
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
    is_draft: bool = False
    is_edited: bool = False
    """Somebody else pushed to its branch, so the bot neither updates nor merges it."""
    is_approved: bool = False
    """Nothing is lacking but the merge."""
    lacking: str = ""
    """What the approvals that were given lack, and whose; empty: nobody asked."""


@dataclass(frozen=True, slots=True)
class StandingFacts:
    """Everything that decides it; looked up by `bot.facts.status`."""

    environment: str
    application: str = ""
    wished: str = ""
    """What the default branch says at one place: a digest, or empty."""
    shown: str = ""
    """What the environment ref shows there."""
    closed: Closed | None = None
    """What stops it now."""
    pull_request: OpenPromotion | None = None
    unseen: str = ""
    """Why nobody can say now whether a promotion is open; empty: `pull_request` is the answer."""
    propose: JobState | None = None
    deliver: JobState | None = None
    publish: JobState | None = None
    revoked: str = ""
    """Why what the ref shows there is revoked; empty: it is not."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The answer; every text is for people."""

    state: State
    waits_for: str = ""
    """What has to happen before it goes on."""
    since: datetime | None = None
    """UTC; None: nobody knows."""
    link: str = ""
    who: str = ""
    """Who can let it go on, and how; empty where it rests."""
    until: datetime | None = None
    """When it is tried again, or goes on by itself, UTC; None: not by time."""
    revoked: str = ""
    """Why what runs there is revoked."""

    @property
    def sentence(self) -> str:
        """All of it, in the same words wherever people read it."""
        since = f" since {_time(self.since)}" if self.since else ""
        parts = [f"{self.state}{since}"]
        parts += [f"waits for {self.waits_for}"] if self.waits_for else []
        parts += [f"next at {_time(self.until)}"] if self.until else []
        parts += [f"who can: {self.who}"] if self.who else []
        parts += [f"what runs is revoked: {self.revoked}"] if self.revoked else []
        return "; ".join(parts)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def standing(facts: StandingFacts) -> Standing:
    """The first state that holds, as `State` lists them."""
    return replace(_standing(facts), revoked=facts.revoked)


def _standing(facts: StandingFacts) -> Standing:
    failed = _failed(facts)
    if facts.closed is not None:
        return _stopped(facts.closed)
    if failed is not None:
        way = f"whoever mends that, then `/retry` or `lockkeeper retry {failed.key}`"
        return Standing(State.FAILED, failed.summary or "somebody", failed.since, who=way)
    if facts.pull_request is not None:
        return _proposed(facts.pull_request)
    if facts.wished and facts.wished != facts.shown:
        return _pending(State.DELIVERING, facts.deliver, facts.publish)
    if facts.unseen:
        waits = f"GitHub, to list the open pull requests: {facts.unseen}"
        return Standing(State.UNKNOWN, waits, who="the bot, as soon as GitHub answers")
    if facts.propose is not None and facts.propose.state == "waiting":
        return _pending(State.WAITING, facts.propose)
    return Standing(State.PUBLISHED if facts.wished else State.EMPTY)


def _failed(facts: StandingFacts) -> JobState | None:
    """A look that ended; the one nearest to the environment ref first."""
    for job in (facts.publish, facts.deliver, facts.propose):
        if job is not None and job.state == "failed":
            return job
    return None


def _stopped(found: Closed) -> Standing:
    state = State.FROZEN if found.kind is HoldKind.FREEZE else State.HELD
    waits = f"the end of a hold ({found.words})"
    return Standing(state, waits, found.since, who=found.way_out, until=found.until)


def _proposed(opened: OpenPromotion) -> Standing:
    waits, who = _needed(opened)
    return Standing(State.PROPOSED, waits, opened.since, opened.url, who)


_BOT: Final = "the bot, by itself"
_MERGER: Final = "whoever may merge"


def _needed(opened: OpenPromotion) -> tuple[str, str]:
    """What an open promotion waits for, and who can."""
    if opened.is_edited:
        waits = "somebody, because its branch holds commits that are not the bot's"
        return waits, "`/update` on it starts it afresh"
    if opened.is_draft:
        return "the end of its being a draft", "whoever presses *Ready for review*"
    if opened.blocks:
        said = opened.verdict.replace("_", " ")
        waits = f"the policy, whose verdict is {said}: the pull request says why"
        return waits, "whoever builds what passes, or an exception in the policy"
    if opened.verdict == "not_evaluated":
        rest, who = _needed(replace(opened, verdict=""))
        doubt = "the policy is not evaluated: the pull request says whether that blocks"
        return f"{rest}; {doubt}", who
    if opened.merges_itself:
        return "the bot's own merge, which GitHub does not take yet", f"{_BOT}, or {_MERGER}"
    return _people(opened)


def _people(opened: OpenPromotion) -> tuple[str, str]:
    count, teams = opened.approvals.count, opened.approvals.teams
    if not count or opened.is_approved:
        approved = "which is approved" if opened.is_approved else ""
        return " ".join(filter(None, ["somebody who merges it,", approved])).rstrip(","), _MERGER
    if opened.lacking:
        return opened.lacking, f"{' or '.join(teams) or 'who may write'}, then {_MERGER}"
    whose = f" of {' or '.join(teams)}" if teams else ""
    waits = f"{count} approval{'s' if count > 1 else ''}{whose} and a merge"
    return waits, f"{' or '.join(teams) or 'who may write'}, then {_MERGER}"


def _pending(state: State, *jobs: JobState | None) -> Standing:
    """What the first look that is not over says; its own words are complete sentences."""
    for job in jobs:
        if job is not None:
            words = job.summary or f"a look that is {job.state}"
            return Standing(state, words, job.since, who=f"{_BOT}; `/retry` now", until=job.due)
    return Standing(state, "the next look, which nothing has asked for yet", who="`/recheck`")
