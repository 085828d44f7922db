"""Calls that are made again and again, by the engine's clock.

Each call runs in a thread of its own, so that one that takes long (it asks GitHub, GitHub does not
answer) holds up neither jobs nor other calls; it is not made a second time while it runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(slots=True)
class _Periodic:
    call: Callable[[], None]
    every: timedelta
    due: datetime
    running: threading.Lock = field(default_factory=threading.Lock)


class Timetable:
    """Periodic calls; `start_due` belongs to one thread."""

    def __init__(self, guarded: Callable[[Callable[[], None]], None]) -> None:
        """Prepare an empty one.

        Args:
            guarded: makes a call and lets nothing through.
        """
        self._guarded = guarded
        self._calls: list[_Periodic] = []

    def add(self, call: Callable[[], None], every: timedelta, first: datetime) -> None:
        """Make this call at ``first`` and then ``every`` so often."""
        self._calls.append(_Periodic(call, every, first))

    def start_due(self, now: datetime) -> None:
        """Start what is due and does not run."""
        for periodic in self._calls:
            if periodic.due <= now and periodic.running.acquire(blocking=False):
                periodic.due = now + periodic.every
                name = "lockkeeper-periodic"
                threading.Thread(
                    target=self._make, args=(periodic,), name=name, daemon=True
                ).start()

    def _make(self, periodic: _Periodic) -> None:
        try:
            self._guarded(periodic.call)
        finally:
            periodic.running.release()
