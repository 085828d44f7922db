"""Whoever writes to the database: may delay, and is seen; no row of theirs lets anything in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli.main import lockkeeper
from bot.domain.audit_chain import sealed
from bot.domain.doctor.findings import About
from bot.domain.jobs import Job, JobKind
from bot.domain.memory import Scope
from bot.reconcilers.operator import Request, resume
from tests.attacks.steps import FILE, TEAM, head, rules, said, settle, to_prod, wish
from tests.world.driver import Driver, driven
from tests.world.images import build_image

HELD = "prod is held: the database is not what it was"


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


# --- rows that would let something in; the attacks leave the scene as it was ---


@pytest.fixture(scope="module")
def at_prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """One promoted digest in every environment, for all attacks that change nothing."""
    with driven(tmp_path_factory.mktemp("at-prod")) as up:
        to_prod(up)
        settle(up)
        yield up


def write(driver: Driver, *statements: str, **values: object) -> None:
    """As whoever writes to the database does it."""
    file = driver.stage.directory / "data" / "lockkeeper.db"
    with closing(sqlite3.connect(file, timeout=10)) as connection, connection:
        for statement in statements:
            connection.execute(statement, values)


def files_at(driver: Driver, commit: str) -> dict[str, str]:
    """What the attacks change, as it stood at a commit."""
    paths = (FILE, "envs/stage/kustomization.yaml", "envs/prod/kustomization.yaml")
    return {path: driver.stage.file(commit, path) for path in paths}


def answers(driver: Driver) -> list[dict[str, Any]]:
    """Carry out every open command; the answers."""
    commands = driver.workflows.commands
    found = [one.id for one in commands.open()]
    for row in found:
        driver.workflows(Job(JobKind.COMMAND, subject=str(row)))
    done = [commands.get(row) for row in found]
    return [json.loads(one.answer or "{}") for one in done if one is not None]


def test_a_forged_adoption_lets_no_digest_in(at_prod: Driver) -> None:
    driver, stage = at_prod, at_prod.stage
    before, tip, shown = head(driver), stage.ref("prod"), driver.shown("prod")
    evil = "sha256:" + "e" * 64
    stage.dana.push(stage.manifests, "main", dict(wish(driver, evil)))
    write(
        driver,
        "INSERT INTO lk_adoption (manifests, environment, application, digest, actor, at, proof)"
        " VALUES (:manifests, 'prod', '', :evil, 'ada', '2026-01-01T00:00:00.000000+00:00', '')",
        manifests=stage.manifests.id,
        evil=evil,
    )

    settle(driver, "prod")

    assert (driver.shown("prod"), stage.ref("prod")) == (shown, tip)
    facts = [one.line for one in driver.ports.findings() if one.about is About.RECORD]
    assert any("lk_adoption" in line for line in facts), facts
    stage.dana.push(stage.manifests, "main", dict(files_at(driver, before)))


def test_a_seal_copied_from_another_environment_seals_nothing(at_prod: Driver) -> None:
    """Stage does not sign: there the record is what says that a digest was admitted."""
    driver, stage = at_prod, at_prod.stage
    commit = stage.commit("develop")
    digest = driver.build(stage.source, commit)
    labels = {"org.opencontainers.image.revision": commit}
    again = build_image(labels=labels, seed=int(commit[:8], 16), layer_size=2000)
    again.push(stage.hosts["stage"], "acme/payments", "smuggled")
    driver.run(driver.propose("dev"))
    assert driver.shown("dev") == digest == again.digest
    before, shown = head(driver), driver.shown("stage")
    stage.dana.push(stage.manifests, "main", dict(wish(driver, digest, "stage")))
    write(
        driver,
        "INSERT INTO lk_seal (manifests, environment, application, image, repository, digest,"
        " merge_id, pull_request, at, proof) SELECT manifests, 'stage', application, image,"
        " :repository, digest, merge_id, pull_request, at, proof FROM lk_seal WHERE"
        " digest = :digest AND environment = 'dev'",
        repository=f"{stage.hosts['stage']}/acme/payments",
        digest=digest,
    )

    driver.run(driver.publish("stage"), most=1)

    assert driver.shown("stage") == shown
    stage.dana.push(stage.manifests, "main", dict(files_at(driver, before)))


@pytest.mark.parametrize("verb", ["accept", "adopt", "unhold", "resume", "reseal"])
def test_a_forged_command_is_refused(at_prod: Driver, verb: str) -> None:
    driver = at_prod
    write(
        driver,
        "INSERT INTO lk_command (verb, arguments, actor, at, failed)"
        " VALUES (:verb, :arguments, 'ada', :at, 0)",
        verb=verb,
        arguments=json.dumps(["prod", head(driver)]),
        at=driver.ports.clock.now().isoformat(timespec="microseconds"),
    )

    answer = answers(driver)[-1]

    assert answer["error"]["kind"] == "UnprovenCommandError", answer


def test_a_command_is_carried_out_once_and_soon(at_prod: Driver) -> None:
    driver = at_prod
    commands = driver.workflows.commands
    row = commands.submit("unhold", ["prod"], "ada")
    assert "error" not in answers(driver)[-1]

    write(driver, "UPDATE lk_command SET answer = NULL, begun = 0 WHERE id = :row", row=row)
    assert answers(driver)[-1]["error"]["kind"] == "StaleCommandError"

    write(
        driver,
        "INSERT INTO lk_command (verb, arguments, actor, at, failed, proof)"
        " SELECT verb, arguments, actor, at, 0, proof FROM lk_command WHERE id = :row",
        row=row,
    )
    assert answers(driver)[-1]["error"]["kind"] == "UnprovenCommandError", "copied"


def test_rules_that_vanish_from_the_record_hold_everything(at_prod: Driver) -> None:
    """Else the next look would be the first, and begin with whatever was pushed meanwhile."""
    driver, stage = at_prod, at_prod.stage
    before, text = head(driver), rules(driver)
    loose = text.replace(f"approvals: {{ count: 1, {TEAM} }}", "approvals: { count: 0 }")
    assert loose != text, text
    stage.dana.push(stage.manifests, "main", {FILE: loose})
    write(driver, "CREATE TABLE kept AS SELECT * FROM lk_rules", "DELETE FROM lk_rules")

    view = driver.look()
    settle(driver)

    assert "are not in this database" in view.cut_off
    assert driver.ports.memory.accepted_rules(view.id) == []
    assert said(driver, head(driver))["lockkeeper: prod"] == ("failure", HELD)
    refused = resume(Request(driver.ports, (), "ops", lambda _key: False))
    assert "name the commit" in str(refused["problems"])
    write(driver, "INSERT INTO lk_rules SELECT * FROM kept", "DROP TABLE kept")
    assert driver.look().cut_off == ""
    stage.dana.push(stage.manifests, "main", dict(files_at(driver, before)))


def test_an_emptied_database_holds_until_somebody_resumes(driver: Driver) -> None:
    digest = to_prod(driver)
    tips = [driver.stage.ref(name) for name in ("dev", "stage", "prod")]
    was = head(driver)
    loose = rules(driver).replace(f"approvals: {{ count: 1, {TEAM} }}", "approvals: { count: 0 }")
    driver.stage.dana.push(driver.stage.manifests, "main", {FILE: loose})
    with driver.app.database.begin() as connection:
        for table in ("rules", "publication", "seal", "shown", "adoption", "written_head"):
            connection.exec_driver_sql(f"DELETE FROM lk_{table}")  # noqa: S608 - our own names

    settle(driver)

    assert [driver.stage.ref(name) for name in ("dev", "stage", "prod")] == tips
    assert "was restored, emptied or changed" in driver.look().cut_off
    assert driver.ports.memory.accepted_rules(driver.look().id) == [], "it is no first look"
    request = Request(driver.ports, ("", was), "ops", lambda _key: False)
    assert resume(request)["resumed"], "with the rules that somebody has read"
    assert driver.look().cut_off == ""
    assert driver.look().environment("prod").approvals.count == 1
    settle(driver)
    assert driver.shown("prod") == digest
