"""Of a busy branch the newest commit that has an image is promoted, not only the head."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.jobs import RequeueAt
from tests.world.driver import Driver, driven

pytestmark = pytest.mark.slow


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        up.look_first()
        yield up


def in_dev(driver: Driver) -> tuple[str, str]:
    """A commit that is built and in dev, and its digest."""
    commit = driver.stage.commit("develop")
    digest = driver.build(driver.stage.source, commit)
    driver.run(driver.propose("dev"))
    assert driver.shown("dev") == digest
    return commit, digest


def test_while_the_head_is_built_the_newest_built_commit_is_promoted(driver: Driver) -> None:
    stage = driver.stage
    in_dev(driver)
    commits = [stage.commit("develop") for _ in range(4)]
    digest = driver.build(stage.source, commits[2])
    driver.build(stage.source, commits[0])

    driver.ran.clear()
    driver.run(driver.propose("dev"))

    assert driver.shown("dev") == digest
    assert isinstance(
        dict(driver.ran)[driver.propose("dev").key], RequeueAt
    )  # for the head's image
    said = {name: title for name, (_, title) in stage.checks(stage.source, commits[3]).items()}
    assert said == {"lockkeeper: payments -> dev": "Waiting for image"}

    newest = driver.build(stage.source, commits[3])
    driver.run(driver.propose("dev"))
    assert driver.shown("dev") == newest


def test_what_stood_before_what_runs_is_never_gone_back_to(driver: Driver) -> None:
    stage = driver.stage
    older = stage.commit("develop")
    _, digest = in_dev(driver)
    driver.build(stage.source, older)
    stage.commit("develop")

    driver.run(driver.propose("dev"))

    assert driver.shown("dev") == digest


def test_an_approved_promotion_stays_open_while_its_branch_is_built(driver: Driver) -> None:
    stage = driver.stage
    first, _ = in_dev(driver)
    stage.dana.push(stage.source, "release/v1.2.0", parent=first)
    driver.run(driver.propose("stage"))
    pull = stage.open_promotion("stage")
    assert pull is not None
    stage.dana.merge(pull)
    driver.run(driver.deliver("stage"))
    second, digest = in_dev(driver)
    stage.dana.push(stage.source, "release/v1.3.0", parent=second)
    driver.run(driver.propose("stage"))
    pull = stage.open_promotion("stage")
    assert pull is not None
    stage.rita.approve(pull)

    newer = stage.commit("release/v1.3.0")
    head = stage.manifests.head(pull.head_ref)
    driver.run(driver.propose("stage"))

    assert stage.open_promotion("stage") is pull
    assert stage.manifests.head(pull.head_ref) == head
    assert "superseded" not in str(pull.body)
    assert digest[7:15] in str(pull.body)
    waits = stage.checks(stage.source, newer)["lockkeeper: payments -> stage"]
    assert waits[1].startswith("Waiting for")


def test_a_release_branch_may_name_a_commit_that_came_by_a_merge(driver: Driver) -> None:
    stage = driver.stage
    in_dev(driver)
    base = stage.source.head("develop")
    feature = stage.dana.push(stage.source, "feature", {"feature.py": "1\n"}, parent=base)
    pull = stage.dana.open_pull_request(stage.source, "feature", "develop")
    merge = stage.dana.merge(pull)
    digest = driver.build(stage.source, merge)
    driver.run(driver.propose("dev"))
    assert driver.shown("dev") == digest

    stage.dana.push(stage.source, f"release/v1.0.0-sha-{feature[:7]}", parent=merge)
    driver.run(driver.propose("stage"))

    assert stage.open_promotion("stage") is not None
