"""The figures that take a look: where promotions stand, and how long published ones took.

One thread looks, any thread reads. A manifests repository that cannot be looked at keeps its own
figures away and no other's, and `LOOKED` says since when.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from bot.domain.environments import GitHubRepository
from bot.domain.errors import LockkeeperError
from bot.domain.jobs import JobState
from bot.domain.memory import Scope
from bot.domain.metrics import (
    CHANGE_FAILURES,
    CHANGES,
    DELIVERIES,
    LOOKED,
    PUBLICATIONS,
    VERDICTS,
    Metric,
    Noted,
    Reading,
    Stands,
    standing_readings,
)
from bot.facts.figures import is_change_failure, stands_in, timings_of
from bot.facts.snapshot import Ports, View, look_at
from bot.ports.record import Chronicle

MEASURE_SECONDS: Final = 60.0
"""Between two looks."""
NOTED: Final = 10_000
"""Entries that wait to be counted; beyond it the oldest are not."""
_FRESH_SECONDS: Final = 120.0
"""A fetch that is younger is new enough: figures ask git for little that jobs did not."""


class Counts(Protocol):
    """Where things are counted as they happen."""

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Something happened, ``by`` so much."""
        ...

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Something took so long."""
        ...


class Hears(Protocol):
    """Who is told where promotions stand; `bot.noticing.Noticing` is one."""

    def heard(self, manifests: str, stands: Sequence[Stands]) -> None:
        """Where everything of a manifests repository stands now."""
        ...

    def foreign(self, manifests: str, environment: str, facts: Mapping[str, str]) -> None:
        """An environment ref showed a commit that is not the bot's."""
        ...


class Measuring:
    """What is known of the promotions of one process' manifests repositories."""

    def __init__(
        self,
        ports: Ports,
        chronicle: Chronicle,
        counts: Counts,
        noted: deque[Noted],
        hears: Hears | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            ports: through which it looks.
            chronicle: tells what a publication changed.
            counts: where it counts.
            noted: entries of the audit, taken away as they are counted.
            hears: is told of what was found; None: nobody is.
        """
        self._hears = hears
        self._ports, self._chronicle, self._counts = ports, chronicle, counts
        self._noted = noted
        self._readings: dict[GitHubRepository, Sequence[Reading]] = {}
        self._looked: dict[GitHubRepository, float] = {}
        self._names: dict[int, GitHubRepository] = {}
        self._guard = threading.Lock()

    def readings(self) -> Sequence[Reading]:
        """Where promotions stand, as it was last looked at."""
        with self._guard:
            found = [one for readings in self._readings.values() for one in readings]
            looked = dict(self._looked)
        names = self._ports.manifests
        return [*found, *(Reading(LOOKED, (str(one),), looked.get(one, 0.0)) for one in names)]

    def look(self) -> float:
        """Look once at everything; the seconds until the next look."""
        since = time.monotonic() - _FRESH_SECONDS
        ports = replace(self._ports, mirrors=self._ports.mirrors.as_of(since))
        jobs = {state.key: state for state in ports.jobs.states()}
        views: dict[GitHubRepository, View] = {}
        for repository in ports.manifests:
            try:
                views[repository] = look_at(ports, repository)
                self._look_at(ports, repository, views[repository], jobs)
            except LockkeeperError:
                with self._guard:  # what was true before is not known now
                    self._readings.pop(repository, None)
        self._count(ports, views)
        return MEASURE_SECONDS

    def _look_at(
        self,
        ports: Ports,
        repository: GitHubRepository,
        view: View,
        jobs: Mapping[str, JobState],
    ) -> None:
        self._names[view.id] = repository
        now = ports.clock.now()
        stands = stands_in(view, jobs)
        found = standing_readings(str(repository), stands, now)
        with self._guard:
            self._readings[repository] = found
            self._looked[repository] = now.timestamp()
        if self._hears is not None:
            self._hears.heard(str(repository), stands)

    def _count(self, ports: Ports, views: Mapping[GitHubRepository, View]) -> None:
        """Count what was noted; what is about a repository that was never seen waits for it."""
        for _ in range(len(self._noted)):
            noted = self._noted.popleft()
            repository = self._names.get(noted.scope.manifests)
            view = views.get(repository) if repository is not None else None
            if view is None or repository is None:
                self._noted.append(noted)
                continue
            self._count_one(ports, view, str(repository), noted)

    def _count_one(self, ports: Ports, view: View, manifests: str, noted: Noted) -> None:
        place = manifests, noted.scope.environment
        count = self._counts.count
        match noted.kind:
            case "sealed":
                count(DELIVERIES, *place, "sealed")
                count(VERDICTS, *place, noted.facts.get("verdict", ""))
            case "refused":
                count(DELIVERIES, *place, "refused")
            case "held" if is_change_failure(noted.scope, noted.facts):
                count(CHANGE_FAILURES, *place, "held")
            case "foreign commit" if self._hears is not None:
                self._hears.foreign(manifests, noted.scope.environment, noted.facts)
            case "published":
                count(PUBLICATIONS, *place)
                self._count_changes(ports, view, place, noted)
            case _:
                pass

    def _count_changes(
        self, ports: Ports, view: View, place: tuple[str, str], noted: Noted
    ) -> None:
        scope = Scope(noted.scope.manifests, noted.scope.environment)
        for change in self._chronicle.changes(scope, noted.facts.get("commit", "")):
            self._counts.count(CHANGES, *place)
            if change.goes_back:
                self._counts.count(CHANGE_FAILURES, *place, "rolled back")
            try:
                taken = timings_of(ports, view, change)
            except LockkeeperError:
                continue  # its source cannot be seen now; the others' time counts
            for metric, passed in taken.items():
                self._counts.observe(metric, *place, seconds=passed.total_seconds())
