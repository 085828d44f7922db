"""What people asked for by command: who, what of it is open, and what stops it."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.environments import Application, Environment
from bot.domain.gates import Action, Closed, Direction
from bot.domain.memory import Asked, AskKind
from bot.facts.gates import closed
from bot.facts.snapshot import View


def open_asks(view: View, environment: Environment, application: Application) -> Sequence[Asked]:
    """What nobody has carried out yet, oldest first; of promotions the newest alone counts."""
    return [
        one
        for one in all_asks(view, environment, application)
        if not view.ports.audit.has(once_of(one))
    ]


def closed_now(view: View, ask: Asked) -> Closed | None:
    """What stops an ask: a way back passes where only newer things are stopped."""
    environment = view.environment(ask.scope.environment)
    back = Direction.BACK if ask.kind is AskKind.ROLLBACK else Direction.FORWARD
    return closed(view, environment, ask.scope.application, Action.PROPOSE, back)


def asked_for(
    view: View, environment: Environment, application: Application, commit: str
) -> Sequence[Asked]:
    """Who ever asked for a commit's images there."""
    found = all_asks(view, environment, application)
    return [one for one in found if commit and one.commit == commit]


def kept_for(
    view: View, environment: Environment, application: Application, commit: str
) -> Asked | None:
    """Whose wish it is that a pull request shows this commit and no newer one; None: nobody's."""
    asks = reversed(all_asks(view, environment, application))
    newest = next((one for one in asks if one.kind is not AskKind.ROLLBACK), None)
    is_kept = newest is not None and newest.kind is AskKind.PROMOTE and newest.commit == commit
    return newest if is_kept else None


def all_asks(view: View, environment: Environment, application: Application) -> Sequence[Asked]:
    """Whatever was asked for there, oldest first."""
    return view.ports.memory.asked(view.scope(environment.name, application.name))


def once_of(ask: Asked) -> str:
    """Names the audit's entry that it is over."""
    scope = ask.scope
    return f"asked:{scope.manifests}:{scope.environment}:{scope.application}:{ask.key}"
