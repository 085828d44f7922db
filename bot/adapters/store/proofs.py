"""Which rows this bot wrote: each that authorises something carries a proof that no database has.

A proof is an HMAC over the table's name and every other value of the row, its number too, so one
that is forged, edited, copied or moved in the order of things proves nothing. What does not fit is
left out, logged and kept as a finding; whoever asks gets what is left, which may hold something
and never lets it go.

Of several keys the first proves, all are believed, and `renew` writes old proofs anew.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from bot.adapters.store.database import ensure, transaction
from bot.adapters.store.schema import PROVEN, RESOLUTION, RESOLVED_IMAGE
from bot.domain.doctor.findings import About, Finding, Severity

Row = sa.Row[tuple[object, ...]]
_LOG: Final = logging.getLogger("lockkeeper.store")
_UNPROVEN: Final = frozenset({"proof", "answer", "failed", "begun"})
"""Columns that may change."""
_REMEMBERED: Final = 1_000
"""Rows that are told of; whoever floods a table is told of by then."""
_BELIEVED: Final = 20_000
"""Rows whose proof is not computed again, as they are: a look reads the same ones many times."""


@dataclass(frozen=True, slots=True)
class Proofs:
    """Proves rows and tells those that were proven from all others."""

    keys: tuple[bytes, ...] = field(repr=False)
    """The first proves, all verify; without any, every row is somebody else's."""
    _believed: set[tuple[object, ...]] = field(default_factory=set)
    _refused: dict[tuple[str, str], None] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def of(self, table: sa.Table, values: Mapping[str, object], images: object = None) -> str:
        """The proof of a row with these values; empty where there is no key to prove with."""
        return _proof(self.keys[0], table, values, images) if self.keys else ""

    def holds(self, table: sa.Table, row: Row, images: object = None) -> bool:
        """Whether the row was written by this bot, there and so; else it is told of."""
        it = (table.name, repr(images), *row)
        if it in self._believed:
            return True
        if self._fits(table, row, images):
            with self._guard:
                if len(self._believed) >= _BELIEVED:
                    self._believed.clear()
                if not any(isinstance(value, bytes) for value in row):
                    self._believed.add(it)
            return True
        self.refuse(table.name, json.dumps(_proven_values(row._asdict()), default=str))
        return False

    def refuse(self, table: str, said: str) -> None:
        """Tell once of a row that proves nothing; ``said`` is what it says."""
        place = table, hashlib.sha256(said.encode()).hexdigest()
        with self._guard:
            known = place in self._refused or len(self._refused) >= _REMEMBERED
            if not known:
                self._refused[place] = None
        if not known:
            _LOG.warning("row without proof", extra={"table": table, "row": said[:300]})

    def ensure(
        self, connection: sa.Connection, table: sa.Table, values: Mapping[str, object]
    ) -> None:
        """Insert a row with its proof; a row that is there stays, unless it proves nothing."""
        same = sa.and_(*(table.c[name] == values[name] for name in PROVEN[table]))
        if not ensure(connection, table, {**values, "proof": ""}):
            found = connection.execute(sa.select(table).where(same)).one()
            if self._fits(table, found, None):
                return
            # Anew: else whoever forged it would have chosen the place in the order of things.
            connection.execute(table.delete().where(same))
            ensure(connection, table, {**values, "proof": ""})
        self.seal(connection, table, same)

    def seal(
        self,
        connection: sa.Connection,
        table: sa.Table,
        same: sa.ColumnElement[bool],
        images: object = None,
    ) -> None:
        """Prove the one row that was just written, as it is."""
        row = connection.execute(sa.select(table).where(same)).one()
        proof = self.of(table, row._asdict(), images)
        connection.execute(table.update().where(same).values(proof=proof))

    def renew(self, database: sa.Engine) -> None:
        """Prove with the first key what another of the keys has proven: before that one leaves."""
        if len(self.keys) < 2:  # noqa: PLR2004 - there is no other
            return
        for table in PROVEN:
            old = sa.and_(table.c.proof != "", table.c.proof.not_like(f"{_name(self.keys[0])}:%"))
            with transaction(database) as connection:
                for row in connection.execute(sa.select(table).where(old)).all():
                    images = images_of(connection, row) if table is RESOLUTION else None
                    if self._fits(table, row, images):
                        proof = self.of(table, row._asdict(), images)
                        same = table.c.proof == row.proof
                        connection.execute(table.update().where(same).values(proof=proof))

    def findings(self) -> tuple[Finding, ...]:
        """The rows that proved nothing, one finding for each table."""
        with self._guard:
            refused = [table for table, _ in self._refused]
        return tuple(
            Finding(
                About.RECORD,
                table,
                Severity.FAILURE,
                f"{refused.count(table)} rows were not written by this bot, or with another key; "
                "they are not believed",
                "find out who writes to the database; after a change of the App's key see "
                "LOCKKEEPER_RECORD_KEY, and `lockkeeper resume`",
            )
            for table in sorted(set(refused))
        )

    def _fits(self, table: sa.Table, row: Row, images: object) -> bool:
        known, _, _ = str(row.proof).partition(":")
        return any(
            hmac.compare_digest(str(row.proof), _proof(key, table, row._asdict(), images))
            for key in self.keys
            if _name(key) == known
        )


def images_of(connection: sa.Connection, row: Row) -> Sequence[tuple[str, ...]]:
    """The images of a resolution's row, which its proof covers, too.

    Name and digest, and the commit where it is another one's than the row's.
    """
    query = (
        sa.select(RESOLVED_IMAGE)
        .where(RESOLVED_IMAGE.c.resolution == row.number)
        .order_by(RESOLVED_IMAGE.c.image)
    )
    return [
        (found.image, found.digest, *([found.commit_id] if found.commit_id else []))
        for found in connection.execute(query)
    ]


def _proof(key: bytes, table: sa.Table, values: Mapping[str, object], images: object) -> str:
    content = json.dumps([table.name, _proven_values(values), images], sort_keys=True)
    return f"{_name(key)}:{hmac.digest(key, content.encode(), 'sha256').hex()}"


def _proven_values(values: Mapping[str, object]) -> dict[str, object]:
    return {
        name: hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value
        for name, value in values.items()
        if name not in _UNPROVEN
    }


def _name(key: bytes) -> str:
    return hashlib.sha256(b"lockkeeper row key\0" + key).hexdigest()[:8]
