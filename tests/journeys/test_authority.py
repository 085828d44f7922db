"""Nothing is delivered to prod that nobody was entitled to ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.journeys import walk
from tests.world.github.people import User
from tests.world.github.records import PullRequest
from tests.world.images import BuiltImage
from tests.world.stage import Stage


@dataclass(frozen=True)
class Ready:
    """A stage on which prod's promotion is open."""

    stage: Stage
    image: BuiltImage
    pull: PullRequest


@pytest.fixture
def ready(stage: Stage) -> Iterator[Ready]:
    _, image = walk.to_stage(stage)
    walk.release(stage)
    yield Ready(stage, image, walk.promotion(stage, "prod"))
    assert stage.bot.process is not None


def assert_not_delivered(stage: Stage, image: BuiltImage) -> None:
    walk.settled(stage)
    assert stage.resolve("prod", image.digest) is None
    assert walk.signature_tags(stage, "prod") == []
    assert stage.published("prod") is None


def retry(stage: Stage) -> None:
    """Ask for the failed delivery again, as an operator does."""
    done = stage.bot.command("status", "--json")
    keys = [job["key"] for job in json.loads(done.stdout)["jobs"]]
    key = next(key for key in keys if key.startswith("deliver:") and ":prod:" in key)
    asked = stage.bot.command("retry", key)
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_a_digest_that_was_pushed_directly_is_not_delivered(stage: Stage) -> None:
    _, image = walk.to_stage(stage)

    pushed = stage.dana.push(
        stage.manifests,
        "main",
        {walk.overlay("prod"): walk.pinned(stage, "prod", image.digest)},
        message="Merge pull request #2 from acme/lockkeeper (#2)",
    )

    said = walk.check(stage, pushed, "failure", "payments -> prod")
    assert "without a merged pull request" in said
    assert "merge a pull request instead" in said
    assert_not_delivered(stage, image)


def test_who_asked_for_the_promotion_cannot_approve_it(ready: Ready) -> None:
    ready.stage.github.add_team("acme", "release-managers", [ready.stage.rita, ready.stage.dana])
    ready.stage.dana.approve(ready.pull)

    merge = ready.stage.dana.merge(ready.pull)

    said = walk.check(ready.stage, merge, "failure", "payments -> prod")
    assert "0 of 1 required approvals" in said
    assert "acme/release-managers" in said.replace("\\", "")
    assert_not_delivered(ready.stage, ready.image)


def test_a_person_outside_the_team_cannot_approve(ready: Ready) -> None:
    sam = ready.stage.github.add_user("sam")
    sam.approve(ready.pull)

    merge = ready.stage.dana.merge(ready.pull)

    assert "0 of 1 required approvals" in walk.check(
        ready.stage, merge, "failure", "payments -> prod"
    )
    assert_not_delivered(ready.stage, ready.image)


def test_an_approval_of_an_older_head_does_not_count(ready: Ready) -> None:
    stage = ready.stage
    stage.rita.approve(ready.pull)
    stage.dana.push(stage.manifests, ready.pull.head_ref, {"notes.md": "more\n"})

    merge = stage.dana.merge(ready.pull)

    assert "0 of 1 required approvals" in walk.check(stage, merge, "failure", "payments -> prod")
    assert_not_delivered(stage, ready.image)


def test_an_approver_who_left_the_team_does_not_count(ready: Ready) -> None:
    stage = ready.stage
    stage.rita.approve(ready.pull)
    stage.github.add_team("acme", "release-managers", [])

    merge = stage.dana.merge(ready.pull)

    assert "0 of 1 required approvals" in walk.check(stage, merge, "failure", "payments -> prod")
    assert_not_delivered(stage, ready.image)


@pytest.mark.parametrize("asked", ["by review", "by retry"])
def test_an_approval_after_the_merge_delivers(ready: Ready, asked: str) -> None:
    stage = ready.stage
    merge = stage.dana.merge(ready.pull)
    walk.check(stage, merge, "failure", "payments -> prod")
    walk.settled(stage)

    if asked == "by retry":
        stage.github.webhooks.drop("pull_request_review")
    stage.rita.approve(ready.pull)
    if asked == "by retry":
        retry(stage)

    stage.wait_published("prod", ready.image.digest)
    assert walk.is_signed(stage, "prod", ready.image.digest)
    walk.check(stage, merge, "success", "payments -> prod")
    walk.check(stage, merge, "success", "prod")


def test_a_merge_by_whoever_may_approve_still_needs_another_approval(ready: Ready) -> None:
    person: User = ready.stage.rita

    merge = person.merge(ready.pull)

    assert "0 of 1 required approvals" in walk.check(
        ready.stage, merge, "failure", "payments -> prod"
    )
    assert_not_delivered(ready.stage, ready.image)
