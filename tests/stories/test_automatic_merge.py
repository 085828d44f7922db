"""`merge: auto` where GitHub does not merge: its reason, patience, and what wakes the bot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import RequeueAt
from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake
from bot.reconcilers.operator import Request, status
from tests.world.driver import Driver, driven

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Later:
    """A clock that stands."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """Dev merges by itself, and its pull request needs an approval that nobody gave."""
    with driven(tmp_path) as up:
        up.look_first()
        up.build(up.stage.source, up.stage.commit("develop"))
        up.stage.github.protect(up.stage.manifests, "main", approvals=1)
        up.run(up.propose("dev"))
        yield up


def waits(driver: Driver) -> RequeueAt:
    outcome = dict(driver.ran)[driver.propose("dev").key]
    assert isinstance(outcome, RequeueAt)
    return outcome


def attempts(driver: Driver) -> int:
    found = driver.stage.github.requests
    return sum(method == "PUT" and path.endswith("/merge") for method, path, _ in found)


def test_github_s_reason_is_quoted_where_people_look(driver: Driver) -> None:
    stage = driver.stage
    head = stage.source.head("develop")
    assert head

    assert "approving review" in waits(driver).summary
    [run] = [r for r in stage.source.check_runs.values() if r.commit == head]
    assert run.output["title"] == "Cannot be merged yet"
    assert "approving review" in run.output["summary"]
    places = status(Request(driver.ports, (), "ops", lambda _key: False))["places"]
    [dev] = [p for p in places if p["environment"] == "dev"]  # type: ignore[attr-defined]  # an answer is a mapping of anything
    assert (dev["state"], "/pull/" in dev["link"]) == ("proposed", True)


def test_one_attempt_each_look_and_longer_waits_as_time_passes(driver: Driver) -> None:
    assert attempts(driver) == 1
    first = waits(driver).at - driver.ports.clock.now()
    assert first <= timedelta(seconds=15)

    late = Later(driver.ports.clock.now() + timedelta(hours=2))
    ports = replace(driver.ports, clock=late)
    driver.workflows = replace(driver.workflows, ports=ports)
    driver.run(driver.propose("dev"))

    assert attempts(driver) == 2
    assert waits(driver).at - late.at == timedelta(minutes=15)


@pytest.mark.parametrize(
    "hint",
    [
        WebhookHint("pull_request_review", action="submitted", pull_request=1),
        WebhookHint("check_suite", action="completed"),
        WebhookHint("check_run", action="completed"),
    ],
    ids=lambda hint: hint.event,
)
def test_a_review_and_a_check_wake_what_waits_to_be_merged(
    driver: Driver, hint: WebhookHint
) -> None:
    driver.queue.waiting.clear()

    intake(driver.ports, replace(hint, repository="acme/deploy"))

    assert driver.propose("dev").key in driver.queue.waiting
    assert driver.propose("prod").key not in driver.queue.waiting
