"""Branch event to promotion pull request: which commit's image, in which order, as which edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Final

from bot.domain.environments import Application, Environment
from bot.domain.errors import NotFoundError, RejectedError
from bot.domain.gates import Action
from bot.domain.history import CheckState
from bot.domain.jobs import Done, Failed, Outcome, RequeueAt
from bot.domain.promotion import (
    Order,
    OrderFacts,
    Refused,
    Source,
    Waiting,
    order,
)
from bot.domain.source_refs import VersionKey
from bot.facts.gates import closed, stopped, told
from bot.facts.snapshot import Ports, View, look
from bot.facts.unchanged import ANCESTORS, stretches, to_ask
from bot.formats.markdown import prose
from bot.formats.places import RemarkKind
from bot.reconcilers.promotion.asking import asking_branches, asking_tags
from bot.reconcilers.promotion.following import followed, problems
from bot.reconcilers.promotion.pull_request import Proposal, close_pointless, ensure_pull_request
from bot.reconcilers.promotion.source_commit import Evaluated, evaluate, evaluate_any, same_files
from bot.reconcilers.promotion.subject import Subject, Trigger
from bot.reporting.reports import tell_source

_READY: Final = 30
"""Commits before a branch's head that are looked at for an image while its own is to come."""
_SOON: Final = timedelta(seconds=5)
_SLOW: Final = timedelta(minutes=10)


def propose(ports: Ports, manifests: int, environment: str, application: str) -> Outcome:
    """Bring the promotion pull request of one application in one environment up to date."""
    view = look(ports, manifests)
    try:
        promoted = view.granted_application(application)
        target = view.environment_of(environment, promoted)
    except NotFoundError as error:
        return Done(str(error))
    images = {image.name for image in promoted.images}
    places = [
        s for s in view.locations_of(view.head, target, application) if s.image.name in images
    ]
    reason = "" if places else _why_nowhere(view, target, promoted)
    if not (places or reason):
        return Done(f"{application} has no place in {environment}")
    try:
        history = ports.mirrors.of(promoted.source)
    except RejectedError as error:
        if reason:
            return Done(f"{reason}; its source: {error}")
        raise
    subject = Subject(view, target, promoted, history, places)
    if reason:
        return _nowhere(subject, reason)
    if target.follows:
        view.granted_environment_of(environment, promoted)
        evaluated = [_ordered(subject, one) for one in followed(subject)]
        if not evaluated:
            return Done("; ".join(problems(subject)))
        return _settle(subject, evaluated)
    heads, tags = asking_branches(subject), asking_tags(subject)
    if not (heads or tags):
        return Done(f"no branch or tag that feeds {environment} has moved yet")
    view.granted_environment_of(environment, promoted)
    evaluated = [_ordered(subject, _newest_ready(subject, trigger)) for trigger in heads]
    evaluated += _newest_tags(subject, tags)
    return _settle(subject, evaluated)


def _settle(subject: Subject, evaluated: Sequence[Evaluated]) -> Outcome:
    """Propose the newest of what asks, and say of the others what is the matter with them."""
    view = subject.view
    chosen = _newest(evaluated)
    own = {chosen.trigger.commit.id} if chosen is not None else set()
    for other in evaluated:
        if other.waits is not None:
            _tell_unchosen(subject, other.waits)
        if other is not chosen and other.trigger.commit.id not in own:
            _tell_unchosen(subject, other)
    if chosen is None:
        return _waiting(view, evaluated)
    outcome = _carry_out(subject, chosen, is_all=not any(map(_is_open, evaluated)))
    if chosen.waits is None or not isinstance(outcome, Done):
        return outcome
    later = _waiting(view, [chosen.waits])
    return replace(later, summary=f"{outcome.summary}; {later.summary}")


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


# --- the newest that is ready ---


def _newest_ready(subject: Subject, trigger: Trigger) -> Evaluated:
    """The branch's head, or while its image is still to come, the newest commit that has one.

    Only commits that came after what runs here: others asked for nothing or were promoted before.
    """
    head = evaluate(subject, trigger)
    running = subject.running()
    if not isinstance(head.decision, Waiting) or running is None:
        return head
    history = subject.history
    if not (history.fetch_commit(running) and history.is_ancestor(running, trigger.commit.id)):
        return head
    if subject.application.paths:
        return _newest_ready_stretch(subject, trigger, running, head)
    for commit in history.first_parents(trigger.commit.id, limit=_READY, until=running)[1:]:
        found = evaluate(subject, Trigger(trigger.ref, commit), is_head=False)
        if isinstance(found.decision, Source):
            return replace(found, waits=head)
    return head


def _newest_ready_stretch(
    subject: Subject, trigger: Trigger, running: str, head: Evaluated
) -> Evaluated:
    """The same in a monorepo, where the commits of others stand between the application's own."""
    history = subject.history
    found = stretches(history, trigger.commit.id, subject.touches, until=running)
    for commits in islice(found, 1, _READY):
        newest = Trigger(trigger.ref, history.commit(commits[0]))
        one = evaluate_any(subject, newest, to_ask(commits))
        if isinstance(one.decision, Source):
            return replace(one, waits=head)
    return head


def _newest_tags(subject: Subject, newest_first: Sequence[Trigger]) -> list[Evaluated]:
    """The newest tag whose image is there, and those after it that have to be waited for.

    What comes before it is older, however many there are.
    """
    found: list[Evaluated] = []
    for trigger in newest_first[:_READY]:
        one = _ordered(subject, evaluate(subject, trigger))
        waits = next((e for e in found if isinstance(e.decision, Waiting)), None)
        if isinstance(one.decision, Source):
            return [*found, replace(one, waits=waits)]
        found.append(one)
    return found


def _is_open(evaluated: Evaluated) -> bool:
    """Nobody knows yet what this branch's head comes to.

    A set that is not published in all environments before this one is not asked for, surely.
    """
    decision = evaluated.decision
    is_to_come = isinstance(decision, Waiting) and not decision.environments
    return evaluated.waits is not None or is_to_come


# --- in which order ---


def _ordered(subject: Subject, evaluated: Evaluated) -> Evaluated:
    if not isinstance(evaluated.decision, Source):
        return evaluated
    wished = subject.wished()
    running = subject.running()
    facts = OrderFacts(
        candidate=evaluated.decision.commit,
        running=running,
        candidate_contains_running=running is not None
        and _contains(subject, evaluated.trigger, evaluated.decision.commit, running),
        running_contains_candidate=running is not None
        and subject.history.is_ancestor(evaluated.decision.commit, running),
        candidate_ref=evaluated.trigger.ref,
        running_ref=subject.running_ref(),
        something_runs=any(wished.values()),
    )
    same = all(wished.get(name) == d for name, d in evaluated.decision.images.items())
    return replace(evaluated, order=Order.SAME if same else order(facts))


def _contains(subject: Subject, trigger: Trigger, candidate: str, running: str) -> bool:
    """An ancestor of the candidate or the trigger, or a tree equal to one of the branch."""
    history = subject.history
    if not history.fetch_commit(running):
        return False
    if history.is_ancestor(running, candidate) or history.is_ancestor(running, trigger.commit.id):
        return True
    if subject.application.paths:
        found = stretches(history, trigger.commit.id, subject.touches)
        return any(same_files(subject, running, commits[0]) for commits in found)
    tree = history.commit(running).tree
    return any(c.tree == tree for c in history.first_parents(trigger.commit.id, limit=ANCESTORS))


def _newest(evaluated: Sequence[Evaluated]) -> Evaluated | None:
    """The one to propose: what goes forward before what diverges, higher versions first."""
    for wanted in ({Order.FIRST, Order.FORWARD}, {Order.DIVERGING}, {Order.SAME}):
        found = [e for e in evaluated if isinstance(e.decision, Source) and e.order in wanted]
        if found:
            return max(found, key=_rank)
    return None


def _rank(evaluated: Evaluated) -> tuple[tuple[bool, VersionKey], str]:
    return evaluated.trigger.ref.rank, evaluated.trigger.commit.committed_at.isoformat()


# --- what comes of it ---


def _carry_out(subject: Subject, chosen: Evaluated, *, is_all: bool) -> Outcome:
    """Propose what was chosen; ``is_all``: no other commit may still turn out to be newer."""
    source, resolution = chosen.decision, chosen.resolution
    if not isinstance(source, Source) or resolution is None:
        return Failed("nothing was chosen")
    view, environment, application = subject.view, subject.environment, subject.application
    commits = [chosen.trigger.commit.id, source.commit]
    found = closed(view, environment, application.name, Action.PROPOSE)
    if found is not None:
        tell_source(view, application, environment, commits, CheckState.NEUTRAL, *told(found))
        return stopped(found)
    if chosen.order is Order.SAME:
        if is_all:  # else the open one may be that of a branch whose newest image is to come
            close_pointless(view, environment, application)
        return Done(f"{environment.name} already asks for {source.commit[:7]}")
    return ensure_pull_request(
        view,
        Proposal(
            environment=environment,
            application=application,
            images=source.images,
            source=source.commit,
            built_of=dict(resolution.commits),
            trigger=chosen.trigger.commit.id,
            ref=chosen.trigger.ref,
            known_by=resolution.known_by,
            running=subject.running(),
            diverging=chosen.order is Order.DIVERGING,
            places=subject.places,
            history=subject.history,
        ),
    )


def _tell_unchosen(subject: Subject, evaluated: Evaluated) -> None:
    decision = evaluated.decision
    commits = [evaluated.trigger.commit.id]
    if isinstance(decision, Waiting):
        late = _is_late(subject.view, evaluated)
        before = decision.environments or subject.environment.below
        waits_for = " and ".join(before) if decision.for_environment else "image"
        title = f"Waiting for {waits_for}"
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
