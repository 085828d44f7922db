"""Branch event to promotion pull request: which commit's image, in which order, as which edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from bot.domain.environments import Application, Environment, Turns
from bot.domain.errors import NotFoundError, RejectedError
from bot.domain.gates import Action
from bot.domain.history import CheckState
from bot.domain.jobs import Done, Outcome, RequeueAt
from bot.domain.memory import Asked, AskKind
from bot.domain.promotion import Order, Refused, Waiting
from bot.domain.source_refs import NO_REF, SourceRef
from bot.facts.asked import closed_now, open_asks
from bot.facts.gates import closed, stopped, told
from bot.facts.snapshot import Ports, View, look
from bot.formats.markdown import prose
from bot.formats.pipeline_file import PIPELINE_FILE
from bot.formats.places import RemarkKind
from bot.reconcilers.asked import over
from bot.reconcilers.promotion.asking import asking_branches, asking_tags, tell_unwritten
from bot.reconcilers.promotion.following import followed, problems
from bot.reconcilers.promotion.newest import Look, newest_heads, newest_tags, ordered
from bot.reconcilers.promotion.pull_request import (
    Proposal,
    Request,
    close_pointless,
    ensure_pull_request,
)
from bot.reconcilers.promotion.queued import queued
from bot.reconcilers.promotion.source_commit import Evaluated, Ready, evaluate
from bot.reconcilers.promotion.subject import Subject, Trigger
from bot.reconcilers.promotion.together import Member, together
from bot.reporting.reports import tell_source

_SOON: Final = timedelta(seconds=5)
_SLOW: Final = timedelta(minutes=10)


def propose(ports: Ports, manifests: int, environment: str, lane: str) -> Outcome:
    """Bring the promotion pull request of an application, or a group, up to date."""
    view = look(ports, manifests)
    own = view.pipeline.applications.get(lane)
    if own is not None and own.lane != lane:
        lane = own.lane  # asked for before it came into a group
    members = view.pipeline.in_lane(lane)
    if not members or environment not in view.pipeline.environments:
        known = environment in view.pipeline.environments
        missing = f"application {lane}" if known else f"environment {environment}"
        return Done(str(NotFoundError(missing, PIPELINE_FILE)))
    if not members[0].group:
        return _settle(_looked(view, environment, members[0].name))
    return _propose_together(view, environment, members)


def _looked(view: View, environment: str, application: str) -> Look:
    """Look at one application, as far as that says anything."""
    try:
        promoted = view.granted_application(application)
        target = view.environment_of(environment, promoted)
    except NotFoundError as error:
        return Look(application, Done(str(error)))
    images = {image.name for image in promoted.images}
    places = [
        s for s in view.locations_of(view.head, target, application) if s.image.name in images
    ]
    reason = "" if places else _why_nowhere(view, target, promoted)
    if not (places or reason):
        return Look(application, Done(f"{application} has no place in {environment}"))
    try:
        history = view.ports.mirrors.of(promoted.source)
    except RejectedError as error:
        if reason:
            said = f"{reason}; its source: {error}"
            return Look(application, Done(said), blocked=said)
        raise
    subject = Subject(view, target, promoted, history, places)
    if reason:
        return Look(application, _nowhere(subject, reason), blocked=reason)
    asks = open_asks(view, target, promoted)
    if asks:
        view.granted_environment_of(environment, promoted)
        came = _carry_out_asks(subject, asks)
        if came is not None:
            return Look(application, came, is_over=True)
    if target.follows:
        view.granted_environment_of(environment, promoted)
        sets = tuple(ordered(subject, one) for one in followed(subject))
        if sets:
            return Look(application, Done(""), subject, sets)
        unknown = "; ".join(problems(subject, unknown=True))
        return Look(application, Done("; ".join(problems(subject))), blocked=unknown)
    heads, tags = asking_branches(subject), asking_tags(subject)
    if not (heads or tags):
        return Look(application, Done(f"no branch or tag that feeds {environment} has moved yet"))
    view.granted_environment_of(environment, promoted)
    if target.turns is Turns.QUEUE:
        return Look(application, Done(""), subject, tuple(queued(subject, heads, tags)))
    evaluated = [*newest_heads(subject, heads), *newest_tags(subject, tags)]
    return Look(application, Done(""), subject, tuple(evaluated))


def _settle(found: Look) -> Outcome:
    """Propose the newest of what asks, and say of the others what is the matter with them."""
    subject, chosen = found.subject, found.chosen
    if subject is None:
        return found.outcome
    _tell_others(found)
    if chosen is None:
        return _waiting(subject.view, found.evaluated)
    outcome = _carry_out(subject, chosen, is_all=not any(map(_is_open, found.evaluated)))
    waits = chosen.evaluated.waits
    if waits is None or not isinstance(outcome, Done):
        return outcome
    later = _waiting(subject.view, [waits])
    return replace(later, summary=f"{outcome.summary}; {later.summary}")


def _tell_others(found: Look) -> None:
    """Say of what asks and was not chosen what is the matter with it."""
    subject, chosen = found.subject, found.chosen
    if subject is None:
        return
    own = {chosen.evaluated.trigger.commit.id} if chosen is not None else set()
    for other in found.evaluated:
        if other.waits is not None:
            _tell_unchosen(subject, other.waits)
        if other.ready is not None and other.order is Order.SAME:
            tell_unwritten(subject, other.trigger.ref, other.trigger.commit.id)
        if other.trigger.commit.id not in own:
            _tell_unchosen(subject, other)


# --- several applications in one pull request ---


def _propose_together(view: View, environment: str, members: Sequence[Application]) -> Outcome:
    """Propose what is new of a group as one, once nobody of it is missing."""
    looks = [_member(view, environment, one.name) for one in members]
    done = next((one for one in looks if one.is_over), None)
    if done is not None:
        return done.outcome
    for one in looks:
        _tell_others(one)
    group = together([one for one in looks if one.subject is not None or one.blocked])
    missing = {**group.missing, **{one.application: one.blocked for one in looks if one.blocked}}
    if not group.ready:
        return _nothing_new(view, environment, members[0], looks, missing)
    base = view.environment(environment)
    stops = (closed(view, base, one.application, Action.PROPOSE) for one in group.ready)
    held = next((one for one in stops if one is not None), None)
    if held is not None:
        _tell_members(group.ready, *told(held))
        return stopped(held)
    if missing:
        title = f"Waiting for {', '.join(missing)}"
        _tell_members(group.ready, title, prose(_whole(members[0].group, missing), 600))
        waiting = _waiting(view, [e for one in looks for e in one.evaluated])
        return replace(waiting, summary=_whole(members[0].group, missing))
    outcome = ensure_pull_request(
        view,
        Request(
            environment=base,
            lane=members[0].lane,
            proposals=tuple(_proposal(one.subject, one.ready) for one in group.ready),
            members=tuple(one.name for one in members),
        ),
    )
    waits = [one for one in (each.ready.evaluated.waits for each in group.ready) if one is not None]
    if not waits or not isinstance(outcome, Done):
        return outcome
    later = _waiting(view, waits)
    return replace(later, summary=f"{outcome.summary}; {later.summary}")


def _member(view: View, environment: str, application: str) -> Look:
    """One of a group: what it may not do is said for it, and the others are looked at."""
    try:
        return _looked(view, environment, application)
    except RejectedError as error:
        return Look(application, Done(str(error)), blocked=str(error))


def _whole(group: str, missing: Mapping[str, str]) -> str:
    """What a group waits for, by name."""
    said = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
    return f"{group} is promoted as a whole, and waits for {said}"


def _nothing_new(
    view: View,
    environment: str,
    member: Application,
    looks: Sequence[Look],
    missing: Mapping[str, str],
) -> Outcome:
    evaluated = [one for found in looks for one in found.evaluated]
    if missing:
        return replace(_waiting(view, evaluated), summary=_whole(member.group, missing))
    if any(one.chosen is not None for one in looks) and not any(map(_is_open, evaluated)):
        close_pointless(view, view.environment(environment), member)
    said = [one.outcome.summary for one in looks if one.outcome.summary]
    return Done("; ".join(dict.fromkeys(said)) or f"{environment} asks for all of it already")


def _tell_members(ready: Sequence[Member], title: str, words: str) -> None:
    """On the commits of each; ``words`` are Markdown of ours."""
    for one in ready:
        subject, commits = one.subject, one.ready.commits
        tell_source(
            subject.view,
            subject.application,
            subject.environment,
            commits,
            CheckState.NEUTRAL,
            title,
            words,
        )


def _why_nowhere(view: View, environment: Environment, application: Application) -> str:
    """Why an application without a place here is no usual state; empty: it is just not in it."""
    about = [
        remark
        for remark in view.files(view.head, environment).remarks
        if remark.kind in {RemarkKind.REFUSED, RemarkKind.UNREADABLE}
        and remark.image is not None
        and remark.image.application == application.name
    ]
    if about:
        return "; ".join(str(one) for one in about[:5])
    for other in view.pipeline.environments.values():
        if view.locations_of(view.head, other, application.name):
            return ""
    return f"{application.name} has no place in the files of any environment"


def _nowhere(subject: Subject, reason: str) -> Outcome:
    """Say on the commits that ask why nothing is proposed."""
    commits = [one.commit.id for one in [*asking_branches(subject), *asking_tags(subject)[:1]]]
    if subject.environment.follows:
        commits = [one.trigger.commit.id for one in followed(subject)]
    if commits:
        tell_source(
            subject.view,
            subject.application,
            subject.environment,
            commits,
            CheckState.NEUTRAL,
            "Not promoted",
            prose(reason, 600),
        )
    return Done(reason)


# --- what people ask for by command ---


def _carry_out_asks(subject: Subject, asks: Sequence[Asked]) -> Outcome | None:
    """What the newest promotion or way back that was asked for comes to; None: branches go on.

    Of several only the newest counts. An update is for the proposal that follows: it is over with
    it.
    """
    wanted = [one for one in asks if one.kind is not AskKind.UPDATE]
    for older in wanted[:-1]:
        over(subject.view, older, "something else was asked for later")
    if not wanted:
        return None
    ask = wanted[-1]
    try:
        return _go_back(subject, ask) if ask.kind is AskKind.ROLLBACK else _promote(subject, ask)
    except RejectedError as error:
        over(subject.view, ask, str(error))  # told as a failure; branches go on at the next look
        raise


def _promote(subject: Subject, ask: Asked) -> Outcome | None:
    """The pull request of a commit that somebody named; order does not matter, but is told.

    None: its image is still to come, and branches go on meanwhile.
    """
    history, view = subject.history, subject.view
    if not history.fetch_commit(ask.commit):
        over(view, ask, "the commit is gone")
        return Done(f"commit {ask.commit[:7]} is gone")
    commit = history.commit(ask.commit)
    heads = history.heads().items()
    fed = (name for name, head in sorted(heads) if subject.environment.fed_by(SourceRef(name)))
    branch = next((name for name in fed if history.heads()[name] == commit.id), "")
    evaluated = ordered(subject, evaluate(subject, Trigger(SourceRef(branch), commit)))
    if isinstance(evaluated.decision, Waiting):
        _tell_unchosen(subject, evaluated)
        later = _waiting(view, [evaluated])
        if isinstance(later, Done):
            over(view, ask, "its image never came")
        return None
    if isinstance(evaluated.decision, Refused):
        _tell_unchosen(subject, evaluated)
        over(view, ask, evaluated.decision.reason)
        return Done(evaluated.decision.reason)
    ready = evaluated.ready
    if ready is None:
        return None
    return _close(view, ask, _carry_out(subject, ready, is_all=True, ask=ask))


def _close(view: View, ask: Asked, outcome: Outcome) -> Outcome:
    """What was asked for is over when a look comes to its end; one that is repeated goes on."""
    is_held = closed_now(view, ask) is not None
    if isinstance(outcome, Done) and not is_held:
        over(view, ask, outcome.summary)
    return outcome


def _go_back(subject: Subject, ask: Asked) -> Outcome:
    """The pull request that brings a set back that was published before."""
    view = subject.view
    known = view.ports.memory.resolution(view.id, subject.application.name, ask.commit)
    if known is None or not subject.history.fetch_commit(ask.commit):
        over(view, ask, "the record or the commit is gone")
        return Done(f"the record of {ask.commit[:7]} is gone")
    images = dict(known.digests)
    if all(subject.wished().get(name) == digest for name, digest in images.items()):
        over(view, ask, "the default branch asks for it")
        return Done(f"{subject.environment.name} already asks for {ask.commit[:7]}")
    proposal = Proposal(
        environment=subject.environment,
        application=subject.application,
        images=images,
        source=ask.commit,
        built_of=dict(known.commits),
        trigger=ask.commit,
        ref=NO_REF,
        known_by=known.known_by,
        running=subject.running(),
        diverging=False,
        places=subject.places,
        history=subject.history,
        ask=ask,
    )
    return _close(view, ask, ensure_pull_request(view, _alone(view, proposal)))


# --- what comes of it ---


def _carry_out(
    subject: Subject, chosen: Ready, *, is_all: bool, ask: Asked | None = None
) -> Outcome:
    """Propose what was chosen; ``is_all``: no other commit may still turn out to be newer."""
    view, environment, application = subject.view, subject.environment, subject.application
    held = closed(view, environment, application.name, Action.PROPOSE)
    if held is not None:
        tell_source(view, application, environment, chosen.commits, CheckState.NEUTRAL, *told(held))
        return stopped(held)
    if chosen.evaluated.order is Order.SAME:
        if is_all:  # else the open one may be that of a branch whose newest image is to come
            close_pointless(view, environment, application)
        return Done(f"{environment.name} already asks for {chosen.source.commit[:7]}")
    return ensure_pull_request(view, _alone(view, _proposal(subject, chosen, ask)))


def _alone(view: View, proposal: Proposal) -> Request:
    """The pull request of one application, in that of its group if it has one."""
    application = proposal.application
    everybody = view.pipeline.applications.values()
    members = tuple(one.name for one in everybody if one.lane == application.lane)
    return Request(proposal.environment, application.lane, (proposal,), members)


def _proposal(subject: Subject, chosen: Ready, ask: Asked | None = None) -> Proposal:
    order = chosen.evaluated.order
    return Proposal(
        environment=subject.environment,
        application=subject.application,
        images=chosen.source.images,
        source=chosen.source.commit,
        built_of=dict(chosen.resolution.commits),
        trigger=chosen.evaluated.trigger.commit.id,
        ref=chosen.evaluated.trigger.ref,
        known_by=chosen.resolution.known_by,
        running=subject.running(),
        diverging=order in {Order.DIVERGING, *([Order.LATE] if ask else [])},
        places=subject.places,
        history=subject.history,
        ask=ask,
    )


def _is_open(evaluated: Evaluated) -> bool:
    """Nobody knows yet what this branch's head comes to.

    A set that is not published in all environments before this one is not asked for, surely.
    """
    decision = evaluated.decision
    is_to_come = isinstance(decision, Waiting) and not decision.environments
    return evaluated.waits is not None or is_to_come


def _tell_unchosen(subject: Subject, evaluated: Evaluated) -> None:
    decision = evaluated.decision
    commits = [evaluated.trigger.commit.id]
    if isinstance(decision, Waiting):
        late = _is_late(subject.view, evaluated)
        before = decision.environments or subject.environment.below
        waits_for = " and ".join(before) if decision.for_environment else "image"
        title = decision.heading or f"Waiting for {waits_for}"
        advice = (
            "\n\nThis takes longer than usual: check that CI built this commit and pushed the tag, "
            "then re-run or push again."
            if late
            else ""
        )
        summary = prose(decision.reason, 600) + advice
    elif isinstance(decision, Refused):
        title, summary = "Not promoted", prose(decision.reason, 600)
    elif evaluated.order is Order.LATE:
        title, summary = "Superseded", "What runs there is newer; going back is a rollback."
    else:
        return
    tell_source(
        subject.view,
        subject.application,
        subject.environment,
        commits,
        CheckState.NEUTRAL,
        title,
        summary,
    )


def _is_late(view: View, evaluated: Evaluated) -> bool:
    age = view.ports.clock.now() - evaluated.trigger.commit.committed_at
    return age > view.ports.limits.wait


def _waiting(view: View, evaluated: Sequence[Evaluated]) -> Outcome:
    """Look again by itself: soon for young commits, slowly for old ones, and at last not at all."""
    waiting = [e for e in evaluated if isinstance(e.decision, Waiting)]
    reasons: Mapping[str, str] = {
        str(e.trigger.ref): e.decision.reason
        for e in evaluated
        if isinstance(e.decision, Waiting | Refused)
    }
    summary = "; ".join(f"{branch}: {reason}" for branch, reason in reasons.items())
    if not waiting:
        return Done(summary or "nothing newer to promote")
    if all(one.decision.environments for one in waiting if isinstance(one.decision, Waiting)):
        return Done(summary)  # the publications that it waits for ask for this look
    now = view.ports.clock.now()
    age = now - max(e.trigger.commit.committed_at for e in waiting)
    if age > view.ports.limits.wait * 24:
        return Done(summary)
    return RequeueAt(summary, now + min(max(age / 10, _SOON), _SLOW))
