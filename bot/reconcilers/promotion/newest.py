"""Of what asks, the newest whose image is ready, and whether it goes forward from what runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from bot.domain.jobs import Outcome
from bot.domain.promotion import Order, OrderFacts, Source, Waiting, order
from bot.domain.source_refs import SourceRef, VersionKey, commit_in_name
from bot.facts.unchanged import ANCESTORS, stretches, to_ask
from bot.reconcilers.promotion.source_commit import (
    Evaluated,
    Ready,
    evaluate,
    evaluate_any,
    same_files,
)
from bot.reconcilers.promotion.subject import Subject, Trigger

_SURE: Final = frozenset({Order.FIRST, Order.FORWARD, Order.SAME})
READY: Final = 30
"""Commits before a branch's head that are looked at for an image while its own is to come.

Of so many tags, too, it is said what they wait for.
"""
FAR: Final = 200
"""Commits of tags, and turns of a queue, that are looked at for an image."""


def newest_heads(subject: Subject, heads: Sequence[Trigger]) -> list[Evaluated]:
    """What the branches come to that may go forward; old releases stand there for ever.

    One of a version before the one that runs is late, whatever its image does, and one before
    another that is ready need not be looked at: nobody is asked about either.
    """
    running = subject.running_ref()
    found: list[Evaluated] = []
    best: SourceRef | None = None
    for trigger in sorted(heads, key=lambda one: one.ref.rank, reverse=True):
        if trigger.ref != running and trigger.ref.is_older_than(running):
            found.append(Evaluated(trigger, Source(trigger.commit.id, {}), order=Order.LATE))
        elif best is None or not trigger.ref.is_older_than(best):
            one = ordered(subject, newest_ready(subject, trigger))
            found.append(one)
            if one.ready is not None and one.order in _SURE and trigger.ref.version:
                best = trigger.ref
    return found


def newest_ready(subject: Subject, trigger: Trigger) -> Evaluated:
    """The branch's head, or while its image is still to come, the newest commit that has one.

    Only commits that came after what runs here: others asked for nothing or were promoted before.
    """
    head = evaluate(subject, trigger)
    running = subject.running() or _proposed_last(subject)
    if not isinstance(head.decision, Waiting) or not running:
        return head
    history = subject.history
    if not (history.fetch_commit(running) and history.is_ancestor(running, trigger.commit.id)):
        return head
    if subject.application.paths:
        return _newest_ready_stretch(subject, trigger, running, head)
    for commit in history.first_parents(trigger.commit.id, limit=READY, until=running)[1:]:
        found = evaluate(subject, Trigger(trigger.ref, commit), is_head=False)
        if isinstance(found.decision, Source):
            return replace(found, waits=head)
    return head


def _proposed_last(subject: Subject) -> str:
    """The commit that was proposed here last, where nothing runs yet; empty: none was."""
    if any(subject.wished().values()):
        return ""  # what runs is not known, so nobody can say what came after it
    scope = subject.view.scope(subject.environment.name, subject.application.name)
    heads = subject.view.ports.memory.written_heads(scope)
    return heads[-1].source if heads else ""


def _newest_ready_stretch(
    subject: Subject, trigger: Trigger, running: str, head: Evaluated
) -> Evaluated:
    """The same in a monorepo, where the commits of others stand between the application's own."""
    history = subject.history
    found = stretches(history, trigger.commit.id, subject.touches, until=running)
    for commits in islice(found, 1, READY):
        newest = Trigger(trigger.ref, history.commit(commits[0]))
        one = evaluate_any(subject, newest, to_ask(commits))
        if isinstance(one.decision, Source):
            return replace(one, waits=head)
    return head


def newest_tags(subject: Subject, newest_first: Sequence[Trigger]) -> list[Evaluated]:
    """The newest tag whose image is there, and those after it that have to be waited for.

    What comes before it is older, however many there are.
    """
    found: list[Evaluated] = []
    for number, trigger in enumerate(_looked_at(subject, newest_first)):
        one = ordered(subject, evaluate(subject, trigger, is_near=number < READY))
        waits = next((e for e in found if isinstance(e.decision, Waiting)), None)
        if isinstance(one.decision, Source):
            return [*found, replace(one, waits=waits)]
        if number < READY:
            found.append(one)
    return found


def _looked_at(subject: Subject, newest_first: Sequence[Trigger]) -> Iterator[Trigger]:
    """One tag of each commit, the newest; after many those alone whose images are in the record.

    Nightlies that nobody built stand for ever, and starve no release before them.
    """
    memory, view, name = subject.view.ports.memory, subject.view, subject.application.name
    distinct: dict[str, Trigger] = {}
    for trigger in newest_first:
        named = commit_in_name(trigger.ref.name) or ""
        distinct.setdefault(f"{trigger.commit.id}:{named}", trigger)
    for number, trigger in enumerate(distinct.values()):
        if number < FAR or memory.resolution(view.id, name, trigger.commit.id) is not None:
            yield trigger


# --- in which order ---


def ordered(subject: Subject, evaluated: Evaluated) -> Evaluated:
    """The same, and how it relates to what runs."""
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


def newest(evaluated: Sequence[Evaluated]) -> Ready | None:
    """The one to propose: what goes forward before what diverges, higher versions first."""
    ready = [one for one in (each.ready for each in evaluated) if one is not None]
    for wanted in ({Order.FIRST, Order.FORWARD}, {Order.DIVERGING}, {Order.SAME}):
        found = [one for one in ready if one.evaluated.order in wanted]
        if found:
            return max(found, key=lambda one: _rank(one.evaluated))
    return None


@dataclass(frozen=True, slots=True)
class Look:
    """What one application comes to in an environment."""

    application: str
    outcome: Outcome
    """How the look ends where nothing asks."""
    subject: Subject | None = None
    """None: it is not there, or nothing asks."""
    evaluated: tuple[Evaluated, ...] = ()
    blocked: str = ""
    """Why it cannot be promoted, whatever asks."""
    is_over: bool = False
    """A command asked for something, which is done; branches have their turn at the next look."""

    @property
    def chosen(self) -> Ready | None:
        """The newest of what asks that has its images."""
        return newest(self.evaluated)


def _rank(evaluated: Evaluated) -> tuple[tuple[bool, VersionKey], str]:
    return evaluated.trigger.ref.rank, evaluated.trigger.commit.committed_at.isoformat()
