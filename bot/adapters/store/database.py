"""Opening a database and bringing its tables up to date.

Safe to repeat and safe to run in several processes at once: the first statement of a migration
takes the lock, so the second process waits and then finds nothing to do. A failed migration
leaves the version that was there before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from bot.domain.errors import RejectedError, UnavailableError

_PRAGMAS: Final = (
    # https://www.sqlite.org/wal.html: readers and the writer do not block each other.
    "PRAGMA journal_mode=WAL",
    # A commit survives a power cut: a webhook is answered 202 only once it is durable.
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=30000",
    "PRAGMA foreign_keys=ON",
)
_MIGRATION_LOCK: Final = 0x6C6B5F73
"""PostgreSQL advisory lock of our migrations; any constant that nobody else takes."""

_SCHEMA = sa.Table(
    "lk_schema",
    sa.MetaData(),
    sa.Column("part", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


def is_sqlite(url: str) -> bool:
    """Whether this URL names an SQLite file."""
    return url.startswith("sqlite")


def open_database(url: str) -> sa.Engine:
    """A pool on ``sqlite:///FILE`` or ``postgresql://...``; nothing is contacted yet.

    Raises:
        RejectedError: the URL is of no kind that Lockkeeper knows.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        message = "LOCKKEEPER_DATABASE_URL is not a database URL; say sqlite:///FILE"
        raise RejectedError(message + " or postgresql://HOST/NAME") from error
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=20,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    kind = parsed.get_backend_name()
    raise RejectedError(
        f"LOCKKEEPER_DATABASE_URL names {kind}; Lockkeeper knows sqlite and postgresql"
    )


def _open_sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise RejectedError("LOCKKEEPER_DATABASE_URL names no file; say sqlite:////FOLDER/FILE")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    database = sa.create_engine(url, hide_parameters=True)
    sa.event.listen(database, "connect", _prepare_sqlite)
    return database


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in _PRAGMAS:
        connection.execute(pragma)


@contextmanager
def transaction(database: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction, committed at the end.

    Raises:
        UnavailableError: the database does not answer.
    """
    try:
        with database.begin() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        raise UnavailableError(f"the database failed: {type(error.orig).__name__}") from error


def migrate(database: sa.Engine, part: str, migrations: Sequence[Sequence[str]]) -> None:
    """Bring the tables of ``part`` to the newest version; entry n of ``migrations`` makes n + 1.

    Raises:
        RejectedError: the database was written by a newer Lockkeeper.
        UnavailableError: the database does not answer.
    """
    with transaction(database) as connection:
        _take_migration_lock(connection)
        version = _version(connection, part)
        if version > len(migrations):
            message = f"the database has version {version} of {part}, this Lockkeeper knows"
            raise RejectedError(f"{message} {len(migrations)}; start a newer one")
        for statements in migrations[version:]:
            for statement in statements:
                connection.exec_driver_sql(statement)
        _set_version(connection, part, len(migrations))


def _take_migration_lock(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    else:
        # Python's sqlite3 begins no transaction before DDL: without this each statement of a
        # migration would be committed by itself.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS lk_schema (part VARCHAR PRIMARY KEY, version INTEGER NOT NULL)"
    )


def _version(connection: sa.Connection, part: str) -> int:
    found = connection.scalar(sa.select(_SCHEMA.c.version).where(_SCHEMA.c.part == part))
    return int(found or 0)


def _set_version(connection: sa.Connection, part: str, version: int) -> None:
    changed = connection.execute(
        _SCHEMA.update().where(_SCHEMA.c.part == part).values(version=version)
    )
    if not changed.rowcount:
        connection.execute(_SCHEMA.insert().values(part=part, version=version))
