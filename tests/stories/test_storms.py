"""Storms: however often a branch is pushed to, its pull request is written once in a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import RequeueAt
from tests.world.driver import TWO, Driver, driven
from tests.world.github.clock import MovableClock
from tests.world.stage import PIPELINE

pytestmark = pytest.mark.slow

FED = PIPELINE.replace('["release/*", "hotfix/*"]', "[develop]").replace(
    "    from: dev\n", "    from: {dev}/acme/{{image}}\n", 1
)
"""Stage takes what CI pushes, of each push to develop."""


@dataclass
class Later:
    """The bot's clock, put forward by hand."""

    now_: Callable[[], datetime]
    forward: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return self.now_() + self.forward


def limited(driver: Driver, *, seconds: int = 0, most: int = 100) -> Later:
    """Let so many seconds be between proposals, and so many of them open."""
    clock, limits = Later(driver.ports.clock.now), driver.ports.limits
    between = timedelta(seconds=seconds)
    changed = replace(limits, between_proposals=between, open_pull_requests=most)
    driver.ports = replace(driver.ports, clock=clock, limits=changed)
    driver.workflows = replace(driver.workflows, ports=driver.ports)
    return clock


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path, pipeline=FED) as up:
        up.look_first()
        yield up


def written(driver: Driver) -> int:
    scope = driver.look().scope("stage", "payments")
    return len(driver.ports.memory.written_heads(scope))


def test_500_pushes_within_a_minute_are_one_pull_request_and_three_updates(driver: Driver) -> None:
    stage, pushes, built = driver.stage, 500, ""
    clock = limited(driver, seconds=30)
    for number in range(pushes):
        commit = stage.commit("develop")
        if number % 10 == 0:  # CI is slower than pushes, and builds a tenth of them
            built = driver.build(stage.source, commit)
            driver.run(driver.propose("stage"))
        clock.forward += timedelta(seconds=60 / pushes)
    clock.forward += timedelta(seconds=60)
    driver.run(driver.propose("stage"))

    [pull] = stage.manifests.pulls.values()
    assert pull.head_ref == "lockkeeper/stage/payments"
    assert built in stage.file(pull.head, "envs/stage/kustomization.yaml")
    assert written(driver) <= 1 + 3


def test_what_waits_a_moment_says_until_when(driver: Driver) -> None:
    stage = driver.stage
    limited(driver, seconds=30)
    for _ in range(2):
        driver.build(stage.source, stage.commit("develop"))
        driver.run(driver.propose("stage"))

    outcome = driver.ran[-1][1]
    assert isinstance(outcome, RequeueAt)
    assert timedelta(0) < outcome.at - driver.ports.clock.now() <= timedelta(seconds=30)
    assert written(driver) == 1


def test_no_more_are_opened_than_may_be_and_the_check_says_why(tmp_path: Path) -> None:
    with driven(tmp_path, pipeline=TWO) as driver:
        billing, stage = driver.add_billing(), driver.stage
        driver.look_first("payments", "billing")
        limited(driver, most=1)
        for source, name in ((stage.source, "payments"), (billing, "billing")):
            commit = stage.dana.push(source, "develop", {"x": "1\n"})
            driver.build(source, commit)
            driver.run(driver.propose("dev", name))
            stage.dana.push(source, "release/v1.0.0", parent=commit)

        driver.run(driver.propose("stage"), driver.propose("stage", "billing"))

        [first] = stage.manifests.open_pulls()
        assert first.head_ref == "lockkeeper/stage/payments"
        title = stage.checks(billing, billing.head("release/v1.0.0") or "")
        assert title["lockkeeper: billing -> stage"][1] == "Waits: too many promotions are open"
        assert isinstance(driver.ran[-1][1], RequeueAt)

        stage.dana.merge(first)
        driver.run(driver.propose("stage", "billing"))
        assert [one.head_ref for one in stage.manifests.open_pulls()] == [
            "lockkeeper/stage/billing"
        ]


def test_what_goes_in_circles_is_stopped(driver: Driver) -> None:
    """Two branches take turns: each is force-pushed back to where it was."""
    stage = driver.stage
    base = stage.source.head("develop") or ""
    commits = []
    for name in ("one", "two"):
        commit = stage.dana.push(stage.source, name, {"x": f"{name}\n"}, parent=base)
        driver.build(stage.source, commit)
        commits.append(commit)
    clock = stage.github.clock
    assert isinstance(clock, MovableClock)
    for turn in range(8):
        clock.advance(timedelta(seconds=2))
        stage.dana.push(stage.source, "develop", parent=commits[turn % 2], force=True)
        driver.run(driver.propose("stage"))

    assert written(driver) < 8
    said = stage.checks(stage.source, commits[0])["lockkeeper: payments -> stage"][1]
    assert said == "Stopped: it goes in circles"
