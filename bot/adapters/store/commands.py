"""`bot.ports.record.Commands`: rows between the command line and the running bot.

The command line opens the same database while the bot runs; it takes no part in the bot's work.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from bot.adapters.store.database import text_of, transaction
from bot.adapters.store.proofs import Proofs
from bot.adapters.store.schema import COMMAND
from bot.domain.memory import Command
from bot.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class CommandStore:
    """The commands in one database; every method raises UnavailableError without an answer."""

    database: sa.Engine
    clock: Clock
    proofs: Proofs

    def submit(self, verb: str, arguments: Sequence[str], actor: str) -> int:
        """Leave a command; returns its row."""
        said = {
            "verb": verb,
            "arguments": json.dumps(list(arguments)),
            "actor": actor,
            "at": text_of(self.clock.now()),
        }
        insert = COMMAND.insert().values(**said, failed=0, begun=0, proof="")
        with transaction(self.database) as connection:
            row = int(connection.execute(insert.returning(COMMAND.c.id)).scalar_one())
            self.proofs.seal(connection, COMMAND, COMMAND.c.id == row)
            return row

    def open(self) -> Sequence[Command]:
        """Commands that have no answer yet, oldest first."""
        query = sa.select(COMMAND).where(COMMAND.c.answer.is_(None)).order_by(COMMAND.c.id)
        with transaction(self.database) as connection:
            return [self._command(row) for row in connection.execute(query)]

    def begin(self, command: int) -> bool:
        """Take a command up: from now on it cannot be withdrawn; False if there is none to do."""
        return self._update(command, COMMAND.c.answer.is_(None), begun=1)

    def withdraw(self, command: int, answer: str) -> bool:
        """Answer (JSON) a command that nobody has begun; False if it was begun or answered."""
        open_still = sa.and_(COMMAND.c.answer.is_(None), COMMAND.c.begun == 0)
        return self._update(command, open_still, answer=answer, failed=1)

    def answer(self, command: int, answer: str, *, failed: bool) -> None:
        """Answer a command (JSON); the first answer stays."""
        self._update(command, COMMAND.c.answer.is_(None), answer=answer, failed=int(failed))

    def get(self, command: int) -> Command | None:
        """One command."""
        with transaction(self.database) as connection:
            row = connection.execute(
                sa.select(COMMAND).where(COMMAND.c.id == command)
            ).one_or_none()
            return None if row is None else self._command(row)

    def _update(self, command: int, only: sa.ColumnElement[bool], **values: object) -> bool:
        update = COMMAND.update().where(COMMAND.c.id == command, only).values(**values)
        with transaction(self.database) as connection:
            return bool(connection.execute(update).rowcount)

    def _command(self, row: sa.Row[tuple[object, ...]]) -> Command:
        is_proven = bool(row.proof) and self.proofs.holds(COMMAND, row)
        return Command(
            row.id,
            row.verb,
            tuple(json.loads(row.arguments)),
            row.actor,
            datetime.fromisoformat(row.at),
            row.answer,
            bool(row.failed),
            row.proof if is_proven else "",
        )
