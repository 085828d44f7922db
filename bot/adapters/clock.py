"""The wall clock, with an offset that tests may set while the process runs.

The only module that reads the wall clock or sleeps. Safe to share between threads; it keeps
nothing. With an offset file, every `SystemClock.now` reads the file again, so that a journey can
move time in another process by writing a number of seconds into it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.domain.errors import RejectedError


@dataclass(frozen=True, slots=True)
class SystemClock:
    """`bot.ports.clock.Clock` on the machine's clock."""

    offset_file: Path | None = None
    """A file with seconds to add (``LOCKKEEPER_TEST_CLOCK``); absent or empty: 0."""

    def now(self) -> datetime:
        """The current time in UTC, aware.

        Raises:
            RejectedError: the offset file holds something else than a number of seconds.
        """
        return datetime.now(UTC) + self._offset()

    def _offset(self) -> timedelta:
        if self.offset_file is None:
            return timedelta(0)
        try:
            text = self.offset_file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return timedelta(0)
        try:
            return timedelta(seconds=float(text or 0))
        except (ValueError, OverflowError) as error:
            message = f"{self.offset_file.name} does not hold a number of seconds"
            raise RejectedError(message) from error


def pause(seconds: float) -> None:
    """Wait shortly; for adapters only. What takes longer is a job that asks to run again."""
    time.sleep(max(0.0, seconds))
