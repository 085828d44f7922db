"""Calls that are made again and again, by the engine's clock.

Each call runs in a thread of its own, so that one that takes long (it asks GitHub, GitHub does not
answer) holds up neither jobs nor other calls; it is not made a second time while it runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

_LOG: Final = logging.getLogger("lockkeeper.engine")
_LONG: Final = timedelta(minutes=2)
"""A call that takes longer is told, once."""


@dataclass(slots=True)
class _Periodic:
    call: Callable[[], None]
    every: timedelta
    due: datetime
    began: datetime
    is_told: bool = False
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
        self._calls.append(_Periodic(call, every, first, first))

    def start_due(self, now: datetime) -> None:
        """Start what is due and does not run; tell what has been running for long."""
        for periodic in self._calls:
            if periodic.due > now:
                continue
            if periodic.running.acquire(blocking=False):
                self._start(periodic, now)
            elif now - periodic.began > _LONG and not periodic.is_told:
                periodic.is_told = True
                said = {
                    "call": getattr(periodic.call, "__name__", ""),
                    "since": str(periodic.began),
                }
                _LOG.warning("periodic call still runs", extra=said)

    def _start(self, periodic: _Periodic, now: datetime) -> None:
        periodic.due, periodic.began, periodic.is_told = now + periodic.every, now, False
        name = "lockkeeper-periodic"
        thread = threading.Thread(target=self._make, args=(periodic,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread is left; made when it is due again
            periodic.running.release()
            raise

    def _make(self, periodic: _Periodic) -> None:
        try:
            self._guarded(periodic.call)
        finally:
            periodic.running.release()
