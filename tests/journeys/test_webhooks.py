"""Webhooks are hints: forged ones are refused, lost, doubled and late ones change nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests

from tests.contract import published
from tests.journeys import walk
from tests.journeys.conftest import Raise
from tests.journeys.outcome import Outcome, assert_becomes, outcome
from tests.world.stage import SECRET, Stage


@pytest.fixture(scope="module")
def quiet(raise_stage: Raise) -> Iterator[Stage]:
    with raise_stage() as stage:
        walk.settled(stage)
        yield stage


def post(
    stage: Stage, event: str, body: bytes, *, secret: str = SECRET, **headers: str | None
) -> requests.Response:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    sent: dict[str, str | None] = {
        "Content-Type": "application/json",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-GitHub-Event": event,
        "X-GitHub-Hook-Installation-Target-ID": stage.bot.environment["LOCKKEEPER_APP_ID"],
        "X-GitHub-Hook-Installation-Target-Type": "integration",
        "X-Hub-Signature-256": f"sha256={signature}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return requests.request(
        "POST",
        f"http://{stage.bot.environment['LOCKKEEPER_LISTEN']}/webhook",
        data=body,
        headers={name: value for name, value in sent.items() if value is not None},
        timeout=30,
    )


def recorded(stage: Stage) -> int:
    path = stage.directory / "data" / "lockkeeper.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as connection:
        return int(connection.execute("SELECT count(*) FROM lk_once").fetchone()[0])


PUSH = json.dumps(
    {
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": "1" * 40,
        "repository": {"id": 1, "full_name": "acme/deploy"},
    }
).encode()


@pytest.mark.parametrize(
    ("headers", "secret", "body", "status"),
    [
        ({}, "not-the-secret", PUSH, 401),
        ({"X_Hub_Signature_256": None}, SECRET, PUSH, 401),
        ({"X_Hub_Signature_256": "sha256="}, SECRET, PUSH, 401),
        ({"X_GitHub_Hook_Installation_Target_ID": "4711"}, SECRET, PUSH, 401),
        ({}, SECRET, b" " * (25 * 1024 * 1024 + 1), 413),
    ],
    ids=["forged", "unsigned", "empty", "another App", "too large"],
)
def test_what_is_not_githubs_is_refused_and_leaves_nothing(
    quiet: Stage, headers: Mapping[str, str | None], secret: str, body: bytes, status: int
) -> None:
    before = recorded(quiet)

    answer = post(quiet, "push", body, secret=secret, **headers)

    assert answer.status_code == status
    assert recorded(quiet) == before


def test_no_example_of_github_brings_the_bot_down(quiet: Stage) -> None:
    for event, payload in published.examples():
        ours = json.loads(json.dumps(payload))
        if isinstance(ours.get("repository"), dict):
            ours["repository"]["full_name"] = "acme/deploy"
        for said in (payload, ours):
            answer = post(quiet, event, json.dumps(said).encode())
            assert answer.status_code in {202, 400}, (event, answer.status_code, answer.text)

    walk.settled(quiet)

    log = quiet.bot.log.read_text()
    assert "Traceback" not in log
    assert "unexpected" not in log
    assert quiet.bot.process is not None
    assert quiet.bot.process.poll() is None


@pytest.fixture(scope="module")
def undisturbed(raise_stage: Raise) -> Outcome:
    with raise_stage() as stage:
        walked = walk.to_prod(stage)
        walk.settled(stage)
        return outcome(walked)


def _double(stage: Stage) -> None:
    stage.github.webhooks.duplicate(times=10_000)


def _lose(stage: Stage) -> None:
    stage.github.webhooks.drop(times=10_000)


@pytest.mark.parametrize("accident", [_double, _lose])
def test_accidents_of_webhooks_leave_the_same_world(
    raise_stage: Raise, undisturbed: Outcome, accident: Callable[[Stage], None]
) -> None:
    with raise_stage(variables={"LOCKKEEPER_RECONCILE_SECONDS": "1"}) as stage:
        walk.looked_at(stage)
        accident(stage)

        walked = walk.to_prod(stage)

        assert_becomes(walked, undisturbed)


def _reversed(deliveries: list[Any]) -> list[Any]:
    return list(reversed(deliveries))


def test_webhooks_that_come_late_and_in_reverse_leave_the_same_world(
    raise_stage: Raise, undisturbed: Outcome
) -> None:
    with raise_stage() as stage:
        webhooks = stage.github.webhooks
        webhooks.hold()
        commit = stage.commit("develop")
        image = stage.build(commit)
        stage.dana.push(stage.source, "release/v1.2.0", parent=commit)
        webhooks.release(_reversed)
        stage.wait_published("dev", image.digest)
        staged = walk.promotion(stage, "stage", image)
        webhooks.hold()
        trigger = walk.release(stage)
        stage.dana.merge(staged)
        webhooks.release(_reversed)
        stage.wait_published("stage", image.digest)
        prod = walk.promotion(stage, "prod", image)
        webhooks.hold()
        stage.rita.approve(prod)
        stage.dana.merge(prod)
        webhooks.release(_reversed)
        stage.wait_published("prod", image.digest)
        walk.settled(stage)

        dev = next(p for p in stage.manifests.pulls.values() if "/dev/" in p.head_ref)
        promotions = {"dev": dev, "stage": staged, "prod": prod}
        refs = {environment: stage.ref(environment) or "" for environment in stage.hosts}
        walked = walk.Walked(stage, image, commit, trigger, promotions, refs)

        assert outcome(walked) == undisturbed
