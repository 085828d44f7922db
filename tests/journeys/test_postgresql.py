"""The same journeys on PostgreSQL: one long life of one stage."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.journeys.walk import Walked
from tests.world.stage import Stage


@pytest.fixture(scope="module")
def walked(raise_stage: Raise, new_postgres: Callable[[], str]) -> Iterator[Walked]:
    variables = {"LOCKKEEPER_DATABASE_URL": new_postgres()}
    with raise_stage(variables=variables) as stage:
        yield walk.to_prod(stage)


def test_one_digest_travels_to_prod(walked: Walked) -> None:
    stage, digest = walked.stage, walked.image.digest

    assert {stage.resolve(name, digest) for name in stage.hosts} == {digest}
    assert {stage.published(name) for name in stage.hosts} == {digest}
    for environment in stage.hosts:
        walk.source_check(stage, walked.commit, environment, "Published")


def test_a_killed_bot_goes_on_where_it_was(walked: Walked) -> None:
    stage = walked.stage
    commit = stage.commit("develop")
    stage.bot.stop(signal.SIGKILL)
    image = stage.build(commit)
    stage.bot.start()

    stage.wait_published("dev", image.digest)
    assert stage.published("dev") == image.digest


def test_a_direct_push_is_not_delivered(walked: Walked) -> None:
    stage = walked.stage
    _, image = walk.to_stage(stage, "v1.3.0")

    pushed = stage.dana.push(
        stage.manifests, "main", {walk.overlay("prod"): walk.pinned(stage, "prod", image.digest)}
    )

    said = walk.check(stage, pushed, "failure", "payments -> prod")
    assert "without a merged pull request" in said
    assert stage.resolve("prod", image.digest) is None
    assert stage.published("prod") == walked.image.digest


def test_a_deleted_ref_is_put_back(walked: Walked) -> None:
    stage: Stage = walked.stage
    before = stage.ref("stage")

    stage.dana.delete_branch(stage.manifests, "env/stage")

    stage.eventually(lambda: stage.ref("stage") == before or None, "env/stage is put back")
    assert stage.ref("stage") == before
