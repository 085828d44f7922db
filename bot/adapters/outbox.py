"""The port `bot.ports.Outbox`: the one place from which people are told on GitHub.

Contract.

1. `tell` never raises what GitHub answers: no report ends or holds back what it tells about.
2. A refusal (403, 404, 422) is given up: logged as a warning, and kept as a finding until a report
   of that kind gets through to that repository again.
3. Where GitHub cannot answer, the report waits and is sent again with growing pauses. Of several
   with one key only the newest waits.
4. What waits is kept in memory: a crash loses it. What was sealed or published is told again by
   the next look where nothing says yet that it was told.

Safe from any thread; reports of one key are sent one after the other.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.doctor.findings import About, Finding, Severity
from bot.domain.errors import IntegrityError, RejectedError, UnavailableError
from bot.domain.reports import (
    CheckReport,
    CommentReport,
    Key,
    LabelReport,
    Report,
    ReviewersReport,
    TimelineReport,
)
from bot.ports import Clock, GitHub

_LOG: Final = logging.getLogger("lockkeeper.outbox")
WAITING_LIMIT: Final = 10_000
"""Reports that wait for GitHub; beyond it the oldest are given up."""
ASKED_LIMIT: Final = 10_000
"""Review requests that are remembered, so that none is made twice."""
LOOK_SECONDS: Final = 1.0
LONGEST_PAUSE: Final = timedelta(minutes=5)
_FIRST_PAUSE: Final = timedelta(seconds=1)
_STRIPES: Final = 64
_DOUBLINGS: Final = 9


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A report that GitHub could not take yet."""

    report: Report
    attempts: int
    due: datetime


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The newest refusal of one kind in one repository."""

    reason: str
    count: int


class Outbox:
    """Reports on their way to GitHub."""

    def __init__(self, github: GitHub, clock: Clock) -> None:
        """Send nothing yet."""
        self._github, self._clock = github, clock
        self._waiting: OrderedDict[Key, _Waiting] = OrderedDict()
        self._refused: dict[tuple[str, str], _Refusal] = {}
        self._asked: OrderedDict[Key, None] = OrderedDict()
        self._guard = threading.Lock()
        self._stripes = tuple(threading.Lock() for _ in range(_STRIPES))

    def tell(self, report: Report) -> bool:
        """Send it now, or later; False while it waits."""
        with self._alone(report.key):
            with self._guard:
                self._waiting.pop(report.key, None)
                if report.key in self._asked:
                    return True
            return self._send(report, attempts=0)

    def send_waiting(self) -> float:
        """Send what is due; the seconds until it is worth while to look again."""
        now = self._clock.now()
        with self._guard:
            due = [one for one in self._waiting.values() if one.due <= now]
        for one in due:
            with self._alone(one.report.key):
                with self._guard:
                    is_newest = self._waiting.get(one.report.key) is one
                    if is_newest:
                        del self._waiting[one.report.key]
                if is_newest:
                    self._send(one.report, one.attempts)
        return LOOK_SECONDS

    def findings(self) -> tuple[Finding, ...]:
        """What GitHub refuses, one finding for each kind and repository."""
        with self._guard:
            refused = list(self._refused.items())
        return tuple(
            Finding(
                About.REPORTS,
                f"{repository} {kind}",
                Severity.WARNING,
                f"{one.reason} ({one.count} since the last that got through)",
                "promotions go on without; let the App write there (permissions, archived?)",
            )
            for (repository, kind), one in sorted(refused)
        )

    def _send(self, report: Report, attempts: int) -> bool:
        try:
            self._carry_out(report)
        except (RejectedError, IntegrityError) as error:
            self._give_up(report, str(error))
        except UnavailableError as error:
            self._keep(report, attempts + 1, error)
            return False
        else:
            self._succeeded(report)
        return True

    def _carry_out(self, report: Report) -> None:
        github, repository = self._github, report.repository
        match report:
            case CheckReport():
                github.set_check(repository, report.check)
            case CommentReport():
                github.set_comment(repository, report.number, report.marker, report.body)
            case TimelineReport():
                github.report_deployment(repository, report.deployment)
            case LabelReport():
                github.add_labels(repository, report.number, report.labels)
            case ReviewersReport():
                github.request_reviewers(repository, report.number, report.teams)

    def _succeeded(self, report: Report) -> None:
        with self._guard:
            self._refused.pop((str(report.repository), report.kind), None)
            if isinstance(report, ReviewersReport):
                self._remember(report.key)

    def _remember(self, key: Key) -> None:
        self._asked[key] = None
        while len(self._asked) > ASKED_LIMIT:
            self._asked.popitem(last=False)

    def _give_up(self, report: Report, reason: str) -> None:
        place = str(report.repository), report.kind
        with self._guard:
            before = self._refused.get(place)
            self._refused[place] = _Refusal(reason, before.count + 1 if before else 1)
        if before is None or before.reason != reason:
            fields = {"repository": place[0], "kind": report.kind, "reason": reason}
            _LOG.warning("report given up", extra=fields)

    def _keep(self, report: Report, attempts: int, error: UnavailableError) -> None:
        pause = min(LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempts - 1, _DOUBLINGS))
        if error.retry_after is not None:
            pause = max(pause, timedelta(seconds=error.retry_after))
        with self._guard:
            self._waiting[report.key] = _Waiting(report, attempts, self._clock.now() + pause)
            overflow = len(self._waiting) - WAITING_LIMIT
            oldest = [self._waiting.popitem(last=False)[1] for _ in range(overflow)]
        for one in oldest:
            self._give_up(one.report, f"more than {WAITING_LIMIT} reports wait for GitHub")

    def _alone(self, key: Key) -> threading.Lock:
        return self._stripes[hash(key) % _STRIPES]
