"""What is measured of promotions: where they stand, and how long they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bot.domain.environments import GitHubRepository
from bot.domain.jobs import JobState
from bot.domain.memory import HoldKind, Scope
from bot.domain.metrics import Metric, PublishedChange, Stands, timings
from bot.domain.standing import State
from bot.facts.snapshot import Ports, View
from bot.facts.status import PlaceStatus, places_of
from bot.ports.git import GitHistory

_RANK = {state: rank for rank, state in enumerate(State)}


def stands_in(view: View, jobs: Mapping[str, JobState]) -> Sequence[Stands]:
    """Every application of a manifests repository in each of its environments.

    Of an application with several places the one that stands out most decides, as `State` orders
    them: one that is held is not published because another image of it is.
    """
    found: dict[tuple[str, str], PlaceStatus] = {}
    published: dict[tuple[str, str], set[str]] = {}
    for place in places_of(view, jobs):
        key = place.environment, place.application
        known = found.get(key)
        if known is None or _RANK[place.standing.state] < _RANK[known.standing.state]:
            found[key] = place
        published.setdefault(key, set()).update({place.published} - {""})
    return [
        Stands(
            one.environment,
            str(one.standing.state),
            one.standing.since,
            one.verdict,
            one.application,
            one.standing.waits_for,
            one.standing.link or _history(view, one.environment),
            tuple(sorted(published[key])),
            awaits_people=not view.environment(one.environment).merges_itself,
        )
        for key, one in found.items()
    ]


def _history(view: View, environment: str) -> str:
    """Where people read what was published, and by which pull request."""
    return f"{view.web_url}/commits/{view.environment(environment).ref}"


def timings_of(ports: Ports, view: View, change: PublishedChange) -> Mapping[Metric, timedelta]:
    """How long a published change took, by the clocks of git and of the record."""
    application = view.pipeline.applications.get(change.application)
    source = application.source if application is not None else None
    committed = _committed(ports, source, change.commit) if source is not None else None
    merged = _committed_at(view.history, change.merge)
    return timings(change, committed, merged)


def _committed(ports: Ports, source: GitHubRepository, commit: str) -> datetime | None:
    return _committed_at(ports.mirrors.of(source), commit) if commit else None


def _committed_at(history: GitHistory, commit: str) -> datetime | None:
    """The committer's time; None: nobody has this commit."""
    return history.commit(commit).committed_at if commit and history.has(commit) else None


def is_change_failure(scope: Scope, facts: Mapping[str, str]) -> bool:
    """Whether a hold says that a change failed: a person stopped what was going on.

    The bot's own holds are about its record and the refs, a freeze is about time, and going back is
    counted once, when it is published.
    """
    is_stop = facts.get("kind", HoldKind.PERSON) == HoldKind.PERSON
    return bool(scope.environment and facts.get("actor") and is_stop)
