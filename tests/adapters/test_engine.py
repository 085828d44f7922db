from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, strategies as st

from bot.adapters.clock import SystemClock
from bot.adapters.engine import MIGRATIONS, Engine, Pace
from bot.adapters.engine.backoff import delay
from bot.adapters.engine.rows import CRASHES_ALLOWED, JobRows, Run
from bot.adapters.store import migrate, open_database
from bot.domain.errors import RejectedError, UnavailableError
from bot.domain.jobs import Done, Failed, Job, JobKind, JobState, Outcome, RequeueAt
from tests.world.engines import PACE, engine, engine_process, eventually

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
def database(url: str) -> Iterator[sa.Engine]:
    opened = open_database(url)
    migrate(opened, "engine", MIGRATIONS)
    yield opened
    opened.dispose()


@pytest.fixture
def rows(database: sa.Engine) -> JobRows:
    return JobRows(database, "one")


def never(job: Job) -> Outcome:
    raise AssertionError(f"{job.key} must not run here")


def claimed(rows: JobRows) -> Run:
    (run,) = rows.claim([JOB.kind], 8)
    return run


def crash(rows: JobRows) -> None:
    """Whoever runs something is found dead."""
    rows.take_over(sa.true(), ())


def execute(database: sa.Engine, statement: str) -> None:
    with database.begin() as connection:
        connection.execute(sa.text(statement))


def state(rows: JobRows) -> str:
    (found,) = rows.states()
    return found.state


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
    assert set(ended) == {*put_by_runs, "behind", "meanwhile", "payments"}


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


def test_a_dead_replica_is_noticed_within_half_a_minute() -> None:
    pace = Pace()
    # It renewed its lease just before it died; somebody else looks at the next beat.
    assert pace.lease + pace.beat + pace.clock < 30


def test_a_replica_that_was_taken_for_dead_changes_nothing_and_works_on(
    postgres_url: str, tmp_path: Path
) -> None:
    with (
        engine(postgres_url, never, start=False) as jobs,
        engine_process(postgres_url, tmp_path / "asleep") as asleep,
    ):
        jobs.put(replace(JOB, hint="wait"))
        eventually(asleep.began, "it began")
        asleep.freeze()
        with engine_process(postgres_url, tmp_path / "awake") as awake:
            eventually(lambda: "payments" in awake.began(), "another replica took it over")
            (asleep.folder / "go").touch()
            asleep.thaw()
            eventually(lambda: "payments" in asleep.ended(), "the late run ended")
            states = {found.key: found.state for found in jobs.states()}
            assert states[JOB.key] == "running"  # what the runs put may be on its way still
            (awake.folder / "go").touch()
            eventually(lambda: not jobs.states(), "the run that counts ended")
        jobs.put(replace(JOB, subject="next"))
        eventually(lambda: "next" in asleep.ended(), "it works on")


def test_a_replica_that_froze_in_a_transaction_keeps_nobody_from_taking_over(
    postgres_url: str,
) -> None:
    ran: list[str] = []

    def run(job: Job) -> Outcome:
        ran.append(job.subject)
        return Done("ran")

    frozen = open_database(postgres_url)
    migrate(frozen, "engine", MIGRATIONS)
    rows = JobRows(frozen, "frozen")
    rows.put(JOB, NOW)
    claimed(rows)
    with frozen.connect() as connection:
        connection.execute(sa.text("INSERT INTO lk_lease VALUES ('frozen', 0)"))
        connection.commit()
        connection.execute(sa.text("UPDATE lk_lease SET until = 1"))
        connection.execute(sa.text("UPDATE lk_job SET summary = 'on its way'"))
        with engine(postgres_url, run) as jobs:
            jobs.put(replace(JOB, subject="meanwhile"))
            eventually(lambda: ran == ["meanwhile", JOB.subject], "its job was taken over")
        connection.invalidate()
    frozen.dispose()


def test_replicas_are_replaced_one_by_one_under_load(postgres_url: str, tmp_path: Path) -> None:
    wanted = [
        Job(JobKind.DELIVER, subject=f"{number}", hint="alone", lane=f"lane-{number % 7}")
        for number in range(210)
    ]
    waiting = list(reversed(wanted))

    def put(jobs: Engine, count: int) -> None:
        for _ in range(count):
            job = waiting.pop()
            jobs.put_once(job, job.subject)

    with engine(postgres_url, never, start=False) as jobs, ExitStack() as stack:
        old = [stack.enter_context(engine_process(postgres_url, tmp_path)) for _ in range(2)]
        for one in old:
            put(jobs, 70)
            stack.enter_context(engine_process(postgres_url, tmp_path))
            one.stop()
        put(jobs, 70)
        eventually(lambda: not jobs.states(), "everything ran")

    ended = (tmp_path / "ended").read_text().split()
    assert sorted(ended) == sorted(job.subject for job in wanted)
    assert not (tmp_path / "clash").exists()
    for lane in range(7):
        of_lane = [int(subject) for subject in ended if int(subject) % 7 == lane]
        assert of_lane == sorted(of_lane)


def test_a_job_of_one_replica_wakes_another(postgres_url: str) -> None:
    ran: list[str] = []
    patient = replace(PACE, beat=60.0, lease=120.0)  # only a notification can be so fast

    def run(job: Job) -> Outcome:
        ran.append(job.subject)
        return Done("ran")

    with (
        engine(postgres_url, run, pace=patient),
        engine(postgres_url, never, pace=patient, kinds=()) as web,
    ):
        web.put(replace(JOB, subject="one"))
        eventually(lambda: ran == ["one"], "it was told")
        database = open_database(postgres_url)
        with database.begin() as connection:
            listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            connection.execute(sa.text(f"{listening} WHERE query = 'LISTEN lk_job'"))
        database.dispose()
        web.put(replace(JOB, subject="two"))
        eventually(lambda: ran == ["one", "two"], "it listens again")


def test_a_result_waits_until_the_database_answers(url: str, database: sa.Engine) -> None:
    began, go = threading.Event(), threading.Event()

    def run(_: Job) -> Outcome:
        began.set()
        assert go.wait(timeout=30)
        return Done("ran")

    with engine(url, run) as jobs:
        jobs.put(JOB)
        eventually(began.is_set, "it began")
        execute(database, "ALTER TABLE lk_job RENAME TO gone")
        go.set()
        eventually(lambda: "failed" in jobs.reason_not_ready(), "readiness tells it")
        execute(database, "ALTER TABLE gone RENAME TO lk_job")

        eventually(lambda: not jobs.states(), "the result was written")
        eventually(lambda: jobs.reason_not_ready() == "", "ready again")


def test_a_job_that_found_no_thread_runs_later(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = threading.Thread.start, list[str]()

    def start(self: threading.Thread) -> None:
        if self.name == JOB.key and not refused:
            refused.append(self.name)
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    ran: list[Job] = []

    def run(job: Job) -> Outcome:
        ran.append(job)
        return Done("ran")

    with engine(sqlite_url, run) as jobs:
        jobs.put(JOB)
        eventually(lambda: not jobs.states(), "it ran after all")
    assert (refused, ran) == ([JOB.key], [JOB])


def test_nothing_but_these_tables_is_read(sqlite_url: str) -> None:
    with engine(sqlite_url, lambda _: Done("ran")) as jobs:
        jobs.put(JOB)
        eventually(lambda: not jobs.states(), "it ran")
    opened = open_database(sqlite_url)
    tables = set(sa.inspect(opened).get_table_names())
    opened.dispose()

    assert tables == {"lk_schema", "lk_job", "lk_once", "lk_lease", "lk_sequence"}


def test_a_second_process_on_one_sqlite_file_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    database = open_database(sqlite_url)
    with engine_process(sqlite_url, tmp_path / "first"):
        second = Engine(database, SystemClock(), never)

        with pytest.raises(RejectedError, match=r"it holds .*jobs\.db\.lock"):
            second.start()
    database.dispose()


def test_a_late_result_of_a_process_that_was_taken_over_is_refused(rows: JobRows) -> None:
    other = replace(rows, owner="two")
    rows.put(JOB, NOW)
    late = claimed(rows)
    crash(rows)
    running = claimed(other)

    assert not rows.finish(late, Failed("late")).is_ours

    assert state(rows) == "running"
    assert other.finish(running, Done("ran")).is_ours
    assert rows.states() == []


def test_a_late_result_is_refused_even_where_the_same_process_runs_it_again(rows: JobRows) -> None:
    rows.put(JOB, NOW)
    late = claimed(rows)
    crash(rows)
    running = claimed(rows)

    assert not rows.finish(late, Done("late")).is_ours
    assert rows.finish(running, Done("ran")).is_ours


def test_a_late_result_begins_nothing(rows: JobRows) -> None:
    rows.put(replace(JOB, lane="one lane"), NOW)
    rows.put(replace(JOB, subject="behind", lane="one lane"), NOW)
    late = claimed(rows)
    crash(rows)

    assert rows.finish(late, Done("late"), goes_on=True).next is None


def test_a_job_that_keeps_killing_its_process_is_put_aside(rows: JobRows) -> None:
    rows.put(JOB, NOW)
    for _ in range(CRASHES_ALLOWED):
        claimed(rows)
        crash(rows)

    assert rows.claim([JOB.kind], 8) == []
    (left,) = rows.states()
    assert (left.state, left.summary.split(";")[0]) == (
        "failed",
        f"the process ended {CRASHES_ALLOWED} times while this ran",
    )
    rows.put(JOB, NOW)
    claimed(rows)
    crash(rows)
    assert state(rows) == "queued", "asked for again, it has all its lives again"


def test_a_run_that_ends_forgets_the_crashes_before_it(rows: JobRows) -> None:
    rows.put(JOB, NOW)
    for _ in range(3):
        for _ in range(CRASHES_ALLOWED - 1):
            claimed(rows)
            crash(rows)
        rows.finish(claimed(rows), RequeueAt("no image yet", NOW))
        rows.wake(NOW)
        assert state(rows) == "queued"


def test_what_was_under_way_comes_first_in_its_lane_after_a_crash(rows: JobRows) -> None:
    first, behind = (replace(JOB, subject=name, lane="one lane") for name in ("first", "behind"))
    rows.put(first, NOW)
    rows.put(behind, NOW)
    claimed(rows)
    rows.put(first, NOW)  # while it runs
    crash(rows)

    assert claimed(rows).job == first


def test_a_claim_whose_answer_got_lost_is_found_by_its_own_process(rows: JobRows) -> None:
    nobody = sa.false()
    rows.put(JOB, NOW)
    rows.put(replace(JOB, subject="held"), NOW)
    assert len(rows.claim([JOB.kind], 8)) == 2

    held = replace(JOB, subject="held").queue_lane
    assert rows.take_over(nobody, [held]) == [JOB.key]
    assert rows.take_over(nobody, [held]) == []


def test_two_processes_share_the_lanes_and_never_a_lane(rows: JobRows) -> None:
    other = replace(rows, owner="two")
    for subject in ("a", "b"):
        for lane in ("north", "south"):
            rows.put(replace(JOB, subject=subject + lane, lane=lane), NOW)

    mine, theirs = rows.claim([JOB.kind], 1), other.claim([JOB.kind], 8)

    assert [run.job.subject for run in mine] == ["anorth"]
    assert [run.job.subject for run in theirs] == ["asouth"]
    assert rows.claim([JOB.kind], 8) == []


def test_only_asked_kinds_are_claimed_whatever_a_row_says(
    rows: JobRows, database: sa.Engine
) -> None:
    rows.put(JOB, NOW)
    rows.put(replace(JOB, subject="behind", lane=JOB.key), NOW)
    execute(database, "UPDATE lk_job SET kind = 'evil' WHERE subject = 'behind'")

    assert rows.claim([JobKind.PUBLISH], 8) == []
    ended = rows.finish(claimed(rows), Done("ran"), goes_on=True)
    assert (ended.is_ours, ended.next) == (True, None)
    assert rows.claim(list(JobKind), 8) == []


def test_jobs_of_the_engine_before_are_carried_over(url: str) -> None:
    opened = open_database(url)
    migrate(opened, "engine", MIGRATIONS[:2])
    old = (
        "INSERT INTO lk_job (key, kind, manifests, environment, subject, hint, lane, queue_lane,"
        " requested, begun, state, dispatched, owner, attempts, crashes, due_at, summary)"
        " VALUES (:key, 'deliver', 7, 'prod', :key, '', 'one', 'deliver/one',"
        " :requested, :begun, :state, 1, :owner, 0, 0, :due, '')"
    )
    with opened.begin() as connection:
        for row in [
            {"key": "ran", "requested": 9, "begun": 1, "state": "running", "owner": "x", "due": 0},
            {"key": "told", "requested": 2, "begun": 0, "state": "queued", "owner": "", "due": 0},
            {"key": "due", "requested": 3, "begun": 3, "state": "waiting", "owner": "", "due": 5},
            {"key": "bad", "requested": 4, "begun": 4, "state": "failed", "owner": "", "due": 0},
        ]:
            connection.execute(sa.text(old), row)
        connection.execute(sa.text("UPDATE lk_sequence SET value = 9"))
    migrate(opened, "engine", MIGRATIONS)

    rows = JobRows(opened, "one")
    rows.wake(NOW)
    began = []
    while found := rows.claim([JobKind.DELIVER], 8):
        (run,) = found
        began.append(run.job.subject)
        rows.finish(run, Done("ran"))
    assert began == ["ran", "told", "due"]
    assert state(rows) == "failed"
    opened.dispose()


def test_an_identity_is_forgotten_when_its_job_could_not_be_written(
    rows: JobRows, database: sa.Engine
) -> None:
    execute(database, "ALTER TABLE lk_job RENAME COLUMN hint TO gone")
    with pytest.raises(UnavailableError):
        rows.put_once(JOB, "delivery", NOW)
    execute(database, "ALTER TABLE lk_job RENAME COLUMN gone TO hint")

    assert rows.put_once(JOB, "delivery", NOW)
    assert state(rows) == "queued"


class CountingClock:
    """How often the engine looked at the time."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> datetime:
        self.looks += 1
        return NOW


def test_an_idle_engine_looks_at_the_time_and_asks_the_database_nothing(url: str) -> None:
    clock, asked = CountingClock(), list[str]()
    opened = open_database(url)
    migrate(opened, "engine", MIGRATIONS)
    later = NOW + timedelta(days=1)
    jobs = Engine(
        opened, clock, lambda _: RequeueAt("no image yet", later), pace=replace(PACE, beat=60.0)
    )
    jobs.start()
    jobs.put(JOB)
    eventually(lambda: [found.state for found in jobs.states()] == ["waiting"], "it waits")
    looks = clock.looks
    eventually(lambda: clock.looks > looks + 10, "it came to rest")

    @sa.event.listens_for(opened, "before_cursor_execute")
    def note(*said: object) -> None:
        asked.append(str(said[2]))

    looks = clock.looks
    eventually(lambda: clock.looks > looks + 20, "it looked at the time")
    assert asked == []
    jobs.stop(grace_seconds=1)
    opened.dispose()


# --- limits and retention --------------------------------------------------------------------


def test_a_full_queue_refuses_new_identities_and_forgets_them(rows: JobRows) -> None:
    full = replace(rows, capacity=1)
    full.put_once(JOB, "first", NOW)

    with pytest.raises(UnavailableError, match="the queue is full"):
        full.put_once(replace(JOB, subject="checkout"), "second", NOW)

    assert rows.put_once(replace(JOB, subject="checkout"), "second", NOW)


def test_identities_are_kept_for_a_month(rows: JobRows) -> None:
    rows.put_once(JOB, "delivery", NOW)
    rows.forget_identities(NOW + timedelta(days=29))
    assert not rows.put_once(JOB, "delivery", NOW)

    rows.forget_identities(NOW + timedelta(days=31))
    assert rows.put_once(JOB, "delivery", NOW)


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
    rows.finish(claimed(rows), RequeueAt("no image yet", later))
    rows.put(JOB, later)
    assert [state.since for state in rows.states()] == [NOW], "it still waits for the same"

    rows.finish(claimed(rows), Failed("no such branch"))
    assert [state.since for state in rows.states()] == [NOW]
    rows.put(JOB, later)
    assert [state.since for state in rows.states()] == [later], "a new request after the failure"
