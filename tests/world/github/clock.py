"""The world's time: the machine's clock plus an offset that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


class MovableClock:
    """The wall clock, moved forward by a test; every timestamp of the world comes from it."""

    def __init__(self) -> None:
        """Start at the machine's time."""
        self._offset = timedelta()

    def __call__(self) -> datetime:
        """Return the world's time in UTC."""
        return datetime.now(UTC) + self._offset

    def advance(self, step: timedelta) -> None:
        """Move the world forward by ``step``."""
        self._offset += step


def stamp(moment: datetime) -> str:
    """Format ``moment`` as GitHub writes it: UTC, whole seconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_or_none(moment: datetime | None) -> str | None:
    """Format ``moment`` as GitHub writes it, null where there is none."""
    return None if moment is None else stamp(moment)
