"""Who is alive: by a lock on a file (SQLite, one process) or by leases in the database.

DBOS leaves the work of a dead process to a hosted service; this is the part that is missing
without it. A lease that lapses wrongly costs a repeated job, whose late result is refused.
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


class Liveness(Protocol):
    """Tells the living processes from the dead."""

    def begin(self) -> None:
        """Become alive, before any work is claimed."""
        ...

    def beat(self) -> set[str]:
        """Stay alive; returns the living owners, this one included."""
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

    def beat(self) -> set[str]:
        """This process alone."""
        return {self._owner}

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

    def beat(self) -> set[str]:
        """Prolong the row, remove lapsed ones, return the owners of the others."""
        clock = sa.text("SELECT extract(epoch FROM clock_timestamp())::float8")
        try:
            with self._database.begin() as connection:
                now = float(connection.scalar(clock) or 0.0)
                until = now + self._life
                ours = _LEASE.c.owner == self._owner
                if not connection.execute(_LEASE.update().where(ours).values(until=until)).rowcount:
                    connection.execute(_LEASE.insert().values(owner=self._owner, until=until))
                connection.execute(_LEASE.delete().where(_LEASE.c.until < now))
                return set(connection.scalars(sa.select(_LEASE.c.owner)))
        except sa.exc.DBAPIError as error:
            raise UnavailableError(f"the database failed: {type(error.orig).__name__}") from error

    def end(self) -> None:
        """Delete the row; without an answer it lapses by itself."""
        try:
            with self._database.begin() as connection:
                connection.execute(_LEASE.delete().where(_LEASE.c.owner == self._owner))
        except sa.exc.DBAPIError as error:
            raise UnavailableError(f"the database failed: {type(error.orig).__name__}") from error
