"""Two persons who together let one commit's images pass what protects against haste.

It passes the policy, freezes and the number of approvals. It never passes what makes a digest the
one that was built, recorded, taken from where it belongs, sealed and not revoked, nor a hold that
somebody put on it: whoever ends that hold knows why it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.memory import Asked, AskKind

SECOND_WITHIN: Final = timedelta(hours=1)
"""The second person has to say so by then."""
OPEN_FOR: Final = timedelta(hours=4)
"""After that everything holds again."""


@dataclass(frozen=True, slots=True)
class BrokenGlass:
    """Two persons said so."""

    commit: str
    by: tuple[str, str]
    """Their names, for people to read."""
    reason: str
    """Of the first; text from outside."""
    since: datetime
    until: datetime


def broken(asks: Sequence[Asked], now: datetime) -> Sequence[BrokenGlass]:
    """What two different persons let pass now, by their accounts' numbers.

    Args:
        asks: What was asked for of one application in one environment, oldest first.
        now: UTC.
    """
    given = [one for one in asks if one.kind is AskKind.BREAK_GLASS and one.account]
    found: dict[str, BrokenGlass] = {}
    for second in given:
        first = _first(given, second)
        until = second.at + OPEN_FOR
        if first is not None and second.at <= now < until:
            by = first.by, second.by
            found[second.commit] = BrokenGlass(second.commit, by, first.reason, second.at, until)
    return list(found.values())


def _first(given: Sequence[Asked], second: Asked) -> Asked | None:
    """Who said so before, and is somebody else."""
    return next(
        (
            one
            for one in given
            if one.commit == second.commit
            and one.account != second.account
            and timedelta(0) <= second.at - one.at <= SECOND_WITHIN
        ),
        None,
    )
