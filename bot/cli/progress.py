"""Showing how far a copy is: bars on a terminal, a line per tenth elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress as RichProgress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bot.domain.images import Descriptor
from bot.domain.oci import Digest
from bot.ports import Progress

_TENTHS = 10


@contextlib.contextmanager
def shown_progress(title: str, console: Console, *, quiet: bool) -> Iterator[Progress | None]:
    """A watcher for a copy that writes to ``console``; None if nothing is to be shown."""
    if quiet:
        yield None
    elif console.is_terminal:
        with _bar(console) as bar:
            yield _Bar(bar, title)
    else:
        yield _Lines(title, console)


def _bar(console: Console) -> RichProgress:
    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class _Bar:
    """rich's bars: one for all, and one for each blob that is on its way."""

    def __init__(self, bar: RichProgress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None)
        self._blobs: dict[Digest, tuple[TaskID, int]] = {}
        self._guard = threading.Lock()

    def expect(self, size: int) -> None:
        self._bar.update(self._task, total=size)

    def advance(self, blob: Descriptor, size: int) -> None:
        self._bar.advance(self._task, size)
        with self._guard:
            task, done = self._blobs.pop(blob.digest, (None, 0))
            done += size
            if done >= blob.size:
                if task is not None:
                    self._bar.remove_task(task)
                return
            if task is None:
                task = self._bar.add_task(f"  {blob.digest.short}", total=blob.size)
            self._bar.update(task, completed=done)
            self._blobs[blob.digest] = (task, done)


class _Lines:
    """A line whenever another tenth is done."""

    def __init__(self, title: str, console: Console) -> None:
        self._title, self._console = title, console
        self._total = self._done = self._shown = 0
        self._guard = threading.Lock()

    def expect(self, size: int) -> None:
        self._total = size

    def advance(self, blob: Descriptor, size: int) -> None:  # noqa: ARG002 - lines are about all
        with self._guard:
            self._done += size
            tenths = self._done * _TENTHS // self._total if self._total else 0
            if tenths > self._shown:
                self._shown = tenths
                percent = f"{tenths * 100 // _TENTHS}%"
                self._console.print(
                    f"{self._title}: {percent} of {self._total} bytes", highlight=False
                )
