from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.store import MIGRATIONS, BlobStore, Proofs, migrate, open_database
from bot.ports.git import BlobIndex
from tests.world.rows import PROOFS

pytest_plugins = ["tests.world.postgres"]

ONE, OTHER = "1" * 40, "2" * 40


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
def index(database: sa.Engine) -> BlobIndex:
    return BlobStore(database, PROOFS)


def test_what_was_found_is_kept_by_blob(index: BlobIndex) -> None:
    index.keep(1, {ONE: b"\x00abcd", OTHER: b""})
    index.keep(1, {ONE: b"\x00abcd"})

    assert index.known(1, [ONE, "3" * 40]) == {ONE: b"\x00abcd"}
    assert index.known(1, {OTHER}) == {OTHER: b""}
    assert index.known(1, []) == {}


def test_another_version_of_the_reader_finds_anew(index: BlobIndex) -> None:
    index.keep(1, {ONE: b"old", OTHER: b"old"})
    assert index.known(2, [ONE]) == {}

    index.keep(2, {ONE: b"new"})

    assert index.known(2, [ONE]) == {ONE: b"new"}
    assert index.known(1, [ONE, OTHER]) == {}


def test_many_are_asked_for_together(index: BlobIndex) -> None:
    rows = {f"{number:040x}": b"\x00" * (number % 7) for number in range(12_000)}
    index.keep(1, rows)

    assert index.known(1, rows) == rows


def test_the_oldest_are_forgotten(index: BlobIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.adapters.store.blob_index.ROW_LIMIT", 3)
    blobs = [f"{number:040x}" for number in range(5)]
    for blob in blobs:
        index.keep(1, {blob: b""})

    assert set(index.known(1, blobs)) == set(blobs[2:])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE lk_blob SET said = 'x'",
        "UPDATE lk_blob SET blob = '2222222222222222222222222222222222222222'",
        "UPDATE lk_blob SET version = 2",
        "UPDATE lk_blob SET proof = said",
    ],
)
def test_a_row_that_somebody_changed_is_not_there(
    index: BlobIndex, database: sa.Engine, change: str
) -> None:
    index.keep(1, {ONE: b"\x00abcd"})
    with database.begin() as connection:
        if database.dialect.name == "postgresql":
            change = change.replace("'x'", "'\\x78'")
        connection.exec_driver_sql(change)

    assert {**index.known(1, [ONE, OTHER]), **index.known(2, [ONE])} == {}

    index.keep(1, {ONE: b"\x00abcd"})
    assert index.known(1, [ONE]) == {ONE: b"\x00abcd"}


def test_without_a_key_nothing_is_believed_or_kept(database: sa.Engine) -> None:
    BlobStore(database, PROOFS).keep(1, {ONE: b""})
    without = BlobStore(database, Proofs(()))
    without.keep(1, {OTHER: b""})

    assert without.known(1, [ONE, OTHER]) == {}
    assert BlobStore(database, PROOFS).known(1, [OTHER]) == {}


def test_a_key_that_leaves_is_still_believed(database: sa.Engine) -> None:
    BlobStore(database, PROOFS).keep(1, {ONE: b"x"})

    assert BlobStore(database, Proofs((b"new", *PROOFS.keys))).known(1, [ONE]) == {ONE: b"x"}
    assert BlobStore(database, Proofs((b"new",))).known(1, [ONE]) == {}
