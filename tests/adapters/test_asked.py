from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from bot.adapters.asked import OLDEST_SECONDS, AskedJobs
from bot.domain.errors import UnavailableError
from bot.domain.jobs import Job, JobKind, JobState

LOOK = Job(JobKind.PUBLISH, 1, "dev")
WEBHOOK = Job(JobKind.INTAKE, subject="one")


class Queue:
    """What a queue takes; it can be away."""

    def __init__(self) -> None:
        self.is_away = False
        self.is_known = False

    def put(self, job: Job) -> None:
        assert job.key
        if self.is_away:
            raise UnavailableError("the database is away")

    def put_once(self, job: Job, identity: str) -> bool:
        assert identity
        self.put(job)
        return not self.is_known

    def states(self) -> Sequence[JobState]:
        return ()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def jobs(queue: Queue) -> AskedJobs:
    return AskedJobs(queue, is_alone=True)


def moment_of(jobs: AskedJobs, job: Job) -> float | None:
    with jobs.running(job) as moment:
        return moment


def test_a_look_may_be_as_old_as_its_newest_question(jobs: AskedJobs) -> None:
    jobs.put(LOOK)
    between = time.monotonic()
    jobs.put(LOOK)

    moment = moment_of(jobs, LOOK)

    assert moment is not None
    assert between <= moment <= time.monotonic()


def test_a_question_is_answered_once(jobs: AskedJobs) -> None:
    jobs.put(LOOK)

    assert moment_of(jobs, LOOK) is not None
    assert moment_of(jobs, LOOK) is None  # it runs again by itself, and nobody knows why


def test_what_a_webhook_asks_for_is_as_old_as_the_webhook(jobs: AskedJobs) -> None:
    jobs.put_once(WEBHOOK, "webhook one")
    came = time.monotonic()
    with jobs.running(WEBHOOK):
        jobs.put(LOOK)

    moment = moment_of(jobs, LOOK)

    assert moment is not None
    assert moment <= came


def test_what_an_unknown_webhook_asks_for_is_as_old_as_its_look(jobs: AskedJobs) -> None:
    before = time.monotonic()
    with jobs.running(WEBHOOK) as moment:
        began = time.monotonic()
        jobs.put(LOOK)

    assert moment is None
    found = moment_of(jobs, LOOK)
    assert found is not None
    assert before <= found <= began


def test_a_newer_question_is_not_made_older_by_a_webhook(jobs: AskedJobs) -> None:
    jobs.put_once(WEBHOOK, "webhook one")
    between = time.monotonic()
    jobs.put(LOOK)
    with jobs.running(WEBHOOK):
        jobs.put(LOOK)

    moment = moment_of(jobs, LOOK)

    assert moment is not None
    assert moment >= between


def test_what_another_look_asks_for_is_asked_for_now(jobs: AskedJobs) -> None:
    jobs.put(LOOK)
    follower = Job(JobKind.DELIVER, 1, "dev", "payments")
    with jobs.running(LOOK) as first:
        between = time.monotonic()
        jobs.put(follower)

    second = moment_of(jobs, follower)

    assert first is not None
    assert second is not None
    assert first < between <= second


@pytest.mark.parametrize("waited", [1, 1000])
def test_an_old_question_is_answered_by_no_older_fetch(
    jobs: AskedJobs, monkeypatch: pytest.MonkeyPatch, waited: float
) -> None:
    jobs.put(LOOK)
    later = time.monotonic() + OLDEST_SECONDS + waited
    monkeypatch.setattr("bot.adapters.asked.time.monotonic", lambda: later)

    assert moment_of(jobs, LOOK) == later - OLDEST_SECONDS


def test_where_others_put_jobs_nothing_is_known(queue: Queue) -> None:
    jobs = AskedJobs(queue, is_alone=False)
    jobs.put(LOOK)

    assert moment_of(jobs, LOOK) is None


def test_what_was_not_put_is_not_remembered(queue: Queue, jobs: AskedJobs) -> None:
    queue.is_away = True
    with pytest.raises(UnavailableError):
        jobs.put(LOOK)

    assert moment_of(jobs, LOOK) is None


def test_a_webhook_that_was_handled_before_is_not_remembered(queue: Queue, jobs: AskedJobs) -> None:
    queue.is_known = True
    assert not jobs.put_once(WEBHOOK, "webhook one")

    assert moment_of(jobs, WEBHOOK) is None
