"""Rows that authorise something: nobody's word but the bot's own counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.store import MIGRATIONS, MemoryStore, Proofs, migrate, open_database
from bot.domain.doctor.findings import About
from bot.domain.environments import ImageId
from bot.domain.memory import (
    Adoption,
    PublicationRecord,
    Resolution,
    RulesAccepted,
    Scope,
    Seal,
    WrittenHead,
)
from bot.domain.oci import Digest

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROD = Scope(7, "prod")
ONE, EVIL = Digest("sha256:" + "1" * 64), Digest("sha256:" + "e" * 64)
IMAGE = ImageId("payments", "api")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    opened = open_database(f"sqlite:///{tmp_path / 'store.db'}")
    migrate(opened, "store", MIGRATIONS)
    yield opened
    opened.dispose()


def opened(database: sa.Engine, *keys: bytes) -> MemoryStore:
    return MemoryStore(database, Proofs(keys or (b"key",)))


def write(database: sa.Engine, statement: str, **values: str) -> None:
    with database.begin() as connection:
        connection.execute(sa.text(statement), values)


def fill(memory: MemoryStore) -> None:
    """One row in each table whose rows authorise something."""
    memory.record_adoption(Adoption(PROD, ONE, "ada", AT))
    memory.record_seal(Seal(PROD, "api", "r.example.com/api", ONE, "m" * 40, 1, AT))
    memory.record_publication(PublicationRecord(PROD, "env/prod", "b" * 40, "", "d" * 40, AT))
    memory.record_shown(PROD, "b" * 40, [(IMAGE, ONE)], AT)
    memory.record_rules(RulesAccepted(Scope(7), "d" * 40, "the first look", AT))
    memory.record_written_head(
        WrittenHead(PROD, "lockkeeper/prod", "c" * 40, "d" * 40, "t" * 40, "main", "s" * 40, AT)
    )
    memory.record_resolution(Resolution(7, "payments", "s" * 40, (("api", ONE),), "label", AT))


def believed(memory: MemoryStore, scope: Scope = PROD) -> list[bool]:
    """Table by table: whether anything is believed there."""
    return [
        bool(memory.adoptions(scope)),
        bool(memory.seals(scope)),
        bool([*memory.latest_publications(scope)]),
        bool(memory.shown_by(scope, IMAGE, ONE)),
        bool(memory.accepted_rules(scope.manifests)),
        bool(memory.written_heads(scope)),
        memory.resolution(scope.manifests, "payments", "s" * 40) is not None,
    ]


TABLES = (
    "lk_adoption",
    "lk_seal",
    "lk_publication",
    "lk_shown",
    "lk_rules",
    "lk_written_head",
    "lk_resolution",
)


def test_what_the_bot_wrote_is_believed_after_a_restart(database: sa.Engine) -> None:
    fill(opened(database))

    assert all(believed(opened(database)))
    assert opened(database).proofs.findings() == ()


def test_without_the_key_nothing_is_believed(database: sa.Engine) -> None:
    fill(opened(database))

    assert not any(believed(MemoryStore(database, Proofs(()))))
    assert not any(believed(opened(database, b"another key")))


def test_a_process_without_a_key_writes_what_nobody_believes(database: sa.Engine) -> None:
    fill(MemoryStore(database, Proofs(())))

    memory = opened(database)
    assert not any(believed(memory))
    assert {one.subject for one in memory.proofs.findings()} == set(TABLES)
    assert {one.about for one in memory.proofs.findings()} == {About.RECORD}


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_was_copied_to_another_scope_is_not_believed(
    database: sa.Engine, table: str
) -> None:
    memory = opened(database)
    fill(memory)
    assert all(believed(memory)), "also those that were believed already"

    write(database, f"UPDATE {table} SET manifests = 8")  # noqa: S608 - our own names

    other = believed(memory, Scope(8, "prod"))
    assert not other[TABLES.index(table)]
    assert [one.subject for one in memory.proofs.findings()] == [table]


@pytest.mark.parametrize("table", [one for one in TABLES if one != "lk_resolution"])
def test_a_row_that_was_moved_in_the_order_of_things_is_not_believed(
    database: sa.Engine, table: str
) -> None:
    memory = opened(database)
    fill(memory)

    write(database, f"UPDATE {table} SET number = number + 5")  # noqa: S608 - our own names

    assert not believed(memory)[TABLES.index(table)]


@pytest.mark.parametrize(
    ("table", "edit"),
    [
        ("lk_adoption", "digest = :evil"),
        ("lk_adoption", "actor = 'nobody'"),
        ("lk_seal", "digest = :evil"),
        ("lk_seal", "merge_id = 'x'"),
        ("lk_seal", "pull_request = 9"),
        ("lk_publication", "commit_id = 'x'"),
        ("lk_publication", "ref = 'env/other'"),
        ("lk_publication", "source = ''"),
        ("lk_publication", "rules = 'x'"),
        ("lk_rules", "commit_id = 'x'"),
        ("lk_rules", "valid = 0"),
        ("lk_written_head", "commit_id = 'x'"),
        ("lk_resolution", "known_by = 'provenance'"),
        ("lk_seal", "at = '2020-01-01T00:00:00.000000+00:00'"),
        ("lk_seal", "proof = ''"),
        ("lk_seal", "proof = 'é'"),
    ],
)
def test_a_row_that_was_edited_is_not_believed(database: sa.Engine, table: str, edit: str) -> None:
    memory = opened(database)
    fill(memory)

    statement = f"UPDATE {table} SET {edit}"  # noqa: S608 - our own names
    write(database, statement, **({"evil": EVIL} if ":evil" in edit else {}))

    assert not believed(memory)[TABLES.index(table)]


def test_an_image_that_was_put_under_a_resolution_takes_all_of_it_away(database: sa.Engine) -> None:
    memory = opened(database)
    fill(memory)

    write(database, "UPDATE lk_resolved_image SET digest = :evil", evil=EVIL)

    assert memory.resolution(7, "payments", "s" * 40) is None
    assert memory.resolution_of(7, "payments", "api", EVIL) is None


def test_a_forged_row_is_not_in_the_way_of_the_true_one(database: sa.Engine) -> None:
    memory = opened(database)
    fill(MemoryStore(database, Proofs((b"the enemy's",))))

    fill(memory)

    assert all(believed(memory))
    assert memory.resolution(7, "payments", "s" * 40) is not None


def test_the_first_true_row_stays(database: sa.Engine) -> None:
    memory = opened(database)
    fill(memory)
    memory.record_adoption(Adoption(PROD, ONE, "eve", AT + timedelta(days=1)))

    assert [one.actor for one in memory.adoptions(PROD)] == ["ada"]


def test_a_key_is_rotated_without_losing_a_row(database: sa.Engine) -> None:
    fill(opened(database, b"old"))
    forged = MemoryStore(database, Proofs((b"the enemy's",)))
    forged.record_adoption(Adoption(replace(PROD, environment="other"), EVIL, "eve", AT))

    Proofs((b"new", b"old")).renew(database)

    memory = opened(database, b"new")
    assert all(believed(memory))
    assert not memory.adoptions(Scope(7, "other")), "what proved nothing is not proven by it"
    assert not any(believed(opened(database, b"old")))


def test_a_flood_of_forged_rows_is_told_once_and_in_a_bounded_way(database: sa.Engine) -> None:
    memory = opened(database)
    with database.begin() as connection:
        for number in range(1100):
            connection.execute(
                sa.text(
                    "INSERT INTO lk_adoption (manifests, environment, application, digest, actor,"
                    " at) VALUES (7, 'prod', '', :digest, 'eve', '2026-11-20T12:00:00+00:00')"
                ),
                {"digest": f"sha256:{number:064x}"},
            )

    assert memory.adoptions(PROD) == []
    assert memory.adoptions(PROD) == []
    (finding,) = memory.proofs.findings()
    assert finding.fact.startswith("1000 rows were not written by this bot")


def test_a_forged_row_does_not_choose_the_place_of_the_true_one(database: sa.Engine) -> None:
    memory = opened(database)
    first = PublicationRecord(PROD, "env/prod", "b" * 40, "", "", AT)
    memory.record_publication(first)
    memory.record_publication(replace(first, commit="c" * 40))
    write(database, "UPDATE lk_publication SET commit_id = :new WHERE number = 1", new="d" * 40)

    memory.record_publication(replace(first, commit="d" * 40))

    assert [one.commit for one in memory.latest_publications(PROD)] == ["d" * 40, "c" * 40]
