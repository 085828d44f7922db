from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters.clock import SystemClock
from bot.adapters.store import MIGRATIONS, AuditStore, migrate, open_database
from bot.domain.audit_chain import BrokenChainError, verify
from bot.domain.memory import Scope
from bot.ports.record import Audit

pytest_plugins = ["tests.world.postgres"]

PROD = Scope(7, "prod", "payments")


@pytest.fixture(params=["sqlite", "postgresql"])
def audit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Audit]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    database = open_database(url)
    migrate(database, "store", MIGRATIONS)
    yield AuditStore(database, SystemClock())
    database.dispose()


def test_an_empty_audit_has_no_head(audit: Audit) -> None:
    assert audit.head() == (0, "")
    assert audit.entries() == []


def test_entries_form_a_chain(audit: Audit) -> None:
    audit.append("copied", PROD, {"digest": "sha256:…", "to": "registry.example.com"})
    audit.append("signed", PROD, {})

    assert verify(audit.entries()) == audit.head()
    assert [entry.kind for entry in audit.entries()] == ["copied", "signed"]
    assert [entry.sequence for entry in audit.entries(after=1)] == [2]


def test_an_identity_is_written_once(audit: Audit) -> None:
    for _ in range(2):
        audit.append("published", PROD, {"commit": "a" * 40}, once="published a")
    audit.append("published", PROD, {"commit": "b" * 40}, once="published b")

    assert [entry.facts["commit"] for entry in audit.entries()] == ["a" * 40, "b" * 40]


def test_many_writers_leave_no_gap(audit: Audit) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: audit.append("copied", PROD, {"n": str(n)}), range(40)))

    assert verify(audit.entries()) == audit.head()
    assert audit.head()[0] == 40


@pytest.mark.parametrize("change", ["fact", "gap", "order"])
def test_a_changed_entry_breaks_the_chain(audit: Audit, change: str) -> None:
    for number in range(3):
        audit.append("copied", PROD, {"n": str(number)})
    entries = list(audit.entries())
    if change == "fact":
        entries[1] = replace(entries[1], facts={"n": "9"})
    elif change == "gap":
        del entries[1]
    else:
        entries[1], entries[2] = entries[2], entries[1]

    with pytest.raises(BrokenChainError):
        verify(entries)


def test_an_identity_is_found_again(audit: Audit) -> None:
    audit.append("published", Scope(1, "prod"), {}, once="published:1:abc")

    assert audit.has("published:1:abc")
    assert not audit.has("published:1:abd")
    assert not audit.has("")
