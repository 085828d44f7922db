from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.store import MIGRATIONS, EvaluationStore, migrate, open_database
from bot.adapters.store.evaluations import KEPT_LIMIT
from bot.domain.errors import IntegrityError
from bot.formats.assessment_document import DOCUMENT_LIMIT
from bot.ports.record import Evaluations, StoredEvaluation

pytest_plugins = ["tests.world.postgres"]

AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
PROMOTION = "0123456789abcdef0123456789"
EVALUATION = StoredEvaluation(
    PROMOTION, "prod", "payments", AT, "fail", b'{"verdict":"fail","name":"\xc3\xa9\\u0000"}'
)


@dataclass
class Kept:
    evaluations: Evaluations
    database: sa.Engine

    def damage(self, document: bytes) -> None:
        with self.database.begin() as connection:
            connection.execute(
                sa.text("UPDATE lk_evaluation SET document = :document"), {"document": document}
            )


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    database = open_database(url)
    migrate(database, "store", MIGRATIONS)
    yield Kept(EvaluationStore(database), database)
    database.dispose()


def test_what_was_recorded_is_found(kept: Kept) -> None:
    kept.evaluations.record(EVALUATION)

    assert kept.evaluations.evaluation(PROMOTION) == EVALUATION
    assert kept.evaluations.evaluation("f" * 26) is None


def test_the_newest_evaluation_stays(kept: Kept) -> None:
    newer = replace(EVALUATION, verdict="pass", at=AT + timedelta(days=1), document=b"{}")

    kept.evaluations.record(EVALUATION)
    kept.evaluations.record(newer)
    kept.evaluations.record(newer)

    assert kept.evaluations.evaluation(PROMOTION) == newer


def test_the_largest_document_is_kept_whole(kept: Kept) -> None:
    largest = replace(EVALUATION, document=b"x" * DOCUMENT_LIMIT)

    kept.evaluations.record(largest)

    assert kept.evaluations.evaluation(PROMOTION) == largest


def test_a_row_that_was_changed_is_damaged_or_too_large(kept: Kept) -> None:
    too_large = replace(EVALUATION, document=b"x" * (DOCUMENT_LIMIT + 1))

    kept.evaluations.record(too_large)
    with pytest.raises(IntegrityError, match="does not end"):
        kept.evaluations.evaluation(PROMOTION)

    kept.damage(b"{}")
    with pytest.raises(IntegrityError, match="damaged"):
        kept.evaluations.evaluation(PROMOTION)


def test_the_newest_ones_of_an_application_in_an_environment_are_kept(kept: Kept) -> None:
    other = replace(EVALUATION, promotion="f" * 26, application="checkout")
    kept.evaluations.record(other)

    for number in range(KEPT_LIMIT + 3):
        at = AT + timedelta(minutes=number)
        kept.evaluations.record(replace(EVALUATION, promotion=f"{number:026x}", at=at))

    found = [kept.evaluations.evaluation(f"{n:026x}") for n in range(KEPT_LIMIT + 3)]
    assert [one is None for one in found] == [True] * 3 + [False] * KEPT_LIMIT
    assert kept.evaluations.evaluation(other.promotion) == other
