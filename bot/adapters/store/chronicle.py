"""`bot.ports.record.Chronicle`: what publications changed, from the rows that record it.

Proofs are not asked for: a row of somebody else's may spoil a figure, and lets nothing in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa

from bot.adapters.store.database import transaction
from bot.adapters.store.schema import (
    PUBLICATION,
    RESOLUTION,
    RESOLVED_IMAGE,
    SEAL,
    SHOWN,
    WRITTEN_HEAD,
)
from bot.domain.memory import Scope
from bot.domain.metrics import PublishedChange

Row = sa.Row[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class ChronicleStore:
    """The record in one database; UnavailableError without an answer."""

    database: sa.Engine

    def changes(self, scope: Scope, commit: str) -> Sequence[PublishedChange]:
        """The applications that a publication of an environment changed."""
        with transaction(self.database) as connection:
            published = connection.scalar(
                sa.select(PUBLICATION.c.at).where(
                    *_in(PUBLICATION, scope), PUBLICATION.c.commit_id == commit
                )
            )
            if published is None:
                return []
            shown = connection.execute(
                sa.select(SHOWN)
                .where(*_in(SHOWN, scope), SHOWN.c.commit_id == commit)
                .order_by(SHOWN.c.application, SHOWN.c.number)
            ).all()
            at = datetime.fromisoformat(published)
            return [
                _change(connection, scope, application, list(rows), at)
                for application, rows in groupby(shown, key=lambda row: str(row.application))
            ]


def _change(
    connection: sa.Connection, scope: Scope, application: str, shown: Sequence[Row], at: datetime
) -> PublishedChange:
    commit = _first(_commit(connection, scope, row) for row in shown)
    return PublishedChange(
        application,
        commit,
        _first(_merge(connection, scope, row) for row in shown),
        _proposed_at(connection, scope, application, commit),
        at,
        comes_back=all(_is_known(connection, scope, row) for row in shown),
        goes_back=any(_goes_back(connection, scope, row) for row in shown),
    )


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")


def _commit(connection: sa.Connection, scope: Scope, shown: Row) -> str:
    """The source commit that the digest was last resolved for."""
    query = (
        sa.select(RESOLUTION.c.commit_id)
        .join(RESOLVED_IMAGE, RESOLVED_IMAGE.c.resolution == RESOLUTION.c.number)
        .where(
            RESOLUTION.c.manifests == scope.manifests,
            RESOLUTION.c.application == shown.application,
            RESOLVED_IMAGE.c.image == shown.image,
            RESOLVED_IMAGE.c.digest == shown.digest,
        )
        .order_by(RESOLUTION.c.number.desc())
    )
    return connection.scalar(query.limit(1)) or ""


def _merge(connection: sa.Connection, scope: Scope, shown: Row) -> str:
    query = (
        sa.select(SEAL.c.merge_id)
        .where(
            *_in(SEAL, scope),
            SEAL.c.application == shown.application,
            SEAL.c.image == shown.image,
            SEAL.c.digest == shown.digest,
        )
        .order_by(SEAL.c.number.desc())
    )
    return connection.scalar(query.limit(1)) or ""


def _proposed_at(
    connection: sa.Connection, scope: Scope, application: str, commit: str
) -> datetime | None:
    query = (
        sa.select(WRITTEN_HEAD.c.at)
        .where(
            *_in(WRITTEN_HEAD, scope),
            WRITTEN_HEAD.c.application == application,
            WRITTEN_HEAD.c.source == commit,
        )
        .order_by(WRITTEN_HEAD.c.number.desc())
    )
    found = connection.scalar(query.limit(1))
    return datetime.fromisoformat(found) if found else None


def _is_known(connection: sa.Connection, scope: Scope, shown: Row) -> bool:
    """Whether an earlier publication of the environment brought the same digest."""
    return bool(_first_shown(connection, scope, shown, str(shown.digest)) < shown.number)


def _goes_back(connection: sa.Connection, scope: Scope, shown: Row) -> bool:
    """Whether the digest takes the place of one that came to the environment after it."""
    before = connection.scalar(
        sa.select(SHOWN.c.digest)
        .where(
            *_of_image(scope, shown),
            SHOWN.c.digest != shown.digest,
            SHOWN.c.number < shown.number,
        )
        .order_by(SHOWN.c.number.desc())
        .limit(1)
    )
    if before is None:
        return False
    own = _first_shown(connection, scope, shown, str(shown.digest))
    return own < _first_shown(connection, scope, shown, before)


def _first_shown(connection: sa.Connection, scope: Scope, shown: Row, digest: str) -> int:
    query = sa.select(sa.func.min(SHOWN.c.number)).where(
        *_of_image(scope, shown), SHOWN.c.digest == digest
    )
    return int(connection.scalar(query) or 0)


def _of_image(scope: Scope, shown: Row) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        *_in(SHOWN, scope),
        SHOWN.c.application == shown.application,
        SHOWN.c.image == shown.image,
    )


def _in(table: sa.Table, scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        table.c.manifests == scope.manifests,
        table.c.environment == scope.environment,
    )
