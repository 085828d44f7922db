"""`bot.ports.jobs.Jobs`: puts jobs, runs them, waits for them, and takes over what the dead left.

One thread claims and keeps time; each job runs in a thread of its own. The thread sleeps until
somebody rings, the next job is due, or its lease wants a beat; the database is left alone.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import sqlalchemy as sa

from bot.adapters.engine.backoff import delay
from bot.adapters.engine.bell import Bell, Listener
from bot.adapters.engine.lease import BEAT_SECONDS, LIFE_SECONDS, Leases, Liveness, OnlyProcess
from bot.adapters.engine.rows import Ending, JobRows, Retry, Run, owner_column
from bot.adapters.engine.timetable import Timetable
from bot.domain.errors import IntegrityError, LockkeeperError, RejectedError, UnavailableError
from bot.domain.jobs import EVERYTHING, Failed, Job, JobKind, JobState, Outcome, Share
from bot.ports.clock import Clock

R = TypeVar("R")

_LOG: Final = logging.getLogger("lockkeeper.engine")

QUEUES: Final[Mapping[JobKind, str]] = {
    JobKind.INTAKE: "intake",
    JobKind.PROPOSE: "propose",
    JobKind.DELIVER: "deliver",
    JobKind.PUBLISH: "publish",
    JobKind.SCAN: "upkeep",
    JobKind.ANSWER: "upkeep",
    JobKind.RECONCILE: "upkeep",
    JobKind.COMMAND: "upkeep",
    JobKind.COMMENT: "upkeep",
}
"""Kinds of one queue share its workers: long deliveries never keep a webhook waiting."""
_TIDY: Final = timedelta(hours=1)
_JOBS_IN_A_ROW: Final = 25
"""Of one lane by one thread; then the oldest of all lanes has its turn."""
_AGAIN_SECONDS: Final = 1.0
"""After the database failed."""
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the engine looks by itself, in seconds of real time."""

    clock: float = 0.5
    """Between two looks at the clock, which may jump; the database is not asked."""
    beat: float = BEAT_SECONDS
    """Between two beats of the lease; each one looks at the rows, whatever rang or did not."""
    lease: float = LIFE_SECONDS


class Engine:
    """The queue of this process, on the database that `bot.adapters.store.database` opened.

    The tables of `bot.adapters.engine.MIGRATIONS` must be there.
    """

    def __init__(
        self,
        database: sa.Engine,
        clock: Clock,
        run: Callable[[Job], Outcome],
        *,
        share: Share = EVERYTHING,
        workers: int = 8,
        pace: Pace = Pace(),
    ) -> None:
        """Prepare; nothing is contacted.

        Args:
            database: the pool; shared with the store.
            clock: due times are facts compared with it at each look.
            run: does the work; its errors decide what happens next (`bot.domain.errors`).
            share: the jobs that this process runs; it puts all of them.
            workers: jobs of one queue that run at the same time in this process.
            pace: intervals, for tests.
        """
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._rows = JobRows(database, self._owner)
        self._bell = Bell()
        self._listener = (
            Listener(database, self._owner, self._bell) if _is_shared(database) else None
        )
        self._liveness = _liveness(database, self._owner, pace)
        self._clock = clock
        self._run = run
        self._share = share
        self._hands = _Hands(share.kinds, workers)
        self._pace = pace
        self._timetable = Timetable(_periodic)
        self._due, self._due_changed = _LONG_AGO, False
        self._next_beat = 0.0
        self._trouble = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lockkeeper-engine", daemon=True)
        self._started = False

    # --- Jobs ----------------------------------------------------------------------------

    def put(self, job: Job) -> None:
        """Look soon; a look at the same key that has not begun yet absorbs this one.

        A job that waits runs now; one that failed runs again.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._rows.put(job, self._clock.now())
        self._ring_for(job)

    def put_once(self, job: Job, identity: str) -> bool:
        """Look once per ``identity``; durable when it returns, False if it was handled before.

        Raises:
            UnavailableError: the database does not answer, or too many jobs wait.
        """
        new = self._rows.put_once(job, identity, self._clock.now())
        if new:
            self._ring_for(job)
        return new

    def states(self) -> Sequence[JobState]:
        """Every job that is not over."""
        return self._rows.states()

    # --- operators -----------------------------------------------------------------------

    def retry(self, key: str) -> bool:
        """Run a waiting or failed job now, as if it had never failed; False if there is none."""
        found = self._rows.retry(key)
        self._bell.ring()
        return found

    def tidy(self) -> None:
        """Remove what cannot be asked for again; done by itself every hour.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._rows.forget_identities(self._clock.now())

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Call soon and then every ``seconds`` of the clock; it may take as long as it likes."""
        self._timetable.add(call, timedelta(seconds=seconds), self._clock.now())

    @property
    def is_alone(self) -> bool:
        """Whether no other process can put jobs into this queue."""
        return self._listener is None

    def reason_not_ready(self) -> str:
        """Why this process cannot work now; empty if it can."""
        if not self._started:
            return "the engine has not started"
        if self._stopping.is_set():
            return "the engine is stopping"
        try:
            self._rows.probe()
        except UnavailableError as error:
            return str(error)
        return self._trouble

    # --- life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start to run jobs, the ones that a dead process left first.

        Raises:
            RejectedError: another process runs on this SQLite file.
            UnavailableError: the database does not answer.
        """
        self._liveness.begin()
        self._timetable.add(self.tidy, _TIDY, self._clock.now())
        self._started = True
        self._thread.start()
        if self._listener is not None:
            self._listener.start()

    def stop(self, grace_seconds: int = 20) -> None:
        """Take nothing new, let running jobs end for a while; what remains is run again later."""
        self._stopping.set()
        self._bell.ring()
        if self._listener is not None:
            self._listener.stop()
        self._thread.join(timeout=10.0)
        self._hands.await_rest(grace_seconds)
        self._started = False
        try:
            self._liveness.end()
        except UnavailableError:
            _LOG.warning("the lease could not be released; it lapses by itself")

    # --- the one thread ------------------------------------------------------------------

    def _loop(self) -> None:
        rung = True
        while not self._stopping.is_set():
            self._trouble = _look(partial(self._turn, rung=rung), "lockkeeper-engine")
            failed = bool(self._trouble)
            self._due_changed |= failed
            rung = self._bell.wait(_AGAIN_SECONDS if failed else self._pause()) or failed

    def _turn(self, *, rung: bool) -> None:
        """Do what is due now; a part that fails is done again at the next turn."""
        now = self._clock.now()
        self._timetable.start_due(now)
        beats = time.monotonic() >= self._next_beat
        if beats:
            self._beat()
        wakes = self._due_changed or now >= self._due
        if wakes:
            self._due_changed = False  # before the look: what changes during it is looked at again
            self._due = self._rows.wake(now) or _NEVER
        if rung or beats or wakes:
            self._claim()

    def _beat(self) -> None:
        # In this order: a process has its lease before it owns anything.
        self._liveness.beat()
        is_dead = self._liveness.is_dead(owner_column)
        found = self._rows.take_over(is_dead, self._hands.lanes())
        if found:
            _LOG.warning("taking over", extra={"jobs": found})
        self._next_beat = time.monotonic() + self._pace.beat
        self._due_changed = True  # by other replicas, who do not say it

    def _claim(self) -> None:
        more = True
        while more and not self._stopping.is_set():
            kinds, most = self._hands.free()
            if not kinds:
                return
            runs = self._rows.claim(kinds, most, self._share)
            for run in runs:
                self._begin(run)
            more = len(runs) == most

    def _begin(self, run: Run) -> None:
        self._hands.take(run)
        work = partial(_look, partial(self._work, run), run.key)
        thread = threading.Thread(target=work, name=run.key, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is left; nobody holds the lane, so a beat finds the run
            self._hands.give_back(run)
            raise

    def _pause(self) -> float:
        """Seconds until the next look; jobs that become due in between are met exactly."""
        until_due = (self._due - self._clock.now()).total_seconds()
        until_beat = self._next_beat - time.monotonic()
        return max(0.0, min(self._pace.clock, until_due, until_beat))

    def _ring_for(self, job: Job) -> None:
        """Look soon; a thread that is busy in the lane looks by itself when it has finished."""
        if job.queue_lane not in self._hands.lanes():
            self._bell.ring()

    # --- running jobs --------------------------------------------------------------------

    def _work(self, run: Run) -> None:
        """The thread of one run and of some that follow it in its lane; then others have a turn."""
        following: Run | None = run
        try:
            for left in reversed(range(_JOBS_IN_A_ROW)):
                run = following or run
                goes_on = left > 0 and not self._stopping.is_set()
                following = self._finish(run, self._ending(run), goes_on=goes_on)
                if following is None:
                    return
                self._hands.exchange(run, following)
        finally:
            self._hands.give_back(run)
            self._due_changed = True
            self._bell.ring()

    def _finish(self, run: Run, ending: Ending, *, goes_on: bool) -> Run | None:
        """Record it, however long the database is away; a process that ends leaves it to others."""
        while True:
            try:
                finished = self._rows.finish(run, ending, goes_on=goes_on)
            except UnavailableError as error:
                said = {"job": run.key, "reason": str(error)}
                _LOG.warning("result waits for the database", extra=said)
                if self._stopping.wait(_AGAIN_SECONDS):
                    return None
            else:
                if not finished.is_ours:
                    _LOG.warning("result came too late", extra={"job": run.key})
                return finished.next

    def _ending(self, run: Run) -> Ending:
        started = time.monotonic()
        ending = self._attempt(run)
        _LOG.log(
            logging.WARNING if isinstance(ending, Failed) else logging.INFO,
            "job ran",
            extra={
                "job": run.key,
                "outcome": type(ending).__name__,
                "reason": ending.summary,
                "seconds": round(time.monotonic() - started, 3),
            },
        )
        return ending

    def _attempt(self, run: Run) -> Ending:
        try:
            return _sheltered(lambda: self._run(run.job), run.key)
        except RejectedError as error:
            return Failed(str(error))
        except IntegrityError as error:
            _LOG.error(
                "content is not what it claims", extra={"job": run.key, "reason": str(error)}
            )
            return Failed(str(error))
        except UnavailableError as error:
            wait = delay(run.attempts + 1, error.retry_after)
            return Retry(str(error), self._clock.now() + timedelta(seconds=wait))


class _Hands:
    """How many more jobs this process can run, and in which lanes it runs something."""

    def __init__(self, kinds: Iterable[JobKind], workers: int) -> None:
        self._kinds, self._workers = tuple(kinds), workers
        self._held: dict[str, Run] = {}
        self._changed = threading.Condition()

    def free(self) -> tuple[Sequence[JobKind], int]:
        """Kinds whose queue has a free worker, and how many jobs of them fit in any case."""
        with self._changed:
            busy = Counter(QUEUES[run.job.kind] for run in self._held.values())
        kinds = [kind for kind in self._kinds if busy[QUEUES[kind]] < self._workers]
        return kinds, min((self._workers - busy[QUEUES[kind]] for kind in kinds), default=0)

    def lanes(self) -> Collection[str]:
        """The lanes that are held, from before a job of theirs is claimed until none follows."""
        with self._changed:
            return frozenset(self._held)

    def take(self, run: Run) -> None:
        """A run begins."""
        with self._changed:
            self._held[run.lane] = run

    def exchange(self, run: Run, following: Run) -> None:
        """A run is over, and the next of its lane has begun."""
        with self._changed:
            if self._held.get(run.lane) is run:
                self._held[run.lane] = following

    def give_back(self, run: Run) -> None:
        """The lane is free; a later run in it, after this one was robbed, stays."""
        with self._changed:
            if self._held.get(run.lane) is run:
                del self._held[run.lane]
            self._changed.notify_all()

    def await_rest(self, seconds: float) -> None:
        """Wait until nothing runs, but not longer."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held, timeout=seconds)


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


def _look(look: Callable[[], None], name: str) -> str:
    """Make a look that may fail; returns why it did, empty if it did not."""
    try:
        _sheltered(look, name)
    except LockkeeperError as error:
        _LOG.warning("look failed", extra={"loop": name, "reason": str(error)})
        return str(error)
    return ""


def _periodic(call: Callable[[], None]) -> None:
    _look(call, "lockkeeper-periodic")


def _is_shared(database: sa.Engine) -> bool:
    return database.dialect.name == "postgresql"


def _liveness(database: sa.Engine, owner: str, pace: Pace) -> Liveness:
    if _is_shared(database):
        return Leases(database, owner, life_seconds=pace.lease)
    return OnlyProcess(Path(str(database.url.database)), owner)
