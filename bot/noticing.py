"""From where promotions stand to messages: rows first, then sent, each sink for itself.

Nothing here is asked by a promotion, and nothing of it can fail one. A sink that does not take a
message is tried again with growing pauses, and is a finding until it takes one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

from bot.domain.doctor.findings import About, Finding, Severity
from bot.domain.errors import LockkeeperError, UnavailableError
from bot.domain.metrics import Stands
from bot.domain.notices import Notice, Sink, foreign, notices_of
from bot.ports.clock import Clock
from bot.ports.notices import NoticeRows

NOTICE_SECONDS: Final = 15.0
"""Between two looks at what is due."""
_AT_ONCE: Final = 5_000
"""Notices of one message: what stops an environment is one message, whatever it is about."""
_FIRST_PAUSE: Final = timedelta(minutes=1)
_LONGEST_PAUSE: Final = timedelta(hours=1)


class Carries(Protocol):
    """Who sends; `bot.adapters.courier.Courier` does."""

    def carry(self, sink: Sink, notices: Sequence[Notice]) -> None:
        """Send one message about all of them; UnavailableError: it was not taken."""
        ...


class Noticing:
    """The sinks of one process."""

    def __init__(
        self, sinks: Sequence[Sink], rows: NoticeRows, carries: Carries, clock: Clock
    ) -> None:
        """Tell nobody anything yet."""
        self._sinks, self._rows, self._carries, self._clock = sinks, rows, carries, clock
        self._refused: dict[str, str] = {}
        self._guard = threading.Lock()

    def heard(self, manifests: str, stands: Sequence[Stands]) -> None:
        """Let everybody who wants it be told of what is news."""
        found = notices_of(manifests, stands)
        for sink in self._sinks:
            self._rows.note(sink, manifests, [one for one in found if sink.wants(one)])

    def foreign(self, manifests: str, environment: str, facts: Mapping[str, str]) -> None:
        """Let everybody who wants it be told of a commit that is not the bot's."""
        found = foreign(manifests, environment, facts.get("ref", ""), facts.get("commit", ""))
        for sink in self._sinks:
            if sink.wants(found):
                self._rows.tell(sink, found)

    def send(self) -> float:
        """Send what is due; the seconds until the next look.

        Raises:
            UnavailableError: for the log, after every sink had its turn: these did not take it.
        """
        failed = [reason for sink in self._sinks if (reason := self._send(sink))]
        if failed:
            raise UnavailableError("; ".join(failed))
        return NOTICE_SECONDS

    def findings(self) -> tuple[Finding, ...]:
        """Sinks that do not take what they are sent."""
        with self._guard:
            refused = sorted(self._refused.items())
        return tuple(
            Finding(
                About.NOTICES,
                name,
                Severity.WARNING,
                reason,
                "promotions go on without; check its URL, its secret and the network",
            )
            for name, reason in refused
        )

    def _send(self, sink: Sink) -> str:
        """Send what is due to one sink; why it did not take it, empty where it did."""
        taken = self._rows.take(sink.name, _AT_ONCE)
        if not taken:
            return ""
        try:
            self._carries.carry(sink, [one.notice for one in taken])
        except LockkeeperError as error:
            attempts = max(one.attempts for one in taken)
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempts, 6))
            self._rows.again(taken, self._clock.now() + pause)
            with self._guard:
                self._refused[sink.name] = str(error)
            return str(error)
        self._rows.sent(taken)
        with self._guard:
            self._refused.pop(sink.name, None)
        return ""
