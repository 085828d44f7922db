"""Who is alive: by a lock on a file (SQLite, one process) or by leases in the database.

A lease that lapses wrongly costs a repeated job, whose late result is refused.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Protocol

import sqlalchemy as sa

from bot.domain.errors import RejectedError, UnavailableError

BEAT_SECONDS: Final = 5.0
LIFE_SECONDS: Final = 20.0
"""Longer than a pause of the interpreter or a failover of the database."""

_LEASE = sa.Table(
    "lk_lease",
    sa.MetaData(),
    sa.Column("owner", sa.String, primary_key=True),
    sa.Column("until", sa.Float),
)
_NOW: Final[sa.ColumnElement[float]] = sa.literal_column(
    "extract(epoch FROM clock_timestamp())::float8", sa.Float
)
"""PostgreSQL's clock, which all replicas share."""
_LAPSED: Final = (
    sa.select(_LEASE.c.owner).where(_LEASE.c.until < _NOW).with_for_update(skip_locked=True)
)
"""Not one that a replica holds that froze while it renewed it: no beat waits for another one."""


class Liveness(Protocol):
    """Tells the living processes from the dead."""

    def begin(self) -> None:
        """Become alive, before any work is claimed."""
        ...

    def beat(self) -> None:
        """Stay alive."""
        ...

    def is_dead(self, owner: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """Whether an owner is dead, for the statement that takes its work over.

        As a part of that statement, because what was read before may be wrong by then: a process
        that has just begun would be robbed.
        """
        ...

    def end(self) -> None:
        """Be dead at once, so that nobody waits for the lease to lapse."""
        ...


class OnlyProcess:
    """The lock on ``FILE.lock``: whoever holds it is alone, so everybody else is dead."""

    def __init__(self, database_file: Path, owner: str) -> None:
        self._path = database_file.with_name(database_file.name + ".lock")
        self._owner = owner
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Take the lock.

        Raises:
            RejectedError: another process holds it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            message = f"another Lockkeeper runs on this database: it holds {self._path}"
            remedy = "stop it first, or use PostgreSQL for several replicas"
            raise RejectedError(f"{message}; {remedy}") from error
        self._descriptor = descriptor

    def beat(self) -> None:
        """Nothing: the lock lives as long as the process."""

    def is_dead(self, owner: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """Everybody else."""
        return owner != self._owner

    def end(self) -> None:
        """Release the lock; the file stays, because removing it would race with the next."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Leases:
    """A row per process, valid until a time of the database's own clock."""

    def __init__(
        self, database: sa.Engine, owner: str, *, life_seconds: float = LIFE_SECONDS
    ) -> None:
        self._database = database
        self._owner = owner
        self._life = life_seconds

    def begin(self) -> None:
        """Write the row."""
        self.beat()

    def beat(self) -> None:
        """Prolong the row, write it again if it lapsed, remove those of others that did."""
        ours = _LEASE.c.owner == self._owner
        try:
            with self._database.begin() as connection:
                until = _NOW + self._life
                if not connection.execute(_LEASE.update().where(ours).values(until=until)).rowcount:
                    connection.execute(_LEASE.insert().values(owner=self._owner, until=until))
                connection.execute(_LEASE.delete().where(_LEASE.c.owner.in_(_LAPSED)))
        except sa.exc.DBAPIError as error:
            raise UnavailableError(f"the database failed: {type(error.orig).__name__}") from error

    def is_dead(self, owner: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """Whoever has no row that is valid."""
        return owner.not_in(sa.select(_LEASE.c.owner).where(_LEASE.c.until >= _NOW))

    def end(self) -> None:
        """Delete the row; without an answer it lapses by itself."""
        try:
            with self._database.begin() as connection:
                connection.execute(_LEASE.delete().where(_LEASE.c.owner == self._owner))
        except sa.exc.DBAPIError as error:
            raise UnavailableError(f"the database failed: {type(error.orig).__name__}") from error
