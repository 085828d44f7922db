"""Groups: applications that are promoted in one pull request, none without the others.

Of one source repository they are taken at one commit of the branch that asks: the newest at which
none of them is still to come. So what is promoted together was built together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from bot.domain.promotion import Order, Refused, Waiting
from bot.facts.unchanged import ANCESTORS, stretches
from bot.reconcilers.promotion.newest import Look, ordered
from bot.reconcilers.promotion.source_commit import Evaluated, Ready, evaluate
from bot.reconcilers.promotion.subject import Subject, Trigger

_TRIES: Final = 10
"""Commits at which all of a group are looked at."""
_GOES: Final = frozenset({Order.FIRST, Order.FORWARD, Order.DIVERGING})


@dataclass(frozen=True, slots=True)
class Member:
    """One application of a group that has something new."""

    subject: Subject
    ready: Ready

    @property
    def application(self) -> str:
        """Its name."""
        return self.subject.application.name


@dataclass(frozen=True, slots=True)
class Group:
    """What is new of a group, and who is missing."""

    ready: tuple[Member, ...]
    missing: Mapping[str, str]
    """Application -> why it cannot be promoted yet."""


def together(looks: Sequence[Look]) -> Group:
    """What the applications of a group come to as a whole."""
    asking = [(one.subject, one) for one in looks if one.subject is not None]
    apart = _group([(subject, _newest_of(one)) for subject, one in asking])
    if not apart.ready or len(asking) == 1:
        return apart
    commits = {one.ready.evaluated.trigger.commit.id for one in apart.ready}
    if len(commits) == 1 and not apart.missing:
        return apart
    line = _line([subject for subject, _ in asking], apart)
    return (line and _at_one_commit(line, apart)) or apart


def _newest_of(found: Look) -> Evaluated | None:
    """What goes forward, else what it waits for; None: there is nothing new."""
    if found.chosen is not None:
        return found.chosen.evaluated
    open_ones = (one for one in found.evaluated if isinstance(one.decision, Waiting | Refused))
    return next(open_ones, None)


def _group(found: Sequence[tuple[Subject, Evaluated | None]]) -> Group:
    ready: list[Member] = []
    missing: dict[str, str] = {}
    for subject, one in found:
        if one is None:
            continue
        if isinstance(one.decision, Waiting | Refused):
            missing[subject.application.name] = one.decision.reason
        elif one.ready is not None and one.order in _GOES:
            ready.append(Member(subject, one.ready))
    return Group(tuple(ready), missing)


# --- at one commit ---


@dataclass(frozen=True, slots=True)
class _Line:
    """The one branch that asks for all of them."""

    subjects: Sequence[Subject]
    head: Trigger
    commits: Sequence[str]
    """Its first parents, newest first."""


def _line(subjects: Sequence[Subject], apart: Group) -> _Line | None:
    """The branch that all of them are asked by; None: they do not share one."""
    first = subjects[0]
    refs = {one.ready.evaluated.trigger.ref for one in apart.ready}
    sources = {one.application.source for one in subjects}
    ref = next(iter(refs))
    head = first.history.heads().get(ref.name, "")
    if len(refs) > 1 or len(sources) > 1 or ref.is_tag or first.environment.follows or not head:
        return None
    commits = [one.id for one in first.history.first_parents(head, limit=ANCESTORS)]
    return _Line(subjects, Trigger(ref, first.history.commit(head)), commits)


def _at_one_commit(line: _Line, apart: Group) -> Group | None:
    """The newest commit at which nobody is missing; None: there is none close by."""
    for commit in islice(_candidates(line, apart), _TRIES):
        trigger = Trigger(line.head.ref, line.subjects[0].history.commit(commit))
        found = [(one, ordered(one, evaluate(one, trigger))) for one in line.subjects]
        group = _group(found)
        if group.ready and not group.missing:
            return group
    return None


def _candidates(line: _Line, apart: Group) -> Iterator[str]:
    """Where one of them is ready, or what is missing had not changed yet; newest first."""
    wanted = {one.ready.evaluated.trigger.commit.id for one in apart.ready}
    for subject in line.subjects:
        if subject.application.name in apart.missing:
            older = stretches(subject.history, line.head.commit.id, subject.touches)
            wanted |= {commits[0] for commits in islice(older, 1, _TRIES)}
    return (commit for commit in line.commits if commit in wanted)
