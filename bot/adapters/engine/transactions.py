"""One commit for the writes of several threads, because a commit waits for the disk.

On SQLite writers take turns. Whoever's turn it is carries out what waits behind it as well, in one
transaction: sixteen webhooks that come together cost one wait for the disk and not sixteen. When
something fails, each write is done again alone, so that no write fails for another's reason. On
PostgreSQL, whose server does the same for connections, each write has a transaction of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from bot.domain.errors import UnavailableError

T = TypeVar("T")


class Transactions:
    """The transactions of one process on one database; safe in any thread."""

    def __init__(self, database: sa.Engine) -> None:
        self._database = database
        self._is_shared = database.dialect.name != "sqlite"
        self._turn = threading.Lock()
        self._waiting: deque[_Write[Any]] = deque()

    def together(self, write: Callable[[sa.Connection], T]) -> T:
        """Carry out a write, durable when this returns.

        Args:
            write: what to do; it may be called twice, and in any thread.

        Raises:
            UnavailableError: the database does not answer.
        """
        if self._is_shared:
            with self.alone() as connection:
                return write(connection)
        waiting = _Write(write)
        self._waiting.append(waiting)
        with self._turn:
            if not waiting.is_over:
                self._do_all()
        return waiting.result()

    @contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """A transaction of one's own.

        Raises:
            UnavailableError: the database does not answer.
        """
        if self._is_shared:
            with self._transaction() as connection:
                yield connection
        else:
            with self._turn, self._transaction() as connection:
                yield connection

    @contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """A transaction that only reads, and waits for nobody.

        Raises:
            UnavailableError: the database does not answer.
        """
        with self._transaction() as connection:
            yield connection

    def _do_all(self) -> None:
        waiting = list(self._waiting)
        if len(waiting) == 1 or not self._do_in_one(waiting):
            for one in waiting:
                self._do_one(one)
        for _ in waiting:
            self._waiting.popleft()

    def _do_in_one(self, waiting: Sequence[_Write[Any]]) -> bool:
        try:
            with self._transaction() as connection:
                for one in waiting:
                    one.carry_out(connection)
        except Exception:  # noqa: BLE001 - whose it is shows when each is alone
            return False
        for one in waiting:
            one.is_over = True
        return True

    def _do_one(self, one: _Write[Any]) -> None:
        try:
            with self._transaction() as connection:
                one.carry_out(connection)
        except Exception as error:  # noqa: BLE001 - raised in the thread that asked for it
            one.error = error
        one.is_over = True

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._database.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise UnavailableError(f"the database failed: {type(error.orig).__name__}") from error


class _Write(Generic[T]):
    """A write on its way, and what came of it."""

    def __init__(self, write: Callable[[sa.Connection], T]) -> None:
        self._write = write
        self._found: list[T] = []
        self.error: Exception | None = None
        self.is_over = False

    def carry_out(self, connection: sa.Connection) -> None:
        """Do it, not yet for good."""
        self._found = [self._write(connection)]

    def result(self) -> T:
        """What it returned or raised."""
        if self.error is not None:
            raise self.error
        return self._found[0]
