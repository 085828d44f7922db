"""What people asked for by command, from the asking until it was carried out, once.

The command leaves a record; the lane of the promotion carries it out, so that no command runs
beside the branch events of the same pull request. Who asked is kept for ever: whoever asked for a
commit's images does not approve them, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from bot.domain.environments import Application, Environment
from bot.domain.errors import RejectedError
from bot.domain.gates import Action, Closed, Direction
from bot.domain.jobs import Job, JobKind
from bot.domain.memory import Asked, AskKind
from bot.domain.verbs import Person
from bot.facts.gates import closed
from bot.facts.going_back import WayBack, ways_back
from bot.facts.snapshot import View
from bot.reconcilers.holding import hold_forward

_SHORT: Final = 7
_LIVES: Final = timedelta(days=7)
"""What was not carried out by then is nobody's wish any more; held all the time, for example."""
_WHOLE: Final = 40
"""Digits of a whole commit id: one that no branch contains is asked for."""


class StoppedCommandError(RejectedError):
    """What somebody asks for is held."""

    def __init__(self, found: Closed) -> None:
        """Say by whom, and who ends it."""
        super().__init__(f"{found.words}; {found.way_out}, then ask again")
        self.found = found


class NoSuchCommitError(RejectedError):
    """What somebody names is no commit of the source, or several."""

    def __init__(self, text: str, source: str, count: int) -> None:
        """Say which it is."""
        fact = "names no commit" if not count else f"names {count} commits"
        super().__init__(f"{text} {fact} of {source}; write more of its digits")
        self.text, self.count = text, count


def ask_for_promotion(
    view: View,
    environment: Environment,
    application: Application,
    who: Person,
    commit: str,
    key: str,
) -> Asked:
    """Ask for the images of a commit (full or abbreviated) in an environment.

    Raises:
        StoppedCommandError: it is held.
        NoSuchCommitError: no commit, or several, are called so.
    """
    found = closed(view, environment, application.name, Action.PROPOSE)
    if found is not None:
        raise StoppedCommandError(found)
    full = _commit(view, application, commit)
    return _record(view, environment, application, who, (AskKind.PROMOTE, full, key))


def ask_for_update(
    view: View, environment: Environment, application: Application, who: Person, key: str
) -> Asked:
    """Ask for the newest build on the open pull request, whoever approved or edited it."""
    found = closed(view, environment, application.name, Action.PROPOSE)
    if found is not None:
        raise StoppedCommandError(found)
    return _record(view, environment, application, who, (AskKind.UPDATE, "", key))


def ask_to_go_back(
    view: View,
    environment: Environment,
    application: Application,
    who: Person,
    number: int,
    key: str,
) -> WayBack:
    """Ask for the n-th set that was published before; nothing newer comes until `/unhold`.

    Raises:
        NoWayBackError: there is none that is present and sealed.
    """
    known = next((one for one in _asked(view, environment, application) if one.key == key), None)
    found = ways_back(view, environment, application, number)
    if known is not None:
        return found  # taken up again after it was cut short
    reason = f"went back to {found.commit[:_SHORT]}"
    hold_forward(view, environment, application.name, who, reason)
    _record(view, environment, application, who, (AskKind.ROLLBACK, found.commit, key))
    return found


def _commit(view: View, application: Application, text: str) -> str:
    history = view.ports.mirrors.of(application.source)
    found = set(history.commits_like(text))
    if not found and len(text) >= _WHOLE and history.fetch_commit(text):
        found = {text}
    if len(found) != 1:
        raise NoSuchCommitError(text, str(application.source), len(found))
    return found.pop()


def _record(
    view: View,
    environment: Environment,
    application: Application,
    who: Person,
    what: tuple[AskKind, str, str],
) -> Asked:
    scope, (kind, commit, key) = view.scope(environment.name, application.name), what
    made = Asked(scope, kind, commit, who.name, who.account, key, view.ports.clock.now())
    view.ports.memory.record_asked(made)
    view.ports.jobs.put(Job(JobKind.PROPOSE, view.id, environment.name, application.name))
    return made


def open_asks(view: View, environment: Environment, application: Application) -> Sequence[Asked]:
    """What nobody has carried out yet, oldest first; of promotions the newest alone counts."""
    oldest = view.ports.clock.now() - _LIVES
    return [
        one
        for one in _asked(view, environment, application)
        if one.kind is not AskKind.BREAK_GLASS and one.at > oldest
        if not view.ports.audit.has(_once(one))
    ]


def closed_now(view: View, ask: Asked) -> Closed | None:
    """What stops an ask: a way back passes where only newer things are stopped."""
    environment = view.environment(ask.scope.environment)
    back = Direction.BACK if ask.kind is AskKind.ROLLBACK else Direction.FORWARD
    return closed(view, environment, ask.scope.application, Action.PROPOSE, back)


def over(view: View, ask: Asked, came: str, source: str = "") -> None:
    """Remember that it was carried out, or cannot be; ``source``: an update came to this commit."""
    if ask.kind is AskKind.UPDATE and source:
        made = Asked(ask.scope, ask.kind, source, ask.by, ask.account, f"{ask.key}:came", ask.at)
        view.ports.memory.record_asked(made)
        view.ports.audit.append("asked", ask.scope, {"key": made.key}, once=_once(made))
    facts = {"kind": str(ask.kind), "by": ask.by, "account": str(ask.account)}
    facts |= {"commit": ask.commit or source, "came": came[:300], "key": ask.key}
    view.ports.audit.append("asked", ask.scope, facts, once=_once(ask))


def asked_for(
    view: View, environment: Environment, application: Application, commit: str
) -> Sequence[Asked]:
    """Who ever asked for a commit's images there."""
    found = _asked(view, environment, application)
    kinds = {AskKind.PROMOTE, AskKind.UPDATE, AskKind.ROLLBACK}
    return [one for one in found if commit and one.commit == commit and one.kind in kinds]


def kept_for(
    view: View, environment: Environment, application: Application, commit: str
) -> Asked | None:
    """Whose wish it is that a pull request shows this commit and no newer one; None: nobody's."""
    asks = reversed(_asked(view, environment, application))
    kinds = {AskKind.PROMOTE, AskKind.UPDATE}
    newest = next((one for one in asks if one.kind in kinds), None)
    is_kept = newest is not None and newest.kind is AskKind.PROMOTE and newest.commit == commit
    return newest if is_kept else None


def _asked(view: View, environment: Environment, application: Application) -> Sequence[Asked]:
    return view.ports.memory.asked(view.scope(environment.name, application.name))


def _once(ask: Asked) -> str:
    scope = ask.scope
    return f"asked:{scope.manifests}:{scope.environment}:{scope.application}:{ask.key}"
