"""`/break-glass`: said by two persons who may approve, kept in the record, and told afterwards."""

from __future__ import annotations

from bot.domain.broken_glass import BrokenGlass, broken
from bot.domain.environments import Environment, ImageId
from bot.domain.jobs import Job, JobKind
from bot.domain.memory import Asked, AskKind
from bot.domain.oci import Digest
from bot.domain.verbs import REASON_LENGTH, Person
from bot.facts.snapshot import View
from bot.formats.markdown import plain


def break_glass(
    view: View,
    environment: Environment,
    application: str,
    who: Person,
    commit: str,
    reason: str,
    key: str,
) -> BrokenGlass | None:
    """Say so for a commit's images; None: a second person is still needed.

    Args:
        view: a look.
        environment: where they go.
        application: whose images.
        who: with the number of an account.
        commit: of the source.
        reason: for whoever reads it afterwards.
        key: names the command.
    """
    scope, now = view.scope(environment.name, application), view.ports.clock.now()
    said = plain(reason, REASON_LENGTH)
    made = Asked(scope, AskKind.BREAK_GLASS, commit, who.name, who.account, key, now, said)
    view.ports.memory.record_asked(made)
    found = broken_for(view, environment, application, commit)
    if found is None:
        return None
    facts = {"commit": commit, "by": ", ".join(found.by), "reason": found.reason}
    facts |= {"accounts": _accounts(view, made), "until": found.until.isoformat()}
    once = f"glass:{scope.manifests}:{scope.environment}:{application}:{commit}:{found.since}"
    view.ports.audit.append("glass broken", scope, facts, once=once)
    for kind in (JobKind.PROPOSE, JobKind.DELIVER):
        view.ports.jobs.put(Job(kind, view.id, environment.name, application))
    view.ports.jobs.put(Job(JobKind.PUBLISH, view.id, environment.name))
    return found


def _accounts(view: View, made: Asked) -> str:
    asks = view.ports.memory.asked(made.scope)
    given = [a for a in asks if a.kind is AskKind.BREAK_GLASS and a.commit == made.commit]
    return " ".join(sorted({str(one.account) for one in given}))


def broken_for(
    view: View, environment: Environment, application: str, commit: str
) -> BrokenGlass | None:
    """Who let a commit's images pass there now; None: nobody."""
    asks = view.ports.memory.asked(view.scope(environment.name, application))
    found = broken(asks, view.ports.clock.now())
    return next((one for one in found if commit and one.commit == commit), None)


def broken_for_digest(
    view: View, environment: Environment, image: ImageId, digest: Digest
) -> BrokenGlass | None:
    """The same, of an image: by the record of whose it is."""
    asks = view.ports.memory.asked(view.scope(environment.name, image.application))
    for one in broken(asks, view.ports.clock.now()):
        known = view.ports.memory.resolution(view.id, image.application, one.commit)
        if known is not None and (image.name, digest) in known.digests:
            return one
    return None
