from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.store import MIGRATIONS, RenderingStore, migrate, open_database
from bot.domain.memory import Scope
from bot.domain.rendering import RenderedImage, Rendering
from tests.world.rows import PROOFS

pytest_plugins = ["tests.world.postgres"]

PROD, STAGE = Scope(7, "prod"), Scope(7, "stage")
FOUND = Rendering((RenderedImage("Pod a", "registry.example.com/acme/api:v1", "shop", "api"),))


class Ticking:
    """`bot.ports.clock.Clock`, a second further at each look."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, tzinfo=UTC)

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


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
def renderings(database: sa.Engine) -> RenderingStore:
    return RenderingStore(database, PROOFS, Ticking())


def one(renderings: RenderingStore, identity: str) -> Rendering | None:
    return renderings.known([identity, "absent"]).get(identity)


def test_what_came_of_a_root_is_kept_by_its_identity(renderings: RenderingStore) -> None:
    failed = Rendering(failure="kustomize says no")
    renderings.record_rendering(PROD, "envs/prod", "one", FOUND)
    renderings.record_rendering(PROD, "envs/prod", "one", FOUND)
    renderings.record_rendering(PROD, "envs/prod", "two", failed)

    assert one(renderings, "one") == FOUND
    assert one(renderings, "two") == failed
    assert one(renderings, "three") is None


def test_of_one_root_of_an_environment_the_newest_four_are_kept(renderings: RenderingStore) -> None:
    renderings.record_rendering(STAGE, "root", "other", FOUND)
    for number in range(6):
        renderings.record_rendering(PROD, "root", str(number), FOUND)

    kept = [number for number in range(6) if one(renderings, str(number))]
    assert kept == [2, 3, 4, 5]
    assert one(renderings, "other") == FOUND


@pytest.mark.parametrize("change", ["document = :bytes", "identity = 'two'"])
def test_what_somebody_wrote_is_no_rendering(
    renderings: RenderingStore, database: sa.Engine, change: str
) -> None:
    renderings.record_rendering(PROD, "root", "one", FOUND)
    with database.begin() as connection:
        said = sa.text(f"UPDATE lk_rendering SET {change}")  # noqa: S608 - of this test
        connection.execute(said, {"bytes": b"x"} if ":bytes" in change else {})

    assert one(renderings, "one") is None
    assert one(renderings, "two") is None
