"""Opening a database and bringing its tables up to date.

Safe to repeat and safe to run in several processes at once: the first statement of a migration
takes the lock, so the second process waits and then finds nothing to do. A failed migration
leaves the version that was there before.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection

from bot.domain.doctor.machine import DatabaseState
from bot.domain.errors import RejectedError, UnavailableError

_PRAGMAS: Final = (
    # https://www.sqlite.org/wal.html: readers and the writer do not block each other.
    "PRAGMA journal_mode=WAL",
    # A commit survives a power cut: a webhook is answered 202 only once it is durable.
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=30000",
    # Each of a dozen connections has pages of its own; the kernel keeps the file's for all.
    "PRAGMA cache_size=-500",
    "PRAGMA foreign_keys=ON",
)
_LET_GO_SECONDS: Final = 10
"""A replica that freezes in a transaction must not keep its locks from those who take over."""
_CONNECT_SECONDS: Final = 5
"""Until a PostgreSQL that says nothing counts as away; ``connect_timeout`` in the URL says else."""
_INSPECT_SECONDS: Final = 3
_MIGRATION_LOCK: Final = 0x6C6B5F73
"""PostgreSQL advisory lock of our migrations; any constant that nobody else takes."""

_SCHEMA = sa.Table(
    "lk_schema",
    sa.MetaData(),
    sa.Column("part", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


def open_database(url: str) -> sa.Engine:
    """A pool on ``sqlite:///FILE`` or ``postgresql://...``; nothing is contacted yet.

    Raises:
        RejectedError: the URL is of no kind that Lockkeeper knows, or its driver is missing.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        message = "LOCKKEEPER_DATABASE_URL is not a database URL; say sqlite:///FILE"
        raise RejectedError(message + " or postgresql://HOST/NAME") from error
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed)
    if parsed.get_backend_name() == "postgresql":
        return _open_postgresql(parsed)
    kind = parsed.get_backend_name()
    raise RejectedError(
        f"LOCKKEEPER_DATABASE_URL names {kind}; Lockkeeper knows sqlite and postgresql"
    )


def _open_postgresql(url: sa.URL) -> sa.Engine:
    try:
        database = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={"connect_timeout": url.query.get("connect_timeout", _CONNECT_SECONDS)},
            pool_size=20,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        fact = "LOCKKEEPER_DATABASE_URL names PostgreSQL, whose driver is not installed"
        raise RejectedError(f'{fact}; say pip install "lockkeeper[postgresql]"') from error
    sa.event.listen(database, "connect", _prepare_postgresql)
    return database


def _prepare_postgresql(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{_LET_GO_SECONDS}s'")
    cursor.close()
    connection.commit()


def _open_sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:":
        raise RejectedError("LOCKKEEPER_DATABASE_URL names no file; say sqlite:////FOLDER/FILE")
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
        raise UnavailableError(_failure(database, error)) from error


def _failure(database: sa.Engine, error: sa.exc.DBAPIError) -> str:
    """Which database, the driver's own code, the way out; its text may hold anything."""
    fact = f"{name_of(database)} failed: {_kind(error)}"
    if not isinstance(error, sa.exc.OperationalError):
        return fact
    if database.dialect.name == "sqlite":
        return f"{fact}; see that there is room on its disk, and that the bot's user may write it"
    return f"{fact}; see that its server runs, and check LOCKKEEPER_DATABASE_URL"


def _kind(error: sa.exc.DBAPIError) -> str:
    """The class of an error and the code that SQLite or PostgreSQL gave it, where it gave one."""
    cause = error.orig
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__} ({code})" if code else type(cause).__name__


def migrate(database: sa.Engine, part: str, migrations: Sequence[Sequence[str]]) -> None:
    """Bring the tables of ``part`` to the newest version; entry n of ``migrations`` makes n + 1.

    Raises:
        RejectedError: the database was written by a newer Lockkeeper.
        UnavailableError: the database does not answer.
    """
    if database.dialect.name == "sqlite":
        file = Path(str(database.url.database))
        file.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else's; SQLite gives the files beside it the same mode. Who owns it may differ.
        with contextlib.suppress(OSError):
            file.touch(mode=0o600)
            file.chmod(0o600)
    with transaction(database) as connection:
        _take_migration_lock(connection)
        version = _version(connection, part)
        if version > len(migrations):
            message = f"the database has version {version} of {part}, this Lockkeeper knows"
            raise RejectedError(f"{message} {len(migrations)}; start a newer one")
        for statements in migrations[version:]:
            for statement in statements:
                if spelled := _in_dialect(connection, statement):
                    connection.exec_driver_sql(spelled)
        _set_version(connection, part, len(migrations))


def demand(database: sa.Engine, part: str, migrations: Sequence[Sequence[str]]) -> None:
    """Hold that the tables of ``part`` are there in the version of ``migrations``; change nothing.

    Raises:
        RejectedError: there is no database, or another Lockkeeper wrote it.
        UnavailableError: the database does not answer.
    """
    name, known = name_of(database), len(migrations)
    if database.dialect.name == "sqlite" and not Path(str(database.url.database)).is_file():
        raise NoDatabaseError(name)
    with transaction(database) as connection:
        is_there = sa.inspect(connection).has_table(_SCHEMA.name)
        version = _version(connection, part) if is_there else 0
    if not version:
        raise NoDatabaseError(name)
    if version != known:
        raise RejectedError(
            f"{name} has version {version} of {part}, this command knows {known}; "
            "use the `lockkeeper` of the version that serves"
        )


def name_of(database: sa.Engine) -> str:
    """The database in a message: a file, or server and name; never a password."""
    url = database.url
    if database.dialect.name == "sqlite":
        return f"the SQLite file {url.database}"
    port = f":{url.port}" if url.port else ""
    return f"the PostgreSQL database {url.database} at {url.host or 'the local socket'}{port}"


class NoDatabaseError(RejectedError):
    """A command asks a database that no bot has made."""

    def __init__(self, name: str) -> None:
        """Name the database that was asked."""
        super().__init__(
            f"{name} is no database of Lockkeeper; `lockkeeper serve` makes it. Give this command "
            "the LOCKKEEPER_DATA_DIR or LOCKKEEPER_DATABASE_URL of the bot that serves"
        )
        self.database = name


def _in_dialect(connection: sa.Connection, statement: str) -> str:
    """Spell ``{number}``, a primary key that counts rows as they are written, and ``{bytes}``.

    What begins with ``{postgresql}`` is for PostgreSQL alone, empty elsewhere.
    """
    number, content = "INTEGER PRIMARY KEY", "BLOB"
    if connection.dialect.name == "postgresql":
        number, content = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", "BYTEA"
        statement = statement.removeprefix("{postgresql}")
    elif statement.startswith("{postgresql}"):
        return ""
    return statement.replace("{number}", number).replace("{bytes}", content)


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


def ensure(connection: sa.Connection, table: sa.Table, values: Mapping[str, object]) -> bool:
    """Insert a row unless one with the same unique columns is there; False if it was."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).values(**values).on_conflict_do_nothing()
    # Without the option PostgreSQL's count is lost, and -1 looks like a row.
    done = connection.execute(statement.execution_options(preserve_rowcount=True))
    return done.rowcount > 0


def replace(
    connection: sa.Connection,
    table: sa.Table,
    values: Mapping[str, object],
    keys: Sequence[str],
    *,
    changed: Sequence[str] | None = None,
    only: sa.ColumnElement[bool] | None = None,
) -> None:
    """Insert a row, or give the one with the same ``keys`` these values.

    Args:
        connection: In a transaction.
        table: Where.
        values: Of the row.
        keys: The columns that make it the same row.
        changed: The columns that the row takes over; by default all.
        only: Whether the row takes them over; by default it does.
    """
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    names = (name for name in (changed or values) if name not in keys)
    others = {name: values[name] for name in names}
    connection.execute(
        insert(table)
        .values(**values)
        .on_conflict_do_update(index_elements=list(keys), set_=others, where=only)
    )


def all_replaced(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, object]],
    keys: Sequence[str],
) -> None:
    """`replace` for many rows of the same columns at once."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table)
    others = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(keys), set_=others), list(rows)
    )


def text_of(at: datetime) -> str:
    """A moment as it is stored: UTC, microseconds, so that the order of texts is that of time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def inspect(url: str, known: Mapping[str, int]) -> DatabaseState:
    """The database as it is: neither made nor migrated.

    Args:
        url: as for `open_database`.
        known: part -> newest version that this Lockkeeper knows.

    Raises:
        RejectedError: the URL is of no kind that Lockkeeper knows, or its file is no database.
        UnavailableError: the database does not answer.
    """
    parsed = sa.make_url(url) if "://" in url else None
    if parsed is not None and parsed.get_backend_name() == "sqlite" and parsed.database:
        kind, file = f"SQLite {parsed.database}", Path(parsed.database)
        if not _is_there(file):
            return DatabaseState(kind, exists=False, known=known)
        address = f"{file.absolute().as_uri()}?mode=ro"
        database = sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(address, uri=True, timeout=_INSPECT_SECONDS),
        )
    else:
        database = open_database(url)
        kind = "PostgreSQL"
    try:
        return DatabaseState(kind, exists=True, versions=_versions(database), known=known)
    finally:
        database.dispose()


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:
        fact = f"{file} cannot be looked at ({error.strerror})"
        raise RejectedError(f"{fact}; the bot is user {os.geteuid()}") from error


def _versions(database: sa.Engine) -> dict[str, int]:
    try:
        with database.connect() as connection:
            if not sa.inspect(connection).has_table(_SCHEMA.name):
                return {}
            rows = connection.execute(sa.select(_SCHEMA.c.part, _SCHEMA.c.version))
            return {str(part): int(number) for part, number in rows}
    except sa.exc.DatabaseError as error:
        if isinstance(error, sa.exc.OperationalError):
            raise UnavailableError(f"does not answer: {_kind(error)}") from error
        raise RejectedError(f"is not readable: {_kind(error)}") from error
