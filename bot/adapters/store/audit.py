"""`bot.ports.record.Audit`: an append-only chain; entries are never changed or deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from bot.adapters.store.database import text_of, transaction
from bot.adapters.store.schema import AUDIT, AUDIT_HEAD
from bot.domain.audit_chain import sealed
from bot.domain.memory import AuditEntry, Scope
from bot.ports.clock import Clock

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class AuditStore:
    """The audit in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    clock: Clock

    def append(self, kind: str, scope: Scope, facts: Mapping[str, str], *, once: str = "") -> None:
        """Add an entry; with ``once`` a second entry of that identity is not added."""
        with transaction(self.database) as connection:
            sequence, previous = _locked_head(connection)
            if once and connection.scalar(sa.select(AUDIT.c.sequence).where(AUDIT.c.once == once)):
                return
            entry = sealed(
                AuditEntry(sequence + 1, self.clock.now(), kind, scope, dict(facts), previous)
            )
            connection.execute(AUDIT.insert().values(**_columns(entry), once=once or None))
            connection.execute(AUDIT_HEAD.update().values(sequence=entry.sequence, hash=entry.hash))

    def has(self, once: str) -> bool:
        """Whether an entry of that identity was added."""
        query = sa.select(AUDIT.c.sequence).where(AUDIT.c.once == once)
        with transaction(self.database) as connection:
            return connection.scalar(query) is not None

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the newest entry; (0, "") before the first."""
        with transaction(self.database) as connection:
            row = connection.execute(sa.select(AUDIT_HEAD)).one()
            return row.sequence, row.hash

    def entries(self, after: int = 0) -> Sequence[AuditEntry]:
        """Entries with a larger sequence, at most 1,000, in order."""
        query = (
            sa.select(AUDIT).where(AUDIT.c.sequence > after).order_by(AUDIT.c.sequence).limit(_PAGE)
        )
        with transaction(self.database) as connection:
            return [_entry(row) for row in connection.execute(query)]


def _locked_head(connection: sa.Connection) -> tuple[int, str]:
    """Read the head after writing it, which keeps everybody else from appending meanwhile."""
    lock = AUDIT_HEAD.update().values(id=AUDIT_HEAD.c.id)
    row = connection.execute(lock.returning(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.hash)).one()
    return row.sequence, row.hash


def _columns(entry: AuditEntry) -> dict[str, object]:
    return {
        "sequence": entry.sequence,
        "at": text_of(entry.at),
        "kind": entry.kind,
        "manifests": entry.scope.manifests,
        "environment": entry.scope.environment,
        "application": entry.scope.application,
        "facts": json.dumps(entry.facts, sort_keys=True),
        "previous": entry.previous,
        "hash": entry.hash,
    }


def _entry(row: sa.Row[tuple[object, ...]]) -> AuditEntry:
    return AuditEntry(
        row.sequence,
        datetime.fromisoformat(row.at),
        row.kind,
        Scope(row.manifests, row.environment, row.application),
        json.loads(row.facts),
        row.previous,
        row.hash,
    )
