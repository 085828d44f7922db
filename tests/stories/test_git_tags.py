"""Git tags ask for promotions: by version, once each, and never by moving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake
from tests.world.driver import Driver, driven
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

TAGS = PIPELINE.replace(
    'on: {{ branches: ["release/*", "hotfix/*"] }}', 'on: {{ tags: ["v*"] }}'
).replace("merge: auto", "merge: auto", 1)
STAGE_CHECK = "lockkeeper: payments -> stage"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=TAGS) as up:
        up.look_first()
        yield up


def built(driver: Driver) -> str:
    """A commit of develop whose image is in dev."""
    commit = driver.stage.commit("develop")
    digest = driver.build(driver.stage.source, commit)
    driver.run(driver.propose("dev"))
    assert driver.shown("dev") == digest
    return commit


def tag(driver: Driver, name: str, commit: str, *, annotated: bool = False) -> None:
    driver.stage.dana.tag(driver.stage.source, name, commit, annotated=annotated)
    driver.run(driver.propose("stage"))


def title_of(driver: Driver) -> str | None:
    pull = driver.stage.open_promotion("stage")
    return pull.title if pull else None


def merge(driver: Driver) -> None:
    pull = driver.stage.open_promotion("stage")
    assert pull is not None
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver("stage"), driver.propose("stage"))


def said(driver: Driver, commit: str) -> str:
    return driver.stage.checks(driver.stage.source, commit)[STAGE_CHECK][1]


@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_promotes_the_commit_that_it_names(driver: Driver, *, annotated: bool) -> None:
    commit = built(driver)
    built(driver)  # develop moves on

    tag(driver, "v1.2.0", commit, annotated=annotated)

    assert title_of(driver) == f"Promote payments to stage: tag v1.2.0 at {commit[:7]}"
    merge(driver)
    image = driver.stage.resolve("stage", "v1.2.0")  # image_tags has {version}
    assert image is not None
    assert driver.shown("stage") == image
    assert said(driver, commit) == "Published"


def test_a_tag_of_an_older_line_is_late(driver: Driver) -> None:
    older, newer = built(driver), built(driver)
    tag(driver, "v1.1.0", newer)
    merge(driver)

    tag(driver, "v1.0.2", older)

    assert title_of(driver) is None
    assert said(driver, older) == "Superseded"


def test_of_several_tags_the_newest_ready_version_is_proposed(driver: Driver) -> None:
    first, second = built(driver), built(driver)
    unbuilt = driver.stage.commit("develop")
    for name, commit in (("v1.9.0", first), ("v1.10.0", second), ("v1.11.0", unbuilt)):
        driver.stage.dana.tag(driver.stage.source, name, commit)

    driver.run(driver.propose("stage"))

    assert title_of(driver) == f"Promote payments to stage: tag v1.10.0 at {second[:7]}"
    assert said(driver, unbuilt) == "Waiting for image"


def test_tags_that_stood_before_ask_for_nothing(tmp_path: Path) -> None:
    with driven(tmp_path, pipeline=TAGS) as driver:
        driver.stage.dana.tag(driver.stage.source, "v9.0.0", driver.stage.source.head("main") or "")
        driver.look_first()
        commit = built(driver)
        tag(driver, "v1.0.0", commit)

        assert title_of(driver) == f"Promote payments to stage: tag v1.0.0 at {commit[:7]}"


def test_an_environment_that_begins_to_follow_tags_begins_with_the_next(tmp_path: Path) -> None:
    with driven(tmp_path) as driver:
        driver.look_first()
        commit = built(driver)
        driver.stage.dana.tag(driver.stage.source, "v1.0.0", commit)
        text = TAGS.format(**driver.stage.hosts)
        driver.stage.dana.push(driver.stage.manifests, "main", {"lockkeeper.yaml": text})

        driver.run(driver.propose("stage"))
        assert title_of(driver) is None

        tag(driver, "v1.0.1", commit)
        assert title_of(driver) == f"Promote payments to stage: tag v1.0.1 at {commit[:7]}"


def test_a_tag_that_moved_is_told_and_not_promoted(driver: Driver) -> None:
    first, second = built(driver), built(driver)
    tag(driver, "v1.0.0", first)
    merge(driver)

    driver.stage.dana.tag(driver.stage.source, "v1.0.0", second, force=True)
    driver.run(driver.propose("stage"))

    assert title_of(driver) is None
    assert said(driver, second) == "Not promoted"


def test_a_tag_that_is_deleted_asks_no_more(driver: Driver) -> None:
    commit = built(driver)
    driver.stage.dana.tag(driver.stage.source, "v1.0.0", commit)
    driver.stage.dana.delete_tag(driver.stage.source, "v1.0.0")

    driver.run(driver.propose("stage"))

    assert title_of(driver) is None


def test_a_branch_of_a_tags_name_is_not_that_tag(driver: Driver) -> None:
    driver.stage.dana.push(driver.stage.source, "v1.0.0", parent=built(driver))

    driver.run(driver.propose("stage"))

    assert title_of(driver) is None


@pytest.mark.parametrize("annotated", [False, True])
def test_the_webhook_of_a_tag_is_enough(driver: Driver, *, annotated: bool) -> None:
    commit = built(driver)
    driver.stage.dana.tag(driver.stage.source, "v2.0.0", commit, annotated=annotated)
    after = driver.stage.source.git.ref("refs/tags/v2.0.0") or ""
    hint = WebhookHint("push", repository="acme/payments", ref="refs/tags/v2.0.0", after=after)

    intake(driver.ports, hint)
    assert list(driver.queue.waiting) == [driver.propose("stage").key]
    driver.run()

    assert title_of(driver) == f"Promote payments to stage: tag v2.0.0 at {commit[:7]}"


def test_late_tags_are_told_once_however_many_they_are(driver: Driver) -> None:
    older, newer = built(driver), built(driver)
    tag(driver, "v2.0.0", newer)
    merge(driver)
    for patch in range(40):
        driver.stage.dana.tag(driver.stage.source, f"v1.0.{patch}", older)
    driver.run(driver.propose("stage"))
    before = len(driver.stage.github.requests)

    driver.run(driver.propose("stage"))

    assert len(driver.stage.github.requests) - before < 10
    assert said(driver, older) == "Superseded"


PROD = PIPELINE.replace("on: {{ branches: [main] }}", 'on: {{ tags: ["v*"] }}')


@pytest.mark.parametrize("who", ["dana", "rita"])
def test_who_pushed_the_tag_asked_and_does_not_approve(tmp_path: Path, who: str) -> None:
    with driven(tmp_path, pipeline=PROD) as driver:
        driver.look_first()
        stage = driver.stage
        commit = built(driver)
        stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
        driver.run(driver.propose("stage"))
        merge(driver)
        getattr(stage, who).tag(stage.source, "v1.0.0", commit, annotated=True)
        driver.run(driver.propose("prod"))
        pull = stage.open_promotion("prod")
        assert pull is not None
        stage.rita.approve(pull)
        stage.dana.merge(pull)

        driver.run(driver.deliver("prod"), driver.publish("prod"))

        is_delivered = driver.shown("prod") == driver.shown("stage")
        assert is_delivered == (who == "dana"), driver.ran[-4:]
