"""Holds and freezes as people give and end them, whichever way the command comes.

Each kind of hold stands by itself: who ends their own ends no other, and is told what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from bot.domain.environments import Environment
from bot.domain.errors import LockkeeperError
from bot.domain.jobs import Job, JobKind
from bot.domain.memory import Hold, HoldKind
from bot.domain.verbs import REASON_LENGTH, Person
from bot.facts.gates import HOLD_LABEL
from bot.facts.promotions_open import Promotion, open_promotions
from bot.facts.snapshot import View
from bot.formats.markdown import plain

_NO_REASON: Final = "no reason given"


def hold(view: View, environment: Environment, application: str, who: Person, reason: str) -> Hold:
    """Stop an application in an environment; without one, the environment."""
    scope, now = view.scope(environment.name, application), view.ports.clock.now()
    made = Hold(scope, plain(reason, REASON_LENGTH) or _NO_REASON, who.name, now)
    _record(view, made, who)
    _show(view, environment, application, is_held=True)
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
    """Let nothing new into an environment for a while."""
    scope, now = view.scope(environment.name), view.ports.clock.now()
    said = plain(reason, REASON_LENGTH) or _NO_REASON
    made = Hold(scope, said, who.name, now, HoldKind.FREEZE, now + long)
    _record(view, made, who)
    _show(view, environment, "")
    return made


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
    """End the nearest holds of one giver; what others hold is left, and named.

    Without an application, holds of the environment are meant.
    """
    standing = _standing(view, environment, application)
    for is_own, kinds in _ORDER:
        name = application if is_own else ""
        meant = [h for h in standing if h.scope.application == name and h.kind in kinds]
        if meant:
            return _release(view, environment, who, meant, standing)
    return Released((), standing)


def unfreeze(view: View, environment: Environment, who: Person) -> Released:
    """End a freeze that somebody gave; windows of the pipeline file stand."""
    standing = _standing(view, environment, "")
    meant = [one for one in standing if one.kind is HoldKind.FREEZE]
    return _release(view, environment, who, meant, standing)


def _standing(view: View, environment: Environment, application: str) -> list[Hold]:
    now, scope = view.ports.clock.now(), view.scope(environment.name)
    return [
        one
        for one in view.ports.memory.holds(scope)
        if one.scope.application in {"", application}
        and one.scope.environment == environment.name
        and one.stands(now)
    ]


def _release(
    view: View,
    environment: Environment,
    who: Person,
    meant: Sequence[Hold],
    standing: Sequence[Hold],
) -> Released:
    for one in meant:
        view.ports.memory.release_hold(one.scope, one.kind)
        facts = {"actor": who.name, "account": str(who.account), "kind": str(one.kind)}
        facts |= {"held_by": one.actor, "reason": one.reason}
        view.ports.audit.append("released", one.scope, facts)
    left = [one for one in standing if one not in meant]
    if meant:
        is_held = any(one.kind in {HoldKind.PERSON, HoldKind.BOT} for one in left)
        for application in {one.scope.application for one in meant}:
            _show(view, environment, application, is_held=is_held)
        view.ports.jobs.put(Job(JobKind.RECONCILE, view.id))
    return Released(meant, left)


def _show(
    view: View, environment: Environment, application: str, *, is_held: bool | None = None
) -> None:
    """Say on the open promotions whether they are held; what cannot be told holds all the same.

    None: labels stay as they are, a person may have put them there.
    """
    promotions: list[Promotion] = []
    with suppress(LockkeeperError):
        promotions = list(open_promotions(view))
    for one in promotions:
        if one.environment == environment and application in {"", one.application.name}:
            view.ports.jobs.put(Job(JobKind.ANSWER, view.id, "", str(one.pull_request.number)))
            view.ports.jobs.put(
                Job(JobKind.PROPOSE, view.id, environment.name, one.application.name)
            )
            if is_held is not None:
                _label(view, one, is_held=is_held)


def _label(view: View, one: Promotion, *, is_held: bool) -> None:
    """Show it in the list of pull requests; one that cannot be labelled keeps no other."""
    if is_held is not (HOLD_LABEL in one.pull_request.labels):
        number = one.pull_request.number
        with suppress(LockkeeperError):
            view.ports.github.set_label(view.repository, number, HOLD_LABEL, is_there=is_held)
