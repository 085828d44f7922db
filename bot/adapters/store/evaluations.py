"""`bot.ports.Evaluations`: one row for each promotion, its document deflated (a tenth of it)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from bot.adapters.store.database import replace, text_of, transaction
from bot.adapters.store.schema import EVALUATION
from bot.domain.errors import IntegrityError
from bot.formats.assessment_document import DOCUMENT_LIMIT
from bot.ports import StoredEvaluation


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


def _inflated(content: bytes, promotion: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        document = stream.decompress(content, DOCUMENT_LIMIT)
    except zlib.error as error:
        raise IntegrityError(f"the kept evaluation of {promotion} is damaged") from error
    if not stream.eof:
        raise IntegrityError(f"the kept evaluation of {promotion} is damaged: it does not end")
    return document
