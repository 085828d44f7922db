"""An operator's bad day: a database restored from yesterday, or lost."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from bot.assembly import assemble
from bot.reconcilers.operator import Request, resume
from bot.settings import Settings
from tests.attacks.steps import head, said, settle, to_prod
from tests.world.driver import Driver

HELD = "prod is held: the database is not what it was"


def restarted(driver: Driver) -> Driver:
    """Another process on the database as it is now."""
    stage = driver.stage
    own = {k: v for k, v in stage.bot.environment.items() if k.startswith("LOCKKEEPER_")}
    app = assemble(Settings.read(own))
    ports = replace(app.workflows.ports, jobs=driver.queue, limits=driver.ports.limits)
    return Driver(stage, app, driver.queue, ports, replace(app.workflows, ports=ports), driver.ran)


def test_a_restored_database_moves_no_ref_back(driver: Driver, tmp_path: Path) -> None:
    stage, data = driver.stage, driver.stage.directory / "data"
    old = to_prod(driver, "v1.2.0")
    driver.app.database.dispose()
    shutil.copytree(data, tmp_path / "backup")
    new = to_prod(driver, "v1.3.0")
    tip = stage.ref("prod")
    driver.app.database.dispose()
    shutil.rmtree(data)
    shutil.copytree(tmp_path / "backup", data)

    after = restarted(driver)
    after.run(after.publish("prod"))
    settle(after)

    assert (stage.ref("prod"), after.shown("prod")) == (tip, new)
    assert "`lockkeeper resume`" in after.look().cut_off
    assert said(after, head(after))["lockkeeper: prod"] == ("failure", HELD)

    resumed = resume(Request(after.ports, (), "ops", lambda _key: False))["resumed"]
    assert [one["environments"] for one in resumed] == [["dev", "stage", "prod"]]  # type: ignore[attr-defined]  # an answer is JSON
    settle(after)
    newest = to_prod(after, "v1.4.0")
    assert after.shown("prod") == newest != old
    after.app.database.dispose()
