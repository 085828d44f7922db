"""Git-flow with fixes where they are made: on a release branch, and on a hotfix branch of main."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.driver import Driver, driven

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        up.look_first()
        yield up


def deliver(driver: Driver, environment: str) -> None:
    driver.run(driver.propose(environment))
    pull = driver.stage.open_promotion(environment)
    assert pull is not None
    driver.stage.rita.approve(pull)
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver(environment), driver.publish(environment))


def release(driver: Driver, version: str) -> str:
    """From develop through stage to prod."""
    stage = driver.stage
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, f"release/{version}", parent=commit)
    deliver(driver, "stage")
    pull = stage.dana.open_pull_request(stage.source, f"release/{version}", "main")
    stage.dana.merge(pull, "merge")
    deliver(driver, "prod")
    return commit


@pytest.mark.parametrize(
    "branch", ["release/v1.2.0-sha-{}", "release/sprint-42", "release/2026-03-10"]
)
def test_a_fix_on_a_release_branch_goes_to_stage_though_dev_never_shows_it(
    driver: Driver, branch: str
) -> None:
    stage = driver.stage
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    name = branch.format(commit[:7])
    stage.dana.push(stage.source, name, parent=commit)
    deliver(driver, "stage")
    fix = stage.commit(name, {"fix.py": "1\n"})
    digest = driver.build(stage.source, fix)

    deliver(driver, "stage")

    assert driver.shown("stage") == digest
    assert driver.shown("dev") != digest


def test_a_hotfix_of_main_passes_stage_to_prod_while_a_newer_release_is_in_the_train(
    driver: Driver,
) -> None:
    stage = driver.stage
    release(driver, "v1.2.0")
    main = stage.source.head("main")
    newer = stage.commit("develop")
    driver.build(stage.source, newer)
    driver.run(driver.propose("dev"))
    stage.dana.push(stage.source, "hotfix/v1.2.1", parent=main)
    fix = stage.commit("hotfix/v1.2.1", {"fix.py": "1\n"})
    digest = driver.build(stage.source, fix)

    deliver(driver, "stage")
    stage.dana.push(stage.source, "release/v1.3.0", parent=newer)
    driver.run(driver.propose("stage"))  # the train goes on
    train = stage.open_promotion("stage")
    assert train is not None
    stage.dana.merge(stage.dana.open_pull_request(stage.source, "hotfix/v1.2.1", "main"), "squash")
    deliver(driver, "prod")

    assert driver.shown("prod") == digest
    assert stage.open_promotion("stage") is train


def test_an_image_that_nobody_resolved_does_not_pass_by_standing_there(driver: Driver) -> None:
    """What CI pushed under no commit's tag is nobody's, though it stands where CI pushes."""
    stage = driver.stage
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    digest = driver.build(stage.source, stage.commit("develop"))  # dev has not looked at it
    overlay = stage.file("main", "envs/stage/kustomization.yaml")
    pinned = f"{overlay.rstrip()}\n    digest: {digest}\n"
    stage.dana.push(stage.manifests, "main", {"envs/stage/kustomization.yaml": pinned})

    driver.run(driver.deliver("stage"), driver.publish("stage"))

    assert driver.shown("stage") != digest
