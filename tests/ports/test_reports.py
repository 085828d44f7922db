from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.store import MIGRATIONS, ReportStore, migrate, open_database
from bot.domain.evidence import FindingKey
from bot.domain.memory import Scope
from bot.domain.oci import Digest
from bot.domain.packages import PackageName
from bot.ports.scanning import Examination, MatchReport, Reports
from tests.world.rows import PROOFS

pytest_plugins = ["tests.world.postgres"]

AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
DIGEST, OTHER = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)
SEEN = Examination(b'{"bomFormat": "CycloneDX"}' * 1000, b"report \x00\xff")
OPENSSL = FindingKey("CVE-2026-1", PackageName("deb", "debian", "openssl"))
BASH = FindingKey("CVE-2026-2", PackageName("deb", "debian", "bash"))


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
def reports(database: sa.Engine) -> Reports:
    return ReportStore(database, PROOFS)


def test_what_a_scanner_saw_is_kept_by_digest(reports: Reports) -> None:
    reports.record_examination("Trivy", DIGEST, SEEN)
    reports.record_examination("Trivy", DIGEST, SEEN)

    assert reports.examination("Trivy", DIGEST) == SEEN
    assert reports.examination("grype", DIGEST) is None
    assert reports.examination("Trivy", OTHER) is None


def test_only_the_newest_generation_is_answered(reports: Reports) -> None:
    reports.record_match(DIGEST, "old", MatchReport(AT, b"old"))
    reports.record_match(DIGEST, "new", MatchReport(AT, b"new"))

    assert reports.match(DIGEST, "new") == MatchReport(AT, b"new")
    assert reports.match(DIGEST, "old") is None


def test_why_there_is_no_report_is_kept(reports: Reports) -> None:
    reports.record_match(DIGEST, "now", MatchReport(AT, failure="it hung " * 1000))

    found = reports.match(DIGEST, "now")
    assert found is not None
    assert found.failure.startswith("it hung")
    assert len(found.failure) <= 1000
    assert found.report == b""


def test_the_first_sight_stays_and_is_an_environments_own(reports: Reports) -> None:
    stage, prod = Scope(7, "stage"), Scope(7, "prod")
    reports.first_seen(stage, [OPENSSL], date(2026, 11, 1))

    seen = reports.first_seen(stage, [OPENSSL, BASH], date(2026, 11, 20))

    assert seen == {OPENSSL: date(2026, 11, 1), BASH: date(2026, 11, 20)}
    assert reports.first_seen(prod, [OPENSSL], date(2026, 11, 20)) == {OPENSSL: date(2026, 11, 20)}


def test_what_is_damaged_is_never_a_report(reports: Reports, database: sa.Engine) -> None:
    reports.record_match(DIGEST, "now", MatchReport(AT, b"report"))
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE lk_match SET report = :bytes"), {"bytes": b"\x00\x01"})

    assert reports.match(DIGEST, "now") is None
