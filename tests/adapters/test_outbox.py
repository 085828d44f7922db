"""Reports on their way: nothing that becomes of one reaches whoever tells it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from bot.adapters.outbox import LONGEST_PAUSE, WAITING_LIMIT, Outbox
from bot.domain.environments import GitHubRepository
from bot.domain.errors import IntegrityError, NotFoundError, RejectedError, UnavailableError
from bot.domain.history import Check, CheckState
from bot.domain.reports import CheckReport, CommentReport, LabelReport, ReviewersReport

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
        self, _repository: GitHubRepository, _number: int, _marker: str, body: str
    ) -> None:
        self._write(body)

    def add_labels(
        self, _repository: GitHubRepository, _number: int, labels: Sequence[str]
    ) -> None:
        self._write(labels)

    def request_reviewers(
        self, _repository: GitHubRepository, _number: int, teams: Sequence[str]
    ) -> None:
        self._write(teams)


def outbox_on(paper: Paper, clock: SteppedClock | None = None) -> Outbox:
    return Outbox(paper, clock or SteppedClock())  # type: ignore[arg-type]  # the part that is used


def check(title: str, commit: str = "c", repository: GitHubRepository = REPOSITORY) -> CheckReport:
    return CheckReport(repository, Check("lockkeeper", commit, CheckState.SUCCESS, title, ""))


def test_a_report_is_sent_at_once() -> None:
    paper = Paper()

    assert outbox_on(paper).tell(check("Published"))
    assert paper.written == ["Published"]


@pytest.mark.parametrize(
    "error",
    [RejectedError("403 read-only"), NotFoundError("x", "GitHub"), IntegrityError("not JSON")],
)
def test_a_refusal_is_given_up_logged_once_and_kept_as_a_finding(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    paper = Paper(error)
    outbox = outbox_on(paper)

    assert [outbox.tell(check(title)) for title in ("one", "two")] == [True, True]
    outbox.send_waiting()

    (finding,) = outbox.findings()
    assert finding.subject == "acme/payments checks"
    assert str(error) in finding.fact
    assert "(2 since" in finding.fact
    assert [one.levelno for one in caplog.records] == [logging.WARNING]
    assert paper.written == []


def test_a_refusal_is_forgotten_when_one_of_its_kind_gets_through_there() -> None:
    paper = Paper(RejectedError("403"))
    outbox = outbox_on(paper)
    outbox.tell(check("one"))
    outbox.tell(check("one", repository=OTHER))

    paper.error = None
    outbox.tell(CommentReport(REPOSITORY, 1, "<!-- m -->", "text"))
    assert len(outbox.findings()) == 2
    outbox.tell(check("two"))

    assert [one.subject for one in outbox.findings()] == ["acme/billing checks"]


def test_what_github_cannot_take_is_sent_later_with_growing_pauses() -> None:
    clock, paper = SteppedClock(), Paper(UnavailableError("502"))
    outbox = outbox_on(paper, clock)

    assert not outbox.tell(check("Published"))
    waits = []
    for _ in range(14):
        before, attempts = clock.at, paper.attempts
        while paper.attempts == attempts:
            clock.at += timedelta(seconds=1)
            outbox.send_waiting()
        waits.append(clock.at - before)
    paper.error = None
    clock.at += LONGEST_PAUSE
    outbox.send_waiting()
    outbox.send_waiting()

    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_PAUSE
    assert paper.written == ["Published"]
    assert outbox.findings() == ()


def test_a_pause_that_github_asks_for_is_kept() -> None:
    clock, paper = SteppedClock(), Paper(UnavailableError("429", retry_after=900))
    outbox = outbox_on(paper, clock)
    outbox.tell(check("Published"))
    paper.error = None

    clock.at += timedelta(seconds=899)
    outbox.send_waiting()
    assert paper.written == []
    clock.at += timedelta(seconds=1)
    outbox.send_waiting()

    assert paper.written == ["Published"]


def test_of_several_reports_with_one_key_the_newest_counts() -> None:
    clock, paper = SteppedClock(), Paper(UnavailableError("502"))
    outbox = outbox_on(paper, clock)
    outbox.tell(check("Delivering"))
    outbox.tell(check("Held", commit="d"))
    paper.error = None

    assert outbox.tell(check("Published"))
    clock.at += LONGEST_PAUSE
    outbox.send_waiting()

    assert paper.written == ["Published", "Held"]


def test_a_team_is_asked_once_and_labels_as_often_as_they_are_told() -> None:
    paper = Paper()
    outbox = outbox_on(paper)

    for _ in range(2):
        outbox.tell(ReviewersReport(REPOSITORY, 7, ("acme/release",)))
        outbox.tell(LabelReport(REPOSITORY, 7, ("lockkeeper",)))

    assert paper.written == [("acme/release",), ("lockkeeper",), ("lockkeeper",)]


def test_a_team_that_could_not_be_asked_is_asked_again() -> None:
    paper = Paper(RejectedError("422"))
    outbox = outbox_on(paper)
    outbox.tell(ReviewersReport(REPOSITORY, 7, ("acme/release",)))
    paper.error = None

    outbox.tell(ReviewersReport(REPOSITORY, 7, ("acme/release",)))

    assert paper.written == [("acme/release",)]


def test_too_many_waiting_reports_give_up_the_oldest() -> None:
    outbox = outbox_on(Paper(UnavailableError("502")))

    for number in range(WAITING_LIMIT + 3):
        outbox.tell(check("x", commit=str(number)))

    (finding,) = outbox.findings()
    assert "(3 since" in finding.fact
