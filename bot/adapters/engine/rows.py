"""The table of jobs that are not over: queue, lanes, claims and every change of a job's state.

    put ─► queued ─► running ─► (gone)          Done
             ▲          ├─────► waiting ─► …    Again, or a failure that passes
             │          ├─────► failed          somebody must change something
             └──────────┘                       put while it ran, or its process died

``requested`` is the place of the newest request in our own sequence, ``begun`` that of the run
in progress: they differ when the job was asked for while it ran. A run belongs to its ``owner``
and has a number of ``crashes`` before it; whoever comes back with the result of another run is
too late. A unique index lets one job of a lane run, whatever the code believes.

One statement each puts, claims, ends and takes over, on both databases.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from bot.adapters.engine.bell import CHANNEL, ring_others
from bot.adapters.engine.transactions import Transactions
from bot.domain.errors import UnavailableError
from bot.domain.jobs import EVERYTHING, Done, Failed, Job, JobKind, JobState, RequeueAt, Share

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
    (
        # What ran under the engine before has no owner that is alive: it runs again, in its place.
        "UPDATE lk_job SET state = 'queued', requested = begun, owner = '' WHERE state = 'running'",
        "DROP INDEX lk_job_lane",
        "DROP INDEX lk_job_state",
        "ALTER TABLE lk_job DROP COLUMN dispatched",
        "CREATE INDEX lk_job_due ON lk_job (due_at) WHERE state = 'waiting'",
        "CREATE INDEX lk_job_next ON lk_job (requested) WHERE state = 'queued'",
        "CREATE INDEX lk_job_lane ON lk_job (queue_lane, requested) WHERE state = 'queued'",
        "CREATE UNIQUE INDEX lk_job_running ON lk_job (queue_lane) WHERE state = 'running'",
        # One row that gives places makes all replicas wait for each other's commits.
        "{postgresql}CREATE SEQUENCE lk_place",
        "{postgresql}SELECT setval('lk_place', (SELECT value + 1 FROM lk_sequence))",
        "{postgresql}DROP TABLE lk_sequence",
    ),
)
"""Tables of this adapter, for ``bot.adapters.store.database.migrate``, part ``engine``."""

CRASHES_ALLOWED: Final = 10
"""How often a job may take its process down with it before it is put aside as failed."""
CAPACITY: Final = 20_000
"""Queued jobs at which new webhook deliveries are refused, for GitHub to record a failure."""
ONCE_KEPT: Final = timedelta(days=30)
"""Longer than GitHub can redeliver: 3 days, 7 on GitHub Enterprise Server."""

_TABLES = sa.MetaData()
_JOB = sa.Table(
    "lk_job",
    _TABLES,
    sa.Column("key", sa.String, primary_key=True),
    *(sa.Column(name, sa.String) for name in ("kind", "environment", "subject", "hint")),
    *(sa.Column(name, sa.String) for name in ("lane", "queue_lane")),
    *(sa.Column(name, sa.BigInteger) for name in ("manifests", "requested", "begun")),
    *(sa.Column(name, sa.String) for name in ("state", "owner", "summary")),
    *(sa.Column(name, sa.Integer) for name in ("attempts", "crashes")),
    *(sa.Column(name, sa.Float) for name in ("due_at", "asked_at")),
)
_ONCE = sa.Table(
    "lk_once",
    _TABLES,
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("at", sa.Float),
)

_DIALECTS: Final[Mapping[str, Mapping[str, str]]] = {
    "sqlite": {
        # The whole file is locked, and there is no other process.
        "lock": "",
        "pass_locked": "",
        "ring": "",
        "place": "(SELECT value FROM lk_sequence)",
    },
    "postgresql": {
        "lock": "FOR UPDATE",
        "pass_locked": "FOR UPDATE SKIP LOCKED",
        "ring": "RETURNING pg_notify(:channel, :owner)",
        "place": "nextval('lk_place')",
    },
}
"""Where the databases differ: the words for it in the statements below."""


def _in_each(statement: str) -> Mapping[str, sa.TextClause]:
    """Dialect -> the statement in it."""
    return {name: _text(statement.format(**words)) for name, words in _DIALECTS.items()}


def _text(statement: str) -> sa.TextClause:
    lists: list[sa.BindParameter[Sequence[str]]] = [
        sa.bindparam(name, expanding=True)
        for name in ("kinds", "environments")
        if f":{name}" in statement
    ]
    return sa.text(statement).bindparams(*lists)


_ADVANCE: Final = sa.text("UPDATE lk_sequence SET value = value + 1")
_REMEMBER: Final = sa.text("""
    INSERT INTO lk_once (identity, at) SELECT :identity, :at
    WHERE (SELECT count(*) FROM lk_job WHERE state = 'queued') < :capacity
    ON CONFLICT DO NOTHING RETURNING identity
    """)
_PUT: Final = _in_each("""
    INSERT INTO lk_job AS old (
        key, kind, manifests, environment, subject, hint, lane, queue_lane, state, requested,
        begun, owner, attempts, crashes, due_at, summary, asked_at)
    VALUES (
        :key, :kind, :manifests, :environment, :subject, :hint, :lane, :queue_lane, 'queued',
        {place}, 0, '', 0, 0, 0, '', :now)
    ON CONFLICT (key) DO UPDATE SET
        hint = excluded.hint,
        state = CASE old.state WHEN 'running' THEN 'running' ELSE 'queued' END,
        requested = CASE old.state WHEN 'queued' THEN old.requested ELSE {place} END,
        lane = CASE WHEN old.state IN ('queued', 'running') THEN old.lane ELSE excluded.lane END,
        queue_lane = CASE WHEN old.state IN ('queued', 'running')
            THEN old.queue_lane ELSE excluded.queue_lane END,
        due_at = 0,
        crashes = CASE old.state WHEN 'failed' THEN 0 ELSE old.crashes END,
        asked_at = CASE old.state WHEN 'failed' THEN excluded.asked_at ELSE old.asked_at END
    {ring}
    """)
"""One statement whatever state the job is in, so that two that put it agree. The place is taken
under the row's lock: what was asked for during a run is always behind the place of that run."""
_CLAIM: Final = _in_each(
    """
    WITH ready AS (
        SELECT job.key FROM lk_job AS job
        WHERE job.state = 'queued' AND job.kind IN :kinds
            AND (job.kind NOT IN ('deliver', 'publish')
                OR (job.environment IN :environments) = :only)
            AND NOT EXISTS (SELECT 1 FROM lk_job AS busy
                WHERE busy.queue_lane = job.queue_lane AND busy.state = 'running')
            AND NOT EXISTS (SELECT 1 FROM lk_job AS ahead
                WHERE ahead.queue_lane = job.queue_lane AND ahead.state = 'queued'
                    AND (ahead.requested, ahead.key) < (job.requested, job.key))
        ORDER BY job.requested LIMIT :most {pass_locked})
    UPDATE lk_job SET state = 'running', begun = requested, owner = :owner
    WHERE key IN (SELECT key FROM ready) RETURNING *
    """,
)
"""The first queued job of each lane in which nothing runs, oldest first.

A row that another process is claiming is passed over, and it stays the first of its lane until
that process has committed: nothing behind it is ready before.
"""
_WAKE: Final = sa.text(
    "UPDATE lk_job SET state = 'queued', due_at = 0 WHERE state = 'waiting' AND due_at <= :now"
)
_NEXT_DUE: Final = sa.text("SELECT min(due_at) FROM lk_job WHERE state = 'waiting'")
_NEXT_OF_LANE: Final = _in_each(
    """
    UPDATE lk_job SET state = 'running', begun = requested, owner = :owner
    WHERE key = (
        SELECT key FROM lk_job WHERE queue_lane = :lane AND state = 'queued' AND kind = :kind
        ORDER BY requested, key LIMIT 1 {lock})
    RETURNING *
    """,
)
_OVER: Final = sa.text(
    "DELETE FROM lk_job WHERE key = :key AND state = 'running' AND owner = :owner"
    " AND begun = :begun AND crashes = :crashes AND requested = begun"
)
"""Unless it was asked for while it ran."""
_QUEUED_IN_LANE: Final = sa.text(
    "SELECT 1 FROM lk_job WHERE queue_lane = :lane AND state = 'queued' AND kind = :kind LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run in progress: the job, and what tells this run from every other one of it."""

    job: Job
    key: str
    lane: str
    """As the row has them, however it came to be."""
    owner: str
    begun: int
    crashes: int
    attempts: int
    """How often it failed in a row before."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The run failed in a way that passes."""

    summary: str
    at: datetime


Ending = Done | RequeueAt | Failed | Retry


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of the end of a run."""

    is_ours: bool
    """False: it was taken from its owner meanwhile, and the result is not accepted."""
    next: Run | None
    """The next job of the lane, which has begun."""


@dataclass(frozen=True, slots=True)
class JobRows:
    """The rows of one database; methods raise UnavailableError when it does not answer."""

    database: sa.Engine
    owner: str
    """The process that claims through this object; never used twice."""
    capacity: int = CAPACITY
    _transactions: Transactions = field(init=False)

    def __post_init__(self) -> None:
        """Share the turns of all threads that write."""
        object.__setattr__(self, "_transactions", Transactions(self.database))

    # --- asking --------------------------------------------------------------------------

    def put(self, job: Job, now: datetime) -> None:
        """Queue the job; a request that has not begun absorbs it, a run is followed by another."""
        self._transactions.together(lambda connection: self._put(connection, job, now))

    def put_once(self, job: Job, identity: str, now: datetime) -> bool:
        """Record ``identity`` and queue the job in one transaction; False if it was recorded."""

        def write(connection: sa.Connection) -> bool:
            if not self._remember(connection, identity, now):
                return False
            self._put(connection, job, now)
            return True

        return self._transactions.together(write)

    def retry(self, key: str) -> bool:
        """Queue a waiting or failed job now, as if it had never failed; False if there is none."""
        with self._transactions.alone() as connection:
            anew = {"requested": _place(connection), "attempts": 0, "crashes": 0, "due_at": 0.0}
            found = connection.execute(
                _JOB.update()
                .where(_JOB.c.key == key, _JOB.c.state.in_(("waiting", "failed")))
                .values(state="queued", **anew)
            )
            return bool(found.rowcount)

    # --- running -------------------------------------------------------------------------

    def claim(
        self, kinds: Collection[JobKind], most: int, share: Share = EVERYTHING
    ) -> Sequence[Run]:
        """Begin up to ``most`` jobs of these kinds, oldest first, each the next of a free lane.

        Of those that deliver, only those that are in the process's ``share``.
        """
        said = {
            "kinds": [str(kind) for kind in kinds],
            "environments": [*share.environments, self.owner],  # which no environment is called
            "only": share.only,
            "most": most,
            "owner": self.owner,
        }

        def write(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
            return connection.execute(_CLAIM[connection.dialect.name], said).all()

        claimed = self._transactions.together(write)
        return [_run(row) for row in sorted(claimed, key=lambda row: int(row.begun))]

    def finish(self, run: Run, ending: Ending, *, goes_on: bool = False) -> Finished:
        """Record how a run ended, and in the same transaction begin the next of its lane.

        Args:
            run: the run, which may have been taken from its owner meanwhile.
            ending: how it ended.
            goes_on: whether the owner can run another one now.
        """
        return self._transactions.together(
            lambda connection: self._finish(connection, run, ending, goes_on=goes_on)
        )

    # --- time and death ------------------------------------------------------------------

    def wake(self, now: datetime) -> datetime | None:
        """Queue what waited until now; returns when the next one is due, None if nothing waits."""
        with self._transactions.alone() as connection:
            connection.execute(_WAKE, {"now": now.timestamp()})
            found = connection.scalar(_NEXT_DUE)
        return None if found is None else datetime.fromtimestamp(found, UTC)

    def take_over(self, is_dead: sa.ColumnElement[bool], held: Collection[str]) -> Sequence[str]:
        """Queue again, in their places, jobs whose run ended without a word; returns their keys.

        Args:
            is_dead: about `owner_column`: its process is dead.
            held: the lanes in which this process runs something; a claim whose answer got lost
                is in none of them.
        """
        mine = sa.and_(owner_column == self.owner, _JOB.c.queue_lane.not_in(list(held)))
        left = (
            sa.select(_JOB.c.key)
            .where(_JOB.c.state == "running", sa.or_(is_dead, mine))
            # Whoever froze in a transaction holds its rows until the server ends that.
            .with_for_update(skip_locked=True)
        )
        crashed = _JOB.c.crashes + 1
        too_often = crashed >= CRASHES_ALLOWED
        with self._transactions.alone() as connection:
            found = connection.scalars(
                _JOB.update()
                .where(_JOB.c.key.in_(left))
                .values(
                    state=sa.case((too_often, "failed"), else_="queued"),
                    summary=sa.case((too_often, _CRASHED), else_=_JOB.c.summary),
                    requested=_JOB.c.begun,
                    crashes=crashed,
                    owner="",
                )
                .returning(_JOB.c.key)
            ).all()
        return sorted(found)

    # --- looking -------------------------------------------------------------------------

    def states(self) -> Sequence[JobState]:
        """Every job that is not over, in the order of its newest request."""
        with self._transactions.look() as connection:
            rows = connection.execute(sa.select(*_JOB.c).order_by(_JOB.c.requested))
            return [_state(row) for row in rows]

    def probe(self) -> None:
        """Ask whether the database answers."""
        with self._transactions.look() as connection:
            connection.execute(sa.text("SELECT 1 FROM lk_job LIMIT 1"))

    def forget_identities(self, now: datetime) -> None:
        """Remove identities that nobody can repeat any more."""
        before = (now - ONCE_KEPT).timestamp()
        with self._transactions.alone() as connection:
            connection.execute(_ONCE.delete().where(_ONCE.c.at < before))

    def _remember(self, connection: sa.Connection, identity: str, now: datetime) -> bool:
        once = {"identity": identity, "at": now.timestamp(), "capacity": self.capacity}
        if connection.execute(_REMEMBER, once).first() is not None:
            return True
        known = sa.select(_ONCE.c.at).where(_ONCE.c.identity == identity)
        if connection.execute(known).first() is not None:
            return False
        raise UnavailableError(f"the queue is full: {self.capacity} jobs wait")

    def _finish(
        self, connection: sa.Connection, run: Run, ending: Ending, *, goes_on: bool
    ) -> Finished:
        if not _end(connection, run, ending):
            return Finished(is_ours=False, next=None)
        lane = {"lane": run.lane, "kind": str(run.job.kind)}
        if goes_on:
            following = _NEXT_OF_LANE[connection.dialect.name]
            row = connection.execute(following, {**lane, "owner": self.owner}).one_or_none()
            return Finished(is_ours=True, next=None if row is None else _run(row))
        if connection.execute(_QUEUED_IN_LANE, lane).first() is not None:
            ring_others(connection, self.owner)
        return Finished(is_ours=True, next=None)

    def _put(self, connection: sa.Connection, job: Job, now: datetime) -> None:
        said = {
            "key": job.key,
            "kind": str(job.kind),
            "manifests": job.manifests,
            "environment": job.environment,
            "subject": job.subject,
            "hint": job.hint,
            "lane": job.lane,
            "queue_lane": job.queue_lane,
            "now": now.timestamp(),
            "channel": CHANNEL,
            "owner": self.owner,
        }
        _place(connection)
        connection.execute(_PUT[connection.dialect.name], said)


owner_column: Final[sa.ColumnElement[str]] = _JOB.c.owner
"""The owner of a run, for a condition on it."""
_CRASHED: Final = (
    f"the process ended {CRASHES_ALLOWED} times while this ran; look at its logs, then retry"
)


def _place(connection: sa.Connection) -> sa.ColumnElement[int]:
    """The next place, for one use in this transaction."""
    name = connection.dialect.name
    if name == "sqlite":
        connection.execute(_ADVANCE)
    return sa.literal_column(_DIALECTS[name]["place"], sa.BigInteger)


def _end(connection: sa.Connection, run: Run, ending: Ending) -> bool:
    """Leave ``running``; False if this run is not the present one."""
    if isinstance(ending, Done):
        this = {name: getattr(run, name) for name in ("key", "owner", "begun", "crashes")}
        if connection.execute(_OVER, this).rowcount:
            return True
    after = _after(connection, ending)
    return bool(connection.execute(_JOB.update().where(*_is(run)).values(**after)).rowcount)


def _is(run: Run) -> Sequence[sa.ColumnElement[bool]]:
    """The row is still in this run, not in a later one of the same job."""
    return (
        _JOB.c.key == run.key,
        _JOB.c.state == "running",
        _JOB.c.owner == run.owner,
        _JOB.c.begun == run.begun,
        _JOB.c.crashes == run.crashes,
    )


def _after(connection: sa.Connection, ending: Ending) -> dict[str, Any]:
    """What a run leaves in its row; asked for meanwhile it is queued, unless it must back off."""
    asked = _JOB.c.requested > _JOB.c.begun
    values: dict[str, Any] = {
        "summary": _storable(ending.summary),
        "owner": "",
        "crashes": 0,
        "attempts": 0,
        "due_at": 0.0,
    }
    match ending:
        case Done():
            # Only reached when something new was asked for meanwhile.
            return {**values, "state": "queued"}
        case Failed():
            return {**values, "state": sa.case((asked, "queued"), else_="failed")}
        case RequeueAt():
            due, place = ending.at.timestamp(), _place(connection)
            return {
                **values,
                "state": sa.case((asked, "queued"), else_="waiting"),
                "requested": sa.case((asked, _JOB.c.requested), else_=place),
                "due_at": sa.case((asked, 0.0), else_=due),
            }
        case Retry():
            return {
                **values,
                "state": "waiting",
                "attempts": _JOB.c.attempts + 1,
                "requested": _place(connection),
                "due_at": ending.at.timestamp(),
            }


def _storable(text: str) -> str:
    """A text without what a database refuses: it may quote others, and must not hold up a lane."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _run(row: sa.Row[Any]) -> Run:
    job = Job(JobKind(row.kind), row.manifests, row.environment, row.subject, row.hint, row.lane)
    return Run(job, row.key, row.queue_lane, row.owner, row.begun, row.crashes, row.attempts)


def _state(row: sa.Row[Any]) -> JobState:
    due = datetime.fromtimestamp(row.due_at, UTC) if row.state == "waiting" else None
    since = datetime.fromtimestamp(row.asked_at, UTC) if row.asked_at else None
    return JobState(row.key, row.state, row.attempts, due, row.summary, since)
