"""May something be done now, or who stopped it, why, since when and until when: one pure rule.

Asked before a promotion is proposed, merged, delivered and published, and again before what cannot
be taken back. What goes back to something older passes where only newer things are stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bot.domain.freezes import Window, frozen
from bot.domain.memory import Hold, HoldKind


class Action(StrEnum):
    """What the bot, or a person by merging, is about to do."""

    PROPOSE = "propose"
    MERGE = "merge"
    DELIVER = "deliver"
    PUBLISH = "publish"


class Direction(StrEnum):
    """Where something goes, against what runs now."""

    FORWARD = "forward"
    """To something newer, or nobody knows."""
    BACK = "back"
    """To something that ran there before what runs now."""
    EMERGENCY = "emergency"
    """Wherever: two persons let it pass a freeze."""


def direction(first_shown: int | None, running_first_shown: int | None) -> Direction:
    """Whether a digest was there before the one that runs; in doubt it goes forward.

    Args:
        first_shown: In which publication the digest was shown first; None: in none that is known.
        running_first_shown: The same of the digest that runs there now.
    """
    if first_shown is None or running_first_shown is None:
        return Direction.FORWARD
    return Direction.BACK if first_shown < running_first_shown else Direction.FORWARD


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing may be done now."""

    by: str
    """Who stopped it."""
    why: str
    since: datetime | None
    """UTC."""
    until: datetime | None
    """When it opens by itself, UTC; None: when a person lets it go on."""
    way_out: str
    """What somebody has to do who does not want to wait."""
    kind: HoldKind

    @property
    def words(self) -> str:
        """One sentence for people."""
        verb = "frozen" if self.kind is HoldKind.FREEZE else "held"
        since = f" since {_time(self.since)}" if self.since else ""
        until = f" until {_time(self.until)}" if self.until else ""
        return f"{verb} by {self.by}{since}{until}: {self.why}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class GateFacts:
    """Everything that decides it."""

    now: datetime
    environment: str
    application: str = ""
    """Empty: the environment as a whole."""
    direction: Direction = Direction.FORWARD
    holds: Sequence[Hold] = ()
    """Those of the environment and its applications."""
    windows: Sequence[Window] = ()


def gate(action: Action, facts: GateFacts) -> Closed | None:
    """What stops an action; None: nothing does.

    A hold stops everything, a freeze everything but proposals, so that people can review
    meanwhile. What a person has to end comes before what ends by itself, and of those that end the
    last one counts.
    """
    found = [*_held(facts), *(_frozen(facts) if action is not Action.PROPOSE else ())]
    ending = [one.until for one in found if one.until is not None]
    lasting = [one for one in found if one.until is None]
    if lasting:
        return lasting[0]
    return next((one for one in found if one.until == max(ending)), None)


def _held(facts: GateFacts) -> Sequence[Closed]:
    return [
        _closed(facts, hold)
        for hold in facts.holds
        if hold.kind is not HoldKind.FREEZE and _stops(facts, hold)
    ]


def _frozen(facts: GateFacts) -> Sequence[Closed]:
    found = [
        _closed(facts, hold)
        for hold in facts.holds
        if hold.kind is HoldKind.FREEZE and _stops(facts, hold)
    ]
    ahead = facts.direction is Direction.FORWARD
    closed = frozen(facts.windows, facts.now) if ahead else None
    if closed is not None:
        why = closed.window.reason or str(closed.window)
        way = "wait for the next opening, or `/break-glass REASON` with a second person"
        found.append(Closed("the calendar", why, closed.since, closed.until, way, HoldKind.FREEZE))
    return found


def _stops(facts: GateFacts, hold: Hold) -> bool:
    meant = hold.scope.application in {"", facts.application}
    hurried = hold.kind is HoldKind.FREEZE and facts.direction is Direction.EMERGENCY
    passes = hurried or (hold.only_forward and facts.direction is Direction.BACK)
    return meant and not passes and hold.stands(facts.now)


def _closed(facts: GateFacts, hold: Hold) -> Closed:
    return Closed(hold.actor, hold.reason, hold.at, hold.until, way_out(facts, hold), hold.kind)


def way_out(facts: GateFacts, hold: Hold) -> str:
    """Who ends a hold, and how."""
    if hold.kind is HoldKind.FREEZE:
        return f"`/unfreeze {facts.environment}`, or `lockkeeper unfreeze {facts.environment}`"
    subject = " ".join(part for part in (facts.environment, hold.scope.application) if part)
    return f"`/unhold` here, or `lockkeeper unhold {subject}`"
