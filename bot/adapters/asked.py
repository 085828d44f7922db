"""When each look was last asked for: how new the mirrors have to be for it.

A webhook asks for many looks, and one fetch is enough for all of them. What a look has to see had
happened before it was asked for, so a fetch that began later shows it. Only puts of this process
are known; where others put jobs too, nothing is, and every look fetches.

Moments are those of `time.monotonic`: a clock that jumps changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from bot.domain.jobs import Job, JobKind, JobState
from bot.ports.jobs import Jobs

_PASSED_ON: Final[ContextVar[float | None]] = ContextVar("passed_on", default=None)
_FANS_OUT: Final = frozenset({JobKind.INTAKE, JobKind.RECONCILE})
"""Looks that only put others, which need see no more than they did."""
OLDEST_SECONDS: Final = 30.0
"""A fetch that is older is new enough for no look: meanwhile a webhook may have been lost.

Looks that have waited longer share the fetches that are younger: 8,000 of them, as after a
reconcile of 1,000 applications, wait for some hundred fetches, not for one each.
"""


class AskedJobs:
    """The queue, and when what waits in it was asked for."""

    def __init__(self, jobs: Jobs, *, is_alone: bool) -> None:
        """Stand before the queue; ``is_alone``: no other process puts jobs into it."""
        self._jobs, self._is_alone = jobs, is_alone
        self._moments: dict[str, float] = {}
        self._lock = threading.Lock()

    def put(self, job: Job) -> None:
        """As of `bot.ports.jobs.Jobs`."""
        with self._noted(job):
            self._jobs.put(job)

    def put_once(self, job: Job, identity: str) -> bool:
        """As of `bot.ports.jobs.Jobs`."""
        with self._noted(job):
            is_new = self._jobs.put_once(job, identity)
        if not is_new:
            self._forget(job)
        return is_new

    def states(self) -> Sequence[JobState]:
        """As of `bot.ports.jobs.Jobs`."""
        return self._jobs.states()

    @contextmanager
    def running(self, job: Job) -> Iterator[float | None]:
        """A look begins: the moment from which on a fetch is new enough; None: a new one."""
        with self._lock:
            moment = self._moments.pop(job.key, None)
        now = time.monotonic()
        if moment is not None:
            moment = max(moment, now - OLDEST_SECONDS)
        passed_on = now if moment is None else moment
        token = _PASSED_ON.set(passed_on if job.kind in _FANS_OUT else None)
        try:
            yield moment
        finally:
            _PASSED_ON.reset(token)

    @contextmanager
    def _noted(self, job: Job) -> Iterator[None]:
        """Note the moment before the row is there, so that no run is without it."""
        passed_on = _PASSED_ON.get()
        moment = time.monotonic() if passed_on is None else passed_on
        if self._is_alone:
            with self._lock:
                self._moments[job.key] = max(moment, self._moments.get(job.key, moment))
        try:
            yield
        except BaseException:
            self._forget(job)
            raise

    def _forget(self, job: Job) -> None:
        """There is no row of it; where there is one after all, it fetches."""
        with self._lock:
            self._moments.pop(job.key, None)
