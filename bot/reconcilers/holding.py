"""Holds and freezes as people give and end them, whichever way the command comes.

Each hold of each giver stands by itself: who ends their own ends no other, and is told
what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bot.domain.environments import Environment
from bot.domain.errors import LockkeeperError
from bot.domain.history import PullRequest
from bot.domain.jobs import Job, JobKind
from bot.domain.memory import Hold, HoldKind
from bot.domain.verbs import REASON_LENGTH, Person
from bot.facts.called_otherwise import meant_by
from bot.facts.gates import HOLD_LABEL, has_hold_label
from bot.facts.promotions_open import Promotion, open_promotions
from bot.facts.snapshot import View
from bot.formats.markdown import plain

_NO_REASON: Final = "no reason given"
_LABELLED: Final = frozenset({HoldKind.PERSON, HoldKind.BOT})
"""Holds that stop a promotion whichever way it goes."""


def hold(view: View, environment: Environment, application: str, who: Person, reason: str) -> Hold:
    """Stop an application in an environment; without one, the environment."""
    scope, now = view.scope(environment.name, application), view.ports.clock.now()
    made = Hold(scope, plain(reason, REASON_LENGTH) or _NO_REASON, who.name, now)
    _record(view, made, who)
    _show(view, environment, application)
    return made


def hold_forward(
    view: View, environment: Environment, application: str, who: Person, reason: str
) -> Hold:
    """Let nothing newer in until somebody says so, because somebody went back."""
    scope, now = view.scope(environment.name, application), view.ports.clock.now()
    made = Hold(scope, plain(reason, REASON_LENGTH), who.name, now, HoldKind.ROLLBACK)
    _record(view, made, who)
    _show(view, environment, application)
    return made


def freeze(view: View, environment: Environment, who: Person, long: timedelta, reason: str) -> Hold:
    """Let nothing new into an environment for a while; the freeze that stands then.

    Whoever may write may freeze, and ending a freeze is for fewer: so a second one never makes the
    first one shorter, and one that ends before another does changes nothing.
    """
    scope, now = view.scope(environment.name), view.ports.clock.now()
    freezes = [one for one in _standing(view, environment, "") if one.kind is HoldKind.FREEZE]
    longest = max(freezes, key=_end, default=None)
    said = plain(reason, REASON_LENGTH) or _NO_REASON
    made = Hold(scope, said, who.name, now, HoldKind.FREEZE, now + long)
    if longest is not None and _end(longest) >= now + long:
        return longest
    _record(view, made, who)
    _show(view, environment, "")
    return made


def _end(freeze: Hold) -> datetime:
    return freeze.until or datetime.max.replace(tzinfo=UTC)


def _record(view: View, made: Hold, who: Person) -> None:
    view.ports.memory.record_hold(made)
    facts = {"actor": who.name, "account": str(who.account), "reason": made.reason}
    facts |= {"kind": str(made.kind), "until": made.until.isoformat() if made.until else ""}
    view.ports.audit.append("held", made.scope, facts)


@dataclass(frozen=True, slots=True)
class Released:
    """What came of letting something go on."""

    ended: Sequence[Hold]
    left: Sequence[Hold]
    """Holds that stop it still."""


_ORDER: Final = (
    (True, (HoldKind.PERSON, HoldKind.ROLLBACK)),
    (False, (HoldKind.PERSON, HoldKind.ROLLBACK)),
    (False, (HoldKind.BOT,)),
)
"""What is ended first: the application's, then the environment's, then what the bot found."""


def unhold(view: View, environment: Environment, application: str, who: Person) -> Released:
    """End the nearest holds of one giver, one's own first; what others hold is left, and named.

    Without an application, holds of the environment are meant.
    """
    standing = _standing(view, environment, application)
    rest = [one for one in _all_standing(view, environment) if one not in standing]
    for is_own, kinds in _ORDER:
        meant = [h for h in standing if _is_of(h, is_own=is_own) and h.kind in kinds]
        if meant:
            giver = who.name if who.name in {one.actor for one in meant} else meant[0].actor
            ended = [one for one in meant if one.actor == giver]
            return _release(view, environment, who, ended, [*standing, *_named(application, rest)])
    return Released((), [*standing, *_named(application, rest)])


def _is_of(hold: Hold, *, is_own: bool) -> bool:
    """Whether it is an application's, or that of the environment as a whole."""
    return bool(hold.scope.application) is is_own


def _named(application: str, rest: Sequence[Hold]) -> Sequence[Hold]:
    """Holds of applications, which whoever lets an environment go on has to know of."""
    return () if application else rest


def end_own(view: View, environment: Environment) -> None:
    """End what the bot itself held: what made it stop was taken over."""
    ended = [one for one in _standing(view, environment, "") if one.kind is HoldKind.BOT]
    view.ports.memory.release_hold(view.scope(environment.name), HoldKind.BOT)
    if ended:
        _show(view, environment, "", ended)


def unfreeze(view: View, environment: Environment, who: Person) -> Released:
    """End every freeze that somebody gave; windows of the pipeline file stand."""
    standing = _standing(view, environment, "")
    meant = [one for one in standing if one.kind is HoldKind.FREEZE]
    return _release(view, environment, who, meant, standing)


def _standing(view: View, environment: Environment, application: str) -> list[Hold]:
    """What stops an application, under this name or an older one; the environment's with it."""
    return [
        one
        for one in _all_standing(view, environment)
        if one.scope.application in {"", application} or application in meant_by(view, one)
    ]


def _all_standing(view: View, environment: Environment) -> list[Hold]:
    now, scope = view.ports.clock.now(), view.scope(environment.name)
    return [
        one
        for one in view.ports.memory.holds(scope)
        if one.scope.environment == environment.name and one.stands(now)
    ]


def _release(
    view: View,
    environment: Environment,
    who: Person,
    meant: Sequence[Hold],
    standing: Sequence[Hold],
) -> Released:
    for one in meant:
        view.ports.memory.release_hold(one.scope, one.kind, one.actor)
        facts = {"actor": who.name, "account": str(who.account), "kind": str(one.kind)}
        facts |= {"held_by": one.actor, "reason": one.reason}
        view.ports.audit.append("released", one.scope, facts)
    left = [one for one in standing if one not in meant]
    if meant:
        _show(view, environment, _one_of(meant), meant)
        view.ports.jobs.put(Job(JobKind.RECONCILE, view.id))
    return Released(meant, left)


def _one_of(holds: Sequence[Hold]) -> str:
    """The application that all of them are of; empty: the environment."""
    names = {one.scope.application for one in holds}
    return names.pop() if len(names) == 1 else ""


def _show(
    view: View, environment: Environment, application: str, ended: Sequence[Hold] = ()
) -> None:
    """Say on the open promotions whether they are held; what cannot be told holds all the same."""
    promotions: list[Promotion] = []
    with suppress(LockkeeperError):
        promotions = [one for one in open_promotions(view) if one.environment == environment]
    by_number: dict[int, list[Promotion]] = {}
    for one in promotions:
        by_number.setdefault(one.pull_request.number, []).append(one)
        if application in {"", one.application.name} or _is_renamed(view, application):
            view.ports.jobs.put(Job(JobKind.ANSWER, view.id, "", str(one.pull_request.number)))
            view.ports.jobs.put(
                Job(JobKind.PROPOSE, view.id, environment.name, one.application.lane)
            )
    for together in by_number.values():
        _label(view, together, ended)


def _is_renamed(view: View, application: str) -> bool:
    return application not in view.pipeline.applications


def _label(view: View, together: Sequence[Promotion], ended: Sequence[Hold]) -> None:
    """Show in the list of pull requests that one is held; what cannot be labelled is held too.

    The label is a person's stop as well. So the bot takes off only what it put on itself, which
    stands in the audit under the holds that it was put on for, and only when the last of them ends.
    """
    pull_request = together[0].pull_request
    standing = [
        hold
        for one in together
        for hold in _standing(view, one.environment, one.application.name)
        if hold.kind in _LABELLED
    ]
    is_there = has_hold_label(pull_request)
    is_ours = any(
        view.ports.audit.has(_label_key(view, pull_request, hold)) for hold in (*standing, *ended)
    )
    with suppress(LockkeeperError):
        if bool(standing) is not is_there and (standing or is_ours):
            view.ports.github.set_label(
                view.repository, pull_request.number, _label_of(pull_request), is_there=not is_there
            )
            is_ours = True
        for hold in standing if is_ours else ():
            key = _label_key(view, pull_request, hold)
            facts = {"pull_request": str(pull_request.number), "label": HOLD_LABEL}
            view.ports.audit.append("labelled", hold.scope, facts, once=key)


def _label_of(pull_request: PullRequest) -> str:
    """The label as it is written there: GitHub takes it off in any letters."""
    return next((one for one in pull_request.labels if one.lower() == HOLD_LABEL), HOLD_LABEL)


def _label_key(view: View, pull_request: PullRequest, hold: Hold) -> str:
    """Names the audit's entry that the bot's own label stands there for this hold."""
    of = f"{hold.scope.environment}/{hold.scope.application}/{hold.kind}/{hold.actor}"
    return f"labelled:{view.id}:{pull_request.number}:{of}:{hold.at.isoformat()}"
