"""docs/running.md: a bot that is copied while it runs, loses its database, and goes on.

Beside it stands a PostgreSQL with a chain of audit entries, which is dumped, lost and restored.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bot.adapters.clock import SystemClock
from bot.adapters.store import MIGRATIONS, AuditStore, migrate, open_database
from bot.domain.audit_chain import verify
from bot.domain.memory import Scope
from tests.journeys import walk
from tests.walked.walking import Walk
from tests.world.postgres import found, serving
from tests.world.stage import raised
from tests.world.tools import missing


@dataclass(frozen=True)
class _Database:
    """A PostgreSQL database of the bot's, with three entries in its audit."""

    url: str
    written: tuple[int, str]

    def head(self) -> tuple[int, str]:
        """The newest entry, of a chain that holds."""
        database = open_database(self.url)
        audit = AuditStore(database, SystemClock())
        newest = audit.head()
        assert verify(audit.entries()) == newest
        database.dispose()
        return newest

    def lose(self) -> None:
        """Nothing is left of it."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")


@contextlib.contextmanager
def _postgresql() -> Iterator[_Database]:
    programs = found()
    if programs is None:
        missing("PostgreSQL's initdb is not installed")
    with serving(programs) as server:
        url = f"{server}/postgres"
        database = open_database(url)
        migrate(database, "store", MIGRATIONS)
        audit = AuditStore(database, SystemClock())
        for number in range(3):
            audit.append("copied", Scope(1), {"n": str(number)})
        written = audit.head()
        database.dispose()
        yield _Database(url, written)


@contextlib.contextmanager
def upkeep(folder: Path) -> Iterator[Walk]:
    """A bot that has published in dev; systemd is this process."""
    with raised(folder / "stage") as stage, _postgresql() as postgresql:
        walk.to_dev(stage)
        walk.settled(stage)
        etc, data = stage.directory, stage.directory / "data"
        names = {
            "/etc/lockkeeper": str(etc / "grants"),
            "/var/lib/lockkeeper": str(data),
            "$LOCKKEEPER_DATABASE_URL": postgresql.url,
        }
        here = Walk(folder, names, dict(stage.bot.environment))
        before = stage.ref("dev")

        def goes_on() -> None:
            assert stage.ref("dev") == before, "what was published is nobody else's"
            entries = (folder / "audit.jsonl").read_text().splitlines()
            kinds = [json.loads(line)["kind"] for line in entries]
            assert "published" in kinds
            assert "foreign commit" not in kinds
            walk.to_dev(stage)
            assert (data / "before" / "lockkeeper.db").exists()
            assert postgresql.head() == postgresql.written

        def stop_and_lose_the_mirrors() -> None:
            assert stage.bot.stop() == 0
            shutil.rmtree(data / "mirrors")
            postgresql.lose()

        here.effect = {
            "systemctl stop lockkeeper": stop_and_lose_the_mirrors,
            "systemctl start lockkeeper": stage.bot.start,
        }
        here.then = goes_on
        yield here
