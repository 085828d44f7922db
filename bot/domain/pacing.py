"""How often one pull request is written, and when the bot stops because it goes in circles.

A storm of pushes and somebody else's bot look alike from here: the same pull request is written
again and again. So it is written at most once in a while, always with the newest that is ready
then; and what was proposed, replaced and proposed again several times is left to people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.memory import WrittenHead

CIRCLES: Final = 3
"""How often a set may come back after another one took its place, within `WITHIN`."""
WITHIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Write:
    """One commit that the bot put on a pull request's branch."""

    at: datetime
    sources: Mapping[str, str]
    """Application -> source commit."""


def writes(heads: Iterable[tuple[str, WrittenHead]]) -> list[Write]:
    """The commits of a pull request's branch, oldest first, from each application's records."""
    found: dict[str, dict[str, str]] = {}
    at: dict[str, datetime] = {}
    for application, head in heads:
        found.setdefault(head.commit, {})[application] = head.source
        at[head.commit] = min(head.at, at.get(head.commit, head.at))
    return sorted((Write(at[one], found[one]) for one in found), key=lambda write: write.at)


def not_before(
    written: Sequence[Write], wanted: Mapping[str, str], between: timedelta
) -> datetime | None:
    """When another set may be written; None: at any time.

    The same set is written again at once: then the files around it have moved.
    """
    if not written or written[-1].sources == wanted:
        return None
    return written[-1].at + between


def circles(written: Sequence[Write], wanted: Mapping[str, str], now: datetime) -> int:
    """How often this set would have come back, within the hour, once it is written now."""
    sets = [one.sources for one in written if one.at > now - WITHIN]
    turns = [
        one for number, one in enumerate([*sets, wanted]) if number == 0 or one != sets[number - 1]
    ]
    return max(turns.count(wanted) - 1, 0) if turns and turns[-1] == wanted else 0
