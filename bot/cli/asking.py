"""Leave a command row for the running bot, and wait for what it says."""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass
from typing import Any, Final

import click

from bot.adapters.clock import pause
from bot.assembly import OpenStore, open_store
from bot.cli.answers import words_of
from bot.cli.failing import FAILED, failing
from bot.domain.errors import UnavailableError
from bot.settings import Settings

WAIT_SECONDS: Final = 30.0
"""How long a command line waits for the running bot by default."""
_LOOK_SECONDS: Final = 0.2
_WITHDRAWN: Final = json.dumps(
    {"error": {"kind": "NoAnswerError", "text": "withdrawn: nobody answered in time"}}
)


class NoAnswerError(UnavailableError):
    """No running bot answered a command in time; what became of the command stands in the text."""

    def __init__(self, row: int, database: str, seconds: float, *, withdrawn: bool) -> None:
        """Name the row, the database that was asked, and whether the command is still there."""
        if withdrawn:
            fate = "The command is withdrawn and will not be carried out"
        else:
            fate = "A bot has begun it: the command stays, look again with `lockkeeper status`"
        super().__init__(
            f"no answer to command {row} in {database} within {seconds:g} s. {fate}. "
            "Is `lockkeeper serve` running with this database? Its log says what it does"
        )
        self.row, self.withdrawn = row, withdrawn


@dataclass(frozen=True, slots=True)
class Asking:
    """How a command line asks the running bot."""

    seconds: float
    """How long to wait for the answer; then the command is withdrawn."""
    no_wait: bool
    """Print the row's number and go; the command stays."""
    as_json: bool
    """Print the answer as it is, not for people."""

    def __call__(self, verb: str, *arguments: str) -> None:
        """Leave a command of `bot.reconcilers.operator.VERBS` and print the answer.

        Exits 1 where the answer is a refusal, or nobody answered.
        """
        with failing(as_json=self.as_json):
            opened = open_store(Settings.from_process())
            row = opened.commands.submit(verb, arguments, getpass.getuser())
            if self.no_wait:
                said = f"left as command {row} in {opened.name}"
                click.echo(json.dumps({"command": row}) if self.as_json else said)
                return
            answer, failed = _answer(opened, row, self.seconds)
            click.echo(json.dumps(answer, indent=2) if self.as_json else words_of(verb, answer))
            if failed:
                raise click.exceptions.Exit(FAILED)


def _answer(opened: OpenStore, row: int, seconds: float) -> tuple[dict[str, Any], bool]:
    waited = 0.0
    while (found := opened.commands.get(row)) is None or found.answer is None:
        if waited >= seconds:
            withdrawn = opened.commands.withdraw(row, _WITHDRAWN)
            raise NoAnswerError(row, opened.name, seconds, withdrawn=withdrawn)
        pause(_LOOK_SECONDS)
        waited += _LOOK_SECONDS
    return json.loads(found.answer), found.failed
