"""GitHub as a budget: what it asked for is kept, and what matters most is done with what is left.

Each installation has its own budget (documentation, "Rate limits for the REST API"): requests in
an hour, and content that notifies people in a minute and in an hour. Contract.

1. Where GitHub asks for silence nothing is sent for that installation until it is over; the others
   go on.
2. As a budget runs low reports wait first, then proposals; deliveries use it up.
3. What waits is not sent: `UnavailableError` says for how long, so no thread sleeps.

Safe from any thread.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

from bot.domain.errors import UnavailableError
from bot.ports.clock import Clock


class Urgency(IntEnum):
    """What a request is for."""

    REPORT = 0
    PROPOSAL = 1
    DELIVERY = 2


_URGENCY: Final[ContextVar[Urgency]] = ContextVar("urgency", default=Urgency.REPORT)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
# Documentation: 80 content-generating requests in a minute and 500 in an hour.
_A_MINUTE: Final = 80
_AN_HOUR: Final = 500
_WINDOWS: Final = ((timedelta(minutes=1), _A_MINUTE), (timedelta(hours=1), _AN_HOUR))
_SHARES: Final = {Urgency.REPORT: 0.7, Urgency.PROPOSAL: 0.85, Urgency.DELIVERY: 1.0}
"""How much of the content's budget may be used up for this."""
_RESERVES: Final = {Urgency.REPORT: 0.10, Urgency.PROPOSAL: 0.04, Urgency.DELIVERY: 0.0}
"""How much of the hour's requests is kept for what is more urgent."""
# Writes that notify people; checks, git data and edits do not.
_NOTIFYING: Final = re.compile(
    r"POST .*/(?:pulls|requested_reviewers|issues/[0-9]+/comments)|PUT .*/merge"
)


@contextmanager
def urgency(of: Urgency) -> Iterator[None]:
    """Everything in here is this urgent; what nobody says anything of is a report."""
    token = _URGENCY.set(of)
    try:
        yield
    finally:
        _URGENCY.reset(token)


@dataclass
class _Budget:
    """What is known of one installation."""

    silent_until: datetime = _LONG_AGO
    remaining: float = 1.0
    """Share of the hour's requests that was left at the last answer."""
    resets: datetime = _LONG_AGO
    content: deque[datetime] = field(default_factory=deque)
    """When people were notified, within the longest window."""


@dataclass(frozen=True)
class Pace:
    """The budgets of all installations, by their account."""

    clock: Clock
    limits_content: bool = True
    """GitHub Enterprise Server has no such limits, as long as nobody turns them on."""
    _budgets: dict[str, _Budget] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, account: str, request: str) -> None:
        """Let a request (verb and path) be sent now.

        Raises:
            UnavailableError: it has to wait, and how long.
        """
        now, urgent = self.clock.now(), _URGENCY.get()
        with self._guard:
            budget = self._budgets.setdefault(account, _Budget())
            due = max(budget.silent_until, _due(budget, urgent))
            if self.limits_content and _NOTIFYING.fullmatch(request):
                due = max(due, _content_due(budget, now, urgent))
                if due <= now:
                    budget.content.append(now)
        if due > now:
            seconds = (due - now).total_seconds()
            raise UnavailableError(
                f"GitHub's budget for {account}: {request} waits {seconds:.0f} s",
                retry_after=max(1.0, seconds),
            )

    def silence(self, account: str, seconds: float) -> None:
        """GitHub asked for silence."""
        with self._guard:
            budget = self._budgets.setdefault(account, _Budget())
            until = self.clock.now() + timedelta(seconds=seconds)
            budget.silent_until = max(budget.silent_until, until)

    def heard(self, account: str, headers: Mapping[str, str]) -> None:
        """An answer says how much is left."""
        names = ("x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset")
        texts = [headers.get(name, "") for name in names]
        if headers.get("x-ratelimit-resource", "core") != "core":
            return
        if not all(text.isascii() and text.isdigit() and len(text) < 12 for text in texts):  # noqa: PLR2004 - a time has 10 digits
            return
        remaining, limit, reset = map(int, texts)
        with self._guard:
            budget = self._budgets.setdefault(account, _Budget())
            budget.remaining = remaining / max(1, limit)
            budget.resets = datetime.fromtimestamp(reset, UTC)


def _due(budget: _Budget, urgent: Urgency) -> datetime:
    """When the hour's requests are enough for this again."""
    is_enough = budget.remaining > _RESERVES[urgent] or not _RESERVES[urgent]
    return budget.silent_until if is_enough else budget.resets


def _content_due(budget: _Budget, now: datetime, urgent: Urgency) -> datetime:
    """When one more notification fits into every window."""
    content = budget.content
    while content and content[0] <= now - _WINDOWS[-1][0]:
        content.popleft()
    due = now
    for length, number in _WINDOWS:
        allowed = int(number * _SHARES[urgent])
        if len(content) >= allowed:
            due = max(due, content[-allowed] + length)
    return due
