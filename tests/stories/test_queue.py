"""`order: queue`: each push has its turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.world.clients import HandClock
from tests.world.driver import Driver, driven
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

QUEUE = PIPELINE.replace(
    'on: {{ branches: ["release/*", "hotfix/*"] }}\n    from: dev',
    'on: {{ branches: [develop], tags: ["v*"] }}\n    order: queue\n    from: {dev}/acme/{{image}}',
)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=QUEUE) as up:
        up.look_first()
        yield up


def push(driver: Driver, *, is_built: bool = True) -> tuple[str, str]:
    """A push to develop, and its image's digest."""
    commit = driver.stage.commit("develop")
    return commit, driver.build(driver.stage.source, commit) if is_built else ""


def title_of(driver: Driver) -> str:
    pull = driver.stage.open_promotion("stage")
    return str(pull.title) if pull else ""


def merge(driver: Driver) -> None:
    pull = driver.stage.open_promotion("stage")
    assert pull is not None
    driver.stage.dana.merge(pull)
    driver.run(driver.deliver("stage"))


def said(driver: Driver, commit: str) -> str:
    return driver.stage.checks(driver.stage.source, commit)["lockkeeper: payments -> stage"][1]


def running(driver: Driver) -> None:
    """Something runs: from now on there is a line."""
    push(driver)
    driver.run(driver.propose("stage"))
    merge(driver)


def test_each_has_its_turn_in_the_order_of_pushes(driver: Driver) -> None:
    running(driver)
    pushed = [push(driver) for _ in range(3)]
    driver.run(driver.propose("stage"))

    for commit, digest in pushed:
        assert title_of(driver).endswith(f"develop at {commit[:7]}")
        if commit != pushed[-1][0]:
            assert said(driver, pushed[-1][0]) == "Queued"
        merge(driver)
        assert driver.shown("stage") == digest
    assert title_of(driver) == ""


def test_an_open_one_is_never_replaced(driver: Driver) -> None:
    running(driver)
    first, _ = push(driver)
    driver.run(driver.propose("stage"))
    push(driver)

    driver.run(driver.propose("stage"))

    assert title_of(driver).endswith(f"develop at {first[:7]}")


def test_the_first_one_of_all_is_not_replaced_either(driver: Driver) -> None:
    first, _ = push(driver)
    driver.run(driver.propose("stage"))
    push(driver)

    driver.run(driver.propose("stage"))

    assert title_of(driver).endswith(f"develop at {first[:7]}")


def test_a_build_that_is_slower_than_the_next_keeps_its_place(driver: Driver) -> None:
    running(driver)
    slow, _ = push(driver, is_built=False)
    fast, _ = push(driver)

    driver.run(driver.propose("stage"))
    assert title_of(driver) == ""
    assert said(driver, slow) == "Waiting for image"
    assert said(driver, fast) == "Queued"

    driver.build(driver.stage.source, slow)
    driver.run(driver.propose("stage"))
    assert title_of(driver).endswith(f"develop at {slow[:7]}")


def test_commits_within_a_push_have_no_turn(driver: Driver) -> None:
    running(driver)
    stage = driver.stage
    base = stage.source.head("develop")
    assert base is not None
    inner = stage.dana.commit(stage.source, {"x": "1\n"}, parents=(base,))
    last = stage.dana.commit(stage.source, {"x": "2\n"}, parents=(inner,))
    stage.dana.push(stage.source, "develop", parent=last)
    driver.build(stage.source, last)

    driver.run(driver.propose("stage"))

    assert title_of(driver).endswith(f"develop at {last[:7]}")


def test_one_that_a_person_closed_gives_its_turn_away(driver: Driver) -> None:
    running(driver)
    push(driver)
    second, _ = push(driver)
    driver.run(driver.propose("stage"))
    pull = driver.stage.open_promotion("stage")
    assert pull is not None
    driver.stage.dana.close(pull)

    driver.run(driver.propose("stage"))

    assert title_of(driver).endswith(f"develop at {second[:7]}")


def test_the_next_waits_until_what_was_merged_is_published(driver: Driver) -> None:
    running(driver)
    push(driver)
    second, _ = push(driver)
    driver.run(driver.propose("stage"))
    pull = driver.stage.open_promotion("stage")
    assert pull is not None
    driver.stage.dana.merge(pull)

    driver.run(driver.propose("stage"))
    assert title_of(driver) == ""
    assert said(driver, second) == "Queued"

    driver.run(driver.deliver("stage"))  # its publication asks for the next
    assert title_of(driver).endswith(f"develop at {second[:7]}")


def test_tags_have_their_turn_by_version(driver: Driver) -> None:
    stage = driver.stage
    commits: list[str] = []
    for _ in range(2):
        branch = stage.dana.push(stage.source, "side", {"x": f"{len(commits)}\n"})
        driver.build(stage.source, branch)
        commits.append(branch)
    for name, commit in (("v1.1.0", commits[1]), ("v1.0.0", commits[0])):
        stage.dana.tag(stage.source, name, commit)

    driver.run(driver.propose("stage"))

    assert title_of(driver).endswith(f"tag v1.0.0 at {commits[0][:7]}")
    merge(driver)
    assert title_of(driver).endswith(f"tag v1.1.0 at {commits[1][:7]}")


def test_turns_that_nobody_ever_builds_hold_back_none_that_is_built(driver: Driver) -> None:
    """31 tags without an image, all of them waited for long enough."""
    stage = driver.stage
    tip = stage.source.head("develop") or ""
    for number in range(31):
        tip = stage.dana.commit(stage.source, {"x": f"{number}\n"}, parents=(tip,))
        stage.dana.tag(stage.source, f"v1.0.0-nightly.{number}", tip)
    built = stage.dana.commit(stage.source, {"x": "built\n"}, parents=(tip,))
    driver.build(stage.source, built)
    stage.dana.tag(stage.source, "v1.0.0", built)
    late = HandClock(driver.ports.clock.now() + timedelta(hours=2))
    driver.workflows = replace(driver.workflows, ports=replace(driver.ports, clock=late))

    driver.run(driver.propose("stage"))

    assert title_of(driver).endswith(f"tag v1.0.0 at {built[:7]}")
