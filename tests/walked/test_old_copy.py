"""docs/running.md: what an old copy of the database does."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.journeys import walk
from tests.world.images import BuiltImage
from tests.world.stage import Stage, raised


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[tuple[Stage, BuiltImage]]:
    """A stage that published once more after its database was copied; nobody serves."""
    with raised(tmp_path / "stage") as stage:
        walk.to_dev(stage)
        walk.settled(stage)
        data = stage.directory / "data"
        with (
            closing(sqlite3.connect(data / "lockkeeper.db")) as now,
            closing(sqlite3.connect(tmp_path / "old.db")) as old,
        ):
            now.backup(old)
        _, image = walk.to_dev(stage)
        walk.settled(stage)
        stage.bot.stop()
        shutil.rmtree(data)
        data.mkdir()
        yield stage, image


def kinds(stage: Stage) -> list[str]:
    lines = stage.bot.command("audit", "export").stdout.splitlines()
    return [json.loads(line)["kind"] for line in lines]


def test_an_old_copy_holds_until_adopt(behind: tuple[Stage, BuiltImage], tmp_path: Path) -> None:
    stage, image = behind
    shutil.copy(tmp_path / "old.db", stage.directory / "data" / "lockkeeper.db")
    tip = stage.ref("dev")

    stage.bot.start()
    stage.eventually(lambda: "held" in kinds(stage), "a hold")
    walk.settled(stage)

    told = kinds(stage)
    assert "foreign commit" in told
    assert "published" not in told[told.index("foreign commit") :], "the ref never goes back"
    assert (stage.ref("dev"), stage.published("dev")) == (tip, image.digest)

    done = stage.bot.command("adopt", "dev")
    assert done.returncode == 0, done.stdout + done.stderr
    _, newer = walk.to_dev(stage)
    assert stage.published("dev") == newer.digest
