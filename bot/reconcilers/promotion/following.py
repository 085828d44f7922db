"""An environment that follows others: what is published in all of them asks to come here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.environments import Application, Environment
from bot.domain.following import Follower, Standing, followers
from bot.domain.gates import Action
from bot.domain.jobs import JobKind
from bot.domain.memory import Resolution
from bot.domain.oci import Digest
from bot.domain.promotion import Refused, Waiting
from bot.domain.source_refs import NO_REF, SourceRef
from bot.facts.gates import closed
from bot.facts.resolution import lacks_record, proposed_as, shown_together
from bot.facts.snapshot import View
from bot.formats.image_names import ImageField
from bot.formats.pipeline_file import PIPELINE_FILE
from bot.reconcilers.promotion.source_commit import Evaluated, evaluate_set
from bot.reconcilers.promotion.subject import Subject, Trigger

_CLAUSES = 3
"""What fails before this environment: so many jobs are named."""


def followed(subject: Subject) -> list[Evaluated]:
    """What the sets that stand in the environments before this one come to."""
    standings = [_standing(subject, name) for name in subject.environment.after]
    found = followers(
        standings,
        lambda one, other: _has_passed(subject, one, other),
        lambda one, other: _is_newer(subject, one, other),
    )
    return [_evaluated(subject, one, standings) for one in found]


def problems(subject: Subject, *, unknown: bool = False) -> list[str]:
    """Why nothing stands in the environments before this one; those where it may all the same."""
    standings = (_standing(subject, name) for name in subject.environment.after)
    return [
        f"in {one.environment} {one.problem}"
        for one in standings
        if one.problem and (one.is_unknown or not unknown)
    ]


# --- what stands there ---


def _standing(subject: Subject, name: str) -> Standing:
    """Whose images an environment's ref shows together."""
    view, environment = subject.view, subject.view.environment(name)
    shown = _shown(view, environment, subject.application.name)
    if isinstance(shown, _Nothing):
        return Standing(name, "", NO_REF, "", shown.reason, shown.is_unknown)
    lacking = sorted({location.image.name for location in subject.places} - shown.keys())
    if lacking:
        reason = _nowhere(subject, name, lacking)
        return Standing(name, "", NO_REF, "", reason, is_unknown=False)
    record = proposed_as(view, environment, subject.application, shown) or _only_record(
        subject, shown
    )
    if record is None:
        way = f"the next commit that is promoted to {name} goes on from there"
        reason = f"what stands is of no one commit that is known (it may be adopted): {way}"
        return Standing(name, "", NO_REF, "", reason, is_unknown=True)
    if not subject.history.fetch_commit(record.commit):
        reason = f"its commit {record.commit[:7]} cannot be read any more"
        return Standing(name, "", NO_REF, "", reason, is_unknown=True)
    scope = view.scope(name, subject.application.name)
    heads = view.ports.memory.heads_of(scope, record.commit)
    if not heads:
        return Standing(name, record.commit, NO_REF, record.commit)
    head = heads[-1]
    return Standing(name, record.commit, SourceRef.of(head.trigger_branch), head.trigger)


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Why no set stands in an environment."""

    reason: str
    is_unknown: bool = True


def _shown(view: View, environment: Environment, application: str) -> dict[str, Digest] | _Nothing:
    """Image -> digest on the environment's ref, or why nobody can say."""
    tip = view.history.heads().get(environment.ref, "")
    if not tip:
        return _Nothing("nothing is published yet", is_unknown=False)
    if lacks_record(view, environment):
        way = f"`lockkeeper adopt {environment.name}`"
        return _Nothing(f"this database knows of no publication: restore its backup, or run {way}")
    if not view.ports.memory.published(view.id, {environment.ref: tip}):
        return _Nothing(f"{environment.ref} shows a commit that is not Lockkeeper's")
    found: dict[str, Digest] = {}
    for location in view.locations_of(tip, environment, application):
        written: ImageField = location.written
        if not written.digest:
            return _Nothing(f"{location.image.name} stands without a digest")
        if found.setdefault(location.image.name, Digest(written.digest)) != written.digest:
            return _Nothing(f"{location.image.name} stands twice, and differently")
    return found


def _nowhere(subject: Subject, environment: str, images: Sequence[str]) -> str:
    """That a set cannot stand whole in an environment before, and what a person can do.

    The files there never say by themselves that an application goes past: who may edit them would
    open the way to here.
    """
    application = subject.application
    names = " and ".join(images)
    own = f"`environments` of {application.name} in {PIPELINE_FILE}"
    if len(images) == len({one.image.name for one in subject.places}):
        return (
            f"{names} has no place: give it one there, or let {application.name} go past "
            f"{environment} with {own}"
        )
    return (
        f"{names} has no place, though it is promoted here together with the others: give it one "
        f"there, or make it an application of its own that goes past {environment} ({own})"
    )


def _only_record(subject: Subject, shown: dict[str, Digest]) -> Resolution | None:
    """The one commit that all of these images are of, as far as the record tells."""
    memory, view = subject.view.ports.memory, subject.view
    name = subject.application.name
    found = [memory.resolution_of(view.id, name, *image) for image in shown.items()]
    commits = {one.commit if one else "" for one in found}
    return found[0] if len(commits) == 1 else None


def _has_passed(subject: Subject, one: Standing, other: Standing) -> bool:
    """Whether a set was published in another's environment and something newer stands there."""
    if not _is_newer(subject, other, one):
        return False
    view = subject.view
    record = view.ports.memory.resolution(view.id, subject.application.name, one.commit)
    if record is None:
        return False
    environment = view.environment(other.environment)
    placed = {
        s.image.name for s in view.locations_of(view.head, environment, subject.application.name)
    }
    images = {name: digest for name, digest in record.digests if name in placed}
    return bool(images) and bool(shown_together(view, environment, subject.application, images))


def _is_newer(subject: Subject, one: Standing, other: Standing) -> bool:
    """By version where both refs are named for one, else by git's word."""
    if one.commit == other.commit:
        return False
    if one.ref != other.ref and one.ref.version and other.ref.version:
        return other.ref.is_older_than(one.ref)
    return any(
        subject.history.is_ancestor(older, newer)
        for older in {other.commit, other.trigger}
        for newer in {one.commit, one.trigger}
    )


# --- what comes of it ---


def _evaluated(subject: Subject, one: Follower, standings: Sequence[Standing]) -> Evaluated:
    standing = one.standing
    named = standing.trigger if subject.history.fetch_commit(standing.trigger) else standing.commit
    trigger = Trigger(standing.ref, subject.history.commit(named))
    if one.missing:
        return Evaluated(trigger, _waiting(subject, one, standings))
    why = f"published in {' and '.join(subject.environment.after)}"
    found = evaluate_set(subject, trigger, standing.commit, why)
    if isinstance(found.decision, Waiting) and not found.decision.for_environment:
        return Evaluated(trigger, Refused(found.decision.reason))
    return found


def _waiting(subject: Subject, one: Follower, standings: Sequence[Standing]) -> Waiting:
    """What it waits for, what stands there now, and what is the matter there."""
    there = {standing.environment: standing for standing in standings}
    said = [f"{name}, {_now(subject, there[name])}" for name in one.missing]
    reason = f"{one.standing.commit[:7]} is published in {one.standing.environment}, and waits for "
    return Waiting(reason + "; ".join(said), for_environment=True, environments=one.missing)


def _now(subject: Subject, standing: Standing) -> str:
    shows = f"which shows {standing.commit[:7]}" if standing.commit else f"where {standing.problem}"
    trouble = upstream_trouble(subject.view, standing.environment, subject.application)
    return f"{shows}: {trouble}" if trouble else shows


def upstream_trouble(view: View, environment: str, application: Application) -> str:
    """What stops an application in an environment before this one; empty: nothing that is known."""
    held = closed(view, view.environment(environment), application.name, Action.MERGE)
    if held is not None:
        return held.words
    keys = {
        f"{kind}:{view.id}:{environment}:{subject}"
        for kind, subject in (
            (JobKind.PROPOSE, application.lane),
            (JobKind.DELIVER, application.name),
            (JobKind.PUBLISH, ""),
        )
    }
    states = [one for one in view.ports.jobs.states() if one.key in keys and one.summary]
    stuck = [one for one in states if one.state in {"failed", "waiting"}]
    return "; ".join(f"{one.state} there: {one.summary}" for one in stuck[:_CLAUSES])
