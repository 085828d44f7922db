"""Time, as a fact like any other."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, as a fact like any other."""

    def now(self) -> datetime:
        """The current time in UTC, aware."""
        ...
