"""Showing how far a copy is: bars on a terminal, a line per tenth elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from bot.domain.images import Descriptor

if TYPE_CHECKING:
    from bot.ports.registry import Progress

_TENTHS = 10
_NO_BARS = frozenset({"", "dumb", "unknown"})
"""Kinds of terminal that cannot go back in what they show."""


@contextlib.contextmanager
def shown_progress(
    title: str, screen: TextIO, *, terminal: str, quiet: bool
) -> Iterator[Progress | None]:
    """A watcher for a copy that writes to ``screen``; None if nothing is to be shown.

    Args:
        title: what is going on.
        screen: standard error.
        terminal: its kind, ``$TERM``.
        quiet: nothing is to be shown.
    """
    if quiet:
        yield None
    elif screen.isatty() and terminal not in _NO_BARS:
        from rich.console import Console  # noqa: PLC0415 - slow import

        from bot.cli.bars import shown_bars  # noqa: PLC0415 - with rich

        with shown_bars(title, Console(file=screen)) as bars:
            yield bars
    else:
        yield _Lines(title, screen)


class _Lines:
    """A line whenever another tenth is done."""

    def __init__(self, title: str, screen: TextIO) -> None:
        self._title, self._screen = title, screen
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
                self._screen.write(f"{self._title}: {percent} of {self._total} bytes\n")
                self._screen.flush()
