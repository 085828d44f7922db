from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import sqlalchemy as sa

import bot.adapters.store.database as opening
from bot.adapters.clock import SystemClock
from bot.adapters.store import (
    MIGRATIONS,
    AuditStore,
    CommandStore,
    demand,
    migrate,
    name_of,
    open_database,
)
from bot.adapters.store.database import NoDatabaseError, transaction
from bot.domain.audit_chain import verify
from bot.domain.errors import RejectedError, UnavailableError
from tests.world.rows import PROOFS

pytest_plugins = ["tests.world.postgres"]

WRITER = textwrap.dedent("""
    import sys
    from bot.adapters.clock import SystemClock
    from bot.adapters.engine import MIGRATIONS as ENGINE
    from bot.adapters.store import MIGRATIONS, AuditStore, migrate, open_database
    from bot.domain.memory import Scope

    sys.stdin.readline()
    database = open_database(sys.argv[1])
    migrate(database, "store", MIGRATIONS)
    migrate(database, "engine", ENGINE)
    audit = AuditStore(database, SystemClock())
    for number in range(20):
        audit.append("copied", Scope(1), {"n": str(number)})
    database.dispose()
""")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'new' / 'store.db'}"


def test_processes_that_start_at_once_make_the_tables_once_and_one_chain(url: str) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url], stdin=subprocess.PIPE)
        for _ in range(3)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.close()

    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    database = open_database(url)
    audit = AuditStore(database, SystemClock())
    assert verify(audit.entries()) == audit.head()
    assert audit.head()[0] == 60
    database.dispose()


def test_nobody_else_reads_the_file(tmp_path: Path) -> None:
    """Also one that an older version has left open to everybody."""
    file = tmp_path / "store.db"
    file.touch(mode=0o644)
    database = open_database(f"sqlite:///{file}")

    migrate(database, "store", MIGRATIONS)

    with database.connect():
        modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    database.dispose()


def test_a_database_of_a_newer_lockkeeper_is_refused(url: str) -> None:
    database = open_database(url)
    migrate(database, "store", [*MIGRATIONS, ["CREATE TABLE lk_future (id INTEGER)"]])

    with pytest.raises(RejectedError, match="start a newer one"):
        migrate(database, "store", MIGRATIONS)
    database.dispose()


def test_what_asks_a_database_never_makes_one(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "store.db"
    database = open_database(f"sqlite:///{file}")

    with pytest.raises(NoDatabaseError, match=str(file)):
        demand(database, "store", MIGRATIONS)

    assert not file.parent.exists()
    database.dispose()


def test_what_asks_a_database_changes_nothing_in_an_empty_one(url: str) -> None:
    database = open_database(url)
    if database.dialect.name == "sqlite":
        Path(str(database.url.database)).parent.mkdir()
    with database.begin() as connection:
        connection.execute(sa.text("CREATE TABLE somebodys (id INTEGER)"))

    with pytest.raises(NoDatabaseError):
        demand(database, "store", MIGRATIONS)

    assert set(sa.inspect(database).get_table_names()) == {"somebodys"}
    database.dispose()


@pytest.mark.parametrize("change", [-1, 1])
def test_what_asks_a_database_of_another_version_is_refused(url: str, change: int) -> None:
    database = open_database(url)
    others = (
        MIGRATIONS[:-1] if change < 0 else [*MIGRATIONS, ["CREATE TABLE lk_future (id INTEGER)"]]
    )
    migrate(database, "store", others)

    with pytest.raises(RejectedError, match=f"has version {len(others)} of store"):
        demand(database, "store", MIGRATIONS)
    migrate(database, "store", others)
    demand(database, "store", others)
    database.dispose()


def test_a_database_is_named_without_its_password() -> None:
    database = open_database("postgresql://lk:hunter2@db.example.com/lockkeeper")

    assert name_of(database) == "the PostgreSQL database lockkeeper at db.example.com"
    database.dispose()


def test_a_migration_that_fails_leaves_nothing(url: str) -> None:
    database = open_database(url)
    broken = ["CREATE TABLE lk_half (id INTEGER)", "CREATE TABLE lk_half (id INTEGER)"]

    with pytest.raises(UnavailableError):
        migrate(database, "store", [broken])

    assert not sa.inspect(database).has_table("lk_half")
    migrate(database, "store", MIGRATIONS)
    database.dispose()


def test_the_command_line_writes_while_the_bot_holds_the_file_open(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    bot, command_line = open_database(url), open_database(url)
    migrate(bot, "store", MIGRATIONS)
    running = CommandStore(bot, SystemClock(), PROOFS)

    with bot.connect() as reading:
        reading.execute(sa.text("SELECT * FROM lk_command")).all()
        row = CommandStore(command_line, SystemClock(), PROOFS).submit("retry", ["x"], "ada")

    assert [command.id for command in running.open()] == [row]
    bot.dispose()
    command_line.dispose()


def test_sqlite_survives_a_power_cut(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'store.db'}")
    with database.connect() as connection:
        journal = connection.scalar(sa.text("PRAGMA journal_mode"))
        synchronous = connection.scalar(sa.text("PRAGMA synchronous"))
    database.dispose()

    assert (journal, synchronous) == ("wal", 2)


def test_a_missing_driver_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(RejectedError, match=r'pip install "lockkeeper\[postgresql\]"'):
        open_database("postgresql://example.com/lockkeeper")


@pytest.mark.parametrize("url", ["mysql://db/x", "lockkeeper.db", "sqlite://", ""])
def test_a_url_of_another_kind_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(RejectedError, match="LOCKKEEPER_DATABASE_URL"):
        open_database(url)


def test_a_postgresql_that_takes_connections_and_hangs_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bot waited for it without a word, for ever."""
    monkeypatch.setattr(opening, "_CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        database = open_database(f"postgresql://lockkeeper:hunter2@127.0.0.1:{port}/none")

        with (
            pytest.raises(UnavailableError, match=f"at 127.0.0.1:{port} failed"),
            transaction(database),
        ):
            pass


def test_a_database_that_does_not_answer_is_unavailable() -> None:
    database = open_database("postgresql://lockkeeper:hunter2@127.0.0.1:1/none")

    with pytest.raises(UnavailableError) as unavailable:
        CommandStore(database, SystemClock(), PROOFS).open()

    said = str(unavailable.value)
    assert "hunter2" not in said
    assert "the PostgreSQL database none at 127.0.0.1:1 failed" in said
    assert "LOCKKEEPER_DATABASE_URL" in said


def test_a_full_disk_is_named_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lockkeeper.db"
    database = open_database(f"sqlite:///{file}")
    sa.event.listen(
        database, "connect", lambda found, _record: found.execute("PRAGMA max_page_count = 1")
    )

    with pytest.raises(UnavailableError) as unavailable, transaction(database) as connection:
        connection.execute(sa.text("CREATE TABLE one (text)"))

    assert f"{file} failed: OperationalError (SQLITE_FULL)" in str(unavailable.value)
    assert "room on its disk" in str(unavailable.value)
    database.dispose()
