"""What publications changed, told from the rows that recorded them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.store import (
    MIGRATIONS,
    ChronicleStore,
    MemoryStore,
    Proofs,
    migrate,
    open_database,
)
from bot.domain.environments import ImageId
from bot.domain.memory import PublicationRecord, Resolution, Scope, Seal, WrittenHead
from bot.domain.metrics import PublishedChange
from bot.domain.oci import Digest

pytest_plugins = ["tests.world.postgres"]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD, NEW = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)
PROD = Scope(7, "prod")
API, JOB = ImageId("payments", "payments-api"), ImageId("payments", "payments-worker")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    opened = open_database(url)
    migrate(opened, "store", MIGRATIONS)
    yield opened
    opened.dispose()


@pytest.fixture
def memory(database: sa.Engine) -> MemoryStore:
    return MemoryStore(database, Proofs((b"key" * 12,)))


def publish(
    memory: MemoryStore, hours: int, *shown: tuple[ImageId, Digest], scope: Scope = PROD
) -> str:
    """Publish so many hours after noon what is shown then; the publication's commit."""
    commit, at = f"{hours:040x}", NOON + timedelta(hours=hours)
    memory.record_shown(scope, commit, shown, at)
    memory.record_publication(PublicationRecord(scope, "env/prod", commit, "", "f" * 40, at))
    return commit


def test_a_change_has_its_commit_its_merge_and_the_time_of_its_head(
    database: sa.Engine, memory: MemoryStore
) -> None:
    payments = Scope(7, "prod", "payments")
    digests = (("payments-api", NEW), ("payments-worker", NEW))
    memory.record_resolution(Resolution(7, "payments", "c" * 40, digests, "label", NOON))
    for hours in (1, 2):
        head = f"{hours}" * 40
        memory.record_written_head(
            WrittenHead(
                payments,
                "lockkeeper/prod/payments",
                head,
                "b" * 40,
                "c" * 40,
                "main",
                "c" * 40,
                NOON + timedelta(hours=hours),
            )
        )
    memory.record_seal(
        Seal(payments, "payments-api", "registry/payments-api", NEW, "d" * 40, 3, NOON)
    )

    commit = publish(memory, 5, (API, NEW), (JOB, NEW))

    assert ChronicleStore(database).changes(PROD, commit) == [
        PublishedChange(
            "payments", "c" * 40, "d" * 40, NOON + timedelta(hours=2), NOON + timedelta(hours=5)
        )
    ]


def test_a_rollback_goes_back_and_rolling_forward_again_does_not(
    database: sa.Engine, memory: MemoryStore
) -> None:
    commits = [publish(memory, hours, (API, one)) for hours, one in enumerate((OLD, NEW, OLD, NEW))]

    found = [ChronicleStore(database).changes(PROD, commit)[0] for commit in commits]

    assert [one.goes_back for one in found] == [False, False, True, False]
    assert [one.comes_back for one in found] == [False, False, True, True]


def test_what_another_environment_or_tenant_showed_is_nothing_here(
    database: sa.Engine, memory: MemoryStore
) -> None:
    for number, scope in enumerate((Scope(7, "stage"), Scope(8, "prod"))):
        publish(memory, number, (API, OLD), scope=scope)
        publish(memory, 10 + number, (API, NEW), scope=scope)

    commit = publish(memory, 20, (API, OLD))

    (found,) = ChronicleStore(database).changes(PROD, commit)
    assert (found.goes_back, found.comes_back) == (False, False)
    assert ChronicleStore(database).changes(Scope(9, "prod"), commit) == []


def test_configuration_alone_changes_no_application(
    database: sa.Engine, memory: MemoryStore
) -> None:
    commit = publish(memory, 1)

    assert ChronicleStore(database).changes(PROD, commit) == []
