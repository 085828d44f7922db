"""The table of jobs that are not over, and every change of state that a job can make.

    put ─► queued ─► running ─► (gone)          Done
             ▲          ├─────► waiting ─► …    Again, or a failure that passes
             │          ├─────► failed          somebody must change something
             └──────────┘                       put while it ran

``requested`` is the place of the newest request in our own sequence, ``begun`` that of the run
in progress. A run belongs to its ``owner``; whoever else comes back with a result is too late.
Every transaction begins with a write, so that SQLite locks before it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from bot.domain.errors import UnavailableError
from bot.domain.jobs import Again, Done, Failed, Job, JobKind, JobState

MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    (
        "CREATE TABLE lk_sequence (id INTEGER PRIMARY KEY, value BIGINT NOT NULL)",
        "INSERT INTO lk_sequence (id, value) VALUES (1, 0)",
        """CREATE TABLE lk_job (
            key VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, manifests BIGINT NOT NULL,
            environment VARCHAR NOT NULL, subject VARCHAR NOT NULL, hint VARCHAR NOT NULL,
            lane VARCHAR NOT NULL, queue_lane VARCHAR NOT NULL,
            requested BIGINT NOT NULL, begun BIGINT NOT NULL,
            state VARCHAR NOT NULL, dispatched INTEGER NOT NULL, owner VARCHAR NOT NULL,
            attempts INTEGER NOT NULL, crashes INTEGER NOT NULL,
            due_at DOUBLE PRECISION NOT NULL, summary VARCHAR NOT NULL)""",
        "CREATE INDEX lk_job_state ON lk_job (state, due_at)",
        "CREATE INDEX lk_job_lane ON lk_job (kind, queue_lane, requested)",
        "CREATE TABLE lk_once (identity VARCHAR PRIMARY KEY, at DOUBLE PRECISION NOT NULL)",
        "CREATE INDEX lk_once_at ON lk_once (at)",
        "CREATE TABLE lk_lease (owner VARCHAR PRIMARY KEY, until DOUBLE PRECISION NOT NULL)",
    ),
    ("ALTER TABLE lk_job ADD COLUMN asked_at DOUBLE PRECISION NOT NULL DEFAULT 0",),
)
"""Tables of this adapter, for ``bot.adapters.store.database.migrate``, part ``engine``."""

CRASHES_ALLOWED: Final = 10
"""How often a job may take its process down with it before it is put aside as failed."""
CAPACITY: Final = 20_000
"""Queued jobs at which new webhook deliveries are refused, for GitHub to record a failure."""
ONCE_KEPT: Final = timedelta(days=30)
"""Longer than GitHub can redeliver: 3 days, 7 on GitHub Enterprise Server."""
_PAGE: Final = 200

_TABLES = sa.MetaData()
_SEQUENCE = sa.Table(
    "lk_sequence",
    _TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("value", sa.BigInteger),
)
_JOB = sa.Table(
    "lk_job",
    _TABLES,
    sa.Column("key", sa.String, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("kind", "environment", "subject", "hint")),
    *(sa.Column(name, sa.String) for name in ("lane", "queue_lane")),
    *(sa.Column(name, sa.BigInteger) for name in ("manifests", "requested", "begun")),
    *(sa.Column(name, sa.String) for name in ("state", "owner", "summary")),
    *(sa.Column(name, sa.Integer) for name in ("dispatched", "attempts", "crashes")),
    *(sa.Column(name, sa.Float) for name in ("due_at", "asked_at")),
)
_ONCE = sa.Table(
    "lk_once",
    _TABLES,
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("at", sa.Float),
)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One place of one job in the sequence: what the queue carries."""

    key: str
    sequence: int
    kind: str
    lane: str

    @property
    def workflow(self) -> str:
        """The id of the workflow that carries it; the same ticket is never queued twice."""
        return f"{self.sequence}:{self.key}"


@dataclass(frozen=True, slots=True)
class Run:
    """A run in progress: the job, its ticket, and how often it failed in a row before."""

    job: Job
    ticket: Ticket
    attempts: int


@dataclass(frozen=True, slots=True)
class Retry:
    """The run failed in a way that passes."""

    summary: str
    at: datetime


@dataclass(frozen=True, slots=True)
class JobRows:
    """The rows of one database; methods raise UnavailableError when it does not answer."""

    database: sa.Engine
    capacity: int = CAPACITY

    # --- asking --------------------------------------------------------------------------

    def put(self, job: Job, now: datetime) -> Ticket | None:
        """Queue the job; None if a request that has not begun absorbs it or a run will follow."""
        with self._transaction() as connection:
            return _put(connection, job, _next(connection), now)

    def put_once(self, job: Job, identity: str, now: datetime) -> tuple[bool, Ticket | None]:
        """Record ``identity`` and queue the job in one transaction; False if it was recorded."""
        with self._transaction() as connection:
            sequence = _next(connection)
            if connection.scalar(sa.select(_ONCE.c.at).where(_ONCE.c.identity == identity)):
                return False, None
            queued = sa.select(sa.func.count()).where(_JOB.c.state == "queued")
            if (connection.scalar(queued) or 0) >= self.capacity:
                raise UnavailableError(f"the queue is full: {self.capacity} jobs wait")
            connection.execute(_ONCE.insert().values(identity=identity, at=now.timestamp()))
            return True, _put(connection, job, sequence, now)

    def retry(self, key: str) -> Ticket | None:
        """Queue a waiting or failed job now, as if it had never failed; None if there is none."""
        with self._transaction() as connection:
            sequence = _next(connection)
            values = {"attempts": 0, "crashes": 0}
            return _requeue(connection, key, ("waiting", "failed"), sequence, values)

    # --- running -------------------------------------------------------------------------

    def begin_next(self, kind: str, lane: str, owner: str) -> Run | None:
        """Claim the next job of a lane that the caller has to itself; None if it is empty.

        A job that says ``running`` was left by a process that died in it, and comes first.
        """
        while True:
            with self._transaction() as connection:
                row = _claim(connection, kind, lane, owner)
                if row is None:
                    return None
                run = Run(_job(row), _ticket(row, row.begun), row.attempts)
                if row.crashes < CRASHES_ALLOWED:
                    return run
                _end(connection, row.key, row.begun, owner, _crashed(row.crashes))

    def finish(
        self, ticket: Ticket, owner: str, outcome: Done | Again | Failed | Retry
    ) -> Ticket | None:
        """Record the outcome of a run that is still ours; returns what is to be queued next."""
        with self._transaction() as connection:
            if not _end(connection, ticket.key, ticket.sequence, owner, outcome):
                return None
            return _again_if_asked(connection, ticket)

    # --- waking --------------------------------------------------------------------------

    def due(self, now: datetime) -> Sequence[str]:
        """Keys of waiting jobs whose time has come, longest overdue first."""
        query = (
            sa.select(_JOB.c.key)
            .where(_JOB.c.state == "waiting", _JOB.c.due_at <= now.timestamp())
            .order_by(_JOB.c.due_at)
            .limit(_PAGE)
        )
        with self._transaction() as connection:
            return connection.scalars(query).all()

    def wake(self, key: str) -> Ticket | None:
        """Queue a waiting job; None if somebody else did."""
        with self._transaction() as connection:
            return _requeue(connection, key, ("waiting",), _next(connection), {})

    def undispatched(self) -> Sequence[Ticket]:
        """Queued jobs whose process died before it told the queue."""
        query = (
            sa.select(*_JOB.c)
            .where(_JOB.c.state == "queued", _JOB.c.dispatched == 0)
            .order_by(_JOB.c.requested)
            .limit(_PAGE)
        )
        with self._transaction() as connection:
            return [_ticket(row, row.requested) for row in connection.execute(query)]

    def mark_dispatched(self, ticket: Ticket) -> None:
        """The queue has it."""
        with self._transaction() as connection:
            connection.execute(
                _JOB.update()
                .where(_JOB.c.key == ticket.key, _JOB.c.requested == ticket.sequence)
                .values(dispatched=1)
            )

    def in_flight(self, after: str) -> Sequence[Ticket]:
        """Tickets that the queue should be carrying, by key, a page after ``after``."""
        running = _JOB.c.state == "running"
        queued = sa.and_(_JOB.c.state == "queued", _JOB.c.dispatched == 1)
        query = (
            sa.select(*_JOB.c)
            .where(sa.or_(running, queued), _JOB.c.key > after)
            .order_by(_JOB.c.key)
            .limit(_PAGE)
        )
        with self._transaction() as connection:
            return [
                _ticket(row, row.begun if row.state == "running" else row.requested)
                for row in connection.execute(query)
            ]

    def revive(self, ticket: Ticket) -> Ticket | None:
        """Queue a job again that the queue has lost; None if it moved on meanwhile."""
        lost = sa.or_(
            sa.and_(_JOB.c.state == "running", _JOB.c.begun == ticket.sequence),
            sa.and_(_JOB.c.state == "queued", _JOB.c.requested == ticket.sequence),
        )
        with self._transaction() as connection:
            sequence = _next(connection)
            changed = connection.execute(
                _JOB.update().where(_JOB.c.key == ticket.key, lost).values(**_queued(sequence))
            )
            return _at(ticket, sequence) if changed.rowcount else None

    # --- looking -------------------------------------------------------------------------

    def states(self) -> Sequence[JobState]:
        """Every job that is not over, in the order of its newest request."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(*_JOB.c).order_by(_JOB.c.requested))
            return [_state(row) for row in rows]

    def forget_identities(self, now: datetime) -> None:
        """Remove identities that nobody can repeat any more."""
        before = (now - ONCE_KEPT).timestamp()
        with self._transaction() as connection:
            connection.execute(_ONCE.delete().where(_ONCE.c.at < before))

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self.database.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise UnavailableError(f"the database failed: {type(error.orig).__name__}") from error


def _next(connection: sa.Connection) -> int:
    """The next place; holds the row's lock, so that places are in the order of commits."""
    bump = _SEQUENCE.update().values(value=_SEQUENCE.c.value + 1).returning(_SEQUENCE.c.value)
    return int(connection.execute(bump).scalar_one())


def _put(connection: sa.Connection, job: Job, sequence: int, now: datetime) -> Ticket | None:
    asked = {"asked_at": now.timestamp()}
    known = sa.select(_JOB.c.state).where(_JOB.c.key == job.key).with_for_update()
    state = connection.scalar(known)
    if state is None:
        connection.execute(_JOB.insert().values(**_columns(job), **_queued(sequence), **asked))
    elif state == "queued":
        _change(connection, job.key, {"hint": job.hint})
        return None
    elif state == "running":
        _change(connection, job.key, {"hint": job.hint, "requested": sequence})
        return None
    else:
        lanes = {"lane": job.lane, "queue_lane": job.queue_lane}
        anew = asked if state == "failed" else {}
        _change(connection, job.key, {"hint": job.hint, **lanes, **anew, **_queued(sequence)})
    return Ticket(job.key, sequence, job.kind, job.queue_lane)


def _claim(
    connection: sa.Connection, kind: str, lane: str, owner: str
) -> sa.Row[tuple[object, ...]] | None:
    left = _JOB.c.state == "running"
    head = (
        sa.select(_JOB.c.key)
        .where(_JOB.c.kind == kind, _JOB.c.queue_lane == lane)
        .where(sa.or_(left, _JOB.c.state == "queued"))
        .order_by(sa.case((left, 0), else_=1), _JOB.c.requested)
        .limit(1)
        .scalar_subquery()
    )
    return connection.execute(
        _JOB.update()
        .where(_JOB.c.key == head)
        .values(
            state="running",
            begun=sa.case((left, _JOB.c.begun), else_=_JOB.c.requested),
            crashes=sa.case((left, _JOB.c.crashes + 1), else_=0),
            owner=owner,
        )
        .returning(*_JOB.c)
    ).one_or_none()


def _change(connection: sa.Connection, key: str, values: dict[str, object]) -> None:
    connection.execute(_JOB.update().where(_JOB.c.key == key).values(**values))


def _requeue(
    connection: sa.Connection,
    key: str,
    states: Sequence[str],
    sequence: int,
    values: Mapping[str, object],
) -> Ticket | None:
    row = connection.execute(
        _JOB.update()
        .where(_JOB.c.key == key, _JOB.c.state.in_(states))
        .values(**_queued(sequence), **values)
        .returning(*_JOB.c)
    ).one_or_none()
    return None if row is None else _ticket(row, sequence)


def _end(
    connection: sa.Connection,
    key: str,
    sequence: int,
    owner: str,
    outcome: Done | Again | Failed | Retry,
) -> bool:
    """Leave ``running``; False if the run is not this owner's any more."""
    ours = (
        _JOB.c.key == key,
        _JOB.c.begun == sequence,
        _JOB.c.state == "running",
        _JOB.c.owner == owner,
    )
    if isinstance(outcome, Done):
        over = _JOB.delete().where(*ours, _JOB.c.requested == sequence)
        if connection.execute(over).rowcount:
            return True
    changed = connection.execute(_JOB.update().where(*ours).values(**_after(outcome)))
    return bool(changed.rowcount)


def _after(outcome: Done | Again | Failed | Retry) -> dict[str, object]:
    values: dict[str, object] = {"summary": outcome.summary, "owner": "", "attempts": 0}
    match outcome:
        case Done():
            # Only reached when something new was asked for meanwhile.
            values |= {"state": "asked"}
        case Again():
            values |= {"state": "waiting", "due_at": outcome.at.timestamp()}
        case Failed():
            values |= {"state": "failed", "due_at": 0.0}
        case Retry():
            values |= {"state": "waiting", "due_at": outcome.at.timestamp()}
            values["attempts"] = _JOB.c.attempts + 1
    return values


def _again_if_asked(connection: sa.Connection, ticket: Ticket) -> Ticket | None:
    """Queue once more what was asked for during the run, unless the run must back off."""
    row = connection.execute(
        _JOB.update()
        .where(
            _JOB.c.key == ticket.key,
            _JOB.c.begun == ticket.sequence,
            _JOB.c.requested > ticket.sequence,
            _JOB.c.state.in_(("asked", "waiting", "failed")),
            _JOB.c.attempts == 0,
        )
        .values(state="queued", dispatched=0, due_at=0.0)
        .returning(*_JOB.c)
    ).one_or_none()
    return None if row is None else _ticket(row, row.requested)


def _queued(sequence: int) -> dict[str, object]:
    return {
        "state": "queued",
        "requested": sequence,
        "begun": 0,
        "dispatched": 0,
        "owner": "",
        "due_at": 0.0,
    }


def _columns(job: Job) -> dict[str, object]:
    return {
        "key": job.key,
        "kind": str(job.kind),
        "manifests": job.manifests,
        "environment": job.environment,
        "subject": job.subject,
        "hint": job.hint,
        "lane": job.lane,
        "queue_lane": job.queue_lane,
        "attempts": 0,
        "crashes": 0,
        "summary": "",
    }


def _job(row: sa.Row[tuple[object, ...]]) -> Job:
    return Job(JobKind(row.kind), row.manifests, row.environment, row.subject, row.hint, row.lane)


def _ticket(row: sa.Row[tuple[object, ...]], sequence: int) -> Ticket:
    return Ticket(row.key, sequence, row.kind, row.queue_lane)


def _at(ticket: Ticket, sequence: int) -> Ticket:
    return Ticket(ticket.key, sequence, ticket.kind, ticket.lane)


def _state(row: sa.Row[tuple[object, ...]]) -> JobState:
    due = datetime.fromtimestamp(row.due_at, UTC) if row.state == "waiting" else None
    since = datetime.fromtimestamp(row.asked_at, UTC) if row.asked_at else None
    return JobState(row.key, row.state, row.attempts, due, row.summary, since)


def _crashed(times: int) -> Failed:
    return Failed(f"the process ended {times} times while this ran; look at its logs, then retry")
