"""What people are told elsewhere than on GitHub, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bot.domain.notices import Notice, Sink


@dataclass(frozen=True, slots=True)
class TakenNotice:
    """A notice that somebody has taken to tell it."""

    key: tuple[str, ...]
    notice: Notice
    attempts: int
    """How often it could not be told."""


class NoticeRows(Protocol):
    """What was told to whom elsewhere than on GitHub, and what waits to be; kept until then."""

    def note(self, sink: Sink, manifests: str, notices: Sequence[Notice]) -> None:
        """Let those wait that are news; at the first look at a manifests repository none is."""
        ...

    def tell(self, sink: Sink, notice: Notice) -> None:
        """Let one wait that is no state but happened, if it is news."""
        ...

    def take(self, sink: str, most: int) -> Sequence[TakenNotice]:
        """Take those that wait, oldest first, once one of them is due."""
        ...

    def sent(self, taken: Sequence[TakenNotice]) -> None:
        """They were told."""
        ...

    def again(self, taken: Sequence[TakenNotice], due: datetime) -> None:
        """They could not be told; they wait until then."""
        ...
