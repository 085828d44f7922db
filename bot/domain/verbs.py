"""The one table of what people may ask for: by comment, by command line, by a check's button.

A verb that stops or only looks is anybody's who may write; one that moves or lets something go on
is for those who approve. What a verb does is in `bot.usecases`; who may give it stands here alone.

>>> VERBS["rollback"].may
<May.APPROVE: "the environment's approvals team">
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Final

from bot.domain.errors import RejectedError


class May(Enum):
    """Who may give a verb."""

    WRITE = "write permission"
    """Whoever may write to the manifests repository: it stops, looks again, or only looks."""
    APPROVE = "the environment's approvals team"
    """Who may approve there; where no team is named, whoever may write."""
    OPERATE = "the operator"
    """Whoever has the bot's keys."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who gave a command."""

    name: str
    """For people to read."""
    account: int = 0
    """GitHub's number of the account; 0: nobody knows, as at a command line."""


class Channel(StrEnum):
    """How a verb comes."""

    COMMENT = "comment"
    COMMAND_LINE = "command line"
    BUTTON = "button"
    """GitHub tells only by webhook who pressed it, which anybody with the secret can write."""


class Form(StrEnum):
    """What an argument has to look like."""

    NAME = "a name"
    COMMIT = "a commit (7 to 64 hex digits)"
    NUMBER = "a number from 1 to 50"
    DURATION = "a duration like 45m, 8h, 3d or 2w"
    TEXT = "a few words"
    """Everything that is left of the line."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a verb in a comment."""

    name: str
    form: Form
    required: bool = False

    @property
    def shown(self) -> str:
        """As in a usage line."""
        return self.name if self.required else f"[{self.name}]"


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that people may ask for."""

    name: str
    may: May
    channels: frozenset[Channel]
    effect: str
    """What it does, in one sentence; of a button at most 40 characters (GitHub, "check runs")."""
    arguments: tuple[Argument, ...] = ()
    """In a comment; the pull request says which environment and application are meant."""

    @property
    def usage(self) -> str:
        """How it is written in a comment."""
        return " ".join([f"/{self.name}", *(one.shown for one in self.arguments)])

    @property
    def needs_proof(self) -> bool:
        """Whether a command row counts only from somebody with the bot's keys."""
        return self.may is not May.WRITE


_EVERYWHERE: Final = frozenset(Channel)
_WRITTEN: Final = frozenset({Channel.COMMENT, Channel.COMMAND_LINE})
_COMMENT: Final = frozenset({Channel.COMMENT})
_OPERATOR: Final = frozenset({Channel.COMMAND_LINE})
_ENVIRONMENT: Final = Argument("ENVIRONMENT", Form.NAME, required=True)
_REASON: Final = Argument("REASON", Form.TEXT, required=True)

_ALL: Final = (
    Verb(
        "explain",
        May.WRITE,
        frozenset({Channel.COMMENT, Channel.BUTTON}),
        "Say where it stands and who can help.",
    ),
    Verb("recheck", May.WRITE, frozenset({Channel.COMMENT, Channel.BUTTON}), "Look anew."),
    Verb("retry", May.WRITE, _EVERYWHERE, "Run what waits or failed now."),
    Verb("hold", May.WRITE, _WRITTEN, "Stop it.", (Argument("REASON", Form.TEXT),)),
    Verb("unhold", May.APPROVE, _WRITTEN, "Let it go on."),
    Verb(
        "freeze",
        May.WRITE,
        _WRITTEN,
        "Let nothing new into an environment for a while; a rollback goes through.",
        (_ENVIRONMENT, Argument("DURATION", Form.DURATION, required=True), _REASON),
    ),
    Verb("unfreeze", May.APPROVE, _WRITTEN, "End a freeze early.", (_ENVIRONMENT,)),
    Verb(
        "update", May.APPROVE, _COMMENT, "Take the newest build, whoever approved or edited this."
    ),
    Verb(
        "promote",
        May.APPROVE,
        _WRITTEN,
        "Open the pull request of a commit; without one, of the commit of this pull request.",
        (_ENVIRONMENT, Argument("COMMIT", Form.COMMIT)),
    ),
    Verb(
        "rollback",
        May.APPROVE,
        _WRITTEN,
        "Open the pull request that goes back to what ran before; nothing newer comes meanwhile.",
        (Argument("N", Form.NUMBER),),
    ),
    Verb(
        "break-glass",
        May.APPROVE,
        _COMMENT,
        "With a second person: let this pass the policy, freezes and the number of approvals.",
        (_REASON,),
    ),
    Verb("adopt", May.OPERATE, _OPERATOR, "Take over, unsealed, what an environment runs."),
    Verb("accept", May.OPERATE, _OPERATOR, "Put the rules of a commit into force."),
    Verb("reseal", May.OPERATE, _OPERATOR, "Sign again what is published."),
    Verb("resume", May.OPERATE, _OPERATOR, "Go on after a database was restored or emptied."),
    Verb("status", May.WRITE, _OPERATOR, "Say where everything is."),
    Verb("trust-source", May.OPERATE, _OPERATOR, "Let a source's name mean who has it now."),
)
VERBS: Final[Mapping[str, Verb]] = {verb.name: verb for verb in _ALL}


def verbs_of(channel: Channel) -> Sequence[Verb]:
    """The verbs that may come so."""
    return [verb for verb in _ALL if channel in verb.channels]


class WrongUsageError(RejectedError):
    """A command is written in a way that nobody can carry out."""

    def __init__(self, verb: Verb, fact: str) -> None:
        """Say what is wrong, and how it is written."""
        super().__init__(f"{fact}; write `{verb.usage}`")
        self.verb, self.fact = verb, fact


class UnknownVerbError(RejectedError):
    """Nearly a verb: whoever wrote it meant us."""

    def __init__(self, word: str, near: str) -> None:
        """Name the nearest verb."""
        super().__init__(f"there is no `/{word[:40]}`; did you mean `/{near}`?")
        self.word, self.near = word, near


def nearest(word: str, names: Iterable[str]) -> str:
    """The verb that was probably meant; empty: it is another bot's."""
    return next(iter(difflib.get_close_matches(word.lower(), list(names), 1, cutoff=0.75)), "")


_FORMS: Final[Mapping[Form, re.Pattern[str]]] = {
    Form.NAME: re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"),
    Form.COMMIT: re.compile(r"[0-9a-f]{7,64}"),
    Form.NUMBER: re.compile(r"[1-9]|[1-4][0-9]|50"),
    Form.DURATION: re.compile(r"([1-9][0-9]{0,3})([mhdw])"),
}
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST_FREEZE: Final = timedelta(days=90)
"""A freeze that is longer is a rule: it belongs into the pipeline file."""
REASON_LENGTH: Final = 200
"""Characters of a reason that are kept."""


def arguments_of(verb: Verb, rest: str) -> Mapping[str, str]:
    """The arguments in what follows a verb on its line; those that were left out are not there.

    Raises:
        WrongUsageError: too few, too many, or of another form.
    """
    words, found = rest.split(), dict[str, str]()
    for argument in verb.arguments:
        if argument.form is Form.TEXT:
            given, words = " ".join(words)[:REASON_LENGTH], []
        else:
            given = words.pop(0) if words else ""
        if not given:
            if argument.required:
                raise WrongUsageError(verb, f"{argument.name} is missing")
            continue
        form = _FORMS.get(argument.form)
        if form is not None and form.fullmatch(given) is None:
            fact = f"{argument.name} is {given[:40]!r}, not {argument.form}"
            raise WrongUsageError(verb, fact)
        found[argument.name] = given
    if words:
        raise WrongUsageError(verb, f"{' '.join(words)[:40]!r} is too much")
    return found


def duration(verb: Verb, text: str) -> timedelta:
    """How long ``45m``, ``8h``, ``3d`` or ``2w`` is.

    Raises:
        WrongUsageError: it is none, or longer than `LONGEST_FREEZE`.
    """
    found = _FORMS[Form.DURATION].fullmatch(text)
    if found is None:
        raise WrongUsageError(verb, f"DURATION is {text[:40]!r}, not {Form.DURATION}")
    long = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if long > LONGEST_FREEZE:
        days = LONGEST_FREEZE.days
        raise WrongUsageError(
            verb, f"{text} is more than {days} days; write what is longer into the pipeline file"
        )
    return long
