"""A queue row may delay a promotion, never widen what is allowed."""

from __future__ import annotations

import random
import sqlite3

import pytest

from bot.domain.jobs import Job, JobKind
from tests.journeys import walk
from tests.world.stage import Stage

COLUMNS = (
    *("key", "kind", "manifests", "environment", "subject", "hint", "lane", "queue_lane"),
    *("requested", "begun", "state", "owner", "attempts", "crashes"),
    *("due_at", "summary"),
)


def hostile(stage: Stage, dice: random.Random) -> Job:
    """A row that somebody with the database's password might write."""
    subjects = [
        *("payments", "", "1", "2", "999", walk.head(stage), "f" * 40, "../../etc", "x" * 500),
        *(
            "'; DROP TABLE lk_job; --",
            "payments\nSource: " + "0" * 40,
            "-1",
            "\u2028",
            "\u00b2",
            "9" * 30,
        ),
    ]
    hints = [
        *("", "{}", "null", "[]", '{"event": "push"}', "not JSON", '{"event":' * 50),
        '{"event":"push","repository":"acme/deploy","ref":"refs/heads/main"}',
        '{"event":"push","repository":"acme/payments","ref":"refs/heads/main","after":"evil"}',
    ]
    return Job(
        dice.choice(list(JobKind)),
        dice.choice([stage.manifests.id, stage.source.id, 0, -1, 2**40]),
        dice.choice([*stage.hosts, "", "production", "prod/../dev", "PROD"]),
        dice.choice(subjects),
        dice.choice(hints),
    )


def insert(stage: Stage, jobs: list[Job]) -> None:
    rows = [
        (
            *(job.key, str(job.kind), job.manifests, job.environment, job.subject, job.hint),
            *(job.lane, job.queue_lane, 10**6 + number, 0, "queued", "", 0, 0, 0.0, ""),
        )
        for number, job in enumerate(jobs)
    ]
    marks = ", ".join("?" for _ in COLUMNS)
    with sqlite3.connect(stage.directory / "data" / "lockkeeper.db") as connection:
        connection.executemany(
            f"INSERT OR REPLACE INTO lk_job ({', '.join(COLUMNS)}) VALUES ({marks})",  # noqa: S608 - constants
            rows,
        )
        connection.execute("UPDATE lk_sequence SET value = ?", (2 * 10**6,))


@pytest.mark.parametrize("seed", [1])
def test_no_row_makes_the_bot_deliver_what_nobody_may_ask_for(stage: Stage, seed: int) -> None:
    _, image = walk.to_stage(stage)
    pushed = stage.dana.push(
        stage.manifests,
        "main",
        {walk.overlay("prod"): walk.pinned(stage, "prod", image.digest)},
    )
    walk.check(stage, pushed, "failure", "payments -> prod")
    walk.settled(stage)
    refs = {environment: stage.ref(environment) for environment in stage.hosts}
    stage.bot.stop()

    dice = random.Random(seed)  # noqa: S311 - reproducible, no secret
    insert(stage, [hostile(stage, dice) for _ in range(200)])
    stage.bot.start()
    walk.settled(stage)

    assert {environment: stage.ref(environment) for environment in stage.hosts} == refs
    assert stage.resolve("prod", image.digest) is None
    assert walk.signature_tags(stage, "prod") == []
    assert "Traceback" not in stage.bot.log.read_text()
    _, next_image = walk.to_dev(stage)
    assert stage.published("dev") == next_image.digest
