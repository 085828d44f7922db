from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import given, strategies as st
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from bot.adapters.clock import SystemClock
from bot.adapters.engine import MIGRATIONS, Engine
from bot.adapters.store import migrate, open_database
from bot.domain.errors import UnavailableError
from bot.domain.jobs import Done, Job, JobKind, JobState
from bot.formats.webhook import read_hint
from bot.web.intake import BODY_LIMIT, Authenticity, create_intake

# GitHub's own example, "Validating webhook deliveries".
SECRET = "It's a Secret to Everybody"  # noqa: S105 - of this test
APP = 4242
DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
PUSH = {
    "ref": "refs/heads/develop",
    "before": "a" * 40,
    "after": "b" * 40,
    "repository": {"id": 7, "full_name": "Acme/Payments"},
    "sender": {"login": "ada", "type": "User"},
}


class RecordedJobs:
    """`bot.ports.jobs.Jobs` that remembers, and fails when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.identities: set[str] = set()
        self.is_full = False

    def put(self, job: Job) -> None:
        self.jobs.append(job)

    def put_once(self, job: Job, identity: str) -> bool:
        if self.is_full:
            raise UnavailableError("the queue is full: 20000 jobs wait")
        new = identity not in self.identities
        self.identities.add(identity)
        if new:
            self.put(job)
        return new

    def states(self) -> Sequence[JobState]:
        return []


@pytest.fixture
def jobs() -> RecordedJobs:
    return RecordedJobs()


@pytest.fixture
def client(jobs: RecordedJobs) -> FlaskClient:
    return create_intake(Authenticity(APP, [SECRET, "the next one"]), jobs).test_client()


def signed(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def headers(body: bytes, **changed: str | None) -> dict[str, str]:
    given: dict[str, str | None] = {
        "Content-Type": "application/json",
        "X-GitHub-Delivery": DELIVERY,
        "X-GitHub-Event": "push",
        "X-GitHub-Hook-Installation-Target-Type": "integration",
        "X-GitHub-Hook-Installation-Target-ID": str(APP),
        "X-Hub-Signature-256": signed(body),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return {name: value for name, value in given.items() if value is not None}


def post(client: FlaskClient, body: bytes, **changed: str | None) -> TestResponse:
    return client.post("/webhook", data=body, headers=headers(body, **changed))


def test_a_webhook_is_recorded_as_a_hint(client: FlaskClient, jobs: RecordedJobs) -> None:
    answer = post(client, json.dumps(PUSH).encode())

    assert answer.status_code == 202
    (job,) = jobs.jobs
    assert (job.kind, job.subject, job.lane) == (JobKind.INTAKE, DELIVERY, "acme/payments")
    hint = read_hint(job.hint)
    assert (hint.event, hint.ref, hint.after) == ("push", "refs/heads/develop", "b" * 40)


def test_a_redelivery_is_accepted_and_does_nothing(client: FlaskClient, jobs: RecordedJobs) -> None:
    body = json.dumps(PUSH).encode()

    answers = [post(client, body), post(client, body, X_GitHub_Delivery=DELIVERY.upper())]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(jobs.jobs) == 1


def test_a_secret_may_be_rotated(client: FlaskClient) -> None:
    body = json.dumps(PUSH).encode()

    assert post(client, body, X_Hub_Signature_256=signed(body, "the next one")).status_code == 202


@pytest.mark.parametrize(
    "changed",
    [
        {"X_Hub_Signature_256": None},
        {"X_Hub_Signature_256": ""},
        {"X_Hub_Signature_256": "sha256=" + "0" * 64},
        {"X_Hub_Signature_256": "sha256=é"},
        {"X_Hub_Signature_256": None, "X_Hub_Signature": "sha1=" + "0" * 40},
    ],
    ids=lambda changed: ",".join(f"{name}={str(value)[:12]}" for name, value in changed.items()),
)
def test_what_is_not_authentic_gets_one_answer(
    client: FlaskClient, jobs: RecordedJobs, changed: dict[str, str | None]
) -> None:
    answer = post(client, json.dumps(PUSH).encode(), **changed)

    assert (answer.status_code, answer.data) == (401, b"Unauthorized\n")
    assert jobs.jobs == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"X_GitHub_Hook_Installation_Target_ID": "1"}, "'1', and LOCKKEEPER_APP_ID is"),
        ({"X_GitHub_Hook_Installation_Target_ID": None}, "Target-ID is missing"),
        ({"X_GitHub_Hook_Installation_Target_Type": "repository"}, "'repository', not integration"),
        ({"X_GitHub_Hook_Installation_Target_Type": None}, "Target-Type is missing"),
        ({"X_GitHub_Delivery": "1"}, "X-GitHub-Delivery is '1'"),
        ({"X_GitHub_Delivery": None}, "X-GitHub-Delivery is missing"),
        ({"X_GitHub_Event": "Push"}, "X-GitHub-Event is 'Push'"),
        ({"X_GitHub_Event": "p" * 65}, "X-GitHub-Event is"),
        ({"X_GitHub_Event": None}, "X-GitHub-Event is missing"),
        ({"X_GitHub_Event": "é"}, "X-GitHub-Event is '?"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_signed_webhook_that_is_refused_is_told_which_header_is_at_fault(
    client: FlaskClient,
    jobs: RecordedJobs,
    caplog: pytest.LogCaptureFixture,
    changed: dict[str, str | None],
    words: str,
) -> None:
    answer = post(client, json.dumps(PUSH).encode(), **changed)

    assert answer.status_code == 401
    assert words in answer.text
    assert jobs.jobs == []
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert words in record.__dict__["decision"]


def test_what_is_not_signed_is_a_warning_and_says_nothing_of_its_own(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = post(client, b"{}", X_Hub_Signature_256="sha256=spoofed", X_GitHub_Event="spoofed")

    assert (answer.status_code, answer.data) == (401, b"Unauthorized\n")
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "spoofed" not in str(record.__dict__)


@given(body=st.binary(max_size=200), key=st.text(max_size=30), flip=st.integers(0, 63))
def test_no_other_signature_is_accepted(body: bytes, key: str, flip: int) -> None:
    authenticity = Authenticity(APP, [SECRET])
    right = signed(body)
    wrong = right[: 7 + flip] + ("0" if right[7 + flip] != "0" else "1") + right[8 + flip :]

    for signature in (wrong, signed(body, key + "x"), signed(body + b" ")):
        given = Headers(headers(body, X_Hub_Signature_256=signature))
        assert not authenticity.is_signed(given, body)


def test_githubs_own_example_is_authentic() -> None:
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert signed(b"Hello, World!") == expected
    given, authenticity = Headers(headers(b"Hello, World!")), Authenticity(APP, [SECRET])
    assert authenticity.is_signed(given, b"Hello, World!")
    assert authenticity.fault(given) == ""


def test_an_empty_secret_is_no_secret() -> None:
    with pytest.raises(ValueError, match="empty webhook secret"):
        Authenticity(APP, [""])


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(Authenticity(APP, [SECRET]))


def test_only_json_is_read(client: FlaskClient) -> None:
    body = b"payload=%7B%7D"

    answer = post(client, body, Content_Type="application/x-www-form-urlencoded")

    assert answer.status_code == 415
    assert "application/x-www-form-urlencoded" in answer.text


def test_a_body_that_github_would_not_send_is_too_large(client: FlaskClient) -> None:
    body = b" " * (BODY_LIMIT + 1)

    assert post(client, body, X_Hub_Signature_256="sha256=" + "0" * 64).status_code == 413


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"push"', b'{"ref": 1}', b"\xff", b"{}", b"[" * 100_000, b'{"a":' * 70],
    ids=["empty", "open", "list", "text", "type", "latin", "bare", "deep", "nested"],
)
def test_a_signed_body_that_is_no_payload_is_refused(
    client: FlaskClient, jobs: RecordedJobs, body: bytes
) -> None:
    assert post(client, body).status_code == 400
    assert jobs.jobs == []


def test_the_event_must_fit_the_payload(client: FlaskClient, jobs: RecordedJobs) -> None:
    body = json.dumps(PUSH).encode()

    assert post(client, body, X_GitHub_Event="issue_comment").status_code == 400
    assert jobs.jobs == []


@pytest.mark.parametrize("event", ["ping", "star", "not_invented_yet"])
def test_other_events_are_accepted_and_leave_nothing(
    client: FlaskClient, jobs: RecordedJobs, event: str
) -> None:
    assert post(client, b'{"zen": "Design for failure."}', X_GitHub_Event=event).status_code == 202
    assert jobs.jobs == []


def test_repositories_of_strangers_leave_nothing(jobs: RecordedJobs) -> None:
    ours = create_intake(
        Authenticity(APP, [SECRET]), jobs, is_ours=lambda hint: hint.repository_id == 1
    )

    assert post(ours.test_client(), json.dumps(PUSH).encode()).status_code == 202
    assert jobs.jobs == []


def test_a_full_queue_is_told_to_github(client: FlaskClient, jobs: RecordedJobs) -> None:
    jobs.is_full = True

    answer = post(client, json.dumps(PUSH).encode())

    assert (answer.status_code, answer.data) == (503, b"Service Unavailable\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/webhook", 405), ("GET", "/", 404), ("POST", "/healthz", 404), ("GET", "/x", 404)],
)
def test_nothing_else_is_served(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)

    assert answer.status_code == status
    assert b"<" not in answer.data


def test_no_secret_and_no_payload_reach_the_database(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    migrate(database, "engine", MIGRATIONS)
    engine = Engine(database, SystemClock(), lambda _: Done("unused"))
    client = create_intake(Authenticity(APP, [SECRET]), engine).test_client()
    body = json.dumps({**PUSH, "head_commit": {"message": "token ghp_0123456789"}}).encode()

    assert post(client, body).status_code == 202
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    database.dispose()

    assert DELIVERY.encode() in stored
    assert b"ghp_" not in stored
    assert SECRET.encode() not in stored
    assert signed(body).encode() not in stored


def test_a_database_that_is_away_is_told_to_github() -> None:
    database = open_database("postgresql://lockkeeper@127.0.0.1:1/none")
    engine = Engine(database, SystemClock(), lambda _: Done("unused"))
    client = create_intake(Authenticity(APP, [SECRET]), engine).test_client()

    assert post(client, json.dumps(PUSH).encode()).status_code == 503
