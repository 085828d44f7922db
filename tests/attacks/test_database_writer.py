"""Whoever writes to the database: may delay, and is seen by whoever compares with the refs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

from click.testing import CliRunner

from bot.cli.main import lockkeeper
from bot.domain.audit_chain import sealed
from bot.domain.memory import Scope
from tests.attacks.steps import settle, to_prod
from tests.world.driver import Driver


def verified(driver: Driver) -> tuple[int, list[str]]:
    """What `lockkeeper audit verify` says of the database and the manifests repository."""
    stage = driver.stage
    own = {k: v for k, v in stage.bot.environment.items() if k.startswith("LOCKKEEPER_")}
    arguments = ["audit", "verify", "--checkout", str(stage.manifests.git.path), "--json"]
    done = CliRunner(env=own).invoke(lockkeeper, arguments)
    assert done.exit_code in {0, 1}, done.output
    return done.exit_code, json.loads(done.stdout)["mismatches"]


def write_anew(driver: Driver) -> None:
    """Change the first entry, and compute the hash of every entry behind it."""
    database = driver.stage.directory / "data" / "lockkeeper.db"
    entries = list(driver.ports.audit.entries())
    changed = [sealed(replace(entries[0], scope=Scope(1, "evil")))]
    for entry in entries[1:]:
        changed.append(sealed(replace(entry, previous=changed[-1].hash)))
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute(
            "UPDATE lk_audit SET manifests = 1, environment = 'evil' WHERE sequence = 1"
        )
        for entry in changed:
            connection.execute(
                "UPDATE lk_audit SET previous = ?, hash = ? WHERE sequence = ?",
                (entry.previous, entry.hash, entry.sequence),
            )
        connection.execute("UPDATE lk_audit_head SET hash = ?", (changed[-1].hash,))


def test_an_audit_that_is_written_anew_does_not_fit_the_publications(driver: Driver) -> None:
    to_prod(driver)
    settle(driver)
    assert verified(driver) == (0, [])

    write_anew(driver)

    code, found = verified(driver)
    assert code == 1
    assert all("the audit was written anew" in one for one in found)
    assert len(found) >= 3, "every environment's"
