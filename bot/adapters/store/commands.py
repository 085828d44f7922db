"""`bot.ports.Commands`: rows between the command line and the running bot.

The command line opens the same database while the bot runs; it takes no part in the bot's work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from bot.adapters.store.database import text_of, transaction
from bot.adapters.store.schema import COMMAND
from bot.domain.memory import Command
from bot.ports import Clock


@dataclass(frozen=True, slots=True)
class CommandStore:
    """The commands in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    clock: Clock

    def submit(self, verb: str, arguments: Sequence[str], actor: str) -> int:
        """Leave a command; returns its row."""
        insert = COMMAND.insert().values(
            verb=verb,
            arguments=json.dumps(list(arguments)),
            actor=actor,
            at=text_of(self.clock.now()),
            failed=0,
        )
        with transaction(self.database) as connection:
            return int(connection.execute(insert.returning(COMMAND.c.id)).scalar_one())

    def open(self) -> Sequence[Command]:
        """Commands that have no answer yet, oldest first."""
        query = sa.select(COMMAND).where(COMMAND.c.answer.is_(None)).order_by(COMMAND.c.id)
        with transaction(self.database) as connection:
            return [_command(row) for row in connection.execute(query)]

    def answer(self, command: int, answer: str, *, failed: bool) -> None:
        """Answer a command (JSON); the first answer stays."""
        with transaction(self.database) as connection:
            connection.execute(
                COMMAND.update()
                .where(COMMAND.c.id == command, COMMAND.c.answer.is_(None))
                .values(answer=answer, failed=int(failed))
            )

    def get(self, command: int) -> Command | None:
        """One command."""
        with transaction(self.database) as connection:
            row = connection.execute(
                sa.select(COMMAND).where(COMMAND.c.id == command)
            ).one_or_none()
            return None if row is None else _command(row)


def _command(row: sa.Row[tuple[object, ...]]) -> Command:
    return Command(
        row.id,
        row.verb,
        tuple(json.loads(row.arguments)),
        row.actor,
        datetime.fromisoformat(row.at),
        row.answer,
        bool(row.failed),
    )
