from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, strategies as st

from bot.adapters.clock import SystemClock
from bot.adapters.engine import MIGRATIONS, Engine
from bot.adapters.engine.backoff import delay
from bot.adapters.engine.rows import CRASHES_ALLOWED, JobRows, Run
from bot.adapters.store import migrate, open_database
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.jobs import Again, Done, Failed, Job, JobKind, JobState, Outcome
from tests.world.engines import engine, engine_process, eventually

pytest_plugins = ["tests.world.postgres"]

JOB = Job(JobKind.DELIVER, 7, "prod", "payments")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def rows(sqlite_url: str) -> Iterator[JobRows]:
    database = open_database(sqlite_url)
    migrate(database, "engine", MIGRATIONS)
    yield JobRows(database)
    database.dispose()


def never(job: Job) -> Outcome:
    raise AssertionError(f"{job.key} must not run here")


def claimed(rows: JobRows, owner: str) -> Run:
    run = rows.begin_next(JOB.kind, JOB.queue_lane, owner)
    assert run is not None
    return run


# --- crashes ---------------------------------------------------------------------------------


def test_a_job_whose_process_was_killed_runs_again_and_nothing_is_lost(
    url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "jobs"
    with engine(url, never, start=False) as jobs:
        with engine_process(url, folder) as first:
            jobs.put(replace(JOB, hint="wait"))
            eventually(first.began, "the job began")
            jobs.put(replace(JOB, subject="behind", lane=JOB.key))
            first.kill()
        jobs.put(replace(JOB, subject="meanwhile"))
        (folder / "go").touch()
        with engine_process(url, folder) as second:
            eventually(lambda: not jobs.states(), "everything ran")
            ended = second.ended()

    assert second.began().count("payments") == 2
    put_by_runs = [f"after-{first.popen.pid}", f"after-{second.popen.pid}"]
    assert sorted(ended) == sorted([*put_by_runs, "behind", "meanwhile", "payments"])


def test_the_work_of_a_killed_replica_is_taken_over(postgres_url: str, tmp_path: Path) -> None:
    with (
        engine(postgres_url, never, start=False) as jobs,
        engine_process(postgres_url, tmp_path / "a") as one,
        engine_process(postgres_url, tmp_path / "b") as two,
    ):
        jobs.put(replace(JOB, hint="wait"))
        eventually(lambda: one.began() or two.began(), "one of them began")
        victim, survivor = (one, two) if one.began() else (two, one)

        victim.kill()
        (survivor.folder / "go").touch()

        eventually(lambda: not jobs.states(), "the other one finished it")
        assert survivor.ended().count("payments") == 1
        assert f"after-{survivor.popen.pid}" in one.ended() + two.ended()


def test_a_second_process_on_one_sqlite_file_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    with engine_process(sqlite_url, tmp_path / "first"):
        second = Engine(database, SystemClock(), never)

        with pytest.raises(RejectedError, match=r"it holds .*jobs\.db\.lock"):
            second.start()
    database.dispose()


def test_a_late_result_of_a_process_that_was_taken_over_is_refused(rows: JobRows) -> None:
    rows.put(JOB, NOW)
    late = claimed(rows, "asleep")
    running = claimed(rows, "awake")

    rows.finish(late.ticket, "asleep", Failed("late"))

    assert [state.state for state in rows.states()] == ["running"]
    rows.finish(running.ticket, "awake", Done("ran"))
    assert rows.states() == []


def test_a_job_that_keeps_killing_its_process_is_put_aside(rows: JobRows) -> None:
    rows.put(JOB, NOW)
    for _ in range(CRASHES_ALLOWED):
        claimed(rows, "victim")

    assert rows.begin_next(JOB.kind, JOB.queue_lane, "victim") is None
    (state,) = rows.states()
    assert (state.state, state.summary.split(";")[0]) == (
        "failed",
        f"the process ended {CRASHES_ALLOWED} times while this ran",
    )


def test_a_job_that_the_queue_has_lost_is_found_at_the_start(sqlite_url: str) -> None:
    ran: list[Job] = []

    def run(job: Job) -> Outcome:
        ran.append(job)
        return Done("ran")

    with engine(sqlite_url, run, start=False) as jobs:
        jobs.put(JOB)
        database = open_database(sqlite_url)
        with database.begin() as connection:
            connection.execute(sa.text("UPDATE lk_job SET dispatched = 1"))
        database.dispose()

        jobs.start()
        eventually(lambda: not jobs.states(), "it was found")
        jobs.stop(grace_seconds=1)
    assert ran == [JOB]


# --- limits and retention --------------------------------------------------------------------


def test_a_full_queue_refuses_new_identities_and_forgets_them(rows: JobRows) -> None:
    full = replace(rows, capacity=1)
    full.put_once(JOB, "first", NOW)

    with pytest.raises(UnavailableError, match="the queue is full"):
        full.put_once(replace(JOB, subject="checkout"), "second", NOW)

    assert rows.put_once(replace(JOB, subject="checkout"), "second", NOW)[0]


def test_identities_are_kept_for_a_month(rows: JobRows) -> None:
    rows.put_once(JOB, "delivery", NOW)
    rows.forget_identities(NOW + timedelta(days=29))
    assert not rows.put_once(JOB, "delivery", NOW)[0]

    rows.forget_identities(NOW + timedelta(days=31))
    assert rows.put_once(JOB, "delivery", NOW)[0]


class Tomorrow:
    """A clock far ahead of the engine's own rows."""

    def now(self) -> datetime:
        return SystemClock().now() + timedelta(days=9)


def test_workflows_that_are_over_are_deleted_after_a_week(sqlite_url: str) -> None:
    with engine(sqlite_url, lambda _: Done("ran"), Tomorrow()) as jobs:
        jobs.put(JOB)
        eventually(lambda: not jobs.states(), "it ran")
        database = open_database(sqlite_url)
        over = sa.text("SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'")

        def finished() -> int:
            with database.connect() as connection:
                return int(connection.scalar(over) or 0)

        eventually(lambda: finished() == 1, "DBOS wrote it down")
        jobs.tidy()
        assert finished() == 0
        database.dispose()


def test_no_text_of_an_error_reaches_the_database(sqlite_url: str, tmp_path: Path) -> None:
    def run(job: Job) -> Outcome:
        raise ValueError(f"the token ghs_{'s' * 36} of {job.key}")

    with engine(sqlite_url, run) as jobs:
        jobs.put(JOB)
        eventually(lambda: jobs.states()[0].attempts, "it failed")
        files = [file.read_bytes() for file in tmp_path.iterdir() if file.is_file()]

    assert len(files) > 1, "the database and its journal"
    assert not any(b"ghs_" in content for content in files)


# --- small things ----------------------------------------------------------------------------


@given(st.integers(1, 10_000))
def test_back_off_stays_between_a_second_and_five_minutes(failures: int) -> None:
    assert 1 <= delay(failures, None) <= min(300, 2**failures if failures < 9 else 300)


@given(st.integers(1, 100), st.floats(0, 1e9))
def test_what_the_other_side_asks_for_wins_up_to_an_hour(failures: int, asked: float) -> None:
    assert delay(failures, asked) == min(max(asked, 1), 3600)


def test_readiness_names_what_is_missing(sqlite_url: str) -> None:
    with engine(sqlite_url, never, start=False) as jobs:
        assert jobs.reason_not_ready() == "the engine has not started"
        jobs.start()
        assert jobs.reason_not_ready() == ""
        jobs.stop(grace_seconds=1)
        assert jobs.reason_not_ready() == "the engine has not started"


def test_states_come_in_the_order_of_their_requests(rows: JobRows) -> None:
    for subject in ("b", "a"):
        rows.put(replace(JOB, subject=subject), NOW)

    assert rows.states() == [
        JobState("deliver:7:prod:b", "queued", 0, None, "", NOW),
        JobState("deliver:7:prod:a", "queued", 0, None, "", NOW),
    ]


def test_what_waits_says_since_when_it_was_asked_for(rows: JobRows) -> None:
    later = NOW + timedelta(hours=1)
    rows.put(JOB, NOW)
    waits = claimed(rows, "one")
    rows.finish(waits.ticket, "one", Again("no image yet", later))
    rows.put(JOB, later)
    assert [state.since for state in rows.states()] == [NOW], "it still waits for the same"

    ends = claimed(rows, "one")
    rows.finish(ends.ticket, "one", Failed("no such branch"))
    assert [state.since for state in rows.states()] == [NOW]
    rows.put(JOB, later)
    assert [state.since for state in rows.states()] == [later], "a new request after the failure"
