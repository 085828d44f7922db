"""Reports on their way: nothing that becomes of one reaches whoever tells it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters import outbox
from bot.adapters.outbox import LONGEST_PAUSE, LOOK_SECONDS, Outbox
from bot.adapters.store import MIGRATIONS, OutgoingStore, migrate, open_database
from bot.adapters.store.schema import OUTGOING
from bot.domain.environments import GitHubRepository
from bot.domain.errors import IntegrityError, NotFoundError, RejectedError, UnavailableError
from bot.domain.history import Check, CheckState, DeploymentReport
from bot.domain.reports import (
    CheckReport,
    CommentReport,
    LabelReport,
    Report,
    ReviewersReport,
    TimelineReport,
)
from bot.formats.report_row import read_report, row_key, written

pytest_plugins = ["tests.world.postgres"]

REPOSITORY = GitHubRepository("acme", "payments")
OTHER = GitHubRepository("acme", "billing")


@dataclass
class SteppedClock:
    at: datetime = datetime(2026, 8, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


@dataclass
class Paper:
    """GitHub as far as reports go: it writes down what arrives, unless the test has an error."""

    error: Exception | None = None
    written: list[object] = field(default_factory=list)
    attempts: int = 0

    def _write(self, thing: object) -> None:
        self.attempts += 1
        if self.error is not None:
            raise self.error
        self.written.append(thing)

    def set_check(self, _repository: GitHubRepository, check: Check) -> None:
        self._write(check.title)

    def set_comment(
        self,
        _repository: GitHubRepository,
        _number: int,
        _marker: str,
        body: str,
        *,
        begins: bool,
    ) -> None:
        self._write(body if begins else f"only if there: {body}")

    def add_labels(
        self, _repository: GitHubRepository, _number: int, labels: Sequence[str]
    ) -> None:
        self._write(labels)

    def request_reviewers(
        self, _repository: GitHubRepository, _number: int, teams: Sequence[str]
    ) -> None:
        self._write(teams)


SECRET = b"of the app"


@dataclass
class LocalBot:
    """An outbox over a database of its own."""

    clock: SteppedClock
    outgoing: OutgoingStore
    outbox: Outbox

    def tell(self, *reports: Report) -> None:
        """Tell, and send what is due."""
        for report in reports:
            self.outbox.tell(report)
            self.outbox.flush()

    def later(self, **time: float) -> None:
        self.clock.at += timedelta(**time)
        self.outbox.flush()


MakeDesk = Callable[[Paper], LocalBot]


@pytest.fixture(params=["sqlite", "postgresql"])
def desk_on(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeDesk]:
    """Makes outboxes over one database, as several processes are."""
    is_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'new' / 'store.db'}" if is_file else ""
    database = open_database(url or str(request.getfixturevalue("postgres_url")))
    migrate(database, "store", MIGRATIONS)

    def local(paper: Paper) -> LocalBot:
        clock = SteppedClock()
        outgoing = OutgoingStore(database, clock, SECRET)
        return LocalBot(clock, outgoing, Outbox(paper, outgoing, clock))  # type: ignore[arg-type]  # the part that is used

    yield local
    database.dispose()


def check(title: str, commit: str = "c", repository: GitHubRepository = REPOSITORY) -> CheckReport:
    return CheckReport(repository, Check("lockkeeper", commit, CheckState.SUCCESS, title, ""))


def test_a_report_is_sent_at_once(desk_on: MakeDesk) -> None:
    paper = Paper()

    desk_on(paper).tell(check("Published"))

    assert paper.written == ["Published"]


@pytest.mark.parametrize(
    "error",
    [RejectedError("403 read-only"), NotFoundError("x", "GitHub"), IntegrityError("not JSON")],
)
def test_a_refusal_is_given_up_logged_once_and_kept_as_a_finding(
    desk_on: MakeDesk, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    paper = Paper(error)
    local = desk_on(paper)

    local.tell(check("one"), check("two"))
    local.later(days=1)

    (finding,) = local.outbox.findings()
    assert finding.subject == "acme/payments checks"
    assert str(error) in finding.fact
    assert "(2 since" in finding.fact
    assert [one.levelno for one in caplog.records] == [logging.WARNING]
    assert (paper.written, paper.attempts) == ([], 2)


def test_a_refusal_is_forgotten_when_one_of_its_kind_gets_through_there(desk_on: MakeDesk) -> None:
    paper = Paper(RejectedError("403"))
    local = desk_on(paper)
    local.tell(check("one"), check("one", repository=OTHER))

    paper.error = None
    local.tell(CommentReport(REPOSITORY, 1, "<!-- m -->", "text"))
    assert len(local.outbox.findings()) == 2
    local.tell(check("two"))

    assert [one.subject for one in local.outbox.findings()] == ["acme/billing checks"]


def test_what_github_cannot_take_is_sent_later_with_growing_pauses(desk_on: MakeDesk) -> None:
    paper = Paper(UnavailableError("502"))
    local = desk_on(paper)

    local.tell(check("Published"))
    waits = []
    for _ in range(14):
        before, attempts = local.clock.at, paper.attempts
        while paper.attempts == attempts:
            local.later(seconds=1)
        waits.append(local.clock.at - before)
    paper.error = None
    local.later(seconds=LONGEST_PAUSE.total_seconds())
    local.later(days=1)

    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_PAUSE
    assert paper.written == ["Published"]
    assert local.outbox.findings() == ()
    assert local.outgoing.next_due() is None


def test_a_pause_that_github_asks_for_is_kept(desk_on: MakeDesk) -> None:
    paper = Paper(UnavailableError("429", retry_after=900))
    local = desk_on(paper)
    local.tell(check("Published"))
    paper.error = None

    local.later(seconds=899)
    assert paper.written == []
    local.later(seconds=1)

    assert paper.written == ["Published"]


def test_of_several_reports_with_one_key_the_newest_counts(desk_on: MakeDesk) -> None:
    paper = Paper(UnavailableError("502"))
    local = desk_on(paper)
    local.tell(check("Delivering"), check("Held", commit="d"))
    paper.error = None

    local.tell(check("Published"))
    local.later(seconds=LONGEST_PAUSE.total_seconds())

    assert paper.written == ["Published", "Held"]


def test_a_newer_report_that_comes_while_one_is_sent_follows_it(desk_on: MakeDesk) -> None:
    paper = Paper()
    local = desk_on(paper)
    local.outbox.tell(check("Delivering"))
    (claimed,) = local.outgoing.claim((), 10)

    local.tell(check("Published"))
    assert paper.written == []  # two at once might arrive in either order
    local.outgoing.sent(claimed, for_good=False)
    local.later(seconds=0)

    assert paper.written == ["Published"]


def test_what_is_told_outlives_the_process_that_told_it(desk_on: MakeDesk) -> None:
    paper = Paper()
    first = desk_on(paper)
    first.outbox.tell(check("Published"))
    first.outgoing.claim((), 10)  # and dies

    second = desk_on(paper)
    second.later(seconds=119)
    assert paper.written == []
    second.later(seconds=2)

    assert paper.written == ["Published"]


def test_the_only_process_takes_up_at_once_what_a_dead_one_had(tmp_path: Path) -> None:
    database, paper = open_database(f"sqlite:///{tmp_path / 'store.db'}"), Paper()
    migrate(database, "store", MIGRATIONS)
    clock = SteppedClock()
    outgoing = OutgoingStore(database, clock, SECRET)
    outgoing.put(check("Published"))
    outgoing.claim((), 10)  # and dies

    second = Outbox(paper, outgoing, clock)  # type: ignore[arg-type]  # the part that is used
    second.begin()
    second.flush()

    assert paper.written == ["Published"]
    database.dispose()


def test_where_github_cannot_answer_the_rest_of_a_repository_waits_untried(
    desk_on: MakeDesk,
) -> None:
    paper = Paper(UnavailableError("502"))
    local = desk_on(paper)
    for number in range(5):
        local.outbox.tell(check(str(number), commit=str(number)))
        local.clock.at += timedelta(microseconds=1)
    local.outbox.tell(check("elsewhere", repository=OTHER))

    local.outbox.flush()
    assert paper.attempts == 2
    paper.error = None
    local.later(seconds=1)

    assert paper.written == ["elsewhere", *(str(number) for number in range(5))]


def test_a_bug_in_one_report_is_told_and_holds_no_other(
    desk_on: MakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    paper = Paper(KeyError("hunter2"))
    local = desk_on(paper)
    local.tell(check("breaks"))
    paper.error = None
    local.tell(check("goes on", commit="d"))
    local.later(days=1)

    assert paper.written == ["goes on"]
    assert "report has a bug" in [one.message for one in caplog.records]
    assert "hunter2" not in caplog.text


def test_what_is_not_sent_at_the_stop_waits_for_the_next_start(desk_on: MakeDesk) -> None:
    class Stopping(Paper):
        def set_check(self, repository: GitHubRepository, check: Check) -> None:
            super().set_check(repository, check)
            first.outbox.stop()

    paper = Stopping()
    first = desk_on(paper)
    for number in range(3):
        first.outbox.tell(check(str(number), commit=str(number)))
        first.clock.at += timedelta(microseconds=1)
    claimed = first.outgoing.claim((), 10)
    first.outbox._send_all(claimed)  # noqa: SLF001 - in this thread: a stop waits for its own lanes
    assert paper.written == ["0"]
    assert first.outbox.send() == LOOK_SECONDS

    second = desk_on(later := Paper())
    second.later(seconds=1)

    assert later.written == ["1", "2"]


def test_a_repository_that_hangs_keeps_no_other(desk_on: MakeDesk) -> None:
    release, told = threading.Event(), threading.Event()

    class Hanging(Paper):
        def set_check(self, repository: GitHubRepository, check: Check) -> None:
            if repository == REPOSITORY:
                release.wait(30)
            super().set_check(repository, check)
            if repository == OTHER:
                told.set()

    paper = Hanging()
    local = desk_on(paper)
    local.outbox.tell(check("hangs"))
    local.outbox.send()
    local.outbox.tell(check("goes on", repository=OTHER))
    local.outbox.tell(check("comes after", commit="d"))
    local.outbox.send()

    assert told.wait(30)
    assert paper.written == ["goes on"]
    release.set()
    local.outbox.stop()
    desk_on(paper).later(seconds=0)
    assert paper.written == ["goes on", "hangs", "comes after"]


def test_the_next_look_is_when_the_next_report_is_due(desk_on: MakeDesk) -> None:
    paper = Paper(UnavailableError("502", retry_after=7))
    local = desk_on(paper)
    assert local.outbox.send() == LOOK_SECONDS

    local.tell(check("Published"))

    assert local.outbox.send() == 7


def test_a_team_is_asked_once_and_labels_as_often_as_they_are_told(desk_on: MakeDesk) -> None:
    paper = Paper()
    for _ in range(2):
        local = desk_on(paper)
        local.tell(ReviewersReport(REPOSITORY, 7, ("acme/release",)))
        local.tell(LabelReport(REPOSITORY, 7, ("lockkeeper",)))

    assert paper.written == [("acme/release",), ("lockkeeper",), ("lockkeeper",)]


def test_that_a_team_was_asked_is_forgotten_some_day(desk_on: MakeDesk) -> None:
    local = desk_on(Paper())
    local.tell(ReviewersReport(REPOSITORY, 7, ("acme/release",)))
    local.later(days=31)
    local.tell(check("x"))

    with local.outgoing.database.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM lk_outgoing")) == 0


def test_a_team_that_could_not_be_asked_is_asked_again(desk_on: MakeDesk) -> None:
    paper = Paper(RejectedError("422"))
    local = desk_on(paper)
    local.tell(ReviewersReport(REPOSITORY, 7, ("acme/release",)))
    paper.error = None

    local.tell(ReviewersReport(REPOSITORY, 7, ("acme/release",)))

    assert paper.written == [("acme/release",)]


def test_too_many_waiting_reports_give_up_the_oldest(
    desk_on: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "WAITING_LIMIT", 20)
    local = desk_on(Paper(UnavailableError("502")))

    for number in range(23):
        local.tell(check("x", commit=str(number)))
        local.clock.at += timedelta(milliseconds=1)

    (finding,) = local.outbox.findings()
    assert "(3 since" in finding.fact


@pytest.mark.parametrize(
    "forge",
    [
        lambda content: content.replace(b"failure", b"success"),
        lambda content: content[32:],
        lambda _content: b"",
    ],
    ids=["changed", "without proof", "empty"],
)
def test_a_row_that_somebody_else_wrote_tells_nothing(
    desk_on: MakeDesk, forge: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    paper = Paper()
    local = desk_on(paper)
    local.outbox.tell(
        CheckReport(REPOSITORY, Check("lockkeeper", "c", CheckState.FAILURE, "Blocked", ""))
    )
    with local.outgoing.database.begin() as connection:
        content = bytes(connection.scalar(sa.select(OUTGOING.c.content)) or b"")
        connection.execute(OUTGOING.update().values(content=forge(content)))

    local.outbox.flush()

    assert paper.written == []
    assert local.outgoing.next_due() is None
    assert [one.message for one in caplog.records] == ["report dropped"]


def test_a_row_under_another_key_tells_nothing(desk_on: MakeDesk) -> None:
    paper = Paper()
    local = desk_on(paper)
    local.outbox.tell(check("Published"))
    with local.outgoing.database.begin() as connection:
        connection.execute(OUTGOING.update().values(key="another"))

    local.outbox.flush()

    assert paper.written == []


def test_two_processes_never_send_one_report_twice(desk_on: MakeDesk) -> None:
    paper = Paper()
    desks = [desk_on(paper) for _ in range(4)]
    for number in range(60):
        desks[0].outbox.tell(check(str(number), commit=str(number)))

    threads = [threading.Thread(target=one.outbox.flush) for one in desks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(paper.written, key=str) == sorted(map(str, range(60)))


@pytest.mark.parametrize(
    "report",
    [
        check("ünïcode \u202e"),
        CommentReport(REPOSITORY, 1, "<!-- m -->", "text"),
        TimelineReport(REPOSITORY, DeploymentReport("lockkeeper/dev", "c", "success", "x")),
        LabelReport(REPOSITORY, 7, ("a", "b")),
        ReviewersReport(REPOSITORY, 7, ("acme/a", "acme/b")),
    ],
)
def test_a_report_is_read_as_it_was_written(report: Report) -> None:
    assert read_report(written(report, SECRET), row_key(report), SECRET) == report
    with pytest.raises(IntegrityError):
        read_report(written(report, SECRET), row_key(report), b"another")
