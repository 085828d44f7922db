"""What waits is called by its name: a delivery, a hold, or a record that is not here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.reconcilers.operator import Request, hold
from tests.world.driver import Driver, driven
from tests.world.github.records import Repository

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """Something runs in dev, and its promotion to stage is open."""
    with driven(tmp_path) as up:
        stage = up.stage
        up.look_first()
        up.build(stage.source, stage.commit("develop"))
        up.run(up.propose("dev"))
        stage.dana.push(stage.source, "release/1.0", {}, parent=stage.source.head("develop"))
        up.run(up.propose("stage"))
        yield up


def merged(driver: Driver) -> str:
    """Dana merges the promotion to stage; nothing has looked at it yet."""
    stage = driver.stage
    promotion = stage.open_promotion("stage")
    assert promotion is not None
    stage.dana.merge(promotion)
    return stage.manifests.head("main") or ""


def said(repository: Repository, commit: str) -> str:
    runs = [run for run in repository.check_runs.values() if run.commit == commit]
    return "\n".join(f"{run.output['title']}: {run.output['summary']}" for run in runs)


def test_a_merge_whose_copy_is_not_done_waits_and_is_not_held(driver: Driver) -> None:
    commit = merged(driver)

    driver.run(driver.publish("stage"), most=1)

    words = said(driver.stage.manifests, commit)
    assert "Waits: not yet on env/stage" in words
    assert "Held" not in words


def test_a_merge_that_somebody_stopped_is_held(driver: Driver) -> None:
    commit = merged(driver)
    driver.run(driver.deliver("stage"), most=1)
    hold(Request(driver.ports, ("stage", "payments", "incident 7"), "ada", lambda _key: False))

    driver.run(driver.publish("stage"), most=1)

    words = said(driver.stage.manifests, commit)
    assert "Held: not yet on env/stage" in words
    assert "held by ada since" in words
    assert ": incident 7" in words


def test_a_new_database_tells_nobody_to_revert(driver: Driver) -> None:
    commit = merged(driver)
    with driver.app.database.begin() as connection:
        connection.execute(sa.text("DELETE FROM lk_publication"))

    driver.run(driver.deliver("stage"), driver.propose("stage"), driver.publish("stage"))

    words = said(driver.stage.manifests, commit)
    assert "which this database does not know" in words
    assert "`lockkeeper resume`" in words
    assert "revert" not in words
