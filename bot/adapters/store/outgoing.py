"""`bot.ports.outbox.Outgoing`: what is to be told on GitHub, one row a report until it is told."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from bot.adapters.store.database import replace, text_of, transaction
from bot.adapters.store.schema import OUTGOING
from bot.domain.errors import IntegrityError
from bot.domain.reports import Pending, Report
from bot.formats.report_row import read_report, row_key, written
from bot.ports.clock import Clock

_CLAIMED: Final = timedelta(minutes=2)
"""After that a report is anybody's again: whoever had it died, or sends it for the second time."""
_REMEMBERED: Final = timedelta(days=30)
"""How long is known that something was told that must not be told twice."""
_FREE: Final = ""
_LOG: Final = logging.getLogger("lockkeeper.outbox")


@dataclass(frozen=True, slots=True)
class OutgoingStore:
    """The reports in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    clock: Clock
    secret: bytes
    """Of this bot: rows that were written without it are dropped."""

    def put(self, report: Report) -> None:
        """Let a report wait in place of any of the same key; not one that was told for good."""
        now = text_of(self.clock.now())
        values = {
            "key": row_key(report),
            "repository": str(report.repository),
            "content": written(report, self.secret),
            "stamp": uuid.uuid4().hex,
            "attempts": 0,
            "due": now,
            "at": now,
        }
        fresh = {**values, "claimed": _FREE, "done": 0}
        with transaction(self.database) as connection:
            replace(
                connection,
                OUTGOING,
                fresh,
                ("key",),
                changed=tuple(values),
                only=OUTGOING.c.done == 0,
            )

    def begin(self) -> None:
        """Take up what a dead process had claimed: on SQLite, where one serves, everything."""
        if self.database.dialect.name == "sqlite":
            with transaction(self.database) as connection:
                connection.execute(OUTGOING.update().values(claimed=_FREE))

    def claim(self, busy: Collection[str], most: int) -> Sequence[Pending]:
        """Take reports that are due, oldest first; none of the repositories that are ``busy``.

        One that this bot did not write is dropped.
        """
        now = self.clock.now()
        free = sa.and_(
            OUTGOING.c.done == 0,
            OUTGOING.c.claimed < text_of(now),
            OUTGOING.c.due <= text_of(now),
            OUTGOING.c.repository.not_in(list(busy)),
        )
        chosen = sa.select(OUTGOING.c.key).where(free).order_by(OUTGOING.c.at).limit(most)
        take = (
            OUTGOING.update()
            .where(OUTGOING.c.key.in_(chosen), free)
            .values(claimed=text_of(now + _CLAIMED))
            .returning(OUTGOING)
        )
        with transaction(self.database) as connection:
            rows = connection.execute(take).all()
            found = list(self._pending(connection, rows))
        return sorted(found, key=lambda one: one.at)

    def sent(self, pending: Pending, *, for_good: bool) -> None:
        """Forget a report that is over; with ``for_good`` remember that it is not told again."""
        old = text_of(self.clock.now() - _REMEMBERED)
        mine = sa.and_(OUTGOING.c.key == pending.key, OUTGOING.c.stamp == pending.stamp)
        end = OUTGOING.update().where(mine).values(done=1) if for_good else sa.delete(OUTGOING)
        with transaction(self.database) as connection:
            changed = connection.execute(end.where(mine)).rowcount
            if not changed:  # a newer one came meanwhile
                self._free(connection, pending)
            connection.execute(sa.delete(OUTGOING).where(OUTGOING.c.done == 1, OUTGOING.c.at < old))

    def again(self, pending: Pending, due: datetime, *, failed: bool) -> None:
        """Let it wait until ``due``; a newer one of its key that came meanwhile does not wait."""
        later = (
            OUTGOING.update()
            .where(OUTGOING.c.key == pending.key, OUTGOING.c.stamp == pending.stamp)
            .values(due=text_of(due), attempts=pending.attempts + int(failed))
        )
        with transaction(self.database) as connection:
            connection.execute(later)
            self._free(connection, pending)

    def next_due(self) -> datetime | None:
        """When the next report is due; None: none waits."""
        query = sa.select(sa.func.min(OUTGOING.c.due)).where(OUTGOING.c.done == 0)
        with transaction(self.database) as connection:
            found = connection.scalar(query)
        return datetime.fromisoformat(found) if found else None

    def drop_oldest(self, keep: int) -> Sequence[Pending]:
        """Give up the oldest until ``keep`` are left; those that were given up."""
        waiting = OUTGOING.c.done == 0
        newest = sa.select(OUTGOING.c.key).where(waiting).order_by(OUTGOING.c.at.desc()).limit(keep)
        drop = sa.delete(OUTGOING).where(waiting, OUTGOING.c.key.not_in(newest))
        count = sa.select(sa.func.count()).select_from(OUTGOING).where(waiting)
        with transaction(self.database) as connection:
            if int(connection.scalar(count) or 0) <= keep:
                return []
            rows = connection.execute(drop.returning(OUTGOING)).all()
            return list(self._pending(connection, rows))

    def _free(self, connection: sa.Connection, pending: Pending) -> None:
        free = OUTGOING.update().where(OUTGOING.c.key == pending.key).values(claimed=_FREE)
        connection.execute(free)

    def _pending(
        self, connection: sa.Connection, rows: Sequence[sa.Row[tuple[object, ...]]]
    ) -> Iterator[Pending]:
        for row in rows:
            try:
                report = read_report(bytes(row.content), row.key, self.secret)
            except IntegrityError as error:
                _LOG.warning("report dropped", extra={"key": row.key, "reason": str(error)})
                connection.execute(sa.delete(OUTGOING).where(OUTGOING.c.key == row.key))
                continue
            yield Pending(report, row.key, row.stamp, row.attempts, datetime.fromisoformat(row.at))
