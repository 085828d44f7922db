"""`bot.ports.record.Evaluations`: one row for each promotion, its document deflated (a tenth of it).

The newest `KEPT_LIMIT` of an application in an environment stay.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from bot.adapters.store.database import replace, text_of, transaction
from bot.adapters.store.schema import EVALUATION
from bot.domain.errors import IntegrityError
from bot.formats.assessment_document import DOCUMENT_LIMIT
from bot.ports.record import StoredEvaluation

KEPT_LIMIT: Final = 200
"""Evaluations of one application in one environment; a page of an older one is not found."""


@dataclass(frozen=True, slots=True)
class EvaluationStore:
    """The evaluations in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine

    def record(self, evaluation: StoredEvaluation) -> None:
        """Keep it in place of the one before."""
        values = {
            "promotion": evaluation.promotion,
            "environment": evaluation.environment,
            "application": evaluation.application,
            "at": text_of(evaluation.at),
            "verdict": evaluation.verdict,
            "document": zlib.compress(evaluation.document),
        }
        with transaction(self.database) as connection:
            replace(connection, EVALUATION, values, ("promotion",))
            connection.execute(_forgotten(evaluation))

    def evaluation(self, promotion: str) -> StoredEvaluation | None:
        """The newest one; None if there is none."""
        query = sa.select(EVALUATION).where(EVALUATION.c.promotion == promotion)
        with transaction(self.database) as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return StoredEvaluation(
            row.promotion,
            row.environment,
            row.application,
            datetime.fromisoformat(row.at),
            row.verdict,
            _inflated(row.document, promotion),
        )


def _forgotten(evaluation: StoredEvaluation) -> sa.Delete:
    """All but the newest of the same application in the same environment."""
    same = sa.and_(
        EVALUATION.c.environment == evaluation.environment,
        EVALUATION.c.application == evaluation.application,
    )
    newest = (
        sa.select(EVALUATION.c.promotion)
        .where(same)
        .order_by(EVALUATION.c.at.desc(), EVALUATION.c.promotion)
        .limit(KEPT_LIMIT)
    )
    return EVALUATION.delete().where(same, EVALUATION.c.promotion.not_in(newest))


def _inflated(content: bytes, promotion: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        document = stream.decompress(content, DOCUMENT_LIMIT)
    except zlib.error as error:
        raise IntegrityError(f"the kept evaluation of {promotion} is damaged") from error
    if not stream.eof:
        raise IntegrityError(f"the kept evaluation of {promotion} is damaged: it does not end")
    return document
