"""`order: queue`: each push has its turn, the oldest first, and the next once it is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from bot.domain.promotion import Order, Waiting
from bot.facts.unchanged import ANCESTORS, stretches
from bot.reconcilers.promotion.following import upstream_trouble
from bot.reconcilers.promotion.newest import FAR, READY, ordered
from bot.reconcilers.promotion.pull_request import was_rejected
from bot.reconcilers.promotion.source_commit import Evaluated, evaluate
from bot.reconcilers.promotion.subject import Subject, Trigger

_TOLD = 100
"""Pushes of which GitHub tells."""
_GOES = frozenset({Order.FIRST, Order.FORWARD, Order.DIVERGING})


def queued(subject: Subject, heads: Sequence[Trigger], tags: Sequence[Trigger]) -> list[Evaluated]:
    """For each branch what has its turn, and of all tags the one that has; what waits behind it."""
    asking = [*heads, *tags[:1]]
    behind = _not_published(subject)
    if behind:
        waiting = Waiting(
            behind, for_environment=True, heading="Queued", environments=(subject.environment.name,)
        )
        return [Evaluated(one, waiting) for one in asking]
    found = [one for head in heads for one in _turn(subject, head, _line(subject, head))]
    if tags:
        oldest_first = list(reversed(tags))
        found += _turn(subject, tags[0], oldest_first)
    return found


def _not_published(subject: Subject) -> str:
    """Why nobody has a turn yet: what was merged last is not published; empty: it is."""
    view, environment = subject.view, subject.environment
    tip = view.history.heads().get(environment.ref, "")
    locations = view.locations_of(tip, environment, subject.application.name) if tip else ()
    shown = {location.place: location.written.digest for location in locations}
    open_ones = [
        location
        for location in subject.places
        if location.written.digest and shown.get(location.place) != location.written.digest
    ]
    if not open_ones:
        return ""
    trouble = upstream_trouble(view, environment.name, subject.application)
    said = f"what was merged before it is not published on {environment.ref} yet"
    return f"{said}: {trouble}" if trouble else said


def _line(subject: Subject, head: Trigger) -> list[Trigger]:
    """The pushes after the one that brought what runs, oldest first; the head alone, if unknown."""
    history, since = subject.history, _since(subject, head)
    if not since:
        return [head]
    if subject.application.paths:
        found = stretches(history, head.commit.id, subject.touches, until=since)
        commits = [one[0] for one in found]
    else:
        line = history.first_parents(head.commit.id, limit=ANCESTORS, until=since)
        commits = [one.id for one in line]
    own = _pushed(subject, head, commits, since)
    return [Trigger(head.ref, history.commit(one)) for one in reversed(own)]


def _since(subject: Subject, head: Trigger) -> str:
    """The commit of this branch that brought what runs; empty: none of it did."""
    running = subject.running()
    if running is None:
        return ""
    scope = subject.view.scope(subject.environment.name, subject.application.name)
    heads = reversed(subject.view.ports.memory.written_heads(scope))
    asked = next((one.trigger for one in heads if one.source == running), running)
    for commit in (asked, running):
        is_there = subject.history.fetch_commit(commit)
        if is_there and subject.history.is_ancestor(commit, head.commit.id):
            return commit
    return ""


def _pushed(subject: Subject, head: Trigger, commits: Sequence[str], since: str) -> list[str]:
    """Of these, newest first, those that a push ended with: of others CI builds nothing.

    Where GitHub does not tell about pushes, or not that far back, each commit counts.
    """
    pushes = subject.view.ports.github.pushes(subject.application.source, head.ref.full)
    ends = {one.after for one in pushes or ()}
    known = [number for number, commit in enumerate(commits) if commit in ends]
    if not known:
        return list(commits)
    is_whole = since in ends or len(pushes or ()) < _TOLD
    last = len(commits) if is_whole else known[-1]
    return [c for number, c in enumerate(commits) if c in ends or number > last]


def _turn(subject: Subject, head: Trigger, oldest_first: Sequence[Trigger]) -> list[Evaluated]:
    """The first that goes forward, what had no turn before it, and the head that waits behind."""
    passed: list[Evaluated] = []
    for number, one in enumerate(islice(_evaluated(subject, oldest_first), FAR)):
        if isinstance(one.decision, Waiting) and not _is_given_up(subject, one):
            return [*passed, one, *_behind(head, one, len(oldest_first) - number - 1)]
        if one.ready is not None and one.order in _GOES and not _is_rejected(subject, one):
            waiting = _behind(head, one, len(oldest_first) - number - 1)
            return [*passed, *waiting, replace(one, waits=waiting[0] if waiting else None)]
        if one.ready is None and number < READY:
            passed.append(one)
    return passed


def _evaluated(subject: Subject, triggers: Sequence[Trigger]) -> Iterator[Evaluated]:
    """Of those far behind GitHub is not asked: nobody built so many before them."""
    return (
        ordered(subject, evaluate(subject, trigger, is_near=number < READY))
        for number, trigger in enumerate(triggers)
    )


def _is_given_up(subject: Subject, one: Evaluated) -> bool:
    """Whether its image is awaited no longer: it may never come, and others have their turn."""
    age = subject.view.ports.clock.now() - one.trigger.commit.committed_at
    return age > subject.view.ports.limits.wait


def _is_rejected(subject: Subject, one: Evaluated) -> bool:
    if one.ready is None:
        return False
    images = one.ready.source.images
    return bool(was_rejected(subject.view, subject.environment, subject.application, images))


def _behind(head: Trigger, one: Evaluated, number: int) -> list[Evaluated]:
    """What is said on the head while another commit has its turn."""
    if head.commit.id == one.trigger.commit.id:
        return []
    turn = one.trigger.commit.id[:7]
    words = f"{turn} has its turn; {number} of {head.ref} wait behind it, and this is the last"
    return [Evaluated(head, Waiting(words, heading="Queued"))]
