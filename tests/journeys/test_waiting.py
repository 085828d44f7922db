"""Not there yet: what was looked for is said, and found when it comes."""

from __future__ import annotations

import pytest

from tests.journeys import walk
from tests.world.stage import Stage


@pytest.mark.parametrize("restarted", [False, True], ids=["awake", "restarted"])
def test_an_image_that_comes_late_is_found(stage: Stage, *, restarted: bool) -> None:
    commit = stage.commit("develop")
    summary = walk.source_check(stage, commit, "dev", "Waiting for image")
    if restarted:
        stage.bot.stop()
        stage.bot.start()

    image = stage.build(commit)

    assert f"{stage.hosts['dev']}/acme/payments:sha-{commit[:7]}" in summary
    stage.wait_published("dev", image.digest)


def test_an_image_that_is_built_and_not_in_stage_waits_for_stage(stage: Stage) -> None:
    commit, image = walk.to_dev(stage)
    stage.dana.push(stage.source, "release/v1.2.0", parent=commit)
    trigger = walk.release(stage)

    walk.source_check(stage, trigger, "prod", "Waiting for stage")
    stage.dana.merge(walk.promotion(stage, "stage"))

    stage.wait_published("stage", image.digest)
    assert walk.promotion(stage, "prod", image).base_ref == "main"
