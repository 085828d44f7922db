"""What stops an action in an environment now: the facts for `bot.domain.gates`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from bot.domain.environments import Environment, ImageId
from bot.domain.gates import Action, Closed, Direction, GateFacts, direction, gate
from bot.domain.history import PullRequest
from bot.domain.jobs import Done, Outcome, RequeueAt
from bot.domain.memory import Hold, HoldKind
from bot.domain.oci import Digest
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
        holds=holds_of(view, environment.name),
        windows=environment.freeze,
    )
    return gate(action, facts)


def going(view: View, environment: Environment, image: ImageId, digest: Digest) -> Direction:
    """Whether an image's digest was in the environment before the one that runs there now."""
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
    """Back only if every one of them goes back."""
    back = bool(images) and all(
        going(view, environment, image, digest) is Direction.BACK for image, digest in images
    )
    return Direction.BACK if back else Direction.FORWARD


def _first_shown(
    view: View, environment: Environment, image: ImageId, digest: Digest, order: dict[str, int]
) -> int | None:
    scope, memory = view.scope(environment.name), view.ports.memory
    found = [order[one] for one in memory.shown_by(scope, image, digest) if one in order]
    if found:
        return min(found)
    adopted = any(one.digest == digest for one in memory.adoptions(scope))
    return _ADOPTED if adopted else None


def labelled(pull_request: PullRequest) -> Closed | None:
    """The stop that somebody put on a pull request by hand; no label ever lets anything go on."""
    if HOLD_LABEL not in pull_request.labels:
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
