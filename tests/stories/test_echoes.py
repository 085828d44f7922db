"""What the bot wrote itself comes back as webhooks, and asks for no look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.formats.webhook import WebhookHint
from bot.reconcilers.intake import intake, tells_something
from tests.world.driver import Driver, driven


@pytest.mark.parametrize(
    ("event", "action", "tells"),
    [
        ("push", "", True),
        ("status", "", True),
        ("repository", "renamed", True),
        ("merge_group", "checks_requested", True),
        ("package", "published", True),
        ("check_suite", "completed", True),
        ("check_suite", "rerequested", True),
        ("check_suite", "requested", False),
        ("check_run", "completed", True),
        ("check_run", "created", False),
        ("workflow_run", "completed", True),
        ("workflow_run", "in_progress", False),
        ("pull_request", "opened", True),
        ("pull_request", "edited", True),
        ("pull_request", "labeled", True),
        ("pull_request", "assigned", False),
        ("pull_request", "closed", False),
        ("pull_request_review", "submitted", True),
        ("issue_comment", "created", True),
        ("issue_comment", "edited", False),
        ("issue_comment", "deleted", False),
    ],
)
def test_what_can_ask_for_no_look_leaves_no_row(event: str, action: str, *, tells: bool) -> None:
    hint = WebhookHint(event, action, pull_request=7, comment=123)
    assert tells_something(hint) is tells


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    with driven(tmp_path) as up:
        up.look_first()
        yield up


def looks(driver: Driver, hint: WebhookHint) -> list[str]:
    driver.queue.put_ever.clear()
    intake(driver.ports, hint)
    return [job.key for job in driver.queue.put_ever]


@pytest.mark.slow
def test_its_own_publication_and_pull_request_ask_for_nothing(driver: Driver) -> None:
    stage, number = driver.stage, driver.stage.manifests.id
    commit = stage.commit("develop")
    driver.build(stage.source, commit)
    driver.run(driver.propose("dev"))
    published = stage.ref("dev")
    assert published is not None
    stage.dana.push(stage.source, "release/v1.0.0", parent=commit)
    driver.run(driver.propose("stage"))
    pull = stage.open_promotion("stage")
    assert pull is not None
    push = WebhookHint("push", repository="acme/deploy", ref="refs/heads/env/dev")
    opened = WebhookHint("pull_request", "opened", "acme/deploy", pull_request=pull.number)

    assert looks(driver, replace(push, after=published)) == []
    assert looks(driver, replace(opened, sender=driver.ports.github.login())) == []

    # The same by others is looked at.
    assert looks(driver, replace(push, after="0" * 40)) == [f"publish:{number}:dev:"]
    assert looks(driver, replace(opened, sender="dana")) == [f"answer:{number}::{pull.number}"]
