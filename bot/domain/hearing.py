"""Is a comment somebody's command, given now: what its author, its age and its edits say.

Whoever holds the webhook secret can say "look at comment 123" at any time, and whoever may write
can edit the comment of another: so neither an old comment nor an edited one is ever a command.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from bot.domain.history import Comment

OLDEST: Final = timedelta(minutes=15)
"""A command that is older when it is first seen is not carried out."""
_FORGOTTEN: Final = timedelta(hours=24)
"""Whoever wrote an older one does not wait for an answer."""


class Hearing(Enum):
    """What a comment is to the bot."""

    HEARD = ""
    """A command, if its first line is one."""
    NO_PERSON = "an App wrote it"
    EDITED = "it was edited"
    LATE = "it came more than 15 minutes ago"
    """Whoever wrote it should be told to give it again."""
    OLD = "it is of another day"


@dataclass(frozen=True, slots=True)
class CommentFacts:
    """Everything that decides it."""

    comment: Comment
    now: datetime
    has_begun: bool
    """It was heard in time, and its carrying out was cut short."""


def hear(facts: CommentFacts) -> Hearing:
    """The first reason why a comment is no command now."""
    comment, age = facts.comment, abs(facts.now - facts.comment.at)
    if not comment.author.is_person or not comment.author.id:
        return Hearing.NO_PERSON
    if comment.is_edited:
        return Hearing.EDITED
    if facts.has_begun or age <= OLDEST:
        return Hearing.HEARD
    return Hearing.LATE if age <= _FORGOTTEN else Hearing.OLD
