"""Webhooks of the local GitHub: signed, logged, lost, doubled, reordered, redelivered."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.world.conftest import Scene
from tests.world.github.webhooks import Delivery

Received = tuple[dict[str, str], bytes]


class Receiver(ThreadingHTTPServer):
    """Keeps what it gets and answers 202, or what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[Received] = []
        self.status = 202

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/webhook"

    def guids(self) -> list[str]:
        return [headers["X-GitHub-Delivery"] for headers, _ in self.received]

    def events(self) -> list[str]:
        return [headers["X-GitHub-Event"] for headers, _ in self.received]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver = self.server
        assert isinstance(receiver, Receiver)
        receiver.received.append((dict(self.headers), body))
        self.send_response(receiver.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


@pytest.fixture
def receiver(scene: Scene) -> Iterator[Receiver]:
    with Receiver() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        scene.app.app.webhook_url, scene.app.app.webhook_active = running.url, True
        yield running
        running.shutdown()


def push(scene: Scene, text: str = "text") -> None:
    scene.rita.push(scene.manifests, "main", {"a.txt": text})
    scene.world.webhooks.wait_until_delivered()


def log(scene: Scene, query: str = "") -> list[dict[str, Any]]:
    answer = scene.send("GET", f"/app/hook/deliveries{query}", token=scene.app_token())
    shown: list[dict[str, Any]] = answer.json()
    return shown


def test_a_webhook_is_signed_and_says_for_whom_it_is(scene: Scene, receiver: Receiver) -> None:
    push(scene)

    headers, body = receiver.received[0]
    signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature-256"] == f"sha256={signature}"
    assert headers["X-GitHub-Event"] == "push"
    assert headers["X-GitHub-Hook-Installation-Target-Type"] == "integration"
    assert headers["X-GitHub-Hook-Installation-Target-ID"] == str(scene.app.id)
    assert json.loads(body)["installation"]["id"] == scene.installation.id


def test_a_push_asks_for_the_check_suite_of_the_app(scene: Scene, receiver: Receiver) -> None:
    push(scene)

    assert receiver.events() == ["push", "check_suite"]


def test_a_failed_delivery_is_in_the_log_and_redelivered_with_its_guid(
    scene: Scene, receiver: Receiver
) -> None:
    receiver.status = 503
    push(scene)
    failed = log(scene, "?status=failure")
    receiver.status = 202

    path = f"/app/hook/deliveries/{failed[-1]['id']}"
    again = scene.send("POST", f"{path}/attempts", token=scene.app_token())
    scene.world.webhooks.wait_until_delivered()

    whole = scene.send("GET", path, token=scene.app_token()).json()
    assert again.status_code == 202
    assert [one["event"] for one in failed] == ["check_suite", "push"]
    assert receiver.guids() == [failed[1]["guid"], failed[0]["guid"], failed[1]["guid"]]
    assert (log(scene)[0]["redelivery"], log(scene)[0]["status"]) == (True, "OK")
    assert whole["request"]["payload"] == json.loads(receiver.received[0][1])


def test_the_log_is_read_with_a_cursor(scene: Scene, receiver: Receiver) -> None:
    push(scene)
    push(scene, "again")

    first = scene.send("GET", "/app/hook/deliveries?per_page=3", token=scene.app_token())
    rest = log(scene, first.links["next"]["url"].partition("deliveries")[2])

    assert [one["guid"] for one in [*first.json(), *rest]] == receiver.guids()[::-1]


def test_a_lost_webhook_is_logged_and_a_dropped_one_is_not(
    scene: Scene, receiver: Receiver
) -> None:
    scene.world.webhooks.lose("push")
    scene.world.webhooks.drop("check_suite")
    push(scene)

    assert receiver.received == []
    assert [(one["event"], one["status_code"]) for one in log(scene)] == [("push", 502)]


def test_a_duplicate_carries_the_same_guid(scene: Scene, receiver: Receiver) -> None:
    scene.world.webhooks.duplicate("push")
    push(scene)

    assert receiver.events() == ["push", "push", "check_suite"]
    assert len(set(receiver.guids())) == 2


def test_held_webhooks_come_in_another_order(scene: Scene, receiver: Receiver) -> None:
    def backwards(held: list[Delivery]) -> list[Delivery]:
        return held[::-1]

    scene.world.webhooks.hold()
    push(scene)
    assert receiver.received == []

    scene.world.webhooks.release(backwards)
    scene.world.webhooks.wait_until_delivered()

    assert receiver.events() == ["check_suite", "push"]


def test_nobody_listens_and_the_log_says_so(scene: Scene) -> None:
    scene.app.app.webhook_url, scene.app.app.webhook_active = "http://127.0.0.1:9/", True
    push(scene)

    assert {one["status"] for one in log(scene)} == {"failed to connect to host"}


def test_every_event_of_a_busy_day_holds_against_the_schemas(
    scene: Scene, receiver: Receiver
) -> None:
    # The fixture fails where a payload differs from GitHub's schema.
    other = scene.world.add_repository("acme/other")
    scene.world.add_to_installation(scene.installation, other)
    scene.world.remove_from_installation(scene.installation, other)
    scene.world.suspend(scene.installation)
    scene.world.unsuspend(scene.installation)
    scene.sam.push(scene.manifests, "feature", {"a.txt": "a"})
    pull = scene.sam.open_pull_request(scene.manifests, "feature", body="text")
    scene.sam.push(scene.manifests, "feature", {"b.txt": "b"})
    scene.sam.edit(pull, title="better")
    scene.sam.label(pull, "promotion")
    scene.rita.review(pull, "REQUEST_CHANGES", "please")
    scene.rita.approve(pull)
    scene.rita.edit_comment(scene.rita.comment(pull, "/explain"), "/retry")
    scene.sam.close(pull)
    scene.sam.reopen(pull)
    repository = scene.client().get_repo("acme/manifests")
    repository.create_check_run("lockkeeper", pull.head, status="in_progress")
    run = next(iter(scene.manifests.check_runs.values()))
    scene.rita.press(run, "recheck")
    scene.rita.rerun(run)
    repository.get_pull(1).create_review_request(team_reviewers=["release-managers"])
    scene.world.complete_checks(scene.manifests, pull.head)
    deployment = repository.create_deployment(pull.head, auto_merge=False, required_contexts=[])
    deployment.create_status("success", environment_url="https://dev.example.com")
    scene.rita.merge(pull)
    scene.sam.delete_branch(scene.manifests, "feature")
    scene.rita.tag(scene.manifests, "v1.0.0", pull.head)
    scene.world.uninstall(scene.installation)
    scene.world.webhooks.wait_until_delivered()

    happened = {(d.event, d.action) for d in scene.world.webhooks.sent}
    assert {
        ("installation", "deleted"),
        ("pull_request", "synchronize"),
        ("pull_request", "reopened"),
        ("pull_request", "review_requested"),
        ("check_run", "requested_action"),
        ("check_suite", "completed"),
        ("deployment_status", "created"),
        ("issue_comment", "edited"),
    } <= happened
    assert receiver.guids() == [d.guid for d in scene.world.webhooks.sent][-len(receiver.guids()) :]
