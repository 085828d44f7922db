"""A stranger on the network: reaches the listeners, and has no secret."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from typing import Final

import pytest

from bot.domain.jobs import Job, JobState
from bot.web.health import create_board
from bot.web.intake import Authenticity, create_closed_intake, create_intake

SECRET: Final = "the webhook's secret"  # noqa: S105 - of this test
BODY: Final = json.dumps(
    {
        "ref": "refs/heads/main",
        "before": "a" * 40,
        "after": "b" * 40,
        "repository": {"id": 7, "full_name": "acme/deploy"},
        "sender": {"login": "ada", "type": "User"},
    }
).encode()


class Jobs:
    """`bot.ports.jobs.Jobs` that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Job] = []

    def put(self, job: Job) -> None:
        self.asked.append(job)

    def put_once(self, job: Job, identity: str) -> bool:
        assert identity
        self.asked.append(job)
        return True

    def states(self) -> Sequence[JobState]:
        return []


def signature(body: bytes, secret: str, algorithm: str = "sha256") -> str:
    return f"{algorithm}={hmac.new(secret.encode(), body, algorithm).hexdigest()}"


def headers(signed: str | None, **more: str) -> dict[str, str]:
    found = {
        "Content-Type": "application/json",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-GitHub-Event": "push",
        "X-GitHub-Hook-Installation-Target-Type": "integration",
        "X-GitHub-Hook-Installation-Target-ID": "4242",
        **more,
    }
    return {**found, **({} if signed is None else {"X-Hub-Signature-256": signed})}


FORGED = {
    "none": headers(None),
    "empty": headers(""),
    "of another secret": headers(signature(BODY, "x")),
    "of the empty secret": headers(signature(BODY, "")),
    "of another body": headers(signature(BODY + b" ", SECRET)),
    "SHA-1": headers(None, **{"X-Hub-Signature": signature(BODY, SECRET, "sha1")}),
    "SHA-1 in the header of SHA-256": headers(signature(BODY, SECRET, "sha1")),
    "without its name": headers(signature(BODY, SECRET).removeprefix("sha256=")),
    "in capitals": headers(signature(BODY, SECRET).upper()),
    "a prefix of it": headers(signature(BODY, SECRET)[:40]),
    "with a byte more": headers(signature(BODY, SECRET) + "0"),
    "not ASCII": headers("sha256=é"),
}


@pytest.mark.parametrize("how", FORGED)
def test_whatever_is_not_signed_gets_one_answer_and_leaves_nothing(how: str) -> None:
    jobs = Jobs()
    client = create_intake(Authenticity(4242, [SECRET]), jobs).test_client()
    known = client.post("/webhook", data=b"{}", headers=headers(None))

    answer = client.post("/webhook", data=BODY, headers=FORGED[how])

    assert (answer.status_code, answer.data) == (401, known.data)
    assert jobs.asked == []


def test_the_same_signed_is_taken() -> None:
    """Else the table above would prove nothing."""
    jobs = Jobs()
    client = create_intake(Authenticity(4242, [SECRET]), jobs).test_client()

    answer = client.post("/webhook", data=BODY, headers=headers(signature(BODY, SECRET)))

    assert (answer.status_code, len(jobs.asked)) == (202, 1)


@pytest.mark.parametrize(
    "path",
    ["/", "/setup", "/healthz", "/metrics", "/promotions/1", "/webhook/", "//webhook", "/%2e"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_the_webhooks_listener_knows_one_route(path: str, method: str) -> None:
    client = create_intake(Authenticity(4242, [SECRET]), Jobs()).test_client()
    closed = create_closed_intake().test_client()

    assert client.open(path, method=method).status_code in {404, 405, 308}
    assert closed.open("/webhook", method=method).status_code in {404, 405}


@pytest.mark.parametrize("path", ["/setup", "/webhook", "/admin", "/../etc/passwd"])
def test_the_board_has_no_door(path: str) -> None:
    client = create_board(lambda: "").test_client()

    assert client.post(path, headers={"X-Forwarded-For": "127.0.0.1"}).status_code in {404, 405}
    assert client.get("/readyz").data == b"ready\n"
