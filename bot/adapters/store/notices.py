"""`bot.ports.NoticeRows`: what was told to whom, and what waits to be; one row an event's kind.

For each sink, application, environment and kind of event there is one row, with the newest event of
that kind: what it says again is not told again, however long ago that was. Rows that this bot did
not write are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from bot.adapters.store.database import replace, text_of, transaction
from bot.adapters.store.schema import NOTICE
from bot.domain.errors import IntegrityError
from bot.domain.notices import Notice, Sink
from bot.formats.notice_row import read_notice, written
from bot.ports.clock import Clock
from bot.ports.notices import TakenNotice

_KEYS: Final = ("sink", "manifests", "environment", "application", "event")
_CLAIMED: Final = timedelta(minutes=2)
"""After that a notice is anybody's again: whoever had it died."""
_BEGUN: Final = "begun"
"""Stands for the first look: what was so before is not told."""
_LOG: Final = logging.getLogger("lockkeeper.notices")

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoticeStore:
    """The rows in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    clock: Clock
    secret: bytes
    """Of this bot."""

    def note(self, sink: Sink, manifests: str, notices: Sequence[Notice]) -> None:
        """Let those wait that are news; at the first look at a manifests repository none is."""
        now = self.clock.now()
        known = self._known(sink.name, manifests)
        is_first = (*_place(sink.name, manifests), _BEGUN) not in known
        news = [one for one in notices if known.get(_key(sink.name, one)) != one.identity]
        rows = [self._row(sink, one, now, is_over=is_first) for one in news]
        if is_first:
            rows.append(_marker(sink.name, manifests, text_of(now)))
        self._write(rows)

    def tell(self, sink: Sink, notice: Notice) -> None:
        """Let one wait that is no state but happened, if it is news."""
        known = self._known(sink.name, notice.manifests)
        if known.get(_key(sink.name, notice)) == notice.identity:
            return
        row = self._row(sink, notice, self.clock.now(), is_over=False)
        self._write([row])

    def take(self, sink: str, most: int) -> Sequence[TakenNotice]:
        """Take those that wait, oldest first, once one of them is due."""
        now = self.clock.now()
        waiting = sa.and_(
            NOTICE.c.sink == sink, NOTICE.c.done == 0, NOTICE.c.claimed < text_of(now)
        )
        due = sa.select(NOTICE.c.due).where(waiting, NOTICE.c.due <= text_of(now)).limit(1)
        with transaction(self.database) as connection:
            if connection.scalar(due) is None:
                return []
            oldest = sa.select(NOTICE).where(waiting).order_by(NOTICE.c.at, *_columns()).limit(most)
            taken = list(connection.execute(oldest.with_for_update(skip_locked=True)).all())
            for row in taken:
                claim = NOTICE.update().where(*_is(row)).values(claimed=text_of(now + _CLAIMED))
                connection.execute(claim)
            return [one for row in taken if (one := self._read(connection, row)) is not None]

    def sent(self, taken: Sequence[TakenNotice]) -> None:
        """They were told; a newer one of the same kind that came meanwhile still waits."""
        self._end(taken, {"done": 1, "claimed": ""})

    def again(self, taken: Sequence[TakenNotice], due: datetime) -> None:
        """They could not be told; they wait until then."""
        attempts = NOTICE.c.attempts + 1
        self._end(taken, {"due": text_of(due), "claimed": "", "attempts": attempts})

    def _write(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write what is news still: another process may have told of it since it was looked at."""
        if not rows:
            return
        with transaction(self.database) as connection:
            for row in rows:
                is_news = NOTICE.c.identity != row["identity"]
                replace(connection, NOTICE, row, _KEYS, only=is_news)

    def _row(
        self, sink: Sink, notice: Notice, now: datetime, *, is_over: bool
    ) -> Mapping[str, object]:
        return {
            **dict(zip(_KEYS, _key(sink.name, notice), strict=True)),
            "identity": notice.identity,
            "content": written(sink.name, notice, self.secret),
            "at": text_of(now),
            "due": text_of(now + sink.digest),
            "claimed": "",
            "attempts": 0,
            "done": int(is_over),
        }

    def _end(self, taken: Sequence[TakenNotice], values: Mapping[str, object]) -> None:
        with transaction(self.database) as connection:
            for one in taken:
                mine = [column == part for column, part in zip(_columns(), one.key, strict=True)]
                same = NOTICE.c.identity == one.notice.identity
                connection.execute(NOTICE.update().where(*mine, same).values(**values))

    def _known(self, sink: str, manifests: str) -> dict[Key, str]:
        query = sa.select(*_columns(), NOTICE.c.identity).where(
            NOTICE.c.sink == sink, NOTICE.c.manifests == manifests
        )
        with transaction(self.database) as connection:
            return {tuple(row[:-1]): str(row[-1]) for row in connection.execute(query)}

    def _read(
        self, connection: sa.Connection, row: sa.Row[tuple[object, ...]]
    ) -> TakenNotice | None:
        key = tuple(getattr(row, name) for name in _KEYS)
        try:
            notice = read_notice(bytes(row.content), row.sink, self.secret)
        except IntegrityError as error:
            _LOG.warning("notice dropped", extra={"sink": row.sink, "reason": str(error)})
            connection.execute(NOTICE.delete().where(*_is(row)))
            return None
        return TakenNotice(key, notice, row.attempts)


def _columns() -> Sequence[sa.Column[str]]:
    return [NOTICE.c[name] for name in _KEYS]


def _is(row: sa.Row[tuple[object, ...]]) -> Sequence[sa.ColumnElement[bool]]:
    return [NOTICE.c[name] == getattr(row, name) for name in _KEYS]


def _place(sink: str, manifests: str) -> Key:
    return sink, manifests, "", ""


def _key(sink: str, notice: Notice) -> Key:
    return sink, notice.manifests, notice.environment, notice.application, str(notice.event)


def _marker(sink: str, manifests: str, at: str) -> dict[str, object]:
    keys = dict(zip(_KEYS, (*_place(sink, manifests), _BEGUN), strict=True))
    rest: dict[str, object] = {"identity": _BEGUN, "content": b"", "at": at, "due": at}
    return {**keys, **rest, "claimed": "", "attempts": 0, "done": 1}
