"""A command in a comment: its first line and nothing else of it.

    /hold the payment provider is down

What is quoted (``> /hold``), indented (code), or stands further down is talk about a command. The
grammar is one line of words: nothing in it is expanded, evaluated or passed on to a program.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from bot.domain.verbs import UnknownVerbError, nearest
from bot.formats.markdown import plain

_LONGEST: Final = 400
"""Characters of a line that can be a command: longer ones are talk."""
_COMMAND: Final = re.compile(r"/([A-Za-z][A-Za-z-]{1,30})(?:[ \t]+(.*))?")


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """What somebody asks for."""

    verb: str
    rest: str
    """What follows on the line, printable and in one line; text from outside."""


def read_command(body: str, verbs: Collection[str]) -> SlashCommand | None:
    """The command of a comment's first line; None: there is none, or it is another bot's.

    Raises:
        UnknownVerbError: nearly one of these verbs.
    """
    line = body[: _LONGEST + 1].split("\n", 1)[0].rstrip()
    found = _COMMAND.fullmatch(line) if len(line) <= _LONGEST else None
    if found is None:
        return None
    verb = found[1].lower()
    if verb not in verbs:
        near = nearest(verb, verbs)
        if near:
            raise UnknownVerbError(verb, near)
        return None
    return SlashCommand(verb, plain(found[2] or "", _LONGEST))
