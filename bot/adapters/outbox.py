"""The port `bot.ports.outbox.Outbox`: the one place from which people are told on GitHub.

Contract.

1. `tell` leaves a row and is done: no report ends, holds back or slows what it tells about. What
   was told is sent after a crash as well.
2. A refusal (403, 404, 422) is given up: logged as a warning, and kept as a finding until a report
   of that kind gets through to that repository again.
3. Where GitHub cannot answer, the report waits and is sent again with growing pauses. Of several
   with one key only the newest is sent.
4. Reports of one repository are sent one after the other, in the order in which they were told;
   a repository that hangs keeps no other.

Safe from any thread. Several processes may send from one database: each report is one's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Final

from bot.domain.doctor.findings import About, Finding, Severity
from bot.domain.errors import IntegrityError, RejectedError, UnavailableError
from bot.domain.reports import (
    CheckReport,
    CommentReport,
    LabelReport,
    Pending,
    ReactionReport,
    Report,
    ReviewersReport,
    TimelineReport,
)
from bot.ports.clock import Clock
from bot.ports.github import GitHub
from bot.ports.outbox import Outgoing

_LOG: Final = logging.getLogger("lockkeeper.outbox")
WAITING_LIMIT: Final = 10_000
"""Reports that wait for GitHub; beyond it the oldest are given up."""
LOOK_SECONDS: Final = 30.0
"""The longest pause between two looks: another process may have left a report."""
LONGEST_PAUSE: Final = timedelta(minutes=5)
_FIRST_PAUSE: Final = timedelta(seconds=1)
_DOUBLINGS: Final = 9
_LANES: Final = 4
_AT_ONCE: Final = 100
"""Reports that one look takes."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The newest refusal of one kind in one repository."""

    reason: str
    count: int


class Outbox:
    """Reports on their way to GitHub."""

    def __init__(
        self,
        github: GitHub,
        outgoing: Outgoing,
        clock: Clock,
        watched: Callable[[str], AbstractContextManager[None]] = lambda _key: nullcontext(),
    ) -> None:
        """Send nothing yet; ``watched`` is told the key of each report while it is sent."""
        self._github, self._outgoing, self._clock = github, outgoing, clock
        self._watched = watched
        self._refused: dict[tuple[str, str], _Refusal] = {}
        self._busy: set[str] = set()
        self._is_stopping = False
        self._guard = threading.Lock()
        self._lanes = ThreadPoolExecutor(_LANES, "lockkeeper-outbox")
        self.woken = threading.Event()
        """Set when there is something to send."""

    def tell(self, report: Report) -> None:
        """Let it be sent."""
        self._outgoing.put(report)
        self.woken.set()

    def begin(self) -> None:
        """Take up what an earlier process left; once, when it is known that it is gone."""
        self._outgoing.begin()

    def send(self) -> float:
        """Begin to send what is due; the seconds until it is worth while to look again."""
        with self._guard:
            busy = frozenset(self._busy)
        if self._is_stopping:
            return LOOK_SECONDS
        for repository, group in _by_repository(self._outgoing.claim(busy, _AT_ONCE)):
            with self._guard:
                self._busy.add(repository)
            self._lanes.submit(self._send_lane, repository, group)
        due = self._outgoing.next_due()
        if due is None:
            return LOOK_SECONDS
        # What is due and was not taken is in a lane, which wakes this when it is free.
        seconds = (due - self._clock.now()).total_seconds()
        return min(LOOK_SECONDS, seconds) if seconds > 0 else LOOK_SECONDS

    def flush(self) -> None:
        """Send what is due, here and now."""
        while not self._is_stopping and (found := self._outgoing.claim((), _AT_ONCE)):
            for _, group in _by_repository(found):
                self._send_all(group)

    def stop(self) -> None:
        """Finish the reports that are being sent; the rest waits for the next start."""
        self._is_stopping = True
        self._lanes.shutdown(wait=True, cancel_futures=True)

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

    def _send_lane(self, repository: str, group: Sequence[Pending]) -> None:
        try:
            self._send_all(group)
        except UnavailableError as error:
            # The database: what was claimed is free again in two minutes.
            _LOG.warning("reports wait", extra={"repository": repository, "reason": str(error)})
        finally:
            with self._guard:
                self._busy.discard(repository)
            self.woken.set()

    def _send_all(self, group: Sequence[Pending]) -> None:
        """Send reports of one repository; where GitHub cannot answer, the rest waits untried."""
        for position, pending in enumerate(group):
            if self._is_stopping:
                for one in group[position:]:
                    self._outgoing.again(one, self._clock.now(), failed=False)
                return
            try:
                with self._watched(pending.key):
                    self._carry_out(pending.report)
                    is_once = isinstance(pending.report, ReviewersReport)
                    self._outgoing.sent(pending, for_good=is_once)
            except (RejectedError, IntegrityError) as error:
                self._outgoing.sent(pending, for_good=False)
                self._give_up(pending.report, str(error))
            except UnavailableError as error:
                self._wait(group[position:], error)
                return
            except Exception as error:  # noqa: BLE001 - a bug in one report must not hold the others
                kind = type(error).__name__
                fields = {"repository": str(pending.report.repository), "error": kind}
                _LOG.error("report has a bug", extra=fields)
                self._outgoing.sent(pending, for_good=False)
                self._give_up(pending.report, f"a bug of Lockkeeper's: {kind}")
            else:
                self._succeeded(pending.report)

    def _carry_out(self, report: Report) -> None:
        github, repository = self._github, report.repository
        match report:
            case CheckReport():
                github.set_check(repository, report.check)
            case CommentReport():
                github.set_comment(
                    repository, report.number, report.marker, report.body, begins=report.begins
                )
            case TimelineReport():
                github.report_deployment(repository, report.deployment)
            case LabelReport():
                github.add_labels(repository, report.number, report.labels)
            case ReviewersReport():
                github.request_reviewers(repository, report.number, report.teams)
            case ReactionReport():
                github.react(repository, report.comment, report.content)

    def _succeeded(self, report: Report) -> None:
        with self._guard:
            self._refused.pop((str(report.repository), report.kind), None)

    def _give_up(self, report: Report, reason: str) -> None:
        place = str(report.repository), report.kind
        with self._guard:
            before = self._refused.get(place)
            self._refused[place] = _Refusal(reason, before.count + 1 if before else 1)
        if before is None or before.reason != reason:
            fields = {"repository": place[0], "kind": report.kind, "reason": reason}
            _LOG.warning("report given up", extra=fields)

    def _wait(self, group: Sequence[Pending], error: UnavailableError) -> None:
        first, *others = group
        pause = min(LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(first.attempts, _DOUBLINGS))
        if error.retry_after is not None:
            pause = max(pause, timedelta(seconds=error.retry_after))
        due = self._clock.now() + pause
        self._outgoing.again(first, due, failed=True)
        for one in others:
            self._outgoing.again(one, due, failed=False)
        for dropped in self._outgoing.drop_oldest(WAITING_LIMIT):
            self._give_up(dropped.report, f"more than {WAITING_LIMIT} reports wait for GitHub")


def _by_repository(found: Sequence[Pending]) -> Sequence[tuple[str, Sequence[Pending]]]:
    def repository(one: Pending) -> str:
        return str(one.report.repository)

    grouped = groupby(sorted(found, key=repository), key=repository)
    return [(name, list(group)) for name, group in grouped]
