from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.adapters.engine import Engine
from bot.domain.errors import IntegrityError, RejectedError, UnavailableError
from bot.domain.jobs import Done, Failed, Job, JobKind, Outcome, RequeueAt
from tests.world.engines import engine, eventually

pytest_plugins = ["tests.world.postgres"]

JOB = Job(JobKind.DELIVER, 7, "prod", "payments", hint="first")


class SteppedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def move(self, **distance: float) -> None:
        self.at += timedelta(**distance)


class Worker:
    """Runs jobs by a script: one outcome, or one error, after the other; then Done."""

    def __init__(self) -> None:
        self.script: list[Callable[[], Outcome]] = []
        self.ran: list[Job] = []
        self.gate = threading.Semaphore(10_000)
        self.most_at_once = 0
        self._at_once = 0

    def __call__(self, job: Job) -> Outcome:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.ran.append(job)
        try:
            assert self.gate.acquire(timeout=30)
            return self.script.pop(0)() if self.script else Done("ran")
        finally:
            self._at_once -= 1


def failing(error: Exception) -> Callable[[], Outcome]:
    def fail() -> Outcome:
        raise error

    return fail


@dataclass
class Bench:
    """A running engine; each test gives it a worker."""

    jobs: Engine = field(init=False)
    clock: SteppedClock = field(default_factory=SteppedClock)
    worker: Worker = field(default_factory=Worker)

    def run(self, job: Job) -> Outcome:
        return self.worker(job)

    def is_idle(self) -> bool:
        return not self.jobs.states()

    def states(self) -> list[str]:
        return [found.state for found in self.jobs.states()]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    url = f"sqlite:///{tmp_path_factory.mktemp('jobs') / 'jobs.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("new_postgres")()
    bench = Bench()
    with engine(url, bench.run, bench.clock) as jobs:
        bench.jobs = jobs
        yield bench


@pytest.fixture
def bench(running: Bench) -> Bench:
    assert running.is_idle(), "the test before left jobs"
    running.worker = Worker()
    return running


def test_a_job_that_is_put_runs_and_is_over(bench: Bench) -> None:
    bench.jobs.put(JOB)

    eventually(lambda: bench.worker.ran and bench.is_idle(), "the job ran")
    assert bench.worker.ran == [JOB]


def test_requests_are_absorbed_until_the_look_begins_and_kept_while_it_runs(bench: Bench) -> None:
    bench.worker.gate = threading.Semaphore(0)
    bench.jobs.put(replace(JOB, subject="in front", lane="one lane"))
    eventually(lambda: bench.worker.ran, "the lane is busy")
    for hint in ("first", "second"):
        bench.jobs.put(replace(JOB, hint=hint, lane="one lane"))
    bench.worker.gate.release()
    eventually(lambda: len(bench.worker.ran) == 2, "the look began")
    for hint in ("third", "fourth"):
        bench.jobs.put(replace(JOB, hint=hint, lane="one lane"))
    bench.worker.gate.release(2)

    eventually(bench.is_idle, "both looks ended")
    assert [job.hint for job in bench.worker.ran] == ["first", "second", "fourth"]


def test_a_job_may_put_jobs_and_itself(bench: Bench) -> None:
    def again_and_another() -> Outcome:
        bench.jobs.put(JOB)
        bench.jobs.put(replace(JOB, subject="checkout"))
        return Done("asked for more")

    bench.worker.script = [again_and_another]
    bench.jobs.put(JOB)

    eventually(lambda: len(bench.worker.ran) == 3 and bench.is_idle(), "all ran")
    assert sorted(job.subject for job in bench.worker.ran) == ["checkout", "payments", "payments"]


def test_an_identity_is_handled_once(bench: Bench) -> None:
    assert bench.jobs.put_once(JOB, "delivery 1")
    eventually(lambda: bench.worker.ran and bench.is_idle(), "the job ran")

    assert not bench.jobs.put_once(JOB, "delivery 1")
    assert bench.jobs.put_once(JOB, "delivery 2")
    eventually(lambda: len(bench.worker.ran) == 2 and bench.is_idle(), "the second ran")


def test_forty_jobs_of_one_lane_run_one_at_a_time_in_order(bench: Bench) -> None:
    wanted = [Job(JobKind.INTAKE, subject=f"{number}", lane="acme/shop") for number in range(40)]
    for job in wanted:
        bench.jobs.put_once(job, job.subject)

    eventually(bench.is_idle, "all ran")
    assert bench.worker.ran == wanted
    assert bench.worker.most_at_once == 1


def test_lanes_run_side_by_side(bench: Bench) -> None:
    bench.worker.gate = threading.Semaphore(0)
    bench.jobs.put(JOB)
    bench.jobs.put(replace(JOB, subject="checkout"))

    eventually(lambda: len(bench.worker.ran) == 2, "both run at the same time")
    assert bench.worker.most_at_once == 2
    bench.worker.gate.release(2)
    eventually(bench.is_idle, "both ended")


def test_a_job_that_waits_frees_its_lane_and_comes_back_when_it_is_due(bench: Bench) -> None:
    due = bench.clock.now() + timedelta(minutes=1)
    bench.worker.script = [lambda: RequeueAt("no image yet", due)]
    other = replace(JOB, subject="checkout", lane="one lane")
    bench.jobs.put(replace(JOB, lane="one lane"))
    bench.jobs.put(other)
    eventually(lambda: other in bench.worker.ran, "the other job of the lane ran")
    eventually(lambda: bench.states() == ["waiting"], "waits")

    (state,) = bench.jobs.states()
    assert (state.summary, state.attempts, state.due) == ("no image yet", 0, due)
    bench.clock.move(minutes=2)

    eventually(lambda: len(bench.worker.ran) == 3 and bench.is_idle(), "it came back")


def test_a_new_request_does_not_wait_for_the_due_time(bench: Bench) -> None:
    due = bench.clock.now() + timedelta(hours=1)
    bench.worker.script = [lambda: RequeueAt("no image yet", due)]
    bench.jobs.put(JOB)
    eventually(lambda: bench.states() == ["waiting"], "waits")

    bench.jobs.put(JOB)

    eventually(lambda: len(bench.worker.ran) == 2 and bench.is_idle(), "it ran at once")
    assert bench.clock.now() < due


@pytest.mark.parametrize(
    "stop",
    [
        failing(RejectedError("payments.yaml:3: no such key")),
        failing(IntegrityError("expected sha256:a, got sha256:b")),
        lambda: Failed("the policy fails"),
    ],
    ids=["rejected", "integrity", "failed"],
)
def test_a_job_that_a_person_must_help_stays_visible_until_it_is_retried(
    bench: Bench, stop: Callable[[], Outcome]
) -> None:
    bench.worker.script = [stop]
    bench.jobs.put(JOB)
    eventually(lambda: bench.states() == ["failed"], "failed")
    bench.clock.move(days=1)
    assert bench.jobs.states()[0].summary

    assert bench.jobs.retry(JOB.key)
    eventually(lambda: len(bench.worker.ran) == 2 and bench.is_idle(), "it was retried")
    assert not bench.jobs.retry(JOB.key)


def test_a_reason_that_quotes_anything_is_recorded(bench: Bench) -> None:
    bench.worker.script = [failing(RejectedError("the registry said \0 and \ud800"))]
    bench.jobs.put(JOB)
    eventually(lambda: bench.states() == ["failed"], "failed")
    assert bench.jobs.states()[0].summary == "the registry said \ufffd and ?"

    bench.jobs.retry(JOB.key)
    eventually(bench.is_idle, "it was retried")


def test_what_a_person_must_look_at_is_logged_by_how_bad_it_is(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.worker.script = [
        failing(RejectedError("payments.yaml:3: no such key")),
        failing(IntegrityError("expected sha256:a, got sha256:b")),
    ]
    for number in range(3):
        with caplog.at_level("INFO", "lockkeeper.engine"):
            bench.jobs.put(JOB)
            eventually(lambda: len(bench.worker.ran) > number, "it ran")  # noqa: B023 - called at once
            eventually(lambda: "running" not in bench.states() != ["queued"], "it ended")

    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("WARNING", "job ran"),
        ("ERROR", "content is not what it claims"),
        ("WARNING", "job ran"),
        ("INFO", "job ran"),
    ]


def test_what_is_unavailable_is_tried_again_with_back_off(bench: Bench) -> None:
    down = failing(UnavailableError("registry.example.com does not answer"))
    bench.worker.script = [down, failing(UnavailableError("slow down", retry_after=600))]
    bench.jobs.put(JOB)
    eventually(lambda: bench.states() == ["waiting"], "first failure")
    (state,) = bench.jobs.states()
    assert state.due is not None
    assert timedelta(0) < state.due - bench.clock.now() <= timedelta(seconds=2)

    bench.clock.move(seconds=3)
    eventually(lambda: [found.attempts for found in bench.jobs.states()] == [2], "second failure")
    assert bench.jobs.states()[0].due == bench.clock.now() + timedelta(seconds=600)

    bench.clock.move(seconds=601)
    eventually(lambda: len(bench.worker.ran) == 3 and bench.is_idle(), "third time lucky")


def test_an_error_that_nobody_foresaw_is_retried_and_its_text_goes_nowhere(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.worker.script = [failing(ValueError("token ghs_secret"))]
    bench.jobs.put(JOB)
    eventually(lambda: bench.states() == ["waiting"], "it waits")
    assert bench.jobs.states()[0].summary == "unexpected ValueError; the log has the place"
    bench.clock.move(seconds=3)

    eventually(bench.is_idle, "it was tried again")
    assert "ghs_secret" not in caplog.text
    assert "in fail" in caplog.text


def test_periodic_calls_follow_the_clock(bench: Bench) -> None:
    calls: list[datetime] = []
    bench.jobs.every(300, lambda: calls.append(bench.clock.now()))
    eventually(lambda: len(calls) == 1, "called at once")

    bench.clock.move(seconds=301)

    eventually(lambda: len(calls) == 2, "called again when due")
    assert calls[1] - calls[0] >= timedelta(seconds=300)


def test_a_periodic_call_that_hangs_stops_neither_jobs_nor_other_calls(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    hung, release, others = threading.Event(), threading.Event(), list[datetime]()

    def hang() -> None:
        hung.set()
        assert release.wait(timeout=30)

    bench.jobs.every(60, hang)
    bench.jobs.every(60, lambda: others.append(bench.clock.now()))
    eventually(hung.is_set, "it hangs")
    due = bench.clock.now() + timedelta(seconds=61)
    bench.worker.script = [lambda: RequeueAt("no image yet", due)]
    bench.jobs.put(JOB)
    eventually(lambda: bench.states() == ["waiting"], "waits")
    bench.clock.move(seconds=61)

    try:
        eventually(lambda: len(bench.worker.ran) == 2 and bench.is_idle(), "it came back")
        eventually(lambda: len(others) == 2, "the other call was made again")
        bench.clock.move(minutes=5)
        eventually(lambda: "periodic call still runs" in caplog.text, "the log tells it")
    finally:
        release.set()


def test_a_periodic_call_is_not_made_beside_itself(bench: Bench) -> None:
    release, calls = threading.Semaphore(0), list[int]()

    def call() -> None:
        calls.append(1)
        assert release.acquire(timeout=30)

    bench.jobs.every(60, call)
    eventually(lambda: len(calls) == 1, "it runs")
    bench.clock.move(seconds=61)
    bench.jobs.put(JOB)
    eventually(lambda: bench.worker.ran and bench.is_idle(), "the engine looked again")
    assert len(calls) == 1

    release.release(2)
    eventually(lambda: len(calls) == 2, "made again when it had ended")


def test_a_call_that_fails_is_made_again(bench: Bench) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise ValueError("a bug")

    bench.jobs.every(60, fail)
    eventually(lambda: len(calls) == 1, "called")
    bench.clock.move(seconds=61)
    eventually(lambda: len(calls) == 2, "called again")


def test_a_job_that_is_due_at_once_lets_its_lane_have_a_turn(bench: Bench) -> None:
    other = replace(JOB, subject="checkout", lane="one lane")

    def again() -> Outcome:
        bench.jobs.put(other)
        return RequeueAt("at once", bench.clock.now())

    bench.worker.script = [again, lambda: Done("the other"), again]
    bench.jobs.put(replace(JOB, lane="one lane"))

    eventually(lambda: len(bench.worker.ran) == 5 and bench.is_idle(), "both had their turns")
    subjects = [job.subject for job in bench.worker.ran]
    assert subjects == ["payments", "checkout", "payments", "checkout", "payments"]


def test_more_jobs_of_a_lane_than_run_in_a_row(bench: Bench) -> None:
    wanted = [Job(JobKind.INTAKE, subject=f"{number}", lane="acme/shop") for number in range(60)]
    for job in wanted:
        bench.jobs.put(job)

    eventually(bench.is_idle, "all ran")
    assert bench.worker.ran == wanted


def test_a_busy_queue_keeps_no_other_waiting(bench: Bench) -> None:
    bench.worker.gate = threading.Semaphore(0)
    slow = [replace(JOB, subject=f"{number}") for number in range(20)]
    for job in slow:
        bench.jobs.put(job)
    eventually(lambda: len(bench.worker.ran) == 8, "all workers of deliveries are busy")

    quick = Job(JobKind.INTAKE, subject="webhook")
    bench.jobs.put(quick)

    eventually(lambda: quick in bench.worker.ran, "the webhook did not wait")
    bench.worker.gate.release(21)
    eventually(bench.is_idle, "all ended")
