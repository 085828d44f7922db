"""Leave a command row for the running bot, and wait for what it says."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from typing import Any, Final

import click

from bot.adapters.clock import pause
from bot.assembly import OpenStore, open_store
from bot.cli.answers import words_of
from bot.cli.failing import FAILED, failing
from bot.domain.errors import UnavailableError
from bot.settings import Settings

_WAIT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.2
_WITHDRAWN: Final = json.dumps({"error": "withdrawn: nobody answered in time"})


class NoAnswerError(UnavailableError):
    """No running bot answered a command in time; what became of the command stands in the text."""

    def __init__(self, row: int, database: str, *, withdrawn: bool) -> None:
        """Name the row, the database that was asked, and whether the command is still there."""
        if withdrawn:
            fate = "The command is withdrawn and will not be carried out"
        else:
            fate = "A bot has begun it: the command stays, look again with `lockkeeper status`"
        super().__init__(
            f"no answer to command {row} in {database} within {_WAIT_SECONDS:.0f} s. {fate}. "
            "Is `lockkeeper serve` running with this database? Its log says what it does"
        )
        self.row, self.withdrawn = row, withdrawn


def ask(verb: str, arguments: Sequence[str], *, no_wait: bool, as_json: bool) -> None:
    """Leave a command and print the answer; exit 1 where it is a refusal.

    Args:
        verb: one of `bot.usecases.commands.VERBS`.
        arguments: its words, in order.
        no_wait: print the row's number and go; the command stays.
        as_json: print the answer as it is, not for people.
    """
    with failing(as_json=as_json):
        opened = open_store(Settings.from_process())
        row = opened.commands.submit(verb, list(arguments), getpass.getuser())
        if no_wait:
            said = f"left as command {row} in {opened.name}"
            click.echo(json.dumps({"command": row}) if as_json else said)
            return
        answer, failed = _answer(opened, row)
        opened.database.dispose()
        click.echo(json.dumps(answer, indent=2) if as_json else words_of(verb, answer))
        if failed:
            raise click.exceptions.Exit(FAILED)


def _answer(opened: OpenStore, row: int) -> tuple[dict[str, Any], bool]:
    waited = 0.0
    while (found := opened.commands.get(row)) is None or found.answer is None:
        if waited > _WAIT_SECONDS:
            withdrawn = opened.commands.withdraw(row, _WITHDRAWN)
            raise NoAnswerError(row, opened.name, withdrawn=withdrawn)
        pause(_LOOK_SECONDS)
        waited += _LOOK_SECONDS
    return json.loads(found.answer), found.failed
