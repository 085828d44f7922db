"""docs/running.md: a bot that is copied while it runs, loses its database, and goes on."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.journeys import walk
from tests.walked.walking import Walk
from tests.world.stage import raised


@contextlib.contextmanager
def upkeep(folder: Path) -> Iterator[Walk]:
    """A bot that has published in dev; systemd is this process."""
    with raised(folder / "stage") as stage:
        walk.to_dev(stage)
        walk.settled(stage)
        etc, data = stage.directory, stage.directory / "data"
        names = {"/etc/lockkeeper": str(etc / "grants"), "/var/lib/lockkeeper": str(data)}
        here = Walk(folder, names, dict(stage.bot.environment))
        before = stage.ref("dev")

        def goes_on() -> None:
            assert stage.ref("dev") == before, "what was published is nobody else's"
            entries = (folder / "audit.jsonl").read_text().splitlines()
            kinds = [json.loads(line)["kind"] for line in entries]
            assert "published" in kinds
            assert "foreign commit" not in kinds
            walk.to_dev(stage)
            assert (data / "before" / "lockkeeper.db").exists()

        def stop_and_lose_the_mirrors() -> None:
            assert stage.bot.stop() == 0
            shutil.rmtree(data / "mirrors")

        here.acts = {
            "systemctl stop lockkeeper": stop_and_lose_the_mirrors,
            "systemctl start lockkeeper": stage.bot.start,
        }
        here.then = goes_on
        yield here
