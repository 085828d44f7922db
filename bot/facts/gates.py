"""What stops an action in an environment now: the facts for `bot.domain.gates`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Final

from bot.domain.environments import Environment, ImageId
from bot.domain.freezes import Window, frozen
from bot.domain.gates import Action, Closed, Direction, GateFacts, direction, gate
from bot.domain.history import PullRequest
from bot.domain.jobs import Done, Outcome, RequeueAt
from bot.domain.memory import Hold, HoldKind
from bot.domain.oci import Digest
from bot.facts.called_otherwise import meant_by
from bot.facts.glass import broken_for_digest
from bot.facts.snapshot import View
from bot.formats.markdown import prose

HOLD_LABEL: Final = "lockkeeper/hold"
_ADOPTED: Final = -1
"""What was taken over was there before the first publication."""


def holds_of(view: View, environment: str) -> Sequence[Hold]:
    """What stops an environment: people's holds, the bot's, and a record that is not whole."""
    scope, now = view.scope(environment), view.ports.clock.now()
    own = [Hold(scope, view.cut_off, "lockkeeper", now, HoldKind.BOT)] if view.cut_off else []
    return [*own, *view.ports.memory.holds(scope)]


def _as_meant(view: View, environment: str) -> Iterator[Hold]:
    """The same, under the names that applications have now."""
    for one in holds_of(view, environment):
        for name in meant_by(view, one):
            called = one.scope.application
            if name == called:
                yield one
                continue
            reason = f"{one.reason} (given for {called}, as it was called)"
            yield replace(one, scope=replace(one.scope, application=name), reason=reason)


def closed(
    view: View,
    environment: Environment,
    application: str,
    action: Action,
    going: Direction = Direction.FORWARD,
) -> Closed | None:
    """What stops an action; None: nothing does. Without an application the whole is meant."""
    facts = GateFacts(
        now=view.ports.clock.now(),
        environment=environment.name,
        application=application,
        direction=going,
        holds=list(_as_meant(view, environment.name)),
        windows=environment.freeze,
    )
    return gate(action, facts)


def stops_now(view: View, environment: Environment) -> tuple[frozenset[Hold], Window | None]:
    """Everything that stops something at this moment, to see whether it is still the same later."""
    now = view.ports.clock.now()
    holds = view.ports.memory.holds(view.scope(environment.name))
    calendar = frozen(environment.freeze, now)
    return frozenset(one for one in holds if one.stands(now)), calendar.window if calendar else None


def going(view: View, environment: Environment, image: ImageId, digest: Digest) -> Direction:
    """Whether an image's digest was in the environment before the one that runs there now.

    Or, in an emergency, whether two persons let it pass.
    """
    if broken_for_digest(view, environment, image, digest) is not None:
        return Direction.EMERGENCY
    tip = view.history.heads().get(environment.ref, "")
    running = {
        Digest(location.written.digest)
        for location in (view.locations_of(tip, environment, image.application) if tip else ())
        if location.image == image and location.written.digest and location.written.digest != digest
    }
    memory, scope = view.ports.memory, view.scope(environment.name)
    told = {
        one: memory.shown_by(scope, image, one) if running else () for one in {digest, *running}
    }
    records = memory.published_among(scope, [commit for one in told.values() for commit in one])
    order = {one.commit: number for number, one in enumerate(records)}
    shown = [_first_shown(view, environment, image, one, order) for one in sorted(running)]
    known = [one for one in shown if one is not None]
    earliest = min(known) if known and len(known) == len(shown) else None
    return direction(_first_shown(view, environment, image, digest, order), earliest)


def going_all(
    view: View, environment: Environment, images: Collection[tuple[ImageId, Digest]]
) -> Direction:
    """Back only if every one of them goes back; those that stay where they are do not count.

    The same of an emergency.
    """
    tip = view.history.heads().get(environment.ref, "")
    shown = {
        (location.image, location.written.digest)
        for location in (view.locations(tip, environment) if tip else ())
        if location.written.digest
    }
    moving = [one for one in images if one not in shown]
    found = {going(view, environment, image, digest) for image, digest in moving}
    if not found or Direction.FORWARD in found:
        return Direction.FORWARD
    return Direction.EMERGENCY if Direction.EMERGENCY in found else Direction.BACK


def _first_shown(
    view: View, environment: Environment, image: ImageId, digest: Digest, order: dict[str, int]
) -> int | None:
    scope, memory = view.scope(environment.name), view.ports.memory
    found = [order[one] for one in memory.shown_by(scope, image, digest) if one in order]
    if found:
        return min(found)
    adopted = any(one.digest == digest for one in memory.adoptions(scope))
    return _ADOPTED if adopted else None


def has_hold_label(pull_request: PullRequest) -> bool:
    """Whether the label is on it: GitHub has one of that name, in whichever letters."""
    return HOLD_LABEL in {label.lower() for label in pull_request.labels}


def labelled(pull_request: PullRequest) -> Closed | None:
    """The stop that somebody put on a pull request by hand; no label ever lets anything go on."""
    if not has_hold_label(pull_request):
        return None
    why, way = f"the label {HOLD_LABEL} is on it", f"take `{HOLD_LABEL}` off the pull request"
    return Closed(f"pull request {pull_request.number}", why, None, None, way, HoldKind.PERSON)


def told(found: Closed) -> tuple[str, str]:
    """Title and text for checks and comments: who stopped it, until when, and the way out."""
    if found.kind is not HoldKind.FREEZE:
        title = "Held"
    elif found.until is None:
        title = "Frozen"
    else:
        title = f"Frozen until {found.until:%Y-%m-%d %H:%M} UTC"
    return title, f"{prose(found.words, 400)}.\n\n**The way out:** {prose(found.way_out, 300)}."


def stopped(found: Closed) -> Outcome:
    """Look again when it opens by itself; else whoever lets it go on asks for a look."""
    return Done(found.words) if found.until is None else RequeueAt(found.words, found.until)
