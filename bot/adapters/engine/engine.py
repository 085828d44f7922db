"""`bot.ports.Jobs`: puts jobs, runs them, waits for them, and finds what was lost."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy as sa

from bot.adapters.engine.backoff import delay
from bot.adapters.engine.dispatch import Dispatcher
from bot.adapters.engine.lease import BEAT_SECONDS, LIFE_SECONDS, Leases, Liveness, OnlyProcess
from bot.adapters.engine.rows import JobRows, Retry, Run, Ticket
from bot.domain.errors import IntegrityError, LockkeeperError, RejectedError, UnavailableError
from bot.domain.jobs import Again, Done, Failed, Job, JobKind, JobState, Outcome
from bot.ports import Clock

R = TypeVar("R")

_LOG: Final = logging.getLogger("lockkeeper.engine")

_WAKE_SECONDS: Final = 0.5
_LOST_SECONDS: Final = 10.0
"""How often the rows in flight are compared with what DBOS carries."""
_JOBS_AT_ONCE: Final = 25
"""Jobs of one lane in a row; then the worker is free for other lanes."""
_UPKEEP_SECONDS: Final = 3600.0
WORKFLOWS_KEPT: Final = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the engine looks, in seconds of real time."""

    polling: float = 0.15
    """DBOS's look at each queue: half of this, on average, is what a hop costs."""
    beat: float = BEAT_SECONDS
    lease: float = LIFE_SECONDS
    lost: float = _LOST_SECONDS


@dataclass(slots=True)
class _Periodic:
    call: Callable[[], None]
    every: timedelta
    due: datetime


class Engine:
    """The queue of this process, on the database that `bot.adapters.store.database` opened.

    One per process. The tables of `bot.adapters.engine.MIGRATIONS` must be there.
    """

    def __init__(
        self,
        database: sa.Engine,
        clock: Clock,
        run: Callable[[Job], Outcome],
        *,
        kinds: Iterable[JobKind] = tuple(JobKind),
        workers: int = 8,
        pace: Pace = Pace(),
    ) -> None:
        """Prepare; nothing is contacted.

        Args:
            database: the pool; shared with the store.
            clock: due times are facts compared with it at each wake-up.
            run: does the work; its errors decide what happens next (`bot.domain.errors`).
            kinds: the kinds of job that this process runs; it puts all of them.
            workers: jobs of one kind that run at the same time in this process.
            pace: intervals, for tests.
        """
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._rows = JobRows(database)
        self._dispatcher = Dispatcher(database, self._owner)
        self._liveness = _liveness(database, self._owner, pace)
        self._clock = clock
        self._run = run
        self._kinds = tuple(kinds)
        self._workers = workers
        self._pace = pace
        self._periodic: list[_Periodic] = []
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._started = False

    # --- Jobs ----------------------------------------------------------------------------

    def put(self, job: Job) -> None:
        """Look soon; a look at the same key that has not begun yet absorbs this one.

        A job that waits runs now; one that failed runs again.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._dispatch(self._rows.put(job, self._clock.now()))

    def put_once(self, job: Job, identity: str) -> bool:
        """Look once per ``identity``; durable when it returns, False if it was handled before.

        Raises:
            UnavailableError: the database does not answer, or too many jobs wait.
        """
        new, ticket = self._rows.put_once(job, identity, self._clock.now())
        self._dispatch(ticket)
        return new

    def states(self) -> Sequence[JobState]:
        """Every job that is not over."""
        return self._rows.states()

    # --- operators -----------------------------------------------------------------------

    def retry(self, key: str) -> bool:
        """Run a waiting or failed job now, as if it had never failed; False if there is none."""
        ticket = self._rows.retry(key)
        self._dispatch(ticket)
        return ticket is not None

    def tidy(self) -> None:
        """Remove what is over and cannot be asked for again; done by itself every hour.

        Raises:
            UnavailableError: the database does not answer.
        """
        now = self._clock.now()
        self._rows.forget_identities(now)
        while not self._stopping.is_set() and self._dispatcher.forget(now - WORKFLOWS_KEPT):
            pass

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call soon and then every ``seconds`` of the clock; for calls that only put jobs."""
        self._periodic.append(_Periodic(call, timedelta(seconds=seconds), self._clock.now()))

    def reason_not_ready(self) -> str:
        """Why this process cannot work now; empty if it can."""
        if not self._started:
            return "the engine has not started"
        if self._stopping.is_set():
            return "the engine is stopping"
        try:
            self._rows.due(self._clock.now())
        except UnavailableError as error:
            return str(error)
        return ""

    # --- life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start to run jobs, the ones that a dead process left first.

        Raises:
            RejectedError: another process runs on this SQLite file.
            UnavailableError: the database does not answer.
        """
        self._liveness.begin()
        self._dispatcher.start(
            self._empty_lane,
            kinds=self._kinds,
            workers=self._workers,
            polling_seconds=self._pace.polling,
        )
        self._started = True
        self._loop("lockkeeper-lease", self._pace.beat, self._take_over)
        self._loop("lockkeeper-waker", _WAKE_SECONDS, self._wake)
        self._loop("lockkeeper-finder", self._pace.lost, self._find_lost)
        self._loop("lockkeeper-upkeep", _UPKEEP_SECONDS, self.tidy)

    def stop(self, grace_seconds: int = 20) -> None:
        """Take nothing new, let running jobs end for a while; what remains is run again later."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=10.0)
        self._dispatcher.stop(grace_seconds)
        self._started = False
        try:
            self._liveness.end()
        except UnavailableError:
            _LOG.warning("the lease could not be released; it lapses by itself")

    def _loop(self, name: str, seconds: float, look: Callable[[], None]) -> None:
        def loop() -> None:
            _look(look, name)
            while not self._stopping.wait(seconds):
                _look(look, name)

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    # --- what the loops do ---------------------------------------------------------------

    def _dispatch(self, ticket: Ticket | None) -> None:
        # Before the start and after the stop the row alone is enough: a waker finds it.
        if ticket is None or not self._started or self._stopping.is_set():
            return
        try:
            self._dispatcher.enqueue(ticket)
            self._rows.mark_dispatched(ticket)
        except UnavailableError as error:
            # The row is durable, so the request is kept whatever happens here.
            _LOG.warning("job queued later", extra={"job": ticket.key, "reason": str(error)})

    def _wake(self) -> None:
        now = self._clock.now()
        for key in self._rows.due(now):
            self._dispatch(self._rows.wake(key))
        for ticket in self._rows.undispatched():
            self._dispatch(ticket)
        for periodic in self._periodic:
            if periodic.due <= now:
                periodic.due = now + periodic.every
                _look(periodic.call, "lockkeeper-periodic")

    def _take_over(self) -> None:
        # In this order: a process has its lease before it owns anything.
        owners = self._dispatcher.owners()
        dead = owners - self._liveness.beat()
        if dead:
            _LOG.warning("taking over", extra={"owners": sorted(dead)})
            self._dispatcher.take_over(dead)

    def _find_lost(self) -> None:
        """Queue again what our rows call in flight and DBOS does not know (any more)."""
        page = self._rows.in_flight("")
        while page:
            carried = self._dispatcher.carried(page)
            for ticket in page:
                if ticket.workflow not in carried:
                    self._dispatch(self._rows.revive(ticket))
            page = self._rows.in_flight(page[-1].key)

    # --- running jobs --------------------------------------------------------------------

    def _empty_lane(self, kind: str, lane: str) -> None:
        """The body of the workflow; a row that cannot be written now is found again later."""
        try:
            for _ in range(_JOBS_AT_ONCE):
                run = None
                if not self._stopping.is_set():
                    run = self._rows.begin_next(kind, lane, self._owner)
                if run is None:
                    return
                outcome = self._outcome(run)
                self._dispatch(self._rows.finish(run.ticket, self._owner, outcome))
        except UnavailableError as error:
            _LOG.warning("lane interrupted", extra={"lane": lane, "reason": str(error)})

    def _outcome(self, run: Run) -> Done | Again | Failed | Retry:
        started = time.monotonic()
        outcome = self._attempt(run)
        _LOG.info(
            "job ran",
            extra={
                "job": run.job.key,
                "outcome": type(outcome).__name__,
                "reason": outcome.summary,
                "seconds": round(time.monotonic() - started, 3),
            },
        )
        return outcome

    def _attempt(self, run: Run) -> Done | Again | Failed | Retry:
        try:
            return _sheltered(lambda: self._run(run.job), run.job.key)
        except (RejectedError, IntegrityError) as error:
            return Failed(str(error))
        except UnavailableError as error:
            wait = delay(run.attempts + 1, error.retry_after)
            return Retry(str(error), self._clock.now() + timedelta(seconds=wait))


class _UnexpectedError(Exception):
    """Stands in a log for an exception whose own words may hold anything."""


def _sheltered(call: Callable[[], R], name: str) -> R:
    """Make an error that nobody foresaw one that passes, logged by place and type only."""
    try:
        return call()
    except LockkeeperError:
        raise
    except Exception as error:  # noqa: BLE001 - the one place where the engine meets bugs
        kind = type(error).__name__
        stand_in = _UnexpectedError(kind)
        _LOG.error(
            "unexpected error",
            extra={"job": name, "error": kind},
            exc_info=(_UnexpectedError, stand_in, error.__traceback__),
        )
        raise UnavailableError(f"unexpected {kind}; the log has the place") from None


def _look(look: Callable[[], None], name: str) -> None:
    try:
        _sheltered(look, name)
    except LockkeeperError as error:
        _LOG.warning("look failed", extra={"loop": name, "reason": str(error)})


def _liveness(database: sa.Engine, owner: str, pace: Pace) -> Liveness:
    if database.dialect.name == "sqlite":
        return OnlyProcess(Path(str(database.url.database)), owner)
    return Leases(database, owner, life_seconds=pace.lease)
