from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.adapters.engine.transactions import Transactions
from bot.adapters.store import open_database
from bot.domain.errors import UnavailableError
from tests.world.engines import eventually

THREADS = 10


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    opened = open_database(f"sqlite:///{tmp_path / 'writes.db'}")
    with opened.begin() as connection:
        connection.execute(sa.text("CREATE TABLE written (number INTEGER PRIMARY KEY)"))
    yield opened
    opened.dispose()


def writing(number: int) -> Callable[[sa.Connection], int]:
    def write(connection: sa.Connection) -> int:
        connection.execute(sa.text("INSERT INTO written VALUES (:n)"), {"n": number})
        return number

    return write


def behind_one(
    database: sa.Engine, writes: list[Callable[[sa.Connection], int]]
) -> tuple[list[Future[int]], int]:
    """Let the writes wait for somebody's turn; their outcomes, and the commits that they took."""
    transactions, commits = Transactions(database), list[int]()
    with ThreadPoolExecutor(len(writes)) as threads, transactions.alone():
        outcomes = [threads.submit(transactions.together, write) for write in writes]
        waiting = transactions._waiting  # noqa: SLF001 - nothing else shows that they wait
        eventually(lambda: len(waiting) == len(writes), "all wait")
        sa.event.listen(database, "commit", lambda _: commits.append(1))
    return outcomes, len(commits) - 1


def numbers(database: sa.Engine) -> list[int]:
    with database.connect() as connection:
        return list(connection.scalars(sa.text("SELECT number FROM written ORDER BY number")))


def test_writes_that_wait_together_cost_one_commit(database: sa.Engine) -> None:
    outcomes, commits = behind_one(database, [writing(number) for number in range(THREADS)])

    assert [outcome.result() for outcome in outcomes] == list(range(THREADS))
    assert numbers(database) == list(range(THREADS))
    assert commits == 1


def test_a_write_fails_for_no_reason_of_another(database: sa.Engine) -> None:
    def bug(_: sa.Connection) -> int:
        raise ValueError("a bug")

    def double(connection: sa.Connection) -> int:
        writing(77)(connection)
        return writing(77)(connection)

    outcomes, _ = behind_one(database, [writing(1), bug, writing(2), double, writing(3)])

    assert [outcomes[place].result() for place in (0, 2, 4)] == [1, 2, 3]
    assert isinstance(outcomes[1].exception(), ValueError)
    assert isinstance(outcomes[3].exception(), UnavailableError)
    assert numbers(database) == [1, 2, 3]
