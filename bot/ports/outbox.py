"""Reports on their way to people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from bot.domain.reports import Pending, Report


class Outbox(Protocol):
    """Where reports for people go; what becomes of them never holds back what they tell."""

    def tell(self, report: Report) -> None:
        """Let it be sent: soon, and after a crash as well."""
        ...


class Outgoing(Protocol):
    """Reports on their way, as rows; of several with one key only the newest is there.

    What is claimed is nobody else's for two minutes.
    """

    def put(self, report: Report) -> None:
        """Let a report wait in place of any of the same key; not one that was told for good."""
        ...

    def begin(self) -> None:
        """Take up what a process had claimed that is known to be dead; before the first claim."""
        ...

    def claim(self, busy: Collection[str], most: int) -> Sequence[Pending]:
        """Take reports that are due, oldest first; none of these repositories (``owner/name``)."""
        ...

    def sent(self, pending: Pending, *, for_good: bool) -> None:
        """Forget a report that is over; with ``for_good`` remember that it is not told again."""
        ...

    def again(self, pending: Pending, due: datetime, *, failed: bool) -> None:
        """Let it wait until ``due``; with ``failed`` an attempt is counted."""
        ...

    def next_due(self) -> datetime | None:
        """When the next report is due; None: none waits."""
        ...

    def drop_oldest(self, keep: int) -> Sequence[Pending]:
        """Give up the oldest until ``keep`` are left; those that were given up."""
        ...
