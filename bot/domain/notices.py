"""What people are told elsewhere than on GitHub: an event in an environment, and who wants it.

A notice is made of what a look found, never of a text that somebody sent. It decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from bot.domain.environments import matches
from bot.domain.metrics import Stands
from bot.domain.standing import State

_QUIET: Final = re.compile(r"[^A-Za-z0-9 ._/:+,;()=#'-]")
"""What a chat, a mail or a shell could take for more than text, mentions among it."""
_LONGEST: Final = 300
LISTED: Final = 20
"""Notices that one message lists."""


class Event(StrEnum):
    """What happened."""

    WAITS = "waits"
    """A promotion waits for people."""
    BLOCKED = "blocked"
    """The policy blocks an open promotion."""
    PUBLISHED = "published"
    """An environment ref shows other images of an application than before."""
    FAILED = "failed"
    """Somebody must change something before it goes on."""
    HELD = "held"
    """A person or the bot stopped it."""
    FOREIGN = "foreign"
    """An environment ref showed a commit that is not the bot's."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One event."""

    event: Event
    manifests: str
    environment: str
    application: str
    """Empty: all of the environment."""
    identity: str
    """What makes it another event than the last one of this kind here."""
    text: str
    link: str = ""

    @property
    def title(self) -> str:
        """One line, in letters that no chat takes for a mention."""
        place = quiet(self.environment)
        if not self.application:
            return f"{place} {_TITLES[self.event]}"
        return f"{quiet(self.application)} {_TITLES[self.event]} in {place}"


_TITLES: Final = {
    Event.WAITS: "waits for people",
    Event.BLOCKED: "is blocked",
    Event.PUBLISHED: "is published",
    Event.FAILED: "cannot go on",
    Event.HELD: "is held",
    Event.FOREIGN: "showed a foreign commit",
}


@dataclass(frozen=True, slots=True)
class Sink:
    """Who is told what, as the operator wrote it."""

    name: str
    url: str = field(default="", repr=False)
    """Of a service, as apprise writes it; holds secrets."""
    webhook: str = field(default="", repr=False)
    """Where a signed document goes, in place of a service."""
    secret: str = field(default="", repr=False)
    """Signs it."""
    manifests: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    """Globs; none: all."""
    events: tuple[Event, ...] = ()
    digest: timedelta = timedelta(0)
    """How long notices are gathered for one message."""

    def wants(self, notice: Notice) -> bool:
        """Whether it is told."""
        return (
            (not self.manifests or notice.manifests.lower() in {m.lower() for m in self.manifests})
            and (
                not self.environments
                or any(matches(g, notice.environment) for g in self.environments)
            )
            and (not self.events or notice.event in self.events)
        )


def quiet(text: str) -> str:
    """A text from anywhere, as one short line that is nothing but text."""
    line = " ".join(_QUIET.sub(" ", text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def notices_of(manifests: str, stands: Iterable[Stands]) -> Sequence[Notice]:
    """Everything that is so now; what was told of it before is not told again."""
    return [notice for one in stands for notice in _of(manifests, one)]


def _of(manifests: str, one: Stands) -> Iterable[Notice]:
    def notice(event: Event, identity: str, text: str) -> Notice:
        return Notice(
            event, manifests, one.environment, one.application, identity, quiet(text), one.link
        )

    since = one.since.isoformat() if one.since else ""
    if one.published:
        digests = " ".join(one.published)
        yield notice(Event.PUBLISHED, digests, digests)
    if one.state == State.HELD:
        yield notice(Event.HELD, since, one.waits_for)
    elif one.state == State.FAILED:
        yield notice(Event.FAILED, f"{since} {one.waits_for[:_LONGEST]}", one.waits_for)
    elif one.state == State.PROPOSED and one.verdict == "fail":
        yield notice(Event.BLOCKED, f"{one.link} {since}", one.waits_for)
    elif one.state == State.PROPOSED and one.awaits_people:
        yield notice(Event.WAITS, f"{one.link} {since}", one.waits_for)


def foreign(manifests: str, environment: str, ref: str, commit: str) -> Notice:
    """A commit on an environment ref that is not the bot's."""
    text = quiet(f"{ref} showed {commit}, which this bot did not write")
    return Notice(Event.FOREIGN, manifests, environment, "", commit, text)


def message(notices: Sequence[Notice]) -> tuple[str, str]:
    """Title and text of one message about all of them."""
    first = notices[0]
    place = "" if len({one.manifests for one in notices}) > 1 else f" ({first.manifests})"
    title = first.title if len(notices) == 1 else f"Lockkeeper: {len(notices)} notices"
    lines = [
        "\n".join(filter(None, (one.title if len(notices) > 1 else "", one.text, one.link)))
        for one in notices[:LISTED]
    ]
    more = len(notices) - LISTED
    lines += [f"and {more} more: lockkeeper status"] if more > 0 else []
    return f"{title}{place}", "\n\n".join(lines)
