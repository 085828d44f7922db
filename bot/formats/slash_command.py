"""A command in a comment: the first line that says something, and nothing else of it.

    /hold the payment provider is down

What is quoted (``> /hold``), indented (code), or stands further down is talk about a command. The
grammar is one line of words: nothing in it is expanded, evaluated or passed on to a program.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.verbs import UnknownVerbError, nearest
from bot.formats.markdown import plain

_LONGEST: Final = 400
"""Characters of a command that are read; what is longer is cut, as a reason is."""
_COMMAND: Final = re.compile(r" {0,3}/([A-Za-z][A-Za-z-]{1,30})[:,.!]?(?:[ \t]+(.*))?")
"""People, and their telephones, put a mark behind the word; four spaces before it make code."""
_SPACES: Final = re.compile(r"[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_FENCES: Final = ("```", "~~~")


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """What somebody asks for."""

    verb: str
    rest: str
    """What follows on the line, printable and in one line; text from outside."""


def read_command(body: str, verbs: Collection[str]) -> SlashCommand | None:
    """The command of a comment; None: there is none, or it is another bot's.

    Raises:
        UnknownVerbError: nearly one of these verbs.
    """
    found = next((_COMMAND.fullmatch(line) for line in _lines(body)), None)
    if found is None:
        return None
    verb = found[1].lower()
    if verb not in verbs:
        near = nearest(verb, verbs)
        if near:
            raise UnknownVerbError(verb, near)
        return None
    return SlashCommand(verb, plain(found[2] or "", _LONGEST))


def further_commands(body: str, verbs: Collection[str]) -> Sequence[str]:
    """Verbs that stand like commands on lines below the first, where nobody carries them out."""
    found: list[str] = []
    is_code = False
    for line in list(_lines(body))[1:]:
        if line.strip().startswith(_FENCES):
            is_code = not is_code
        command = None if is_code else _COMMAND.fullmatch(line)
        if command is not None and command[1].lower() in verbs:
            found.append(command[1].lower())
    return list(dict.fromkeys(found))


def _lines(body: str) -> Iterator[str]:
    """Lines that say something, each as long as one is read, with one kind of space."""
    for line in body.replace("\r", "\n").split("\n"):
        read = _SPACES.sub(" ", line[:_LONGEST]).rstrip()
        if read:
            yield read
