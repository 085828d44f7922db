"""Bars on a terminal: one for a whole copy, and one for each blob that is on its way."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress as RichProgress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from bot.domain.images import Descriptor
from bot.domain.oci import Digest
from bot.ports.registry import Progress

_WIDE = 80
"""Columns from which the speed is shown, too; what remains is the bar's."""


@contextlib.contextmanager
def shown_bars(title: str, console: Console) -> Iterator[Progress]:
    """A watcher for a copy that draws on ``console``, in no more columns than it has."""
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None),
        DownloadColumn(table_column=Column(no_wrap=True)),
        *([TransferSpeedColumn()] if console.width >= _WIDE else []),
        TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
    ]
    with RichProgress(*columns, console=console, transient=True, expand=True) as bar:
        yield _Bar(bar, title)


class _Bar:
    """rich's bars."""

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
