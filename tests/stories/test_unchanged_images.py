"""An image that did not change is several commits' image; what came with it says which is meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.driver import Driver, driven
from tests.world.images import build_image
from tests.world.stage import OVERLAY, PIPELINE

pytestmark = pytest.mark.slow

WORKER = "payments-worker"
BOTH = PIPELINE.replace(
    "  payments: {{}}\n", "  payments: {{ images: [payments, payments-worker] }}\n"
)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=BOTH) as up:
        overlays = {
            f"envs/{name}/worker/kustomization.yaml": OVERLAY.format(
                environment=name, host=host
            ).replace("payments", WORKER)
            for name, host in up.stage.hosts.items()
        }
        up.stage.dana.push(up.stage.manifests, "main", dict(overlays))
        up.look_first()
        yield up


def build_both(driver: Driver, commit: str) -> str:
    """CI builds both; the worker is the same as ever."""
    build_image(labels={}, seed=7, layer_size=2000).push(
        driver.stage.hosts["dev"], f"acme/{WORKER}", f"sha-{commit[:7]}"
    )
    return driver.build(driver.stage.source, commit)


def test_a_build_that_leaves_one_image_as_it_was_goes_forward(driver: Driver) -> None:
    for _ in range(3):
        digest = build_both(driver, driver.stage.commit("develop"))

        driver.run(driver.propose("dev"))

        assert driver.shown("dev") == digest


def test_the_commit_that_was_promoted_is_recorded_told_and_tagged(driver: Driver) -> None:
    stage = driver.stage
    promoted = stage.commit("develop")
    build_both(driver, promoted)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "release/v1.0.0", parent=promoted)
    driver.run(driver.propose("stage"))
    pull = stage.open_promotion("stage")
    assert pull is not None
    newer = stage.commit("develop")
    build_both(driver, newer)
    driver.run(driver.propose("dev"))

    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"), driver.publish("stage"))

    sealed = {
        entry.facts["image"]: entry.facts["commit"]
        for entry in driver.ports.audit.entries()
        if entry.kind == "sealed" and entry.scope.environment == "stage"
    }
    assert sealed == {"payments": promoted, WORKER: promoted}
    message = stage.manifests.git.text("log", "-1", "--format=%B", "env/stage")
    assert newer not in message
    assert message.count(promoted) == 2
    assert "lockkeeper: payments -> stage" not in stage.checks(stage.source, newer)
    told = stage.checks(stage.source, promoted)["lockkeeper: payments -> stage"]
    assert told == ("success", "Published")
