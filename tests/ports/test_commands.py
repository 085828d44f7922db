from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.clock import SystemClock
from bot.adapters.store import MIGRATIONS, CommandStore, migrate, open_database
from bot.ports.record import Commands
from tests.world.rows import PROOFS

pytest_plugins = ["tests.world.postgres"]


@pytest.fixture(params=["sqlite", "postgresql"])
def commands(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Commands]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    database = open_database(url)
    migrate(database, "store", MIGRATIONS)
    yield CommandStore(database, SystemClock(), PROOFS)
    database.dispose()


def test_a_command_is_open_until_it_is_answered(commands: Commands) -> None:
    first = commands.submit("retry", ["payments", "prod"], "ada")
    second = commands.submit("hold", [], "bob")
    assert [command.id for command in commands.open()] == [first, second]

    commands.answer(first, '{"ok": true}', failed=False)

    assert [command.id for command in commands.open()] == [second]
    answered = commands.get(first)
    assert answered is not None
    assert (answered.verb, answered.arguments, answered.actor) == (
        "retry",
        ("payments", "prod"),
        "ada",
    )
    assert (answered.answer, answered.failed) == ('{"ok": true}', False)


def test_the_first_answer_stays(commands: Commands) -> None:
    row = commands.submit("retry", [], "ada")

    commands.answer(row, '"first"', failed=True)
    commands.answer(row, '"second"', failed=False)

    answered = commands.get(row)
    assert answered is not None
    assert (answered.answer, answered.failed) == ('"first"', True)


def test_what_nobody_has_begun_can_be_withdrawn(commands: Commands) -> None:
    row = commands.submit("hold", ["prod"], "ada")

    assert commands.withdraw(row, '"withdrawn"')

    assert not commands.begin(row), "nobody carries it out any more"
    answered = commands.get(row)
    assert answered is not None
    assert (answered.answer, answered.failed) == ('"withdrawn"', True)


def test_what_somebody_has_begun_stays(commands: Commands) -> None:
    row = commands.submit("hold", ["prod"], "ada")

    assert commands.begin(row)
    assert commands.begin(row), "the process died, and the job runs again"

    assert not commands.withdraw(row, '"withdrawn"')
    commands.answer(row, '"held"', failed=False)
    assert not commands.begin(row)
    assert not commands.begin(99)


def test_a_command_that_nobody_left_is_none(commands: Commands) -> None:
    assert commands.get(99) is None
